"""Where the networks run, and in what precision. The sampler's state is float32 whatever is decided here."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F

from dp_ir.errors import DPIRError

Precision = Literal["auto", "float32", "bfloat16"]


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """The device of that name; "auto" is CUDA where there is one, else Apple's MPS, else the CPU.

    Raises:
        DPIRError: there is no such device here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DPIRError(
            f"The device {str(device)!r} cannot be used here, {_why_not(str(device), error)}: choose another, such as "
            "auto or cpu."
        ) from error
    return chosen


def _why_not(device: str, error: Exception) -> str:
    """What keeps a device from being used, in half a sentence."""
    kind = device.partition(":")[0]
    if kind == "cuda" and torch.version.cuda is None and torch.version.hip is None:
        return f"because this PyTorch ({torch.__version__}) was built without CUDA"
    if kind == "cuda" and torch.cuda.device_count() == 0:
        return "because no GPU with a working driver is found (nvidia-smi lists them)"
    if kind == "cuda" and torch.cuda.is_available() and ":" in device:
        return f"because there are {torch.cuda.device_count()} GPUs, cuda:0 being the first"
    if kind == "mps" and not torch.backends.mps.is_available():
        return "because Apple's MPS is not available on this machine or to this PyTorch"
    lines = str(error).strip().splitlines()
    return f"because PyTorch says: {lines[0].rstrip('.')[:200]}" if lines else f"({type(error).__name__})"


def processor_name() -> str:
    """Name of the processor; Linux tells it in a file, other systems through Python."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def uses_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether networks that allow it run in bfloat16.

    "auto" says yes where the processor multiplies bfloat16 in hardware and a small convolution comes out right: on
    CPUs with AVX512-BF16 or AMX, and on GPUs with native support. Elsewhere bfloat16 is emulated and slower.

    Raises:
        DPIRError: the precision is not one of those known.
    """
    if precision not in get_args(Precision):
        raise DPIRError(f"The precision is {precision!r}: expected one of {', '.join(get_args(Precision))}.")
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cpu":
        return _cpu_multiplies_bfloat16() and bfloat16_is_sound("cpu")
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return native and bfloat16_is_sound(str(device))
    return False


def _cpu_multiplies_bfloat16() -> bool:
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # not in the oldest torch that is supported
    if capabilities is not None:
        found = capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    checks = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(check() for check in checks if check is not None)


@lru_cache(maxsize=8)
def bfloat16_is_sound(device: str) -> bool:
    """Whether a convolution in bfloat16 on this device agrees with float32 as closely as 8 bits of mantissa allow."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 32, 16, 16, generator=generator)
    weight = torch.randn(32, 32, 3, 3, generator=generator) / 17.0
    exact = F.conv2d(image, weight, padding=1)
    try:
        half = F.conv2d(image.to(device, torch.bfloat16), weight.to(device, torch.bfloat16), padding=1)
    except RuntimeError:
        return False
    error = (half.float().cpu() - exact).norm() / exact.norm()
    return bool(error < 0.02)
