"""LPIPS v0.1 (Zhang et al. 2018, arXiv 1801.03924) with its three backbones, at full and at half scale.

The computation and the linear heads come from torchmetrics; the backbone's weights come from a file of this machine or
from torchvision's own download, never from a download hidden in a constructor. LPIPS rewards noise, most of all with
the SqueezeNet backbone: a claim made with it needs the control of `noise_control` beside it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dp_ir.checkpoints.weights import read_state_dict
from dp_ir.degradation.bicubic import imresize
from dp_ir.errors import CheckpointError, DataError
from dp_ir.evaluation.metrics.metric import check_pair
from dp_ir.extras import require

Scale = Literal["full", "half"]
Backbone = Literal["squeeze", "alex", "vgg"]

_FEATURE = "LPIPS"
_BATCH_PIXELS = 1 << 20


@dataclass(frozen=True)
class _BackboneInfo:
    """What is known of a backbone.

    Args:
        title: its name in sentences.
        model: its name in torchvision.
        weights: its class of weights in torchvision.
        files: names under which it is looked for in a folder: torchvision's own file, and the convolutions alone.
        smallest_side: of an image; below, one of its max-poolings has no input left.
        weights_hash: of torchvision's weights, which go without saying; see `_weights_hash`.
    """

    title: str
    model: str
    weights: str
    files: tuple[str, str]
    smallest_side: int
    weights_hash: str = ""


_BACKBONES: dict[Backbone, _BackboneInfo] = {
    "squeeze": _BackboneInfo(
        "SqueezeNet 1.1",
        "squeezenet1_1",
        "SqueezeNet1_1_Weights",
        ("squeezenet1_1-b8a52dc0.pth", "squeezenet1_1_features.pth"),
        17,
        "31a70309",
    ),
    "alex": _BackboneInfo(
        "AlexNet", "alexnet", "AlexNet_Weights", ("alexnet-owt-7be5be79.pth", "alexnet_features.pth"), 31
    ),
    "vgg": _BackboneInfo("VGG16", "vgg16", "VGG16_Weights", ("vgg16-397923af.pth", "vgg16_features.pth"), 16),
}


class LPIPS:
    """LPIPS v0.1 between outputs and targets (B, 3, H, W) in [0, 1]: one value per image, lower is better.

    Args:
        network: the module of `load_lpips`, which decides the backbone; shared by the metrics of both scales.
        scale: "full", or "half": both images are halved by an antialiased bicubic filter first, so that noise of the
            size of a pixel counts for less.

    Values outside [0, 1] are clipped, before and after halving: a viewer would not show them either. With SqueezeNet
    the name is "LPIPS", with the others "LPIPS-alex" and "LPIPS-vgg": their numbers are not comparable.
    """

    higher_is_better = False

    def __init__(self, network: nn.Module, scale: Scale = "full") -> None:
        self.network = network
        self.scale: Scale = scale
        self._weights = _weights_hash(network)

    @property
    def backbone(self) -> Backbone:
        """Which backbone the network has."""
        backbone: Any = self.network.pnet_type
        return backbone

    @property
    def name(self) -> str:
        """Short name."""
        base = _base_name(self.backbone)
        return base if self.scale == "full" else f"{base} 1/2"

    @property
    def protocol(self) -> str:
        """How the number came about."""
        halved = "" if self.scale == "full" else ", both images halved by antialiased bicubic (MATLAB imresize 0.5)"
        info = _BACKBONES[self.backbone]
        # With other weights the number is another one.
        weights = "" if self._weights == info.weights_hash else f" (weights {self._weights})"
        return f"{self.name}: LPIPS v0.1, {info.title}{weights}, RGB clipped to [0, 1]{halved}; mean over images"

    @torch.inference_mode()
    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Outputs and targets (B, 3, H, W) in [0, 1] -> distances (B,) float64; raises DataError."""
        check_pair(output, target)
        device = next(self.network.parameters()).device
        first, second = (self._view(image.detach().to(device, torch.float32)) for image in (output, target))
        _check_sides(first, self.backbone, self.name, self.scale)
        chunk = max(1, _BATCH_PIXELS // (first.shape[-1] * first.shape[-2]))
        parts = [
            self.network(a, b, normalize=True).reshape(-1)
            for a, b in zip(torch.split(first, chunk), torch.split(second, chunk), strict=True)
        ]
        return torch.cat(parts).to(device="cpu", dtype=torch.float64)

    def _view(self, image: Tensor) -> Tensor:
        image = image.clamp(0.0, 1.0)
        return image if self.scale == "full" else imresize(image, 0.5).clamp(0.0, 1.0)


class LPIPSFeatures:
    """The feature maps whose squared distance is LPIPS: images (N, 3, H, W) in [0, 1] -> maps (N, C, h, w), float32.

    The channels of each layer are normalised at every place and weighted by the square root of their linear head.
    Gradients flow to the images.

    Args:
        network: the module of `load_lpips`.

    Raises:
        DataError: when called with images that are too small.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network: Any = network
        heads: Any = network.lins
        self._weights = [next(head.parameters()).detach().clamp_min(0).sqrt() for head in heads]

    def __call__(self, image: Tensor) -> list[Tensor]:
        """The maps, one per layer."""
        backbone: Backbone = self._network.pnet_type
        _check_sides(image, backbone, _base_name(backbone), "full")
        network = self._network.to(image.device)
        maps = network.net.forward(network.scaling_layer(2 * image - 1))
        return [
            weight.to(features.device) * features / (features.square().sum(dim=1, keepdim=True) + 1e-8).sqrt()
            for weight, features in zip(self._weights, maps, strict=True)
        ]


def load_lpips(weights: str | Path | None = None, backbone: Backbone = "squeeze") -> nn.Module:
    """An LPIPS network in evaluation mode, float32, on the CPU.

    Args:
        weights: file with the backbone's weights (the convolutions alone, or torchvision's own file), or a folder that
            holds one under its usual name. None: torchvision's cached copy, or its download.
        backbone: "squeeze" (SqueezeNet 1.1, the smallest), "alex" (AlexNet, the one most papers report), or "vgg"
            (VGG16).

    Raises:
        MissingExtraError: torchmetrics or torchvision is not installed.
        DataError: no such backbone or file, or nothing on disk and no download possible.
        CheckpointError: the file does not hold the backbone.
    """
    if backbone not in _BACKBONES:
        raise DataError(f"LPIPS has no backbone {backbone!r}: known are {', '.join(_BACKBONES)}.")
    build, info = network_class(), _BACKBONES[backbone]
    if weights is None:
        convolutions = _torchvision_backbone(info)
    else:
        path = _backbone_file(Path(weights), info)
        convolutions = _convolutions(read_state_dict(path), str(path), info)
    return _evaluation_mode(build(net=backbone, pnet_rand=True), convolutions)


def find_backbone(folder: Path, backbone: Backbone) -> Path | None:
    """The file of a backbone in a folder, or None where the folder has none."""
    return _find(folder, _BACKBONES[backbone])


def _base_name(backbone: Backbone) -> str:
    return "LPIPS" if backbone == "squeeze" else f"LPIPS-{backbone}"


def _check_sides(image: Tensor, backbone: Backbone, name: str, scale: Scale) -> None:
    smallest = _BACKBONES[backbone].smallest_side
    if min(image.shape[-2:]) < smallest:
        raise DataError(
            f"{name} at {scale} scale needs at least {smallest}x{smallest} pixels, but is given "
            f"{image.shape[-1]}x{image.shape[-2]}; use larger images."
        )


def _weights_hash(network: nn.Module) -> str:
    """Eight digits that identify the weights of the backbone."""
    backbone: Any = network.net
    digest = hashlib.sha256()
    for tensor in backbone.state_dict().values():
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]


def network_class() -> Callable[..., Any]:
    """The class behind torchmetrics' public LPIPS metric.

    The public one always downloads its backbone; this one can be built without (``pnet_rand=True``), and then holds
    the calibrated linear heads that torchmetrics ships.
    """
    require("torchvision", _FEATURE, "eval")
    cls: Callable[..., Any] = require("torchmetrics.functional.image.lpips", _FEATURE, "eval")._LPIPS
    return cls


def _find(folder: Path, info: _BackboneInfo) -> Path | None:
    return next((path for name in info.files if (path := folder / name).is_file()), None)


def _backbone_file(path: Path, info: _BackboneInfo) -> Path:
    if path.is_dir():
        found = _find(path, info)
        if found is not None:
            return found
        raise DataError(
            f"The folder '{path}' holds no {info.title} backbone for LPIPS ({' or '.join(info.files)}): name the file "
            "(an evaluation without it lets torchvision download it)."
        )
    if not path.is_file():
        raise DataError(
            f"There is no file '{path}' with the {info.title} backbone of LPIPS: name an existing file (an "
            "evaluation without it lets torchvision download it)."
        )
    return path


def _torchvision_backbone(info: _BackboneInfo) -> dict[str, Tensor]:
    """State of the convolutions from torchvision's cache or download."""
    models = require("torchvision.models", _FEATURE, "eval")
    try:
        state: dict[str, Tensor] = getattr(models, info.weights).IMAGENET1K_V1.get_state_dict(
            progress=False, check_hash=True, map_location="cpu", weights_only=True
        )
    except (OSError, HTTPException, RuntimeError) as error:  # no way out, cut off on the way, wrong hash
        raise DataError(
            f"The {info.title} backbone of LPIPS is not on this machine, and torchvision cannot fetch it ({error}); "
            f"connect to the internet once, or give the file '{info.files[0]}' with --weights."
        ) from error
    return _convolutions(state, "torchvision", info)


def _convolutions(state: dict[str, Tensor], source: str, info: _BackboneInfo) -> dict[str, Tensor]:
    """The convolutions' weights under the names of torchvision's ``model().features``, checked."""
    if any(key.startswith("features.") for key in state):
        state = {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}
    with torch.device("meta"):
        expected = getattr(require("torchvision.models", _FEATURE, "eval"), info.model)().features.state_dict()
    wrong = [key for key, value in expected.items() if key not in state or state[key].shape != value.shape]
    if wrong or len(state) != len(expected):
        raise CheckpointError(
            f"The backbone from '{source}' is not {info.title}: it holds {len(state)} tensors, and {len(wrong)} of "
            f"the {len(expected)} expected ones are missing or have another shape; give the file of torchvision's "
            f"{info.model}."
        )
    return state


def _evaluation_mode(network: Any, convolutions: dict[str, Tensor]) -> nn.Module:
    # torchmetrics cuts the features into slices ("slices.2.5...." or "slice3.5....") but keeps each layer's own number
    # as its name within its slice.
    names = {re.sub(r"^(slices\.\d+|slice\d+)\.", "", key): key for key in network.net.state_dict()}
    network.net.load_state_dict({names[key]: value for key, value in convolutions.items()})
    module: nn.Module = network.eval().requires_grad_(False)
    return module
