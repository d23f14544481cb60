"""Registration of the frames of a burst: where each pixel of the first frame lies in every other one.

Gauss-Newton from coarse to fine (Lucas and Kanade 1981, in the form of Baker and Matthews 2004 that linearises once
around the reference), with weights that turn away from what moves on its own. It has no weights to train and gives
fractions of a pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_COARSEST = 20  # pixels: no level of the pyramid has a shorter side
_LEVELS = 6
_ITERATIONS = 5  # per level
_PASSES = 3  # against the mean of the registered frames
_PARAMETERS = 4  # shift to the right, shift down, roll, zoom
_PRIOR = (0.0, 0.0, 1e-3, 1e-1)  # holds roll and zoom back where the image does not tell, against the shifts' certainty


def register(frames: Tensor) -> Tensor:
    """Find the similarity transforms between the first frame of a burst and each frame.

    Args:
        frames: (B, N, 4, h, w), packed mosaics.

    Returns:
        (B, N, 2, 3): a point (x, y) of the first mosaic, in pixels of the mosaic (2h, 2w) counted from the centre of
        its first pixel, lies at `transform @ (x, y, 1)` in the mosaic of the frame. The first is the identity.
    """
    with torch.no_grad(), torch.autocast(frames.device.type, enabled=False):
        # The mean of a cell is grey enough, and its root has noise of one strength wherever noise is that of light.
        grey = frames.float().mean(dim=2).clamp_min(0).add(1e-3).sqrt()
        levels = [_smooth(grey)]
        while len(levels) < _LEVELS and min(levels[-1].shape[-2:]) >= 2 * _COARSEST:
            levels.append(F.avg_pool2d(_smooth(levels[-1]), 2))
        batch, number = frames.shape[:2]
        transforms = torch.eye(3, device=grey.device).repeat(batch, number, 1, 1)  # in cells, around the middle
        for depth, level in reversed(list(enumerate(levels))):
            transforms[:, 1:] = _scaled(transforms[:, 1:], 0.5**depth)
            transforms[:, 1:] = _refined(level[:, :1], level[:, 1:], transforms[:, 1:])
            transforms[:, 1:] = _scaled(transforms[:, 1:], 2.0**depth)
        # Again against the mean of all frames, the first among them: it has less noise and aliasing than any of them.
        for _ in range(_PASSES if number > 1 else 0):
            transforms = _refined(_mean(grey, transforms), grey, transforms)
            transforms = transforms @ torch.linalg.inv(transforms[:, :1])
        return _to_mosaic(transforms, frames.shape[-2:])


def _mean(frames: Tensor, transforms: Tensor) -> Tensor:
    """The mean (B, 1, h, w) of registered frames (B, N, h, w), of as many as there are at each pixel."""
    moved, inside = _sampled(frames, transforms)
    return (moved * inside).sum(1, keepdim=True) / inside.sum(1, keepdim=True).clamp_min(1)


def _slope(image: Tensor, axis: int) -> Tensor:
    """Change per pixel along an axis; none where there is only one."""
    return torch.gradient(image, dim=axis)[0] if image.shape[axis] > 1 else torch.zeros_like(image)


def _refined(reference: Tensor, others: Tensor, transforms: Tensor) -> Tensor:
    """A few Gauss-Newton steps of (B, N, 3, 3) around the middle, from (B, 1, h, w) to (B, N, h, w)."""
    if others.shape[1] == 0:
        return transforms
    place = _places(reference)
    height, width = reference.shape[-2:]
    down, right = _slope(reference[:, 0], -2), _slope(reference[:, 0], -1)
    # Change of the reference's values with each parameter, scaled so that all move pixels by about as much.
    radius = max(height, width) / 2
    roll = (right * -place[1] + down * place[0]) / radius
    zoom = (right * place[0] + down * place[1]) / radius
    slopes = torch.stack((right, down, roll, zoom), dim=1).flatten(2)  # (B, 4, P)
    border = torch.zeros_like(reference[0, 0])
    border[2:-2, 2:-2] = 1
    prior = torch.tensor(_PRIOR, device=reference.device).diag()
    for _ in range(_ITERATIONS):
        moved, inside = _sampled(others, transforms)
        error = ((moved - reference) * inside).flatten(2)  # (B, N, P)
        inside = (inside * border).flatten(2)
        spread = 2 * (error.abs() * inside).sum(-1, keepdim=True) / inside.sum(-1, keepdim=True).clamp_min(1) + 1e-4
        weight = inside / (1 + (error / spread) ** 2)
        hessian = torch.einsum("bip,bnp,bjp->bnij", slopes, weight, slopes)
        certainty = hessian[..., 0, 0] + hessian[..., 1, 1]
        hessian = hessian + certainty[..., None, None] * prior + 1e-6 * torch.eye(_PARAMETERS, device=reference.device)
        step = torch.linalg.solve(hessian, torch.einsum("bip,bnp->bni", slopes, weight * error))
        transforms = transforms @ torch.linalg.inv(_similarity(step, radius))
    return transforms


def _similarity(step: Tensor, radius: float) -> Tensor:
    """Matrices (..., 3, 3) of the parameters (..., 4)."""
    shift, roll, zoom = step[..., :2], step[..., 2] / radius, 1 + step[..., 3] / radius
    top = torch.stack((zoom, -roll, shift[..., 0]), dim=-1)
    middle = torch.stack((roll, zoom, shift[..., 1]), dim=-1)
    bottom = torch.zeros_like(top)
    bottom[..., 2] = 1
    return torch.stack((top, middle, bottom), dim=-2)


def _places(images: Tensor) -> Tensor:
    """Coordinates (2, h, w) around the middle: to the right, then down."""
    height, width = images.shape[-2:]
    y = torch.arange(height, device=images.device) - (height - 1) / 2
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    return torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)))


def _sampled(images: Tensor, transforms: Tensor) -> tuple[Tensor, Tensor]:
    """Images (B, N, h, w) seen through transforms around their middle, and where that lies inside of them."""
    height, width = images.shape[-2:]
    seen = (
        torch.einsum("bnij,jhw->bnhwi", transforms[..., :2, :2], _places(images)) + transforms[..., None, None, :2, 2]
    )
    grid = seen * torch.tensor([2 / width, 2 / height], device=images.device)
    sampled = F.grid_sample(
        images.flatten(0, 1)[:, None], grid.flatten(0, 1), mode="bicubic", padding_mode="border", align_corners=False
    )
    return sampled.view(images.shape), (grid.abs() <= 1).all(-1).to(images.dtype)


def _scaled(transforms: Tensor, factor: float) -> Tensor:
    """The same transforms in pixels that are 1 / factor as large."""
    scale = torch.ones(3, 3, device=transforms.device)
    scale[:2, 2] = factor
    return transforms * scale


def _to_mosaic(transforms: Tensor, size: torch.Size) -> Tensor:
    """From cells around the middle to pixels of the mosaic from its first one: (B, N, 2, 3)."""
    height, width = size
    # The middle of the image, and the centre of the cells that mean the same.
    middle = torch.tensor([width - 0.5, height - 0.5], device=transforms.device)
    linear, shift = transforms[..., :2, :2], 2 * transforms[..., :2, 2]
    return torch.cat((linear, (shift + middle - linear @ middle)[..., None]), dim=-1)


def _smooth(images: Tensor) -> Tensor:
    """Binomial filter of (B, N, h, w), which keeps aliasing and noise out of the slopes."""
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=images.device) / 16
    flat = F.pad(images.flatten(0, 1)[:, None], (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(flat, taps.view(1, 1, 1, 5)), taps.view(1, 1, 5, 1)).view(images.shape)


def to_first(transforms: Tensor) -> Tensor:
    """The inverse of what `register` gives: where each pixel of a frame lies in the first one, (B, N, 2, 3)."""
    linear = torch.linalg.inv(transforms[..., :2])
    return torch.cat((linear, -linear @ transforms[..., 2:]), dim=-1)
