"""Fusion networks trained on equal terms, and how well each estimates E[x0 | y, x_t] at every noise level."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dp_ir.checkpoints.bundle import locate_bundle, read_config
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.loading import load_denoiser, load_restorer, read_network
from dp_ir.checkpoints.network_file import save_network
from dp_ir.degradation.chance import image_generator
from dp_ir.diffusion.noise import generators, randn
from dp_ir.errors import DataError
from dp_ir.evaluation.metrics.similarity import PSNR
from dp_ir.evaluation.report.document import Table
from dp_ir.evaluation.runner.resources import parameters
from dp_ir.image import read_image, to_tensor
from dp_ir.image.raw.burst import Burst
from dp_ir.networks.inverse_variance.model import InverseVarianceFusion
from dp_ir.restoration.trained_with import partners_of
from dp_ir.runtime.precision import pick_device, uses_bfloat16
from dp_ir.tasks import get_task
from dp_ir.training.data import is_held_out
from dp_ir.training.recipe import DataRecipe
from dp_ir.training.run import train
from dp_ir.training.store import image_files
from dp_ir.training.trainer import Progress

FORMS: dict[str, Sequence[str]] = {
    "3CA": ("network.architecture=fusion-3ca",),
    "concatenation": ("network.architecture=fusion-3ca", "network.config.combination=concatenation"),
    "addition": ("network.architecture=fusion-3ca", "network.config.combination=addition"),
    "scalar w(t)": ("network.architecture=fusion-3ca", "network.config.combination=scalar"),
    "ours": ("network.architecture=fast-fusion",),
}
"""Forms by name, as changes to the recipe of a fusion; all have 0.67 M to 0.69 M parameters."""

ANALYTIC = "inverse variance"
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
_MEASURED_ON = 32  # training photographs for the error variances


def train_forms(
    bundle: str,
    data: Path,
    out: Path,
    *,
    steps: int,
    overrides: Sequence[str] = (),
    watch: Callable[[str, Progress], None] | None = None,
) -> dict[str, Path]:
    """Train every form for the restorer and the denoiser of a bundle, on the same samples for as many steps.

    A run that is there already is continued, or used if it is finished.

    Args:
        bundle: name, folder or hub id.
        data: folder of training photographs.
        out: folder for the runs, one per form.
        steps: of each run.
        overrides: further changes to the recipe, for all forms.
        watch: called with the form's name after each step.

    Returns:
        Weight files by name of the form, that of the analytic fusion among them.
    """
    folder = locate_bundle(bundle)
    entries = read_config(folder).networks
    if missing := [kind for kind in ("restorer", "denoiser") if kind not in entries]:
        raise DataError(
            f"The bundle '{bundle}' holds no {' and no '.join(missing)}, for which fusions could be trained."
        )
    partners = [f"partners.{kind}={folder / entries[kind].file}" for kind in ("restorer", "denoiser")]
    if fixed := [text for text in overrides if text.startswith("data.validation_fraction")]:
        raise DataError(f"The forms are compared on the usual held-out photographs: leave out {fixed[0]}.")
    task = read_config(folder).settings.task
    files = {ANALYTIC: measure_inverse_variance(bundle, data, out / ANALYTIC.replace(" ", "-") / "fusion.safetensors")}
    for name, form in FORMS.items():
        follow = None if watch is None else _named(watch, name)
        changes = [f"data.clean={data}", f"optim.steps={steps}", f"log.validate={steps}", *partners, *form, *overrides]
        run = out / name.split()[0].lower()
        files[name] = train("fusion", "fusion-estimate", [f"data.task={task}", *changes], run, watch=follow)
    return files


def measure_inverse_variance(bundle: str, data: Path, path: Path) -> Path:
    """Measure the errors of a bundle's restorer and denoiser on training photographs, and write the analytic fusion."""
    restorer, denoiser = _partners(bundle)
    crops = photographs(data, held_out=False, limit=_MEASURED_ON)
    levels = sorted({*LEVELS, 0.01, 0.3, 0.6, 1.0})
    limits = denoiser.info.sigma_range or (0.0, float("inf"))
    levels = [level for level in levels if limits[0] <= level <= limits[1]]
    restored_error, errors = 0.0, dict.fromkeys(levels, 0.0)
    for number, (clean, observation) in enumerate(_observed(bundle, crops)):
        with torch.inference_mode():
            restored_error += float((restorer(observation) - clean).square().mean()) / len(crops)
            for level in levels:
                noisy, sigma = _noisy(clean, level, number)
                errors[level] += float((denoiser(noisy, sigma) - clean).square().mean()) / len(crops)
    fusion = InverseVarianceFusion(
        restored_error=restored_error, sigmas=levels, denoised_errors=[errors[level] for level in levels]
    )
    records = {network.kind: network.record for network in (restorer, denoiser) if network.record is not None}
    card = {
        "partners": partners_of(records),
        "data": {"images": len(crops), "description": "errors measured on central crops of training photographs"},
    }
    save_network(path, fusion, kind="fusion", card=card)
    return path


def estimate_table(bundle: str, data: Path, fusions: Mapping[str, Path]) -> Table:
    """PSNR of every fusion's estimate of the clean image on held-out photographs, at several noise levels.

    Args:
        bundle: whose restorer and denoiser are fused.
        data: folder of training photographs, of which the held-out ones are used.
        fusions: weight files by name.
    """
    restorer, denoiser = _partners(bundle)
    metric = PSNR()
    networks = {name: read_network(path, "fusion")[0] for name, path in fusions.items()}
    device, bfloat16 = restorer.device, uses_bfloat16("auto", restorer.device)
    loaded = {
        name: LoadedNetwork("fusion", network, device=device, bfloat16=bfloat16) for name, network in networks.items()
    }
    crops = photographs(data, held_out=True)
    sums: dict[str, dict[float, float]] = {
        name: dict.fromkeys(LEVELS, 0.0) for name in ("restorer alone", "denoiser alone", *loaded)
    }
    for number, (clean, observation) in enumerate(_observed(bundle, crops)):
        with torch.inference_mode():
            restored = restorer(observation)
            for level in LEVELS:
                noisy, sigma = _noisy(clean, level, number)
                denoised = denoiser(noisy, sigma)
                estimates = {"restorer alone": restored, "denoiser alone": denoised}
                estimates |= {name: fuse(restored, denoised, noisy, sigma) for name, fuse in loaded.items()}
                for name, estimate in estimates.items():
                    sums[name][level] += float(metric(estimate, clean)) / len(crops)
    rows = [
        [
            name,
            f"{count / 1e6:.2f} M" if (count := parameters({"fusion": networks.get(name)})) is not None else None,
            *(f"{values[level]:.2f}" for level in LEVELS),
        ]
        for name, values in sums.items()
    ]
    title = f"Estimates of E[x0 | y, x_t]: PSNR (RGB, dB) on {len(crops)} held-out photographs at noise levels sigma"
    return Table(title, ["estimate", "parameters", *map(str, LEVELS)], rows)


def photographs(data: Path, *, held_out: bool, side: int = 192, limit: int | None = None) -> list[Tensor]:
    """Central crops (1, 3, side, side) of photographs that are trained on, or of those held out for validation.

    Args:
        data: folder of training photographs.
        held_out: which of the two.
        side: of the crops, in pixels; smaller photographs stay whole.
        limit: only the first ones.

    Raises:
        DataError: there are none.
    """
    fraction = DataRecipe.validation_fraction  # the forms are trained with it, see `train_forms`
    files = [file for file in image_files(data) if is_held_out(str(file.relative_to(data)), fraction) == held_out]
    if not files:
        which = "held out for validation" if held_out else "left to train on"
        raise DataError(f"None of the photographs in '{data}' is {which}, by the hash of its name: add photographs.")
    return [_central(to_tensor(read_image(file)), side) for file in files[:limit]]


def _central(image: Tensor, side: int) -> Tensor:
    top, left = (max(full - side, 0) // 2 for full in image.shape[-2:])
    return image[..., top : top + side, left : left + side]


def _observed(bundle: str, crops: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    task = get_task(read_config(locate_bundle(bundle)).settings.task)
    pairs: list[tuple[Tensor, Tensor]] = []
    for number, clean in enumerate(map(task.crop, crops)):
        observation = task.degrade(clean, generator=image_generator(str(number)))
        if isinstance(observation, Burst):
            raise DataError(f"The forms of fusions are compared on single images, but '{task.name}' takes bursts.")
        pairs.append((clean, observation))
    return pairs


def _partners(bundle: str) -> tuple[LoadedNetwork, LoadedNetwork]:
    device = pick_device("auto")
    bfloat16 = uses_bfloat16("auto", device)
    loaded: list[Any] = [load_restorer(bundle, probe=False), load_denoiser(bundle, probe=False)]
    restorer, denoiser = (LoadedNetwork(n.kind, n, device=device, bfloat16=bfloat16) for n in loaded)
    return restorer, denoiser


def _noisy(clean: Tensor, level: float, number: int) -> tuple[Tensor, Tensor]:
    return clean + level * randn(clean.shape, generators([number])), clean.new_full((1,), level)


def _named(watch: Callable[[str, Progress], None], name: str) -> Callable[[Progress], None]:
    return lambda progress: watch(name, progress)
