"""The alignment of BSRT: deformable convolutions around the optical flow, from coarse to fine."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.networks.bsrt.deform_conv import deform_conv2d
from dp_ir.networks.bsrt.spynet import flow_warp

_REACH = 10.0  # pixels by which a tap may leave the flow


def activate(features: Tensor) -> Tensor:
    """The activation between the convolutions of BSRT."""
    return F.leaky_relu(features, 0.1)


def enlarge(features: Tensor) -> Tensor:
    """Double the resolution of (B, C, H, W), bilinearly."""
    return F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


class GuidedDeformConv(nn.Module):
    """A 3x3 deformable convolution whose offsets and mask are read off other features.

    One convolution predicts both (3 * groups * 9 channels; a sigmoid makes the mask). It starts at zero, from where the
    whole is an ordinary convolution of half the weight.

    Args:
        channels: of the features that are convolved, of those that guide, and of the result.
        groups: groups of channels that move together.
    """

    def __init__(self, channels: int, *, groups: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(9 * channels)
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.conv_offset_mask = nn.Conv2d(channels, 3 * groups * 9, 3, padding=1)
        nn.init.zeros_(self.conv_offset_mask.weight)
        nn.init.zeros_(self.conv_offset_mask.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, guide: Tensor, flow: Tensor | None = None) -> Tensor:
        """Convolve features (B, C, H, W) as the guide (B, C, H, W) says.

        With a flow (B, 2, H, W) in pixels, column before row, the taps move within 10 pixels around it; without one
        they move freely.
        """
        predicted = self.conv_offset_mask(guide)
        taps = predicted.shape[1] // 3
        offset, mask = predicted[:, : 2 * taps], predicted[:, 2 * taps :].sigmoid()
        if flow is not None:
            offset = _REACH * offset.tanh() + flow.flip(1).repeat(1, taps, 1, 1)  # offsets have the row first
        return deform_conv2d(features, offset, mask, self.weight, self.bias, padding=1)


class FlowGuidedAlignment(nn.Module):
    """Brings the features of a frame into register with those of the reference frame.

    On three levels, from 1/4 of the resolution (`L3`) to the full one (`L1`), the frame warped by the flow is compared
    with the reference to guide a deformable convolution of the unwarped frame; a last one corrects the result (`cas`).
    The pyramid and the cascade are EDVR's (Wang et al. 2019, arXiv 1905.02716).

    Args:
        channels: of the features.
        groups: groups of channels that move together.
    """

    def __init__(self, channels: int, *, groups: int) -> None:
        super().__init__()

        def convolution(inputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, channels, 3, padding=1)

        for level in ("L3", "L2", "L1"):
            self.add_module(f"{level}_offset_conv1", convolution(2 * channels + 2))
            if level == "L3":
                self.add_module(f"{level}_offset_conv2", convolution(channels))
            else:
                self.add_module(f"{level}_offset_conv2", convolution(2 * channels))
                self.add_module(f"{level}_offset_conv3", convolution(channels))
                self.add_module(f"{level}_fea_conv", convolution(2 * channels))
            self.add_module(f"{level}_dcnpack", GuidedDeformConv(channels, groups=groups))
        self.cas_offset_conv1 = convolution(2 * channels)
        self.cas_offset_conv2 = convolution(channels)
        self.cas_dcnpack = GuidedDeformConv(channels, groups=groups)

    def forward(self, frame: Sequence[Tensor], reference: Sequence[Tensor], flows: Sequence[Tensor]) -> Tensor:
        """Align.

        Args:
            frame: features (B, C, H, W), (B, C, H / 2, W / 2), (B, C, H / 4, W / 4) of the frame.
            reference: the same of the reference frame.
            flows: (B, 2, ...) of the same sizes, in pixels of their level: they warp the frame onto the reference.

        Returns:
            (B, C, H, W).
        """
        guide, aligned = self._coarsest(frame[2], reference[2], flows[2])
        guide, aligned = self._finer("L2", frame[1], reference[1], flows[1], guide, activate(aligned))
        guide, aligned = self._finer("L1", frame[0], reference[0], flows[0], guide, activate(aligned))
        guide = activate(self.cas_offset_conv1(torch.cat((aligned, reference[0]), dim=1)))
        return self.cas_dcnpack(aligned, activate(self.cas_offset_conv2(guide)))

    def _coarsest(self, frame: Tensor, reference: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        guide = activate(self._layer("L3_offset_conv2", self._compared("L3", frame, reference, flow)))
        return guide, self.get_submodule("L3_dcnpack")(frame, guide, flow)

    def _finer(
        self, level: str, frame: Tensor, reference: Tensor, flow: Tensor, guide: Tensor, aligned: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One level, given the guide and the aligned features of the coarser one."""
        compared = self._compared(level, frame, reference, flow)
        # A displacement is twice as many pixels here as on the coarser level.
        guide = activate(self._layer(f"{level}_offset_conv2", compared, 2 * enlarge(guide)))
        guide = activate(self._layer(f"{level}_offset_conv3", guide))
        here = self.get_submodule(f"{level}_dcnpack")(frame, guide, flow)
        return guide, self._layer(f"{level}_fea_conv", here, enlarge(aligned))

    def _compared(self, level: str, frame: Tensor, reference: Tensor, flow: Tensor) -> Tensor:
        return activate(self._layer(f"{level}_offset_conv1", flow_warp(frame, flow), reference, flow))

    def _layer(self, name: str, *features: Tensor) -> Tensor:
        return self.get_submodule(name)(torch.cat(features, dim=1))
