"""BSRT: burst super-resolution (Luo et al. 2022, arXiv 2204.08332).

Written from the published description. Frames are described by window attention, brought into register with the first
one by deformable convolutions around the optical flow, joined by one convolution, and turned into an image by a
transformer in the manner of SwinIR.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.networks.bsrt.alignment import FlowGuidedAlignment, activate, enlarge
from dp_ir.networks.bsrt.spynet import SpyNet
from dp_ir.networks.layers.swin import SwinBlock, SwinStage, initialise
from dp_ir.networks.registry import register_network


@register_network("bsrt")
class BSRT(nn.Module):
    """A burst of packed Bayer frames to one RGB image of eight times their resolution (four times the mosaic's).

    Names and shapes of the state dict are those of the released networks (Algolzw/BSRT, with transformer features and
    without non-local fusion, as published), those of the optical flow included. The defaults are BSRT-Small; BSRT-Large
    has `embed_dim` 180, `depths` (6, 8, 8, 8, 8, 8, 8) and seven times 6 heads. Stochastic depth of the training is
    left out.

    Args:
        burst_size: frames of a full burst; the released networks were trained for 14.
        embed_dim: channels of the transformers, a multiple of every entry of `num_heads`.
        depths: transformer blocks: of the description of the frames, then per stage of the reconstruction.
        num_heads: attention heads, in the order of `depths`.
        window_size: side of the attention's windows.
        mlp_ratio: hidden channels of the perceptrons, in units of `embed_dim`.
        n_feats: channels of the convolutions, a multiple of `deform_groups`.
        deform_groups: groups of channels that the alignment moves together.

    Raises:
        ValueError: `depths` and `num_heads` are of different lengths.
    """

    scale = 8
    input = "burst"
    channels = 4

    def __init__(
        self,
        *,
        burst_size: int = 14,
        embed_dim: int = 60,
        depths: Sequence[int] = (6, 6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6, 6),
        window_size: int = 8,
        mlp_ratio: float = 2.0,
        n_feats: int = 64,
        deform_groups: int = 8,
    ) -> None:
        super().__init__()
        if len(depths) != len(num_heads):
            raise ValueError(f"depths names {len(depths)} transformers and num_heads {len(num_heads)}.")
        self.config: dict[str, Any] = {
            "burst_size": burst_size,
            "embed_dim": embed_dim,
            "depths": list(depths),
            "num_heads": list(num_heads),
            "window_size": window_size,
            "mlp_ratio": float(mlp_ratio),
            "n_feats": n_feats,
            "deform_groups": deform_groups,
        }
        self.burst_size = burst_size
        self.multiple_of = math.lcm(window_size, 2)  # 2: the coarsest features are half the size of a packed frame

        def convolution(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)

        # The rounding error of a ratio that was read off a state dict must not cost a channel.
        hidden = int(embed_dim * mlp_ratio + 1e-6)
        transformers = [
            [SwinBlock(embed_dim, heads, window_size, hidden, shifted=number % 2 == 1) for number in range(depth)]
            for depth, heads in zip(depths, num_heads, strict=True)
        ]
        # The flow, on a colour image that one convolution makes of the mosaic.
        self.spynet = SpyNet(flows=3)
        self.conv_flow = convolution(1, 3)
        # The description of the frames: a transformer, then a pyramid of three levels, from coarse to fine again.
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(embed_dim)})
        self.conv_first = convolution(self.channels, embed_dim)
        self.pre_layers = nn.Sequential(*transformers[0])
        self.pre_norm = nn.LayerNorm(embed_dim)
        self.conv_after_pre_layer = convolution(embed_dim, 4 * n_feats)
        self.fea_L2_conv1 = convolution(n_feats, 2 * n_feats, stride=2)
        self.fea_L3_conv1 = convolution(2 * n_feats, 4 * n_feats, stride=2)
        self.toplayer = convolution(4 * n_feats, n_feats, kernel=1)
        self.smooth1 = convolution(n_feats, n_feats)
        self.smooth2 = convolution(n_feats, n_feats)
        self.latlayer1 = convolution(2 * n_feats, n_feats, kernel=1)
        self.latlayer2 = convolution(n_feats, n_feats, kernel=1)
        # The alignment, and the fusion, which has weights of its own for every place in the burst.
        self.align = FlowGuidedAlignment(n_feats, groups=deform_groups)
        self.fusion = convolution(burst_size * n_feats, embed_dim, kernel=1)
        # The reconstruction.
        self.layers = nn.Sequential(
            *(SwinStage(blocks, convolution(embed_dim, embed_dim)) for blocks in transformers[1:])
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = convolution(embed_dim, embed_dim)
        self.upconv1 = convolution(embed_dim, 4 * n_feats)
        self.upconv2 = convolution(n_feats, 4 * n_feats)
        self.HRconv = convolution(n_feats, n_feats)
        self.conv_last = convolution(n_feats, 3)
        # The way of the first frame around all this.
        self.skipup1 = convolution(1, 4 * n_feats)
        self.skipup2 = convolution(n_feats, 4 * 3)
        self.apply(initialise)

    def forward(self, burst: Tensor) -> Tensor:
        """Restore.

        A burst of fewer than `burst_size` frames is restored as the one in which its frames come again and again; of
        a longer one the first `burst_size` are used.

        Args:
            burst: (B, N, 4, h, w), N >= 1: linear raw frames in [0, 1], packed as R, G, G, B. The first
                frame is the one that is restored. h and w are multiples of `multiple_of`.

        Returns:
            (B, 3, 8 h, 8 w), linear RGB in register with the first frame; not clipped.

        Raises:
            ValueError: the burst has another shape.
        """
        self._check(burst.shape)
        burst = burst[:, : self.burst_size]
        skip, base = self._first_frame(burst[:, 0])
        flows = self._flows(burst)
        pyramid = [level.view(burst.shape[:2] + level.shape[1:]) for level in self._describe(burst.flatten(0, 1))]
        reference = [level[:, 0] for level in pyramid]
        aligned = [  # frame by frame: the deformable convolutions take much memory
            self.align([level[:, frame] for level in pyramid], reference, [flow[:, frame] for flow in flows])
            for frame in range(burst.shape[1])
        ]
        places = [aligned[place % len(aligned)] for place in range(self.burst_size)]
        features = activate(self.fusion(torch.cat(places, dim=1)))
        deep = _normalised(self.norm, self.layers(self._tokens(features)))
        features = features + activate(self.conv_after_body(deep))
        features = activate(F.pixel_shuffle(self.upconv1(features), 2)) + skip
        features = activate(F.pixel_shuffle(self.upconv2(features), 2))
        return base + self.conv_last(activate(self.HRconv(features)))

    def _check(self, shape: Sequence[int]) -> None:
        multiple = self.multiple_of
        if len(shape) != 5 or not shape[1] or shape[2] != self.channels or shape[3] % multiple or shape[4] % multiple:
            raise ValueError(
                f"The burst has the shape {tuple(shape)}: expected (B, N, {self.channels}, h, w) with at "
                f"least one frame and h and w multiples of {multiple}."
            )

    def _first_frame(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, n_feats, 4 h, 4 w) and an image (B, 3, 8 h, 8 w) of the first frame (B, 4, h, w) alone."""
        features = activate(F.pixel_shuffle(self.skipup1(F.pixel_shuffle(frame, 2)), 2))
        return features, F.pixel_shuffle(self.skipup2(features), 2)

    def _flows(self, burst: Tensor) -> list[Tensor]:
        """The flows (B, N, 2, ...) that warp every frame onto the first one, at 2, 1 and 1/2 of the frames' size."""
        images = self.conv_flow(F.pixel_shuffle(burst.flatten(0, 1), 2))
        first = images[:: burst.shape[1]].repeat_interleave(burst.shape[1], dim=0)
        return [flow.view(burst.shape[:2] + flow.shape[1:]) for flow in self.spynet(first, images)]

    def _describe(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, n_feats, ...) of frames (B, 4, h, w) at 2, 1 and 1/2 of their size."""
        tokens = self.pre_layers(self._tokens(activate(self.conv_first(frames))))
        fine = F.pixel_shuffle(self.conv_after_pre_layer(_normalised(self.pre_norm, tokens)), 2)
        middle = activate(self.fea_L2_conv1(fine))
        coarse = activate(self.toplayer(activate(self.fea_L3_conv1(middle))))
        middle = self.smooth1(enlarge(coarse) + self.latlayer1(middle))
        fine = self.smooth2(enlarge(middle) + self.latlayer2(fine))
        return fine, middle, coarse

    def _tokens(self, features: Tensor) -> Tensor:
        """Features (B, C, H, W) as the transformers take them: (B, H, W, C), normalised."""
        return self.patch_embed["norm"](features.permute(0, 2, 3, 1))


def _normalised(norm: nn.Module, tokens: Tensor) -> Tensor:
    """Tokens (B, H, W, C) as the convolutions take them: (B, C, H, W)."""
    return norm(tokens).permute(0, 3, 1, 2)
