import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dp_ir.degradation import imresize


@pytest.mark.parametrize(
    ("size", "scale"),
    [
        ((64, 48), 0.25),
        ((64, 48), 0.5),
        ((63, 45), 1 / 3),
        ((63, 45), 2.0),
        ((17, 29), 4.0),
    ],
)
def test_interior_equals_pillow(size: tuple[int, int], scale: float) -> None:
    """Pillow's bicubic is the same kernel (a = -1/2) with the same antialiasing; it differs in its borders only."""
    height, width = size
    image = np.random.default_rng(0).random((height, width), dtype=np.float32)
    ours = imresize(torch.from_numpy(image)[None, None].double(), scale)[0, 0].numpy()
    rows, columns = ours.shape
    theirs = np.asarray(Image.fromarray(image).resize((columns, rows), Image.Resampling.BICUBIC))
    border = int(np.ceil(2 * max(1, scale))) + 1
    inner = (slice(border, -border), slice(border, -border))
    assert ours[inner].size
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=2e-6)


def test_reduction_in_numbers() -> None:
    """One row reduced by 2: the kernel at distances 0.25, 0.75, 1.25, 1.75 (halved), with mirrored borders."""

    def keys(x: float) -> float:
        x = abs(x)
        return 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else (-0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0)

    row = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
    mirrored = np.concatenate([row[::-1], row, row[::-1]])
    expected = []
    for i in range(3):
        centre = 2 * i + 0.5
        weights = np.array([keys((centre - j) / 2) for j in range(-6, 12)])
        expected.append((weights * mirrored).sum() / weights.sum())
    ours = imresize(torch.from_numpy(row).view(1, 1, 1, 6).expand(1, 1, 6, 6), 0.5)
    np.testing.assert_allclose(ours[0, 0, 1].numpy(), expected, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), scale=st.sampled_from([0.25, 0.5, 0.3, 1.0, 1.7, 4.0]))
def test_sizes_and_constants(height: int, width: int, scale: float) -> None:
    image = torch.full((2, 3, height, width), 0.37, dtype=torch.float64)
    resized = imresize(image, scale)
    assert resized.shape == (2, 3, int(np.ceil(height * scale)), int(np.ceil(width * scale)))
    torch.testing.assert_close(resized, torch.full_like(resized, 0.37))


def test_scale_one_changes_nothing() -> None:
    image = torch.rand(1, 3, 9, 8)
    torch.testing.assert_close(imresize(image, 1.0), image)


def test_gradients_flow_after_a_first_call_in_inference_mode() -> None:
    with torch.inference_mode():
        imresize(torch.rand(1, 1, 24, 20), 0.25)
    image = torch.rand(1, 1, 24, 20, requires_grad=True)
    imresize(image, 0.25).sum().backward()
    assert image.grad is not None
    # The kernel's weights add up to one per output pixel, so the gradient adds up to the number of output pixels.
    assert image.grad.sum().item() == pytest.approx(6 * 5, rel=1e-4)


def test_scale_must_be_positive() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        imresize(torch.rand(1, 3, 4, 4), 0)
