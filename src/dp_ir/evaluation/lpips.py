"""LPIPS v0.1 (Zhang et al. 2018, arXiv 1801.03924) with the SqueezeNet 1.1 backbone, at full and at half scale.

The computation and the linear heads come from torchmetrics; the backbone's weights come from a file of this machine or
from torchvision's own download, never from a download hidden in a constructor. LPIPS with this backbone rewards noise:
a claim made with it needs the control of `noise_control` beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dp_ir.checkpoints.weights import read_state_dict
from dp_ir.degradation.bicubic import imresize
from dp_ir.errors import CheckpointError, DataError
from dp_ir.evaluation.extras import optional_module
from dp_ir.evaluation.metrics import check_pair

Scale = Literal["full", "half"]

_FEATURE = "LPIPS"
# Names under which the backbone is looked for in a folder: the convolutions alone, and torchvision's own file.
_BACKBONE_FILES = ("squeezenet1_1_features.pth", "squeezenet1_1-b8a52dc0.pth")
_SMALLEST_SIDE = 17  # below, the third max-pooling of SqueezeNet has no input left
_BATCH_PIXELS = 1 << 20


class LPIPS:
    """LPIPS-squeeze v0.1 between outputs and targets (B, 3, H, W) in [0, 1]: one value per image, lower is better.

    Args:
        network: the module of `load_lpips`; shared by the metrics of both scales.
        scale: "full", or "half": both images are halved by an antialiased bicubic filter first, so that noise of the
            size of a pixel counts for less.

    Values outside [0, 1] are clipped, before and after halving: a viewer would not show them either.
    """

    higher_is_better = False

    def __init__(self, network: nn.Module, scale: Scale = "full") -> None:
        self.network = network
        self.scale: Scale = scale

    @property
    def name(self) -> str:
        """Short name."""
        return "LPIPS" if self.scale == "full" else "LPIPS 1/2"

    @property
    def protocol(self) -> str:
        """How the number came about."""
        halved = "" if self.scale == "full" else ", both images halved by antialiased bicubic (MATLAB imresize 0.5)"
        return f"{self.name}: LPIPS v0.1, SqueezeNet 1.1, RGB clipped to [0, 1]{halved}; mean over images"

    @torch.inference_mode()
    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Outputs and targets (B, 3, H, W) in [0, 1] -> distances (B,) float64; raises DataError."""
        check_pair(output, target)
        device = next(self.network.parameters()).device
        first, second = (self._view(image.detach().to(device, torch.float32)) for image in (output, target))
        if min(first.shape[-2:]) < _SMALLEST_SIDE:
            raise DataError(
                f"LPIPS at {self.scale} scale needs at least {_SMALLEST_SIDE}x{_SMALLEST_SIDE} pixels, but is given "
                f"{first.shape[-1]}x{first.shape[-2]}; use larger images."
            )
        chunk = max(1, _BATCH_PIXELS // (first.shape[-1] * first.shape[-2]))
        parts = [
            self.network(a, b, normalize=True).reshape(-1)
            for a, b in zip(torch.split(first, chunk), torch.split(second, chunk), strict=True)
        ]
        return torch.cat(parts).to(device="cpu", dtype=torch.float64)

    def _view(self, image: Tensor) -> Tensor:
        image = image.clamp(0.0, 1.0)
        return image if self.scale == "full" else imresize(image, 0.5).clamp(0.0, 1.0)


def load_lpips(weights: str | Path | None = None) -> nn.Module:
    """The LPIPS-squeeze network in evaluation mode, float32, on the CPU.

    Args:
        weights: file with the weights of SqueezeNet 1.1 (the convolutions alone, or torchvision's own file), or a
            folder that holds one under its usual name. None: torchvision's cached copy, or its download.

    Raises:
        MissingExtraError: torchmetrics or torchvision is not installed.
        DataError: no such file, or nothing on disk and no download possible.
        CheckpointError: the file does not hold SqueezeNet 1.1.
    """
    build = network_class()
    if weights is None:
        return _evaluation_mode(build(net="squeeze", pnet_rand=True), _torchvision_backbone())
    path = _backbone_file(Path(weights))
    return _evaluation_mode(build(net="squeeze", pnet_rand=True), _convolutions(read_state_dict(path), str(path)))


def network_class() -> Callable[..., Any]:
    """The class behind torchmetrics' public LPIPS metric.

    The public one always downloads its backbone; this one can be built without (``pnet_rand=True``), and then holds
    the calibrated linear heads that torchmetrics ships.
    """
    optional_module("torchvision", _FEATURE)
    cls: Callable[..., Any] = optional_module("torchmetrics.functional.image.lpips", _FEATURE)._LPIPS
    return cls


def _backbone_file(path: Path) -> Path:
    if path.is_dir():
        for name in _BACKBONE_FILES:
            if (path / name).is_file():
                return path / name
        raise DataError(
            f"The folder '{path}' holds no backbone for LPIPS ({' or '.join(_BACKBONE_FILES)}); name the file, or "
            "leave the weights out so that torchvision downloads them."
        )
    if not path.is_file():
        raise DataError(
            f"There is no file '{path}' with the SqueezeNet 1.1 backbone of LPIPS; name an existing file, or leave the "
            "weights out so that torchvision downloads them."
        )
    return path


def _torchvision_backbone() -> dict[str, Tensor]:
    """State of the convolutions from torchvision's cache or download."""
    models = optional_module("torchvision.models", _FEATURE)
    try:
        state: dict[str, Tensor] = models.SqueezeNet1_1_Weights.IMAGENET1K_V1.get_state_dict(
            progress=False, check_hash=True, map_location="cpu"
        )
    except (OSError, HTTPException, RuntimeError) as error:  # no way out, cut off on the way, wrong hash
        raise DataError(
            f"The SqueezeNet 1.1 backbone of LPIPS is not on this machine, and torchvision cannot fetch it ({error}); "
            "connect to the internet once, or give the file 'squeezenet1_1-b8a52dc0.pth' with --weights."
        ) from error
    return _convolutions(state, "torchvision")


def _convolutions(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """The convolutions' weights under the names of ``squeezenet1_1().features``, checked."""
    if any(key.startswith("features.") for key in state):
        state = {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}
    with torch.device("meta"):
        expected = optional_module("torchvision.models", _FEATURE).squeezenet1_1().features.state_dict()
    wrong = [key for key, value in expected.items() if key not in state or state[key].shape != value.shape]
    if wrong or len(state) != len(expected):
        raise CheckpointError(
            f"The backbone from '{source}' is not SqueezeNet 1.1: it holds {len(state)} tensors, and {len(wrong)} of "
            f"the {len(expected)} expected ones are missing or have another shape; give the file of torchvision's "
            "squeezenet1_1."
        )
    return state


def _evaluation_mode(network: Any, convolutions: dict[str, Tensor]) -> nn.Module:
    # torchmetrics cuts the features into slices but keeps each layer's own number as its name within its slice.
    names = {key.split(".", 2)[2]: key for key in network.net.state_dict()}
    network.net.load_state_dict({names[key]: value for key, value in convolutions.items()})
    module: nn.Module = network.eval().requires_grad_(False)
    return module
