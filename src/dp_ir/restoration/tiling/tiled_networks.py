"""The passes of a restoration over an image: the restorer once, then denoiser and fusion together at every step.

Each pass runs in one piece or in tiles (`tiler.Tiler`). Tiles are cut inside of the diffusion, not around it: there is
one state and one noise for the whole image, and the estimate is blended at every step.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.network_file import Kind
from dp_ir.diffusion.counting import CallCounter
from dp_ir.errors import DPIRError, NetworkContractError
from dp_ir.restoration.tiling.tiler import SMALLEST_TILE, Tiler, TilingNote
from dp_ir.restoration.tiling.windows import Overlap, Run, Window
from dp_ir.runtime.budget import SHARE, budget, free_memory, is_out_of_memory, peak_bytes

Read = Callable[[Window], Tensor]
"""Gives a part of an image (B, C, h, w)."""

Progress = Callable[[float], None]
"""Told what share of a restoration is done, from 0 to 1, after every tile."""

CONTEXT, RAMP = 40, 16
"""Pixels. Results of the shipped networks in tiles are then well within 1 / 255 of those of the whole photo, which
`tests/restoration/test_tiled_restoration.py` sees to."""

LARGEST_TILE = 1152
"""Pixels of the result: what is larger leaves the processor's caches and takes more time per pixel, see the growth in
results/speed.md."""

CANVAS_BYTES = 100
"""Bytes per pixel of a result that is restored in memory: states, estimates, and their conversion to a file."""

_MODEST_TILE = 256  # pixels of the result: smaller tiles, most of them overlap, are left to memory that runs out
_GRID = 32  # pixels of the result: tiles start at multiples of it even where no network asks for that
_PROBE = 128  # pixels of the result: side of the image that memory is measured with
_UNMEASURED = 512**2  # pixels of the result that are run without asking how much memory that takes
_MOST_TILES = 8  # that are run together on a GPU
_UNSEEN = 2.0  # what operations allocate inside of themselves, relative to the tensors that are seen
_LEAST = 300  # bytes per pixel where less is seen, as of networks that run outside of torch


class TiledNetworks:
    """The networks of a restoration, ready to go over one image.

    Args:
        networks: by kind.
        tile: longest side of a tile, in pixels of the result; None for the largest that fits into memory.
        memory: bytes that the process may hold; half of what is free, and what it holds already, by default.
        steps: passes of denoiser and fusion in all, for the progress.
        batch: tiles that are run together; None for one on the CPU, and on a GPU for as many as fit, up to eight.
        progress: told how far it is.
        measured: bytes per pixel by kind, filled in where they are measured.

    Raises:
        DPIRError: the tile is too small.
    """

    def __init__(
        self,
        networks: Mapping[Kind, LoadedNetwork],
        *,
        tile: int | None = None,
        memory: int | None = None,
        steps: int = 0,
        batch: int | None = None,
        progress: Progress | None = None,
        measured: dict[str, float] | None = None,
    ) -> None:
        if tile is not None and (isinstance(tile, bool) or not isinstance(tile, int) or tile < SMALLEST_TILE):
            raise DPIRError(f"The tile is {tile!r}: expected a whole number of at least {SMALLEST_TILE} pixels.")
        self._networks, self._tile, self._batch = networks, tile, batch
        self._device = networks["restorer"].device
        self._budget = budget(self._device, memory)
        self._measured = {} if measured is None else measured
        self._progress, self._total, self._done = progress, 1 + steps, 0
        self._counter = CallCounter()
        self._tilers: dict[str, Tiler] = {}

    @property
    def calls(self) -> dict[str, int]:
        """Evaluations per network that the image went through; all tiles of a pass are one."""
        return self._counter.calls

    @property
    def tilers(self) -> dict[str, Tiler]:
        """How the image was cut, by pass ("restorer", "estimate"), as far as they have run."""
        return self._tilers

    # ---- the restorer ------------------------------------------------------------------------------------------------

    def restored(self, observation: Tensor, encode: Callable[[Tensor], Tensor]) -> Tensor:
        """The restorer's estimate of an observation (B, C, h, w) or (B, N, 4, h, w), as `encode` turns it into sRGB."""
        height, width = observation.shape[-2:]
        size, read = (height, width), lambda window: window.of(observation)
        tiler = self._restorer_tiler(observation.shape, in_memory=True)
        scale = self._networks["restorer"].info.scale or 1
        device = self._canvas_device(len(observation) * height * width * scale**2)
        return tiler.image(*size, self._restorer_run(size, read, encode), device)

    def restored_bands(
        self, shape: Sequence[int], read: Read, encode: Callable[[Tensor], Tensor]
    ) -> Iterator[tuple[int, Tensor]]:
        """The same in bands of rows, of an observation of this shape that is read as it is needed."""
        tiler = self._restorer_tiler(shape, in_memory=False)
        size = shape[-2], shape[-1]
        return tiler.bands(*size, self._restorer_run(size, read, encode))

    def _restorer_run(self, size: tuple[int, int], read: Read, encode: Callable[[Tensor], Tensor]) -> Run:
        restorer = self._networks["restorer"]
        follow = self._counter.wrap("restorer", self._follow)(size)

        def run(windows: Sequence[Window]) -> Sequence[Tensor]:
            with _naming(restorer):
                restored = restorer(_together(windows, read, self._device))
            results = encode(restored).chunk(len(windows))
            follow(windows)
            return results

        return run

    def _restorer_tiler(self, shape: Sequence[int], *, in_memory: bool) -> Tiler:
        restorer = self._networks["restorer"]
        scale = restorer.info.scale or 1
        context = restorer.info.receptive_field
        context = CONTEXT if context is None else context

        def probe() -> float:
            side = _probe_side(restorer.info, _PROBE // scale)
            observation = torch.rand(1, *shape[1:-2], side, side, device=self._device)
            return peak_bytes(lambda: restorer(observation)) / side**2

        return self._tiler("restorer", ["restorer"], scale, Overlap(context, RAMP), shape, probe, in_memory=in_memory)

    # ---- denoiser and fusion -----------------------------------------------------------------------------------------

    def estimate(self, restored: Tensor, detail: float = 1.0) -> Callable[[Tensor, Tensor], Tensor]:
        """The estimate of the clean image (B, 3, H, W) that samplers ask for.

        `detail` is the dial, 0 to 1, for a fusion that sees it.
        """
        size = restored.shape[-2], restored.shape[-1]

        def estimated(noisy: Tensor, sigma: Tensor) -> Tensor:
            tiler = self._estimate_tiler(restored.shape, in_memory=True)
            run = self._estimate_run(size, lambda w: w.of(restored), lambda w: w.of(noisy), sigma, detail)
            return tiler.image(*size, run, noisy.device)

        return estimated

    def estimate_bands(
        self, shape: Sequence[int], restored: Read, noisy: Read, sigma: float, detail: float = 1.0
    ) -> Iterator[tuple[int, Tensor]]:
        """The same in bands of rows, of images (1, 3, H, W) that are read as they are needed.

        What lies above the next row of tiles is not read again once a band is out, and may be written over.
        """
        size = shape[-2], shape[-1]
        run = self._estimate_run(size, restored, noisy, torch.full((shape[0],), sigma), detail)
        return self._estimate_tiler(shape, in_memory=False).bands(*size, run)

    def _estimate_run(self, size: tuple[int, int], restored: Read, noisy: Read, sigma: Tensor, detail: float) -> Run:
        denoiser, fusion = self._networks["denoiser"], self._networks["fusion"]
        follow = self._counter.wrap("fusion", self._counter.wrap("denoiser", self._follow))(size)

        def run(windows: Sequence[Window]) -> Sequence[Tensor]:
            x = _together(windows, noisy, self._device)
            y = _together(windows, restored, self._device)
            level = sigma.to(x).repeat(len(windows))
            with _naming(denoiser):
                denoised = denoiser(x, level)
            with _naming(fusion):
                results = fusion(y, denoised, x, level, torch.full_like(level, detail)).chunk(len(windows))
            follow(windows)
            return results

        return run

    def _estimate_tiler(self, shape: Sequence[int], *, in_memory: bool) -> Tiler:
        denoiser, fusion = self._networks["denoiser"], self._networks["fusion"]
        radii = [network.info.receptive_field for network in (denoiser, fusion)]
        context = max(sum(radius or 0 for radius in radii), CONTEXT if None in radii else 0)

        def probe() -> float:
            side = max(_probe_side(network.info, _PROBE) for network in (denoiser, fusion))
            image = torch.rand(1, 3, side, side, device=self._device)
            low, high = denoiser.info.sigma_range or (0.1, 0.1)
            sigma, detail = image.new_full((1,), min(max(0.1, low), high)), image.new_ones(1)
            return peak_bytes(lambda: fusion(image, denoiser(image, sigma), image, sigma, detail)) / side**2

        kinds: list[Kind] = ["denoiser", "fusion"]
        return self._tiler("estimate", kinds, 1, Overlap(context, RAMP), shape, probe, in_memory=in_memory)

    # ---- how large the tiles are -------------------------------------------------------------------------------------

    def _tiler(
        self,
        name: str,
        kinds: Sequence[Kind],
        scale: int,
        overlap: Overlap,
        shape: Sequence[int],
        probe: Callable[[], float],
        *,
        in_memory: bool,
    ) -> Tiler:
        """The tiler of a pass over an image of this shape; made once, so that what it learns about memory stays."""
        if name in self._tilers:
            return self._tilers[name]
        infos = [self._networks[kind].info for kind in kinds]
        multiple = math.lcm(max(_GRID // scale, 1), *(info.multiple_of for info in infos))
        smallest = max(SMALLEST_TILE // scale, multiple, *(info.minimum_size for info in infos))
        batch, (height, width) = shape[0], shape[-2:]
        pixels = batch * height * width
        local = all(info.tiling == "supported" for info in infos)
        side = LARGEST_TILE // scale if local else max(height, width)
        together = self._batch or 1
        if self._tile is not None:
            side = max(self._tile // scale, smallest)
        if pixels * scale**2 > _UNMEASURED and (self._tile is None or self._device.type != "cpu"):
            if name not in self._measured:
                self._measured[name] = max(_UNSEEN * probe(), _LEAST * scale**2)
            canvases = CANVAS_BYTES * scale**2 * pixels
            if not in_memory or self._canvas_device(pixels * scale**2) != self._device:
                canvases = 0
            row = 0 if in_memory else 3 * 12 * scale**2 * width  # buffers of a row of tiles, per row of pixels
            largest = _largest_side(max(self._budget - canvases, 0), batch * self._measured[name], row)
            if self._tile is None:
                side = min(side, max(largest // multiple * multiple, _MODEST_TILE // scale, smallest))
            if self._batch is None and self._device.type != "cpu":  # small tiles would leave most of a GPU idle
                together = min(max(largest // side, 1) ** 2, _MOST_TILES)
        tiler = Tiler(
            side=side,
            overlap=overlap,
            multiple=multiple,
            smallest=smallest,
            by_area=self._tile is None,
            batch=together,
            name="restorer" if name == "restorer" else "denoiser and fusion",
        )
        if not tiler.is_whole(height, width):
            self._say(tiler, scale * side, local=local)
        self._tilers[name] = tiler
        return tiler

    def _say(self, tiler: Tiler, side: int, *, local: bool) -> None:
        """Say what the user may want to change: tiles that do harm, or that are small because memory is."""
        if not local:
            text = (
                f"Tiles of {side} pixels are used in the {tiler.name}, though what is far away in the image changes "
                "their result: it would be better with more memory, or for a part of the image."
            )
        elif self._tile is None and side < LARGEST_TILE:
            text = f"Tiles of {side} pixels are used in the {tiler.name}, which is what memory suffices for."
        else:
            return
        warnings.warn(text, TilingNote, stacklevel=2)

    def _canvas_device(self, pixels: int) -> torch.device:
        """Where a result of so many pixels is kept: beside the networks, unless it would take most of their memory."""
        if self._device.type == "cpu":
            return self._device
        fits = CANVAS_BYTES * pixels < SHARE * free_memory(self._device)
        return self._device if fits else torch.device("cpu")

    # ---- progress ----------------------------------------------------------------------------------------------------

    def _follow(self, size: tuple[int, int]) -> Callable[[Sequence[Window]], None]:
        """Begins a pass, and gives what is to be told of every tile that is done."""
        begun, self._done = self._done, self._done + 1
        height, width = size
        share = 0.0

        def follow(windows: Sequence[Window]) -> None:
            nonlocal share
            last = windows[-1]
            share = max(share, (last.top + last.height * (last.left + last.width) / width) / height)
            if self._progress is not None:
                self._progress(min((begun + share) / self._total, 1.0))

        return follow


@contextmanager
def _naming(loaded: LoadedNetwork) -> Iterator[None]:
    """Says which network failed, where it fails with an error of its own; that memory ran out is passed on as it is."""
    try:
        yield
    except Exception as error:
        if isinstance(error, DPIRError) or is_out_of_memory(error):
            raise
        text = " ".join(str(error).split())[:300].rstrip(".")
        raise NetworkContractError(
            f"The {loaded.kind}, {type(loaded.module).__name__}, failed with {type(error).__name__} ({text}): check "
            "that it takes such images, and its multiple of the sides and minimum_size."
        ) from error


def _largest_side(budget: int, per_pixel: float, per_row: float) -> int:
    """The largest side whose square, and as many rows of an image, fit into a budget in bytes."""
    return int((math.sqrt(per_row**2 + 4 * per_pixel * budget) - per_row) / (2 * per_pixel))


def _together(windows: Sequence[Window], read: Read, device: torch.device) -> Tensor:
    parts = [read(window) for window in windows]
    return (torch.cat(parts) if len(parts) > 1 else parts[0]).to(device)


def _probe_side(info: NetworkInfo, side: int) -> int:
    side = max(side, info.minimum_size)
    return -(-side // info.multiple_of) * info.multiple_of
