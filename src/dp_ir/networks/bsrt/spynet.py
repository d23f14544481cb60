"""SpyNet: optical flow on a pyramid (Ranjan and Black 2016, arXiv 1611.00850)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.networks.bsrt.deform_conv import sample_bilinear


def flow_warp(features: Tensor, flow: Tensor, *, padding_mode: Literal["zeros", "border"] = "zeros") -> Tensor:
    """Read features where the flow points to: out[y, x] = features[y + flow_y, x + flow_x], bilinearly.

    Args:
        features: (B, C, H, W).
        flow: (B, 2, H, W) in pixels, first the column, then the row.
        padding_mode: what lies outside: zeros, or the nearest pixel of the border.

    Returns:
        (B, C, H, W).
    """
    height, width = features.shape[-2:]
    x = flow[:, 0] + torch.arange(width, dtype=flow.dtype, device=flow.device)
    y = flow[:, 1] + torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None]
    return sample_bilinear(features, x, y, padding_mode=padding_mode)


class SpyNet(nn.Module):
    """The flow from a reference image to another, from coarse to fine.

    Six levels, from 1/32 of the resolution to the full one: each warps the other image by the flow so far and adds what
    five convolutions find missing. The images are resized to multiples of 32 before, and the flows back after.

    Args:
        flows: how many flows to return: those of the finest levels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, flows: int = 1) -> None:
        super().__init__()
        self.flows = flows
        self.basic_module = nn.ModuleList(_Level() for _ in range(6))
        # Of the photos of ImageNet, as for most networks that see RGB images.
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, reference: Tensor, other: Tensor) -> list[Tensor]:
        """Find the flow that warps `other` onto `reference`.

        Args:
            reference: (B, 3, H, W) in [0, 1], H and W >= 2 ** (flows - 1).
            other: (B, 3, H, W) in [0, 1].

        Returns:
            Flows in pixels of their own level, (B, 2, H, W), (B, 2, H // 2, W // 2), ...: the finest first, each with
            the column before the row.
        """
        size = reference.shape[-2:]
        padded = [-(-side // 32) * 32 for side in size]
        flow = reference.new_zeros(reference.shape[0], 2, padded[0] // 32, padded[1] // 32)
        pyramids = zip(self._pyramid(reference, padded), self._pyramid(other, padded), strict=True)
        found = []
        for level, ((near, far), refine) in enumerate(zip(pyramids, self.basic_module, strict=True)):
            if level > 0:
                flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
            flow = flow + refine(torch.cat((near, flow_warp(far, flow, padding_mode="border"), flow), dim=1))
            found.append(flow)
        finest = found[: -self.flows - 1 : -1]
        return [_resized(flow, size[0] // 2**level, size[1] // 2**level) for level, flow in enumerate(finest)]

    def _pyramid(self, image: Tensor, size: list[int]) -> list[Tensor]:
        """The normalised image at 1/32, 1/16, ..., 1 of `size`."""
        resized = F.interpolate(image, size, mode="bilinear", align_corners=False)
        levels = [(resized - self.mean) / self.std]
        while len(levels) < len(self.basic_module):
            levels.append(F.avg_pool2d(levels[-1], 2))
        return levels[::-1]


def _resized(flow: Tensor, height: int, width: int) -> Tensor:
    """Resize a flow, whose vectors shrink or grow with it."""
    ratios = flow.new_tensor([width / flow.shape[-1], height / flow.shape[-2]])[:, None, None]
    return F.interpolate(flow, (height, width), mode="bilinear", align_corners=False) * ratios


class _Level(nn.Module):
    """Five convolutions from two images and a flow (8 channels) to a correction of the flow."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((8, 32), (32, 64), (64, 32), (32, 16), (16, 2)):
            layers += [nn.Conv2d(inputs, outputs, 7, padding=3), nn.ReLU()]
        self.basic_module = nn.Sequential(*layers[:-1])  # no ReLU after the last: flows have either sign

    def forward(self, images_and_flow: Tensor) -> Tensor:
        return self.basic_module(images_and_flow)
