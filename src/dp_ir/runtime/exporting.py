"""Networks as ONNX and OpenVINO models, for images of any size.

A model is the network itself, in its own units: what its `NetworkInfo` says of value range, noise level and sides holds
for the model, too. Its sides must be multiples of the network's multiple of the sides, and at least twice that.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.checkpoints.network_file import Kind
from dp_ir.errors import DPIRError
from dp_ir.extras import require

Format = Literal["onnx", "openvino"]
FORMATS: tuple[Format, ...] = get_args(Format)

RESULTS: dict[Kind, str] = {"restorer": "restored", "denoiser": "denoised", "fusion": "fused"}
_IMAGES: dict[Kind, tuple[str, ...]] = {
    "restorer": ("observation",),
    "denoiser": ("noisy",),
    "fusion": ("restored", "denoised", "noisy"),
}
_TITLES: dict[Format, str] = {"onnx": "ONNX", "openvino": "OpenVINO"}
_EXAMPLE_SIDE, _EXAMPLE_DETAIL = 32, 0.7
_TOLERANCE = 1e-3  # of a model in float32, relative to the largest value; what is wrong is wrong by far more


def inputs_of(kind: Kind, info: NetworkInfo) -> list[str]:
    """Names of the inputs of a model: images, then "sigma" (or "variance") and "detail" where the network sees them."""
    sees = kind == "fusion" or (kind == "denoiser" and info.sigma_input in {"sigma", "variance"})
    level = "variance" if info.sigma_input == "variance" and kind == "denoiser" else "sigma"
    return [
        *_IMAGES[kind],
        *([level] if sees else []),
        *(["detail"] if kind == "fusion" and info.detail is not None else []),
    ]


def model_info(info: NetworkInfo) -> NetworkInfo:
    """What is known of the model of a network: it takes no image of a single tile of its multiple of the sides."""
    return replace(info, minimum_size=max(info.minimum_size, 2 * info.multiple_of))


def example(kind: Kind, info: NetworkInfo, *, batch: int = 2, longer: int = 1) -> tuple[Tensor, ...]:
    """Arguments of a network: images of noise, (`batch`, C, H, W), noise levels and the dial, (`batch`,).

    Args:
        kind: what the network is for.
        info: what is known of it.
        batch: images.
        longer: by how many size multiples the width exceeds the height.
    """
    multiple = info.multiple_of
    tiles = -(-max(_EXAMPLE_SIDE, model_info(info).minimum_size) // multiple)
    generator = torch.Generator().manual_seed(0)
    names = inputs_of(kind, info)
    channels = info.channels + (kind == "denoiser" and info.sigma_input == "map")
    shape = (batch, channels, tiles * multiple, (tiles + longer) * multiple)
    low, high = info.value_range
    images = [torch.rand(shape, generator=generator) * (high - low) + low for _ in _IMAGES[kind]]
    numbers = [torch.full((batch,), _EXAMPLE_DETAIL if name == "detail" else 0.2 * (high - low)) for name in names]
    return (*images, *numbers[len(images) :])


def to_onnx(kind: Kind, network: Any, info: NetworkInfo) -> Any:
    """A network as `torch.onnx.ONNXProgram`, with dynamic batch, height and width.

    Args:
        kind: what it is for.
        network: a module.
        info: what is known of it.

    Raises:
        DPIRError: it cannot be exported, or its model gives something else.
        MissingExtraError: the extra `export` is not installed.
    """
    for package in ("onnx", "onnxscript"):
        require(package, "Exporting to ONNX", "export")
    runtime = require("onnxruntime", "Exporting to ONNX", "export")
    batch = torch.export.Dim("batch", min=1)
    multiple, sides = info.multiple_of, (torch.export.Dim("rows", min=2), torch.export.Dim("columns", min=2))
    height, width = (multiple * side if multiple > 1 else side for side in sides)
    arguments = example(kind, info)
    dynamic = tuple({0: batch, 2: height, 3: width} if value.ndim == 4 else {0: batch} for value in arguments)
    with _exported(kind, network, info, "onnx") as module:
        traced = torch.export.export(module, arguments, dynamic_shapes=dynamic)
        program = torch.onnx.export(
            traced, dynamo=True, input_names=inputs_of(kind, info), output_names=[RESULTS[kind]], verbose=False
        )
        assert program is not None
        session = runtime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
        _check_equal(kind, module, info, lambda values: session_call(session, values), "onnx")
    return program


def to_openvino(kind: Kind, network: Any, info: NetworkInfo) -> Any:
    """A network as `openvino.Model`, with dynamic batch, height and width; arguments and errors as for `to_onnx`."""
    openvino = require("openvino", "Exporting to OpenVINO", "export")
    arguments, names = example(kind, info), inputs_of(kind, info)
    shapes = [openvino.PartialShape([-1, value.shape[1], -1, -1] if value.ndim == 4 else [-1]) for value in arguments]
    with _exported(kind, network, info, "openvino") as module:
        model = openvino.convert_model(module, example_input=arguments, input=shapes)
        for port, name in zip(model.inputs, names, strict=True):
            port.get_tensor().set_names({name})
        model.output(0).get_tensor().set_names({RESULTS[kind]})
        request = compiled_openvino(model, bfloat16=False).create_infer_request()
        _check_equal(kind, module, info, lambda values: openvino_call(request, values), "openvino")
    return model


def compiled_openvino(model: Any, *, bfloat16: bool) -> Any:
    """An `openvino.Model` ready to run on the CPU, with as many threads as PyTorch uses."""
    openvino = require("openvino", "Running OpenVINO models", "export")
    hints = {
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    return openvino.Core().compile_model(model, "CPU", hints)


def openvino_call(request: Any, values: tuple[Tensor, ...]) -> Tensor:
    """What an OpenVINO model makes of tensors."""
    return torch.from_numpy(request.infer([value.contiguous().numpy() for value in values], share_inputs=True)[0])


def session_call(session: Any, values: tuple[Tensor, ...]) -> Tensor:
    """What a session of ONNX Runtime makes of tensors."""
    feed = {port.name: value.contiguous().numpy() for port, value in zip(session.get_inputs(), values, strict=True)}
    return torch.from_numpy(session.run(None, feed)[0])


@contextmanager
def _exported(kind: Kind, network: Any, info: NetworkInfo, format: Format) -> Iterator[nn.Module]:
    """A copy of the network for tracing; whatever fails about it ends in one sentence."""
    name = f"The {kind}, a {type(network).__name__},"
    if not isinstance(network, nn.Module):
        raise DPIRError(
            f"{name} cannot be exported to {_TITLES[format]}, as it is no torch.nn.Module: use it in PyTorch."
        )
    if info.channels not in (1, 3):
        raise DPIRError(f"{name} cannot be exported to {_TITLES[format]}, as it restores bursts: use it in PyTorch.")
    module = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    try:
        # Gradients are on, so that shortcuts for a batch of one image, which take the batch as fixed, are not traced.
        with torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield module
    except DPIRError:
        raise
    except Exception as error:  # exporters fail in many ways, and none of them is the user's
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DPIRError(f"{name} cannot be exported to {_TITLES[format]} ({reason}): use it in PyTorch.") from error


def _check_equal(
    kind: Kind,
    module: nn.Module,
    info: NetworkInfo,
    model: Callable[[tuple[Tensor, ...]], Tensor],
    format: Format,
) -> None:
    """Refuse a model that differs from its network in a batch and size that tracing did not see."""
    values = example(kind, info, batch=1, longer=3)
    with torch.no_grad():
        expected = module(*values)
    found = model(values)
    if found.shape != expected.shape or not (found - expected).abs().max() <= _TOLERANCE * expected.abs().max():
        raise DPIRError(
            f"The {kind}, a {type(module).__name__}, cannot be exported to {_TITLES[format]}: its model gives another "
            "result for an image of another size; use it in PyTorch."
        )
