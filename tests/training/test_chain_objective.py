"""Training through the chain: the samples of a restoration, right gradients, and the spread that theory foresees."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from dp_ir import Restoration
from dp_ir.diffusion.samplers import SAMPLERS
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.networks import FastFusion
from dp_ir.restoration.pipeline import DEFAULT_SETTINGS
from dp_ir.training import chain_objective
from dp_ir.training.chain_objective import ChainObjective
from dp_ir.training.energy_score import Term, band_term, spread_weight

SCHEDULE = NoiseSchedule.from_config(DEFAULT_SETTINGS.schedule)


def _denoiser(noisy: Tensor, sigma: Tensor) -> Tensor:
    return 0.5 + (noisy - 0.5) / (1 + 9 * sigma.view(-1, 1, 1, 1) ** 2)


def _objective(steps: int = 1, sampler: str = "ddim", eta: float = 0.0, **changes: object) -> ChainObjective:
    sigmas = SCHEDULE.sigma_grid(400, steps)
    settings = {"terms": [band_term()], "fixed_weight": 0.5, **changes}
    return ChainObjective(_denoiser, SCHEDULE, SAMPLERS[sampler], 400, sigmas, eta, **settings)  # type: ignore[arg-type]


def _batch(count: int = 2, side: int = 12, draws: int = 2, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "clean": torch.rand(count, 3, side, side, generator=generator),
        "restored": torch.rand(count, 3, side, side, generator=generator),
        "seeds": torch.randint(2**40, (count, draws), generator=generator),
        "place": torch.rand(count, generator=generator),
    }


class _Mixture(nn.Module):
    """A fusion with two numbers to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = nn.Parameter(torch.tensor([0.3, 0.1]))

    def forward(self, restored: Tensor, denoised: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
        return restored + self.numbers[0] * (denoised - restored) + self.numbers[1] * (noisy - restored)


def _random_fusion(*, detail: bool) -> FastFusion:
    torch.manual_seed(3)
    fusion = FastFusion(channels=(16, 16), blocks=(1, 1, 1), detail=0.4 if detail else None)
    for parameter in fusion.parameters():
        nn.init.normal_(parameter, std=0.1)
    return fusion.eval()


@pytest.mark.parametrize(
    ("sampler", "steps", "eta", "detail"), [("ddim", 1, 0.0, True), ("ddim", 3, 0.6, False), ("dpmpp-2m", 4, 0.0, True)]
)
def test_samples_are_those_of_a_restoration(sampler: str, steps: int, eta: float, detail: bool) -> None:
    fusion, image = _random_fusion(detail=detail), _batch(1)["restored"]
    seen: list[Tensor] = []

    def spy(output: Tensor, target: Tensor) -> Tensor:
        seen.append(output)
        return torch.zeros(1)

    objective = _objective(steps, sampler, eta, least=0.4 if detail else None)
    with torch.no_grad():
        objective.validate(fusion, [{"clean": image, "restored": image}], {"spy": spy})
    restore = Restoration.from_parts(
        restorer=lambda observation: observation,
        denoiser=_denoiser,
        fusion=fusion,
        tau=400,
        steps=steps,
        sampler=sampler,
        eta=eta,
        precision="float32",
    )
    expected = restore(image, seed=0).image
    torch.testing.assert_close(seen[-1].clamp(0, 1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("sampler", "steps", "eta"), [("ddim", 1, 0.0), ("ddpm", 3, 1.0), ("dpmpp-2m", 6, 0.0)])
def test_gradients_go_through_every_call(sampler: str, steps: int, eta: float) -> None:
    model, objective = _Mixture().double(), _objective(steps, sampler, eta)
    batch = {name: value.double() if value.is_floating_point() else value for name, value in _batch().items()}
    objective.loss(model, batch).backward()
    for i in range(2):
        losses = []
        for step in (1e-3, -1e-3):
            moved = _Mixture().double()
            with torch.no_grad():
                moved.numbers[i] += step
                losses.append(float(objective.loss(moved, batch)))
        assert float(model.numbers.grad[i]) == pytest.approx((losses[0] - losses[1]) / 2e-3, rel=2e-3)


def test_long_chains_that_are_computed_again_have_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = []
    for kept in (2, 100):
        monkeypatch.setattr(chain_objective, "_KEPT_CALLS", kept)
        fusion = _random_fusion(detail=True)
        _objective(6, least=0.4).loss(fusion, _batch()).backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in fusion.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)
    assert float(gradients[0].norm()) > 0


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_training_finds_the_spread_that_theory_foresees(weight: float) -> None:
    # The truth departs from the restorer by white noise of 0.1; the model by its second number times sigma(tau).
    model = _Mixture()
    objective = _objective(fixed_weight=weight, terms=[Term(lambda image: [image / 0.1], patch=5, stride=2)])
    with torch.no_grad():
        model.numbers.copy_(torch.tensor([0.0, 0.05]))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(300):
        batch = _batch(8, 16, seed=step)
        noise = torch.randn(batch["clean"].shape, generator=torch.Generator().manual_seed(step + 10**6))
        batch["clean"] = batch["restored"] + 0.1 * noise
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / 300)
        optimizer.zero_grad()
        objective.loss(model, batch).backward()
        optimizer.step()
    share = math.sqrt(weight**2 / (2 - weight**2))
    spread = float(model.numbers[1]) * float(SCHEDULE.sigma(400))
    assert spread == pytest.approx(0.1 * share, rel=0.05)


def test_a_fusion_that_sees_the_dial_learns_each_observation_with_its_own_weight() -> None:
    fusion, batch = _random_fusion(detail=True), _batch(2)
    batch["place"] = torch.tensor([0.1, 0.6])  # at the end, and (2 * 0.6 - 0.5) * 0.6 above it
    both, dial = _objective(least=0.4).loss(fusion, batch), torch.tensor([0.4, 0.82])
    seen = []
    for i in range(2):
        alone = {name: value[i : i + 1] for name, value in batch.items()}
        weight = float(spread_weight(dial[i]))
        seen.append(_objective(fixed_weight=weight).loss(_Dialled(fusion, dial[i : i + 1]), alone))
    torch.testing.assert_close(both, torch.stack(seen).mean())


class _Dialled(nn.Module):
    """A fusion at one place of its dial."""

    def __init__(self, fusion: FastFusion, detail: Tensor) -> None:
        super().__init__()
        self.fusion, self.detail = fusion, detail

    def forward(self, restored: Tensor, denoised: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
        return self.fusion(restored, denoised, noisy, sigma, self.detail.expand(len(restored)))
