"""How much memory there is, how much is taken, and what running out of it looks like."""

import pytest
import torch

from dp_ir.runtime import budget


def test_peak_counts_what_is_alive_at_once():
    def run():
        a = torch.zeros(1000)
        b = a + 1
        del a
        c = b * 2
        view = c.view(10, 100)
        del b
        return view.add_(1)

    assert budget.peak_bytes(run) == 8000  # two of the three tensors


@pytest.mark.parametrize("side", [32, 64])
def test_peak_of_a_network_grows_with_its_pixels(side):
    conv = torch.nn.Sequential(*[torch.nn.Conv2d(3, 3, 3, padding=1) for _ in range(5)])
    with torch.inference_mode():
        image = torch.rand(1, 3, side, side)
        assert budget.peak_bytes(lambda: conv(image)) == 2 * 12 * side**2  # not five: each frees the one before


def test_given_tensors_are_not_counted():
    image = torch.rand(1000)
    assert budget.peak_bytes(lambda: image.relu_()) == 0


def test_free_memory_heeds_the_limit_of_a_container(monkeypatch, tmp_path):
    limit, used, stat = (tmp_path / name for name in ("max", "current", "stat"))
    limit.write_text("1000000\n")
    used.write_text("700000\n")
    stat.write_text("anon 1\ninactive_file 100000\n")
    monkeypatch.setattr(budget, "_CONTROL_GROUPS", ((str(limit), str(used), str(stat)),))
    assert budget.free_memory(torch.device("cpu")) == 400000
    limit.write_text("max\n")
    assert budget.free_memory(torch.device("cpu")) > 400000


def test_the_budget_is_what_was_said_less_what_is_held():
    cpu = torch.device("cpu")
    held = budget.resident_memory()
    assert budget.budget(cpu, 0) == 0
    assert abs(budget.budget(cpu, 2 * held) - held) < held / 2
    assert 0 < budget.budget(cpu) < budget.free_memory(cpu)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."),
    ],
)
def test_running_out_of_memory_is_recognised(error):
    assert budget.is_out_of_memory(error)


def test_torch_itself_says_so_in_these_words():
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(1 << 50, dtype=torch.uint8)
    assert budget.is_out_of_memory(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("out of memory")])
def test_other_errors_are_not(error):
    assert not budget.is_out_of_memory(error)
