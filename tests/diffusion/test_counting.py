import pytest
import torch

from dp_ir.diffusion import CallCounter


def test_counts_per_network_and_in_all():
    counter = CallCounter()
    denoiser = counter.wrap("denoiser", lambda noisy, sigma: noisy - sigma)
    fusion = counter.wrap("fusion", lambda restored, *, noisy: restored + noisy)
    counter.wrap("restorer", abs)
    for _ in range(3):
        assert denoiser(5, 2) == 3
    assert fusion(1, noisy=2) == 3
    assert counter.calls == {"denoiser": 3, "fusion": 1, "restorer": 0}
    assert counter.total == 4
    counter.reset()
    assert counter.calls == {"denoiser": 0, "fusion": 0, "restorer": 0}
    denoiser(1, 1)
    assert counter.total == 1


def test_networks_under_one_name_add_up_and_modules_can_be_wrapped():
    counter = CallCounter()
    layer = torch.nn.Linear(3, 3)
    first, second = counter.wrap("denoiser", layer), counter.wrap("denoiser", torch.nn.Identity())
    x = torch.ones(1, 3)
    assert torch.equal(first(x), layer(x))
    second(x)
    assert counter.calls == {"denoiser": 2}


def test_what_it_hands_out_is_a_copy():
    counter = CallCounter()
    counter.wrap("denoiser", abs)(-1)
    counter.calls["denoiser"] = 10
    assert counter.calls == {"denoiser": 1}


def test_a_call_that_fails_is_counted_as_made():
    counter = CallCounter()
    divide = counter.wrap("denoiser", lambda x: 1 / x)
    with pytest.raises(ZeroDivisionError):
        divide(0)
    assert counter.total == 1
