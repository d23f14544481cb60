import pytest
import torch

from dp_ir.diffusion.bridge import bridge_euler, bridge_start
from dp_ir.diffusion.noise import generators
from dp_ir.errors import NetworkContractError, ScheduleError


def _gaussian_bridge(mean, std, start, noise):
    """E[x0 | x_t] for x0 ~ N(mean, std^2) and x1 ~ N(start, noise^2), independent: a regression on x_t."""

    def estimate(mixed, t):
        t = t[:, None, None, None]
        variance = (1 - t) ** 2 * std**2 + t**2 * noise**2
        return mean + (1 - t) * std**2 / variance * (mixed - (1 - t) * mean - t * start)

    return estimate


def test_many_steps_carry_the_start_to_the_distribution_of_the_clean_image():
    # Rectified flow between two Gaussians: the exact velocity must carry one to the other.
    start = bridge_start(torch.full((1, 3, 200, 200), 0.3), 0.1, generators([0]))
    end = bridge_euler(_gaussian_bridge(0.6, 0.2, 0.3, 0.1), start, 400)
    assert end.mean() == pytest.approx(0.6, abs=2e-3)
    assert end.std() == pytest.approx(0.2, abs=2e-3)


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_steps_are_euler_steps_of_the_velocity(steps):
    estimate = _gaussian_bridge(0.6, 0.2, 0.3, 0.1)
    start = bridge_start(torch.full((2, 3, 4, 5), 0.3), 0.1, generators([0, 1]))
    x = start.clone()
    for i in range(steps):
        t = 1 - i / steps
        velocity = (x - estimate(x, torch.full((2,), t))) / t  # of growing t
        x = x - velocity / steps
    torch.testing.assert_close(bridge_euler(estimate, start, steps), x, rtol=1e-5, atol=1e-6)


def test_one_step_is_the_estimate_at_the_start():
    start = torch.rand(1, 3, 4, 5)
    assert torch.equal(bridge_euler(lambda x, t: x * t[:, None, None, None] / 2, start, 1), start / 2)


def test_every_image_has_its_own_noise():
    image = torch.rand(1, 3, 6, 5).expand(2, -1, -1, -1)
    both = bridge_start(image, 0.1, generators([3, 4]))
    alone = bridge_start(image[1:], 0.1, generators([4]))
    assert torch.equal(both[1:], alone)
    assert not torch.equal(both[0], both[1])


def test_bad_steps_and_shapes_are_refused():
    with pytest.raises(ScheduleError, match="0 steps"):
        bridge_euler(lambda x, t: x, torch.rand(1, 3, 4, 4), 0)
    with pytest.raises(NetworkContractError, match="shape"):
        bridge_euler(lambda x, t: x[..., :2], torch.rand(1, 3, 4, 4), 2)
