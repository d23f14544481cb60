"""Distances between the features of networks that no training here saw: what `unseen.py` judges with.

An ONNX model is cut behind its convolutions, at the end of each of its resolutions, and two images are as far apart as
their maps there: the distance of LPIPS without its learned heads (Zhang et al. 2018, arXiv 1801.03924, equation 1).
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dp_ir.degradation import imresize
from dp_ir.errors import DataError, MissingExtraError
from dp_ir.evaluation import Metric, Target
from dp_ir.evaluation.metrics.lpips import Scale
from dp_ir.evaluation.metrics.metric import check_pair, round_to_8_bit
from dp_ir.evaluation.metrics.noise_control import add_noise

_POOLING = ("AveragePool", "MaxPool")
_EPSILON = 1e-8


def layer_distances(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """How far two images are apart in each map of a network: 0 for equal maps, at most 4.

    The channels of every place are brought to unit length; the squared Euclidean distances of the places are averaged.

    Args:
        first: one map (B, C, h, w) per layer.
        second: likewise, of the same shapes.

    Returns:
        (B, layers) float64.
    """
    layers = [
        (_unit(a.double()) - _unit(b.double())).square().sum(dim=1).mean(dim=(1, 2))
        for a, b in zip(first, second, strict=True)
    ]
    return torch.stack(layers, dim=1)


def _unit(maps: Tensor) -> Tensor:
    return maps / (maps.square().sum(dim=1, keepdim=True) + _EPSILON).sqrt()


def pick_layers(model: Any) -> list[str]:
    """The last map of every resolution of an ONNX model's backbone, the finest first.

    These are the inputs of the convolutions that halve a side (the image itself left out), and the last of the maps
    with the most channels between the last of these convolutions and the next pooling: a head begins with either.

    Raises:
        DataError: no convolution of the model halves anything.
    """
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    channels = {value.name: count for value in inferred.value_info if (count := _channels(value))}
    given = {value.name for value in model.graph.input}
    nodes = list(model.graph.node)
    halving = [number for number, node in enumerate(nodes) if node.op_type == "Conv" and _stride(node) > 1]
    if not halving:
        raise DataError("No convolution of the ONNX model halves its image; give one with a backbone of several sizes.")
    layers = [nodes[number].input[0] for number in halving if nodes[number].input[0] not in given]
    rest = [node.output[0] for node in takewhile(lambda node: node.op_type not in _POOLING, nodes[halving[-1] :])]
    widest = max((channels[name] for name in rest if name in channels), default=0)
    layers += [name for name in rest if channels.get(name) == widest][-1:]
    return list(dict.fromkeys(layers))


def _stride(node: Any) -> int:
    return max((max(attribute.ints) for attribute in node.attribute if attribute.name == "strides"), default=1)


def _channels(value: Any) -> int:
    """Channels of a map (B, C, H, W) of more than one pixel; 0 of anything else."""
    sides = [side.dim_value for side in value.type.tensor_type.shape.dim]
    return sides[1] if len(sides) == 4 and sides[2:] != [1, 1] else 0


def cut(model: Any, layers: Sequence[str]) -> Any:
    """A copy of an ONNX model that gives these layers instead of its own outputs, without what they do not need.

    What is left takes images of any size, where the heads want certain ones.
    """
    import onnx

    needed, kept = set(layers), []
    for node in reversed(model.graph.node):  # ONNX keeps nodes in the order of computation
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.node[:], copy.graph.output[:]
    copy.graph.node.extend(reversed(kept))
    copy.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in layers)
    return copy


@dataclass(frozen=True)
class Backbone:
    """A network that gives feature maps, by ONNX Runtime on the CPU.

    Args:
        name: short, for the heads of columns.
        file: name of the file it came from.
        digest: eight digits that identify the file's contents.
        layers: which maps it gives.
        session: of ONNX Runtime; takes float32 BGR (B, 3, H, W) in [-1, 1], as PaddleOCR feeds its networks.
    """

    name: str
    file: str
    digest: str
    layers: tuple[str, ...]
    session: Any

    def __call__(self, image: Tensor) -> list[Tensor]:
        """Maps (B, C, h, w) of RGB images (B, 3, H, W) in [0, 1], one per layer."""
        given = np.ascontiguousarray((2.0 * image.detach().cpu().float() - 1.0).flip(1).numpy())
        (feed,) = self.session.get_inputs()
        alone = [self.session.run(None, {feed.name: one[None]}) for one in given]  # some models take no batches
        return [torch.from_numpy(np.concatenate(maps)) for maps in zip(*alone, strict=True)]


def load_backbone(name: str, path: Path) -> Backbone:
    """Read an ONNX model, cut behind the layers of `pick_layers`.

    Raises:
        MissingExtraError: onnx or onnxruntime is not installed.
        DataError: the file is no ONNX model with a backbone.
    """
    try:
        import onnx
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtraError("The features of another network", str(error.name), "export") from error
    content = path.read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # what is cut off leaves weights unused, which is no news
    try:
        model = onnx.load_model_from_string(content)
        layers = pick_layers(model)
        model = cut(model, layers).SerializeToString()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except DataError:
        raise
    except Exception as error:  # protobuf, onnx and ONNX Runtime have no common one
        reason = str(error).partition("\n")[0]
        raise DataError(f"'{path.name}' is no ONNX model that can be run ({reason}); install it again.") from error
    return Backbone(name, path.name, hashlib.sha256(content).hexdigest()[:8], tuple(layers), session)


class FeatureDistance:
    """Distance of outputs and targets (B, 3, H, W) in [0, 1] in the maps of a network: one per image, lower is better.

    Args:
        backbone: gives the maps; shared by the metrics of both scales.
        scale: "full", or "half": both images are halved by an antialiased bicubic filter first, as LPIPS halves them.
    """

    higher_is_better = False

    def __init__(self, backbone: Backbone, scale: Scale = "full") -> None:
        self.backbone = backbone
        self.scale: Scale = scale

    @property
    def name(self) -> str:
        """Short name."""
        return self.backbone.name if self.scale == "full" else f"{self.backbone.name} 1/2"

    @property
    def protocol(self) -> str:
        """How the number came about."""
        halved = "" if self.scale == "full" else ", both images halved by antialiased bicubic (MATLAB imresize 0.5)"
        return (
            f"{self.name}: maps of {self.backbone.file} (sha256 {self.backbone.digest}) at {len(self.backbone.layers)} "
            f"layers ({', '.join(self.backbone.layers)}), channels of unit length at every place, squared distance, "
            f"mean over places and layers; RGB clipped to [0, 1]{halved}; mean over images"
        )

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Outputs and targets (B, 3, H, W) in [0, 1] -> distances (B,) float64; raises DataError for unequal shapes."""
        return self.by_layer(output, target).mean(dim=1)

    def by_layer(self, output: Tensor, target: Tensor) -> Tensor:
        """The distances (B, layers) whose mean over the layers is the metric, the finest first; errors likewise."""
        check_pair(output, target)
        return layer_distances(self.backbone(self._view(output)), self.backbone(self._view(target)))

    def _view(self, image: Tensor) -> Tensor:
        image = image.clamp(0.0, 1.0)
        return image if self.scale == "full" else imresize(image, 0.5).clamp(0.0, 1.0)


STRENGTHS = {
    "blur (sigma in pixels)": (0.5, 1.0, 2.0, 4.0),
    "white noise (of 255)": (2.0, 5.0, 10.0, 20.0),
    "JPEG (quality)": (95.0, 80.0, 50.0, 20.0),
}
"""Damages that a distance must rank, the weakest first."""

RISE = 0.1
"""What each damage must cost more than the weaker one, as a share of what the weakest costs.

The strengths lie so far apart that the distances here rise by more at each than at the first; a tenth of that is little
to ask, yet far above errors of rounding.
"""


def damaged(image: Tensor, damage: str, strength: float) -> Tensor:
    """An image (1, 3, H, W) in [0, 1] with one of the damages in `STRENGTHS`."""
    if damage.startswith("blur"):
        return _blurred(image, strength)
    if damage.startswith("white noise"):
        return add_noise([image], strength / 255.0)[0]
    return _compressed(image, round(strength))


def _blurred(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with reflected borders."""
    reach = min(int(4 * sigma + 0.5), min(image.shape[-2:]) - 1)
    window = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=image.dtype) / sigma) ** 2)
    window = (window / window.sum()).view(1, 1, 1, -1).expand(3, 1, 1, -1)
    padded = torch.nn.functional.pad(image, (reach, reach, reach, reach), mode="reflect")
    rows = torch.nn.functional.conv2d(padded, window, groups=3)
    return torch.nn.functional.conv2d(rows, window.transpose(-2, -1), groups=3)


def _compressed(image: Tensor, quality: int) -> Tensor:
    file = BytesIO()
    Image.fromarray(to_8_bit(image)).save(file, format="JPEG", quality=quality)
    pixels = torch.from_numpy(np.array(Image.open(file)))
    return pixels.permute(2, 0, 1)[None].to(image.dtype) / 255.0


def to_8_bit(image: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(1, 3, H, W) in [0, 1] as uint8 samples (H, W, 3)."""
    return (
        (round_to_8_bit(image.detach().cpu())[0] * 255.0).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    )


def smallest_rise(values: Iterable[float]) -> float:
    """The smallest later difference of neighbours, as a share of the first; 0 where the first is not above 0."""
    first, *others = (later - earlier for earlier, later in pairwise(values))
    return min(others) / first if first > 0 else 0.0


def behaviour(judge: Metric, images: Sequence[Tensor], on: str) -> tuple[list[Target], list[list[str | float | None]]]:
    """Whether a distance ranks damages: each must cost more than the weaker one, on every image.

    Args:
        judge: the distance; of a constant one no rise passes.
        images: originals (1, 3, H, W) in [0, 1].
        on: what the images are, for the bars.

    Returns:
        The bars, and one row of mean distances for each of the damages in `STRENGTHS`.
    """
    equal = max(float(judge(image, image)) for image in images)
    bars = [Target(f"{judge.name}: equal images", on, "<=", 0.0, equal, digits=5)]
    rows: list[list[str | float | None]] = []
    for damage, strengths in STRENGTHS.items():
        series = [[float(judge(damaged(image, damage, strength), image)) for strength in strengths] for image in images]
        means = [statistics.fmean(values) for values in zip(*series, strict=True)]
        rise = min(smallest_rise([equal, *values]) for values in series)
        bars.append(Target(f"{judge.name}: smallest rise over the first, {damage}", on, ">=", RISE, rise))
        steps = (f"{strength:g}: {mean:.4f}" for strength, mean in zip(strengths, means, strict=True))
        rows.append([judge.name, damage, *steps])
    return bars, rows
