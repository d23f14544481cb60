"""Training a fusion through the chain it will be used in: the energy score of what the sampler makes of noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.diffusion.jump import jump
from dp_ir.diffusion.noise import generators
from dp_ir.diffusion.samplers import Sampler, linear_steps, working_state
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.errors import DataError, RecipeError, ScheduleError, SigmaRangeError
from dp_ir.restoration.sampling_plan import check_sigma_range, sampler_of, seen_and_share
from dp_ir.restoration.seeds import sample_seed
from dp_ir.restoration.settings import DEFAULT_SETTINGS
from dp_ir.training.energy_score import Features, Term, band_term, energy_score, spread_weight
from dp_ir.training.objectives import Metrics
from dp_ir.training.recipe import ChainRecipe, ScoreRecipe

SampleMetrics = Callable[[Sequence[Tensor], Sequence[Tensor]], Mapping[str, float]]
"""Samples (n, 3, H, W) of several images and their truths (1, 3, H, W) -> figures by name."""


def no_figures(samples: Sequence[Tensor], truths: Sequence[Tensor]) -> Mapping[str, float]:
    """Samples that are not judged together."""
    return {}


_KEPT_CALLS = 4
"""Calls whose activations are kept for the way back; those of longer chains are computed once more."""

_SAMPLES = 8  # of an image in a validation

_ON_THE_LINE = 0.4
"""Where on the straight line from the restorer's estimate a fusion is judged that does not see the dial."""


def validation_dial(least: float | None) -> tuple[float, ...]:
    """The places of the dial that validation looks at, by `ChainObjective.least`: the last is 1, a sample."""
    return tuple(sorted({_ON_THE_LINE if least is None else least, 1.0}))


def place_name(detail: float) -> str:
    """What the figures of a place of the dial are called after: they end in an underscore and this."""
    return f"detail{detail:g}"


@dataclass(frozen=True)
class ChainObjective:
    """The energy score of samples, with gradients through every call of the fusion and of the denoiser.

    Args:
        denoiser: frozen, (noisy, sigma) -> denoised.
        schedule: of the noise.
        sampler: what takes the steps.
        tau: where they start.
        sigmas: noise levels from sigma(tau) to 0.
        eta: share of fresh noise per step.
        terms: features of the score.
        exponent: of the score.
        least: what the fusion sees of the dial begins here, and it learns `spread_weight(detail)` for every value from
            there to 1; None for one that does not see the dial.
        fixed_weight: spread weight of a fusion that does not see the dial.
        sample_metrics: judge the samples of an image together.
    """

    denoiser: Callable[[Tensor, Tensor], Tensor]
    schedule: NoiseSchedule
    sampler: Sampler
    tau: float
    sigmas: Tensor
    eta: float
    terms: Sequence[Term]
    exponent: float = 1.0
    least: float | None = None
    fixed_weight: float = 1.0
    sample_metrics: SampleMetrics = no_figures

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Mean energy score of the batch; `seeds` (B, m) name its samples, `place` (B,) where on the dial they are."""
        seeds, detail = batch["seeds"], self._dial(batch["place"])
        draws = seeds.shape[1]
        restored = batch["restored"].repeat(draws, 1, 1, 1)
        samples = self._samples(model, restored, seeds.T.flatten().tolist(), detail.repeat(draws))
        weight = self.fixed_weight if self.least is None else spread_weight(detail, self.exponent)
        return self._score(samples.view(draws, len(detail), *samples.shape[1:]), batch["clean"], weight)

    def validate(self, model: nn.Module, crops: Sequence[Mapping[str, Tensor]], metrics: Metrics) -> dict[str, float]:
        """Every metric, of the restorer and of what users get at the places of `validation_dial`.

        There also the proper score, with the spread weight 1, and what is judged of all samples.
        """
        figures: dict[str, list[float]] = {}
        drawn: dict[str, list[Tensor]] = {}
        for number, crop in enumerate(crops):
            clean, restored = crop["clean"], crop["restored"]
            for name, metric in metrics.items():
                figures.setdefault(f"{name}_restored", []).append(float(metric(restored, clean)))
            for detail in validation_dial(self.least):
                seeds = [sample_seed(number, index) for index in range(_SAMPLES)]
                place = place_name(detail)
                seen, share = seen_and_share(detail, self.least)
                made = self._samples(
                    model, restored.repeat(_SAMPLES, 1, 1, 1), seeds, clean.new_full((1,), seen)
                ).float()
                samples = torch.lerp(restored, made, share)
                drawn.setdefault(place, []).append(samples)
                figures.setdefault(f"score_{place}", []).append(float(self._score(samples[:, None], clean, 1.0)))
                for name, metric in metrics.items():
                    figures.setdefault(f"{name}_{place}", []).append(float(metric(samples[:1], clean)))
        truths = [crop["clean"] for crop in crops]
        return {
            **{name: sum(values) / len(values) for name, values in figures.items()},
            **{
                f"{name}_{place}": value
                for place, samples in drawn.items()
                for name, value in self.sample_metrics(samples, truths).items()
            },
        }

    def try_features(self, image: Tensor) -> None:
        """Raise DataError, naming the term, where an image (1, 3, H, W) is too small for the features of the score."""
        for term in self.terms:
            try:
                term.features(image)
            except DataError as error:
                raise DataError(f"{term.name} cannot be computed of it ({str(error).rstrip('.')}).") from error

    def _dial(self, place: Tensor) -> Tensor:
        """From places in [0, 1) to the dial: a quarter of them at either end of what is seen, the others between."""
        least = 1.0 if self.least is None else self.least
        return (least + (1 - least) * (2 * place - 0.5)).clamp(least, 1)

    def _score(self, samples: Tensor, clean: Tensor, weight: Tensor | float) -> Tensor:
        """Mean energy score of samples (m, B, 3, H, W); features are computed in float32."""
        with torch.autocast(samples.device.type, enabled=False):
            return energy_score(working_state(samples), clean, self.terms, weight, self.exponent).mean()

    def _samples(self, model: nn.Module, restored: Tensor, seeds: Sequence[int], detail: Tensor) -> Tensor:
        """What the chain makes of noise: (B, 3, H, W), one sample per seed."""
        own = generators(seeds)
        noisy = jump(self.schedule, restored, self.tau, own, eta=self.eta)
        detail = detail.expand(len(restored)) if len(detail) == 1 else detail

        def estimate(noisy: Tensor, sigma: Tensor) -> Tensor:
            with torch.set_grad_enabled(noisy.requires_grad):
                denoised = self.denoiser(noisy, sigma).float()
            dial = () if self.least is None else (detail,)
            return model(restored, denoised, noisy, sigma, *dial)

        def again(noisy: Tensor, sigma: Tensor) -> Tensor:
            return checkpoint(estimate, noisy, sigma, use_reentrant=False)

        long = len(self.sigmas) - 1 > _KEPT_CALLS and torch.is_grad_enabled()
        return self.sampler(again if long else estimate, noisy, self.sigmas, generators=own, eta=self.eta)


def chain_objective(
    chain: ChainRecipe,
    score: ScoreRecipe,
    network: nn.Module,
    denoiser: LoadedNetwork,
    sample_metrics: SampleMetrics,
    perceptual: Features | None,
) -> ChainObjective:
    """The energy score of the samples of a recipe's chain.

    Args:
        chain: section of the recipe.
        score: likewise.
        network: the fusion.
        denoiser: frozen.
        sample_metrics: see `ChainObjective`.
        perceptual: features of a network, for a score that asks for them.

    Raises:
        RecipeError: the chain cannot be run, or the denoiser does not know its noise levels; features are missing.
    """
    schedule = NoiseSchedule.from_config(DEFAULT_SETTINGS.schedule)
    try:
        sampler = sampler_of(chain.sampler)
        sigmas = schedule.sigma_grid(chain.tau, chain.steps, cast(Any, chain.spacing), sigma_min=chain.sigma_min)
        linear_steps(sampler, sigmas, chain.eta)
        check_sigma_range("denoiser", denoiser.info.sigma_range, schedule, chain.tau, sigmas)
    except (ScheduleError, SigmaRangeError) as error:
        given = " ".join(f"chain.{name}={value}" for name, value in asdict(chain).items())
        reason = str(error).replace("--tau ", "chain.tau=")
        raise RecipeError(f"The chain of the recipe, {given}, cannot be run: {reason}") from error
    highest = float(sigmas[0])
    if not 0 < chain.sigma_min < highest:  # not looked at in a chain of one call, but it goes into the card
        raise RecipeError(
            f"chain.sigma_min is {chain.sigma_min}; it must lie between 0 and sigma({chain.tau:g}) = {highest:.4g}."
        )
    return ChainObjective(
        denoiser,
        schedule,
        sampler=sampler,
        tau=chain.tau,
        sigmas=sigmas,
        eta=chain.eta,
        terms=_terms(score, perceptual),
        exponent=score.exponent,
        least=getattr(network, "detail", None),
        fixed_weight=score.spread_weight,
        sample_metrics=sample_metrics,
    )


def _terms(score: ScoreRecipe, perceptual: Features | None) -> list[Term]:
    """The features of a score."""
    terms = [band_term(score.bands)] if score.bands else []
    if not (score.lpips or score.lpips_half):
        return terms
    if perceptual is None:
        raise RecipeError(
            "The recipe's score uses the features of LPIPS, whose weights are not given: name the file of SqueezeNet "
            "1.1 (--lpips FILE), or leave them out (score.lpips=0 score.lpips_half=0)."
        )
    if score.lpips:
        terms.append(Term(perceptual, score.lpips, name="score.lpips"))
    if score.lpips_half:
        terms.append(Term(lambda image: perceptual(F.avg_pool2d(image, 2)), score.lpips_half, name="score.lpips_half"))
    return terms
