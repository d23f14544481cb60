"""Deformable convolution (Dai et al. 2017, arXiv 1703.06211; modulated: Zhu et al. 2018, arXiv 1811.11168)."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Operator = Literal["torch", "torchvision"]
"""Which code computes a deformable convolution: torch's own operations, or the compiled operator of torchvision."""


def sample_bilinear(
    features: Tensor, x: Tensor, y: Tensor, *, padding_mode: Literal["zeros", "border"] = "zeros"
) -> Tensor:
    """Read feature maps at fractional positions.

    Args:
        features: (B, C, H, W).
        x: (B, H', W') columns in pixels; 0 is the centre of the first one.
        y: (B, H', W') rows in pixels.
        padding_mode: what lies outside: zeros, or the nearest pixel of the border.

    Returns:
        (B, C, H', W').
    """
    height, width = features.shape[-2:]
    # In the units of grid_sample the map spans [-1, 1] from edge to edge, which holds for maps one pixel wide too.
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    return F.grid_sample(features, grid, mode="bilinear", padding_mode=padding_mode, align_corners=False)


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    operator: Operator | None = None,
) -> Tensor:
    """Convolve with taps that are moved by `offset` and weighed by `mask`, both per output position.

    With K = kh * kw taps and G groups of input channels that move together,

        out[o, p] = bias[o] + sum over c, k of weight[o, c, k] * mask[g, k, p] * input[c, p + tap(k) + offset[g, k, p]]

    where g is the group of channel c, and the input is read bilinearly and is zero outside.

    Args:
        input: (B, C, H, W), C a multiple of G.
        offset: (B, 2 * G * K, H', W') in pixels; per group and tap first the row, then the column.
        mask: (B, G * K, H', W').
        weight: (O, C, kh, kw).
        bias: (O,) or None.
        stride: pixels between output positions.
        padding: zeros assumed around the input.
        dilation: pixels between taps.
        operator: which code computes it; None takes the faster one for the device of `input`. Both give the same
            values and gradients to rounding.

    Returns:
        (B, O, H', W').

    Raises:
        ImportError: `operator` is "torchvision", which is not installed or does not work with this torch.
    """
    if operator is None:
        operator = preferred_operator(input.device.type)
    if operator == "torchvision":
        compiled = _torchvision_operator()
        if compiled is None:
            raise ImportError('No usable torchvision is installed; install it or choose operator="torch".')
        return compiled(input, offset, weight, bias, stride=stride, padding=padding, dilation=dilation, mask=mask)
    return _plain(input, offset, mask, weight, bias, stride, padding, dilation)


def preferred_operator(device_type: str) -> Operator:
    """The faster operator for a type of device: torchvision's on CUDA where it is installed, torch's own elsewhere."""
    # On one CPU core, for 64 channels of 24 x 24 up to 192 x 192, torch's own takes half of torchvision's time, and a
    # quarter of it with the backward pass.
    return "torchvision" if device_type == "cuda" and _torchvision_operator() is not None else "torch"


@cache
def _torchvision_operator() -> Any:
    """Torchvision's deform_conv2d, or None; a torchvision built for another torch fails in ways of its own."""
    try:
        from torchvision.ops import deform_conv2d as operator
    except (ImportError, RuntimeError, AttributeError, OSError):
        return None
    return operator


def _plain(
    input: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    batch, out_height, out_width = offset.shape[0], *offset.shape[-2:]
    kernel_height, kernel_width = weight.shape[-2:]
    taps, pixels = kernel_height * kernel_width, out_height * out_width
    groups = mask.shape[1] // taps
    # The groups move independently of each other, as images of a batch do.
    moving = input.reshape(batch * groups, -1, *input.shape[-2:])
    offset = offset.reshape(batch * groups, taps, 2, out_height, out_width)
    mask = mask.reshape(batch * groups, taps, 1, out_height, out_width)
    rows = torch.arange(out_height, dtype=offset.dtype, device=offset.device)[:, None] * stride - padding
    columns = torch.arange(out_width, dtype=offset.dtype, device=offset.device) * stride - padding
    out: Tensor | None = None
    for tap in range(taps):  # one at a time: all at once would hold `taps` copies of the features
        y = offset[:, tap, 0] + rows + dilation * (tap // kernel_width)
        x = offset[:, tap, 1] + columns + dilation * (tap % kernel_width)
        sampled = sample_bilinear(moving, x, y) * mask[:, tap]
        part = weight[:, :, tap // kernel_width, tap % kernel_width] @ sampled.reshape(batch, -1, pixels)
        out = part if out is None else out + part
    assert out is not None
    out = out.reshape(batch, -1, out_height, out_width)
    return out if bias is None else out + bias[:, None, None]
