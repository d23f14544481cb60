"""The sr4 task: how its observations come about."""

import pytest
import torch

from dp_ir.degradation.bicubic import imresize
from dp_ir.errors import DPIRError
from dp_ir.tasks import TASKS, get_task


def test_the_registry_knows_its_tasks_and_suggests():
    assert get_task("sr4") is TASKS["sr4"]
    with pytest.raises(DPIRError, match=r"'sr5' \(nearest: sr4\): known are burst"):
        get_task("sr5")


def test_an_observation_is_the_bicubic_reduction_in_8_bits():
    task = get_task("sr4")
    blocks = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0)).round()
    clean = blocks.repeat_interleave(4, 2).repeat_interleave(4, 3)  # hard edges, where the filter overshoots
    observation = task.degrade(clean)
    exact = imresize(clean, 0.25)
    assert exact.min() < 0
    assert observation.shape == (2, 3, 6, 8)
    assert 0 <= observation.min() <= observation.max() <= 1
    assert (observation - exact.clamp(0, 1)).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.allclose(observation * 255, (observation * 255).round(), atol=1e-4)


def test_constant_images_stay_constant():
    clean = torch.full((1, 3, 8, 8), 51 / 255)
    assert torch.allclose(get_task("sr4").degrade(clean), torch.full((1, 3, 2, 2), 0.2))


def test_sides_are_cropped_to_multiples_and_others_refused():
    task = get_task("sr4")
    clean = torch.rand(1, 3, 11, 14)
    assert torch.equal(task.crop(clean), clean[..., :8, :12])
    with pytest.raises(DPIRError, match="14x11"):
        task.degrade(clean)
    with pytest.raises(DPIRError, match="at least 4x4"):
        task.crop(torch.rand(1, 3, 3, 9))
