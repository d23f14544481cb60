"""What runs the networks: PyTorch as it is, PyTorch compiled, OpenVINO or ONNX Runtime."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.network_file import Kind
from dp_ir.errors import DPIRError
from dp_ir.extras import require
from dp_ir.networks.default_dtype import float32_by_default
from dp_ir.runtime.exporting import (
    compiled_openvino,
    model_info,
    openvino_call,
    session_call,
    to_onnx,
    to_openvino,
)
from dp_ir.runtime.precision import Precision, pick_device, uses_bfloat16

Engine = Literal["torch", "compile", "openvino", "onnxruntime"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
_TITLES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}


def engine_device(engine: Engine, device: str | torch.device) -> torch.device:
    """Where an engine runs: OpenVINO and ONNX Runtime on the CPU, which "auto" then stands for.

    Raises:
        DPIRError: an unknown engine, or a device that it does not run on.
    """
    if engine not in ENGINES:
        raise DPIRError(f"The engine is {engine!r}: expected one of {', '.join(ENGINES)}.")
    if engine not in _TITLES:
        return pick_device(device)
    chosen = pick_device("cpu" if device == "auto" else device)
    if chosen.type != "cpu":
        raise DPIRError(
            f"The engine {engine} runs on the CPU, and the device is {str(device)!r}: choose --device cpu, or --engine "
            "torch."
        )
    return chosen


@float32_by_default()
def run_by(engine: Engine, network: LoadedNetwork, *, device: torch.device, precision: Precision) -> LoadedNetwork:
    """The same network, run by an engine.

    The engine takes the weights as they are now; those of `torch` and `compile` may go on being trained.

    Args:
        engine: what runs it.
        network: a module, or for `torch` and `compile` any callable.
        device: as `engine_device` gives it; a module is moved there.
        precision: see `dp_ir.runtime.precision`; ONNX Runtime computes in float32.

    Raises:
        DPIRError: the engine cannot run this network, or not in this precision, or not here.
        MissingExtraError: the engine is not installed.
    """
    kind, module, info, record = network.kind, network.module, network.info, network.record
    bfloat16 = uses_bfloat16(precision, device)
    match engine:
        case "torch":
            return LoadedNetwork(kind, module, info, record=record, device=device, bfloat16=bfloat16)
        case "compile":
            run = _compiled(module, device)
            return LoadedNetwork(kind, module, info, record=record, device=device, bfloat16=bfloat16, run=run)
        case "openvino":
            low = bfloat16 and info.supports_bfloat16
            request = compiled_openvino(to_openvino(kind, module, info), bfloat16=low).create_infer_request()
            run = lambda *values: openvino_call(request, values)  # noqa: E731
        case "onnxruntime":
            if precision == "bfloat16":
                raise DPIRError(
                    "ONNX Runtime does not compute in bfloat16 on the CPU: choose --precision float32, or --engine "
                    "openvino."
                )
            session = _session(kind, module, info)
            run = lambda *values: session_call(session, values)  # noqa: E731
    smallest = model_info(info).minimum_size
    return LoadedNetwork(kind, module, info, record=record, device=device, run=run, smallest=smallest)


def _compiled(network: Any, device: torch.device) -> Callable[..., Tensor]:
    """The network compiled at its first call; on a GPU for every size anew, as CUDA graphs have to be."""
    stated = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([stated] if stated else ["g++", "clang++", "c++", "cl"])):
        raise DPIRError(
            f"The engine compile needs a C++ compiler, and {stated or 'g++ or clang++'} is not found: install one, or "
            "choose --engine torch."
        )

    def call(*values: Tensor) -> Tensor:
        result: Tensor = network(*values)
        return result

    if device.type == "cuda":
        graphed: Callable[..., Tensor] = torch.compile(call, mode="reduce-overhead", dynamic=False)
        return lambda *values: graphed(*values).clone()  # a graph writes every result to the same place
    return torch.compile(call, dynamic=True)


def _session(kind: Kind, network: Any, info: NetworkInfo) -> Any:
    model = to_onnx(kind, network, info).model_proto.SerializeToString()
    onnxruntime = require("onnxruntime", "The engine onnxruntime", "export")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
