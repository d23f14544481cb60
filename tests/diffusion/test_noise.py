import pytest
import torch

from dp_ir.diffusion import generators, randn
from dp_ir.diffusion.noise import randn_parts
from dp_ir.errors import DPIRError


def test_each_image_has_its_own_stream():
    batch = randn((3, 3, 5, 7), generators([4, 5, 6]))
    for i in range(3):
        assert torch.equal(randn((1, 3, 5, 7), generators([4 + i])), batch[i : i + 1])
    assert not torch.equal(batch[0], batch[1])


def test_the_second_draw_does_not_depend_on_the_batch_either():
    ours, alone = generators([4, 5]), generators([5])
    for _ in range(2):
        assert torch.equal(randn((2, 3, 4, 4), ours)[1:], randn((1, 3, 4, 4), alone))


def test_precision_does_not_change_what_a_seed_means():
    single = randn((2, 3, 8, 8), generators([1, 2]))
    assert single.dtype == torch.float32
    assert torch.equal(randn((2, 3, 8, 8), generators([1, 2]), dtype=torch.float64), single.double())
    assert torch.equal(randn((2, 3, 8, 8), generators([1, 2]), dtype=torch.bfloat16), single.bfloat16())


def test_it_is_standard_normal():
    noise = randn((2, 3, 200, 200), generators([1, 2]))
    assert abs(float(noise.mean())) < 0.01
    assert abs(float(noise.std()) - 1) < 0.01
    assert abs(float((noise[0] * noise[1]).mean())) < 0.015


def test_no_images_no_noise():
    assert randn((0, 3, 4, 4), []).shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: randn((2, 3, 4, 4), generators([1])),
        lambda: randn((1, 3, 4, 4), generators([1, 2])),
        lambda: generators([1.5]),
        lambda: generators([-1]),
        lambda: generators([True]),
        lambda: generators([2**64]),
    ],
)
def test_bad_input_gives_a_named_error(wrong):
    with pytest.raises(DPIRError, match=r"give|choose"):
        wrong()


@pytest.mark.parametrize("part", [1, 100, 4096])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 31, 32, 1023, 3 * 37 * 41, 99_999])
def test_parts_are_what_is_drawn_at_once(count, part):
    whole, parts = (torch.Generator().manual_seed(11) for _ in range(2))
    expected, drawn = torch.randn(count, generator=whole), torch.full((count,), torch.nan)
    for start, values in randn_parts(count, parts, part):
        drawn[start : start + len(values)] = values
        assert len(values) <= max(part + 15, 16)
    assert torch.equal(drawn, expected)
    assert torch.equal(torch.randn(40, generator=parts), torch.randn(40, generator=whole))
