"""Attention within shifted windows (Liu et al. 2021, arXiv 2103.14030), as SwinIR and BSRT use it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.networks.layers.pointwise import PixelLinear

_FORBIDDEN = -100.0  # added to the logits of pairs that may not see each other, as in the released buffers


def relative_position_index(window: int) -> Tensor:
    """Which entry of the bias table holds for a query and a key of one window.

    Args:
        window: its side w.

    Returns:
        (w², w²) of int64 below (2 w - 1)²: the offset from key to query, rows first.
    """
    rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    down, right = (axis.flatten()[:, None] - axis.flatten()[None, :] + window - 1 for axis in (rows, columns))
    return down * (2 * window - 1) + right


def seam_masks(window: int) -> Tensor:
    """What to add to the logits in shifted windows, for the four kinds of window there are.

    Rolling the image brings its first rows behind its last and its first columns beside its last. Only the windows of
    the last row and of the last column contain such a seam, and pixels on its two sides are no neighbours.

    Args:
        window: its side w.

    Returns:
        (2, 2, w², w²): the first index is 1 for windows of the last row, the second for those of the last column.
    """
    rolled = torch.arange(window) >= window - window // 2
    masks = []
    for bottom, right in itertools.product((0, 1), repeat=2):
        side = (2 * bottom * rolled[:, None] + right * rolled[None, :]).flatten()
        masks.append((side[:, None] != side[None, :]) * _FORBIDDEN)
    return torch.stack(masks).view(2, 2, window**2, window**2)


def attention_mask(image_size: int, window: int) -> Tensor:
    """The masks of all shifted windows of a square image one after the other, as the released files store them.

    Args:
        image_size: side of the image, a multiple of the window.
        window: side of the window w.

    Returns:
        ((image_size / w)², w², w²) of 0 and -100.
    """
    last = (torch.arange(image_size // window) == image_size // window - 1).long()
    return seam_masks(window)[last[:, None], last[None, :]].flatten(0, 1)


class SwinStage(nn.Module):
    """Transformer blocks and a convolution, added to the input (RSTB)."""

    def __init__(self, blocks: Sequence[nn.Module], convolution: nn.Module) -> None:
        super().__init__()
        self.residual_group = nn.ModuleDict({"blocks": nn.Sequential(*blocks)})
        self.conv = convolution

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        refined = self.residual_group["blocks"](tokens).permute(0, 3, 1, 2)
        return tokens + self.conv(refined).permute(0, 2, 3, 1)


class SwinBlock(nn.Module):
    """Attention within windows and a perceptron per pixel, each after a normalisation and added to its input.

    Args:
        channels: feature channels.
        heads: attention heads.
        window: side of the windows.
        hidden: channels inside the perceptron.
        shifted: whether the windows are shifted by half a window.
        qkv_bias: whether queries, keys and values have biases.
        mask: the buffer that SwinIR's released files keep in blocks with shifted windows, for one image size; it is
            carried along for them and not used.
    """

    seams: Tensor | None

    def __init__(
        self,
        channels: int,
        heads: int,
        window: int,
        hidden: int,
        *,
        shifted: bool,
        qkv_bias: bool = True,
        mask: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.window = window
        self.shift = window // 2 if shifted else 0
        self.register_buffer("attn_mask", mask)
        self.register_buffer("seams", seam_masks(window) if shifted else None, persistent=False)
        self.norm1 = nn.LayerNorm(channels)
        self.attn = _WindowAttention(channels, heads, window, qkv_bias=qkv_bias)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = _Perceptron(channels, hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape; H and W are multiples of the window."""
        tokens = tokens + self._attend(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))

    def _attend(self, tokens: Tensor) -> Tensor:
        batch, height, width, channels = tokens.shape
        side = self.window
        rows, columns = height // side, width // side
        if self.shift:
            tokens = tokens.roll((-self.shift, -self.shift), dims=(1, 2))
        windows = tokens.reshape(batch, rows, side, columns, side, channels).transpose(2, 3).flatten(3, 4)
        attended = self.attn(windows, self.seams).view(batch, rows, columns, side, side, channels)
        tokens = attended.transpose(2, 3).reshape(tokens.shape)
        return tokens.roll((self.shift, self.shift), dims=(1, 2)) if self.shift else tokens


class _WindowAttention(nn.Module):
    """Multi-head attention within windows; a learned bias for every relative position is added to the logits."""

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, window: int, *, qkv_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_position_index(window))
        self.qkv = PixelLinear(channels, 3 * channels, bias=qkv_bias)
        self.proj = PixelLinear(channels, channels)

    def forward(self, windows: Tensor, seams: Tensor | None) -> Tensor:
        """Map windows (B, rows, columns, w², C) to the same shape; `seam_masks` come with shifted ones."""
        rows, columns = windows.shape[1:3]
        qkv = self.qkv(windows).unflatten(-1, (3, self.heads, -1)).permute(4, 0, 1, 2, 5, 3, 6)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        if seams is None:
            return self.proj(_attention(qkv, bias))
        # A mask for each kind of window, instead of one for each window, keeps large images out of the masks.
        bands = [
            torch.cat(
                [
                    _attention(part, bias + seams[bottom, right])
                    for right, part in enumerate(band.split((columns - 1, 1), dim=3))
                    if part.shape[3]
                ],
                dim=2,
            )
            for bottom, band in enumerate(qkv.split((rows - 1, 1), dim=2))
            if band.shape[2]
        ]
        return self.proj(torch.cat(bands, dim=1))


def _attention(qkv: Tensor, bias: Tensor) -> Tensor:
    """Attention of (3, B, rows, columns, heads, w², C / heads) with a bias (heads, w², w²) on the logits."""
    query, key, value = qkv.flatten(1, 3)
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias[None].to(query.dtype))
    return attended.transpose(1, 2).reshape(*qkv.shape[1:4], qkv.shape[5], -1)


class _Perceptron(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = PixelLinear(channels, hidden)
        self.fc2 = PixelLinear(hidden, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (..., C) to the same shape."""
        return self.fc2(F.gelu(self.fc1(tokens)))


def initialise(module: nn.Module) -> None:
    """Initial weights of transformers; for `Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
