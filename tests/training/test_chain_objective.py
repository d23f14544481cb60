"""Training through the chain: the samples of a restoration, right gradients, and the spread that theory foresees."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from dp_ir import Restoration
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.diffusion.samplers import SAMPLERS
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.networks import FastFusion
from dp_ir.restoration.pipeline import DEFAULT_SETTINGS
from dp_ir.restoration.sampling_plan import seen_and_share
from dp_ir.training import chain_objective
from dp_ir.training.chain_objective import ChainObjective, validation_dial
from dp_ir.training.energy_score import Term, band_term, energy_score, spread_weight
from dp_ir.training.recipe import ChainRecipe, ScoreRecipe

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


def _random_fusion(least: float | None = 0.4) -> FastFusion:
    torch.manual_seed(3)
    fusion = FastFusion(channels=(16, 16), blocks=(1, 1, 1), detail=least)
    for parameter in fusion.parameters():
        nn.init.normal_(parameter, std=0.1)
    return fusion.eval()


@pytest.mark.parametrize(
    ("sampler", "steps", "eta", "least"),
    [("ddim", 1, 0.0, 0.4), ("ddim", 2, 0.0, 0.7), ("ddim", 3, 0.6, None), ("dpmpp-2m", 4, 0.0, 0.3)],
)
def test_validation_judges_what_a_restoration_gives(sampler: str, steps: int, eta: float, least: float | None) -> None:
    """At both places of the dial: on a fusion that does not see it the lower lies on the straight line."""
    fusion, image = _random_fusion(least), _batch(1)["restored"]
    firsts: list[Tensor] = []
    drawn: list[Tensor] = []

    def spy(output: Tensor, target: Tensor) -> Tensor:
        firsts.append(output)
        return torch.zeros(1)

    def spy_on_all(samples: Sequence[Tensor], truths: Sequence[Tensor]) -> dict[str, float]:
        drawn.extend(samples)
        return {"all": 0.0}

    objective = _objective(steps, sampler, eta, least=least, sample_metrics=spy_on_all)
    with torch.no_grad():
        figures = objective.validate(fusion, [{"clean": image, "restored": image}], {"spy": spy})
    low = 0.4 if least is None else least
    places = [f"detail{low}", "detail1"]
    assert list(figures) == [
        "spy_restored", *(f"{name}_{place}" for place in places for name in ("score", "spy")),
        *(f"all_{place}" for place in places),
    ]  # fmt: skip
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
    for detail, first, samples in zip((low, 1), firsts[1:], drawn, strict=True):
        expected = restore(image, seed=0, num_samples=8, detail=detail)
        torch.testing.assert_close(first.clamp(0, 1), expected.image, atol=1e-5, rtol=0)
        torch.testing.assert_close(samples.clamp(0, 1)[:, None], expected.samples, atol=1e-5, rtol=0)


def test_the_dial_of_validation_follows_the_fusion() -> None:
    assert validation_dial(None) == (0.4, 1.0)
    assert validation_dial(0.3) == (0.3, 1.0)
    assert validation_dial(1) == (1.0,)


def test_below_what_the_fusion_sees_lies_the_straight_line() -> None:
    assert seen_and_share(0.2, 0.4) == (0.4, 0.5)
    assert seen_and_share(0.4, 0.4) == (0.4, 1.0)
    assert seen_and_share(0.7, 0.4) == (0.7, 1.0)
    assert seen_and_share(0.3, None) == (1.0, 0.3)


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
        fusion = _random_fusion()
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
    fusion, batch = _random_fusion(), _batch(2)
    batch["place"] = torch.tensor([0.1, 0.6])  # at the end, and (2 * 0.6 - 0.5) * 0.6 above it
    both, dial = _objective(least=0.4).loss(fusion, batch), torch.tensor([0.4, 0.82])
    seen = []
    for i in range(2):
        alone = {name: value[i : i + 1] for name, value in batch.items()}
        weight = float(spread_weight(dial[i]))
        seen.append(_objective(fixed_weight=weight).loss(_Dialled(fusion, dial[i : i + 1]), alone))
    torch.testing.assert_close(both, torch.stack(seen).mean())


@pytest.mark.parametrize("exponent", [0.6, 1.5])
def test_the_recipe_names_chain_and_score(exponent: float) -> None:
    """The loss is the score of the recipe's chain: of its exponent, weighted by the dial for that exponent."""
    chain = ChainRecipe(tau=300, steps=2, sigma_min=0.05, eta=0.5)
    score = ScoreRecipe(exponent=exponent, bands=2.0, lpips=3.0)
    fusion, batch = _random_fusion(), _batch(2)
    denoiser = LoadedNetwork("denoiser", _denoiser, device=torch.device("cpu"))
    objective = chain_objective.chain_objective(
        chain, score, fusion, denoiser, chain_objective.no_figures, lambda image: [image / 7]
    )
    torch.testing.assert_close(objective.sigmas, SCHEDULE.sigma_grid(300, 2, sigma_min=0.05))
    assert (objective.tau, objective.eta, objective.sampler) == (300, 0.5, SAMPLERS["ddim"])
    drawn: list[Tensor] = []

    def features(image: Tensor) -> list[Tensor]:
        drawn.append(image)
        return []

    detail = torch.tensor([0.4, 0.7])
    batch["place"] = torch.tensor([0.1, 0.5])
    dataclasses.replace(objective, terms=[*objective.terms, Term(features)]).loss(fusion, batch)
    samples = drawn[-1].view(2, 2, 3, 12, 12)
    weight = spread_weight(detail, exponent)
    terms = [band_term(2.0), Term(lambda image: [image / 7], 3.0)]
    expected = energy_score(samples, batch["clean"], terms, weight, exponent).mean()
    torch.testing.assert_close(objective.loss(fusion, batch), expected)


class _Dialled(nn.Module):
    """A fusion at one place of its dial."""

    def __init__(self, fusion: FastFusion, detail: Tensor) -> None:
        super().__init__()
        self.fusion, self.detail = fusion, detail

    def forward(self, restored: Tensor, denoised: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
        return self.fusion(restored, denoised, noisy, sigma, self.detail.expand(len(restored)))
