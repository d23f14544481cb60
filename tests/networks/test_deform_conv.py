"""Deformable convolution against torchvision's operator and against convolutions that it contains."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dp_ir.networks.bsrt import deform_conv
from dp_ir.networks.bsrt.deform_conv import Operator, deform_conv2d, preferred_operator, sample_bilinear

OPERATORS: list[Operator] = ["torch", "torchvision"]


def _arguments(
    *,
    batch: int = 2,
    groups: int = 2,
    channels: int = 4,
    out: int = 3,
    kernel: tuple[int, int] = (3, 3),
    size: tuple[int, int] = (7, 9),
    out_size: tuple[int, int] = (7, 9),
    reach: float = 2.0,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Random input, offset, mask, weight and bias; the offsets reach over the border."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    taps = groups * kernel[0] * kernel[1]
    return (
        random(batch, channels, *size),
        random(batch, 2 * taps, *out_size) * reach,
        random(batch, taps, *out_size).sigmoid(),
        random(out, channels, *kernel),
        random(out),
    )


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    groups=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    stride=st.integers(1, 2),
    padding=st.integers(1, 2),
    dilation=st.integers(1, 2),
    reach=st.sampled_from([0.3, 3.0, 30.0]),
)
def test_equals_torchvision_in_values_and_gradients(
    batch: int,
    groups: int,
    kernel: tuple[int, int],
    size: tuple[int, int],
    stride: int,
    padding: int,
    dilation: int,
    reach: float,
) -> None:
    out_size = tuple(
        (side + 2 * padding - dilation * (taps - 1) - 1) // stride + 1 for side, taps in zip(size, kernel, strict=True)
    )
    if min(out_size) < 1:
        return
    values = _arguments(
        batch=batch,
        groups=groups,
        channels=2 * groups,
        kernel=kernel,
        size=size,
        out_size=(out_size[0], out_size[1]),
        reach=reach,
    )
    results, gradients = [], []
    for operator in OPERATORS:
        leaves = [value.clone().requires_grad_() for value in values]
        result = deform_conv2d(*leaves, stride=stride, padding=padding, dilation=dilation, operator=operator)
        results.append(result)
        gradients.append(torch.autograd.grad((result * result.detach().cos()).sum(), leaves))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_float32_equals_torchvision_to_rounding() -> None:
    values = [value.float() for value in _arguments(size=(40, 40), out_size=(40, 40), reach=5.0)]
    ours, theirs = (deform_conv2d(*values, padding=1, operator=operator) for operator in OPERATORS)
    assert (ours - theirs).abs().max() / theirs.abs().max() < 1e-5


def test_gradients_are_those_of_finite_differences() -> None:
    values = _arguments(batch=1, out=2, kernel=(2, 2), size=(3, 4), out_size=(2, 3), reach=1.0)
    leaves = [value.requires_grad_() for value in values]
    assert torch.autograd.gradcheck(lambda *v: deform_conv2d(*v, operator="torch"), leaves)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(("stride", "padding", "dilation", "out_size"), [(1, 1, 1, (7, 9)), (2, 3, 2, (5, 6))])
def test_without_offsets_it_is_a_convolution(
    operator: Operator, stride: int, padding: int, dilation: int, out_size: tuple[int, int]
) -> None:
    input, offset, mask, weight, bias = _arguments(out_size=out_size)
    result = deform_conv2d(
        input,
        torch.zeros_like(offset),
        torch.ones_like(mask),
        weight,
        bias,
        stride=stride,
        padding=padding,
        dilation=dilation,
        operator=operator,
    )
    expected = F.conv2d(input, weight, bias, stride=stride, padding=padding, dilation=dilation)
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_mask_weighs_the_taps_and_the_bias_may_be_missing(operator: Operator) -> None:
    input, offset, mask, weight, _ = _arguments()
    result = deform_conv2d(
        input, torch.zeros_like(offset), torch.full_like(mask, 0.25), weight, padding=1, operator=operator
    )
    torch.testing.assert_close(result, 0.25 * F.conv2d(input, weight, padding=1))


@pytest.mark.parametrize("operator", OPERATORS)
def test_whole_offsets_shift_each_group_by_rows_then_columns(operator: Operator) -> None:
    input, _, mask, weight, bias = _arguments()  # two groups of two channels
    shifts = ((2, -1), (0, 3))
    offset = torch.tensor(shifts, dtype=torch.float64).repeat_interleave(9, dim=0).flatten()
    result = deform_conv2d(
        input,
        offset[None, :, None, None].expand(2, -1, 7, 9).contiguous(),
        torch.ones_like(mask),
        weight,
        bias,
        padding=1,
        operator=operator,
    )
    wide = F.pad(input, (4, 4, 4, 4))
    moved = [
        wide[:, 2 * group : 2 * group + 2, 3 + row : 12 + row, 3 + column : 14 + column]
        for group, (row, column) in enumerate(shifts)
    ]
    # `moved` reaches one pixel further than the map on each side, so the convolution needs no padding.
    torch.testing.assert_close(result, F.conv2d(torch.cat(moved, dim=1), weight, bias))


def test_sampling_reads_linear_ramps_exactly_and_treats_the_outside_as_told() -> None:
    rows, columns = torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")
    ramp = (10 * rows + columns)[None, None]
    x, y = torch.tensor([[[0.25, 4.5, 5.0]]]), torch.tensor([[[1.5, 0.0, 3.75]]])
    torch.testing.assert_close(sample_bilinear(ramp, x, y)[0, 0, 0], torch.tensor([15.25, 4.5, 42.5]))
    x, y = torch.tensor([[[-0.5, -3.0, 9.0]]]), torch.tensor([[[2.0, 2.0, 2.0]]])
    torch.testing.assert_close(sample_bilinear(ramp, x, y)[0, 0, 0], torch.tensor([10.0, 0.0, 0.0]))
    torch.testing.assert_close(
        sample_bilinear(ramp, x, y, padding_mode="border")[0, 0, 0], torch.tensor([20.0, 20.0, 25.0])
    )


def test_the_operator_follows_the_device_and_what_is_installed() -> None:
    assert preferred_operator("cpu") == "torch"
    assert preferred_operator("cuda") == "torchvision"
    with mock.patch.object(deform_conv, "_torchvision_operator", return_value=None):
        assert preferred_operator("cuda") == "torch"
        with pytest.raises(ImportError, match="torchvision"):
            deform_conv2d(*_arguments(), padding=1, operator="torchvision")


@pytest.mark.parametrize("error", [ImportError, RuntimeError])
def test_a_torchvision_that_does_not_import_counts_as_none(error: type[Exception]) -> None:
    deform_conv._torchvision_operator.cache_clear()
    with mock.patch("builtins.__import__", side_effect=error):
        assert deform_conv._torchvision_operator() is None
    deform_conv._torchvision_operator.cache_clear()
