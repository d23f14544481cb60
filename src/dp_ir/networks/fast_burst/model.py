"""The fast restorer of RAW bursts: registration, one grid for the samples of all frames, one residual U-Net."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dp_ir.networks.layers.registration import register, to_first
from dp_ir.networks.layers.unet import UNet
from dp_ir.networks.registry import register_network

_FINE = 4  # pixels of the result per pixel of the mosaic, in each direction
_SITES = ((0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1))  # colour, row and column of each plane in its cell
_DARK = 1e-3  # added before the root, whose slope must stay finite
_AGREEMENT = 4.0  # a frame may differ from the first by as many local variances before it loses weight


@register_network("fast-burst")
class FastBurst(UNet):
    """E[x0 | y] of a burst of any number of frames, as linear sensor RGB of four times the mosaic's resolution.

    The frames are registered (`registration.register`) and their samples, each with its own fraction of a pixel, are
    gathered by colour on the grid of the result, in the manner of Wronski et al. 2019 (arXiv 1905.03277): frames cost a
    sum each, not a network. Samples that do not agree with the first frame, because something moved, count less. The
    U-Net sees how the samples lie around their smooth mean and how many there are, and adds what is missing. It works
    on square roots, in which the noise of light is equally strong everywhere.

    Args:
        channels: feature channels per level; level i runs at 1 / 2**i of the mosaic's resolution.
        blocks: residual blocks per level, on the way down and again on the way up; the last level has them once.
    """

    scale = 8
    input = "burst"
    channels = 4
    supports_bfloat16 = True

    def __init__(self, *, channels: Sequence[int] = (64, 128, 192), blocks: Sequence[int] = (2, 2, 2)) -> None:
        super().__init__(channels=channels, blocks=blocks, inputs=2 * 3 * _FINE**2 + 6, outputs=3 * _FINE**2)
        self.multiple_of = 2 ** (len(channels) - 1) // 2 or 1

    def forward(self, burst: Tensor) -> Tensor:
        """Restore.

        Args:
            burst: (B, N, 4, h, w), any N >= 1: linear raw frames in [0, 1], packed as R, G, G, B. The first frame is
                the one that is restored. h and w are multiples of `multiple_of`.

        Returns:
            (B, 3, 8 h, 8 w), linear sensor RGB in register with the first frame; not clipped.
        """
        with torch.autocast(burst.device.type, enabled=False):
            burst = burst.float()
            light, squares, density = gather(burst, register(burst))
            smooth, spread = _smooth_mean(light, squares, density)
            base = F.interpolate(smooth, scale_factor=_FINE, mode="bicubic", align_corners=False)
            base = _root(base.clamp_min(0))
            # The mean of the samples at each pixel, as far as there are any, against the smooth mean of them all.
            seen = density / (density + 0.1)
            residual = (_root(light / density.clamp_min(1e-3)) - base) * seen
            planes = torch.cat(
                (
                    F.pixel_unshuffle(residual, _FINE) * 8,
                    F.pixel_unshuffle(seen, _FINE) - 0.5,
                    _root(smooth) * 2 - 1,
                    spread * 8,
                ),
                dim=1,
            )
        detail = F.pixel_shuffle(self.planes(planes.contiguous(memory_format=torch.channels_last)), _FINE)
        return (base + 0.1 * detail.float()) ** 2 - _DARK


def gather(burst: Tensor, transforms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lay the samples of all frames on the grid of the result.

    Args:
        burst: (B, N, 4, h, w).
        transforms: (B, N, 2, 3) as `register` gives them.

    Returns:
        Three times (B, 3, 8 h, 8 w) by colour: the sums of the weighted samples and of their squares, and the sums of
        the weights. A sample is shared among the four pixels around its place.
    """
    batch, _, _, height, width = burst.shape
    weights = _agreement(burst, transforms)
    back = to_first(transforms)
    rows, columns = 8 * height, 8 * width
    sums = burst.new_zeros(3, batch * 3 * rows * columns)
    image = torch.arange(batch, device=burst.device)[:, None, None, None] * 3
    for plane, (colour, row, column) in enumerate(_SITES):
        y = torch.arange(height, device=burst.device) * 2.0 + row
        x = torch.arange(width, device=burst.device) * 2.0 + column
        place = torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)))
        fine = _FINE * (torch.einsum("bnij,jhw->bnihw", back[..., :2], place) + back[..., 2, None, None])
        corner = fine.floor()
        across, down = (fine - corner).unbind(2)
        left, top = corner.long().unbind(2)
        sample = burst[:, :, plane]
        for under in (0, 1):
            for right in (0, 1):
                at_x, at_y = left + right, top + under
                inside = (at_x >= 0) & (at_x < columns) & (at_y >= 0) & (at_y < rows)
                share = (across if right else 1 - across) * (down if under else 1 - down) * weights * inside
                index = ((image + colour) * rows + at_y.clamp(0, rows - 1)) * columns + at_x.clamp(0, columns - 1)
                flat = index.reshape(-1)
                sums[0].index_add_(0, flat, (share * sample).reshape(-1))
                sums[1].index_add_(0, flat, (share * sample**2).reshape(-1))
                sums[2].index_add_(0, flat, share.reshape(-1))
    light, squares, density = sums.view(3, batch, 3, rows, columns)
    return light, squares, density


def _agreement(burst: Tensor, transforms: Tensor) -> Tensor:
    """How far each cell of each frame shows what the first frame shows there: (B, N, h, w) in [0, 1]."""
    grey = burst.mean(2)
    if grey.shape[1] == 1:
        return torch.ones_like(grey)
    mean = _box(grey)
    first = mean[:, :1]
    variance = (_box(grey[:, :1] ** 2) - first**2).clamp_min(1e-6)
    height, width = grey.shape[-2:]
    back = to_first(transforms)
    # The first frame, seen from each frame: places are cells here, whose centres lie half a mosaic pixel further.
    y = torch.arange(height, device=burst.device) * 2 + 0.5
    x = torch.arange(width, device=burst.device) * 2 + 0.5
    place = torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)))
    seen = torch.einsum("bnij,jhw->bnhwi", back[..., :2], place) + back[..., None, None, :, 2]
    grid = (seen + 0.5) / torch.tensor([width, height], device=burst.device) - 1
    both = torch.cat((first, variance), dim=1)[:, None].expand(-1, grey.shape[1], -1, -1, -1).flatten(0, 1)
    sampled = F.grid_sample(both, grid.flatten(0, 1), padding_mode="border", align_corners=False)
    expected, allowed = sampled.view(*grey.shape[:2], 2, height, width).unbind(2)
    distance = (mean - expected) ** 2 / allowed
    return torch.exp(-(distance / _AGREEMENT)).where(distance > 0.5 * _AGREEMENT, torch.ones_like(distance))


def _smooth_mean(light: Tensor, squares: Tensor, density: Tensor) -> tuple[Tensor, Tensor]:
    """Local mean and standard deviation of the samples: (B, 3, 2h, 2w) each, at the mosaic's resolution."""
    sums = torch.cat([F.avg_pool2d(part, _FINE) for part in (light, squares, density)], dim=1)
    taps = sums.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    flat = F.pad(sums.flatten(0, 1)[:, None], (2, 2, 2, 2), mode="replicate")
    sums = F.conv2d(F.conv2d(flat, taps.view(1, 1, 1, 5)), taps.view(1, 1, 5, 1)).view(sums.shape)
    light, squares, density = sums.chunk(3, dim=1)
    mean = light / density.clamp_min(1e-6)
    return mean, (squares / density.clamp_min(1e-6) - mean**2).clamp_min(0).add(1e-8).sqrt()


def _box(images: Tensor) -> Tensor:
    """Means over 5x5 cells of (B, N, h, w)."""
    return F.avg_pool2d(F.pad(images, (2, 2, 2, 2), mode="replicate"), 5, stride=1)


def _root(light: Tensor) -> Tensor:
    return (light.clamp_min(0) + _DARK).sqrt()
