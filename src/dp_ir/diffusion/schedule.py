"""Noise schedules of the variance-preserving (VP) process, in the paper's notation.

The VP process runs on images centred at 0 and scaled to a width of `data_range`, x0 = data_range (clean - 1/2), and has
one number per step, abar_t. Everything else in this package speaks of `noisy` = clean + sigma eps in the [0, 1] units
of the image. `NoiseSchedule` is the only place where one is turned into the other:

    noisy = x_t / (sqrt(abar_t) data_range) + 1/2,        sigma(t) = sqrt((1 - abar_t) / abar_t) / data_range.

Equation numbers are those of "A Modular Conditional Diffusion Framework for Image Reconstruction" (arXiv 2411.05993).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from torch import Tensor

from dp_ir.errors import ScheduleError
from dp_ir.sampling_settings import Spacing as Spacing

"""How `NoiseSchedule.sigma_grid` spreads its noise levels."""

_LARGEST_T, _MOST_STEPS = 1_000_000, 10_000  # what takes a blink, and more than anyone samples with
_MAX_BETA = 0.999  # Nichol & Dhariwal: the cosine schedule reaches abar_T = 0, which has no sigma, without this cap


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The numbers abar_0 = 1 > abar_1 > ... > abar_T > 0 of a VP process and the width of the images it runs on.

    Steps may be fractional wherever a signature says `float`: log(abar) is linear between two whole steps, which is the
    continuous process whose beta is constant there. A step is one number, or a tensor of shape (B,) with one per image.

    Args:
        alpha_bar: shape (T + 1,), kept as float64 on the CPU; alpha_bar[0] must be 1.
        data_range: width of the interval that the VP process scales images to; 2 for [-1, 1].

    Raises:
        ScheduleError: if alpha_bar does not start at 1 and fall strictly towards a value above 0.
    """

    alpha_bar: Tensor
    data_range: float = 2.0
    recipe: Mapping[str, Any] | None = field(default=None, repr=False)
    """How a constructor made `alpha_bar`, for `to_config`; None if it was given directly."""

    def __post_init__(self) -> None:
        abar = torch.as_tensor(self.alpha_bar).detach().to(device="cpu", dtype=torch.float64).clone()
        if abar.ndim != 1 or len(abar) < 2:
            raise ScheduleError(
                f"alpha_bar has shape {tuple(abar.shape)}, but it must hold T + 1 >= 2 numbers: give one per step 0..T."
            )
        if abar[0] != 1 or not bool((abar[1:] < abar[:-1]).all()) or not abar[-1] > 0:
            raise ScheduleError(
                f"alpha_bar runs from {float(abar[0]):g} to {float(abar[-1]):g}, but it must start at 1 and fall at "
                "every step to a number above 0: check the betas or noise levels it was made from."
            )
        if not (math.isfinite(self.data_range) and self.data_range > 0):
            raise ScheduleError(
                f"data_range is {self.data_range}, but it must be above 0: use 2 for images in [-1, 1]."
            )
        object.__setattr__(self, "alpha_bar", abar)
        object.__setattr__(self, "data_range", float(self.data_range))

    # ---- constructors ------------------------------------------------------------------------------------------------

    @classmethod
    def linear(
        cls, T: int = 1000, beta_start: float | None = None, beta_end: float | None = None, *, data_range: float = 2.0
    ) -> NoiseSchedule:
        """Betas on a straight line (Ho et al., 2020).

        The defaults are 1e-4 and 0.02 at T = 1000 and grow as 1000 / T, which keeps abar_T nearly the same for every T.

        Raises:
            ScheduleError: if T < 1 or a beta is not between 0 and 1.
        """
        _check_T(T)
        first = 0.1 / T if beta_start is None else float(beta_start)
        last = 20.0 / T if beta_end is None else float(beta_end)
        recipe = {"name": "linear", "T": T, "beta_start": first, "beta_end": last}
        return cls(_cumulate(torch.linspace(first, last, T, dtype=torch.float64)), data_range, recipe)

    @classmethod
    def cosine(cls, T: int = 1000, s: float = 0.008, *, data_range: float = 2.0) -> NoiseSchedule:
        """abar_t proportional to cos^2((t/T + s) / (1 + s) pi/2), betas capped at 0.999 (Nichol & Dhariwal, 2021).

        Raises:
            ScheduleError: if T < 1 or s is not a finite number >= 0.
        """
        _check_T(T)
        if not (math.isfinite(s) and s >= 0):
            raise ScheduleError(f"s of the cosine schedule is {s}, but it must be a number >= 0: 0.008 is usual.")
        t = torch.arange(T + 1, dtype=torch.float64)
        f = torch.cos((t / T + s) / (1 + s) * (math.pi / 2)) ** 2
        betas = (1 - f[1:] / f[:-1]).clamp(max=_MAX_BETA)
        return cls(_cumulate(betas), data_range, {"name": "cosine", "T": T, "s": s})

    @classmethod
    def from_betas(cls, betas: Sequence[float] | Tensor, *, data_range: float = 2.0) -> NoiseSchedule:
        """The schedule with the given beta_1 ... beta_T.

        Raises:
            ScheduleError: if there is no beta or one is not between 0 and 1.
        """
        values = torch.as_tensor(betas, dtype=torch.float64).detach().cpu()
        return cls(_cumulate(values), data_range, {"name": "betas", "betas": values.tolist()})

    @classmethod
    def from_sigmas(cls, sigmas: Sequence[float] | Tensor, *, data_range: float = 2.0) -> NoiseSchedule:
        """The schedule whose whole steps lie at the given rising noise levels; the first, at step 0, must be 0.

        Args:
            sigmas: shape (T + 1,), in [0, 1] image units.
            data_range: as in `NoiseSchedule`.

        Raises:
            ScheduleError: if the levels do not start at 0 and rise.
        """
        levels = torch.as_tensor(sigmas, dtype=torch.float64).detach().cpu()
        return cls(_alpha_bar_of(levels, data_range), data_range)

    def to_config(self) -> dict[str, Any]:
        """A dictionary that JSON can hold and `from_config` turns into an equal schedule."""
        recipe = self.recipe or {"name": "alpha-bar", "alpha_bar": self.alpha_bar.tolist()}
        return {**recipe, "data_range": self.data_range}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> NoiseSchedule:
        """The schedule that `to_config` described, for example {"name": "cosine", "T": 1000, "data_range": 2.0}.

        Raises:
            ScheduleError: if the name is unknown or the other entries do not fit it.
        """
        makers: dict[str, Callable[..., NoiseSchedule]] = {
            "linear": cls.linear,
            "cosine": cls.cosine,
            "betas": cls.from_betas,
            "alpha-bar": lambda alpha_bar, data_range=2.0: cls(
                torch.tensor(alpha_bar, dtype=torch.float64), data_range
            ),
        }
        name = config.get("name") if isinstance(config, Mapping) else config
        if not isinstance(config, Mapping) or not isinstance(name, str) or name not in makers:
            raise ScheduleError(
                f"The schedule is {name!r}, which is unknown: its name must be one of {', '.join(makers)}."
            )
        entries = {key: value for key, value in config.items() if key != "name"}
        try:
            return makers[name](**entries)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ScheduleError(
                f"The entries {str(sorted(entries))[:200]} of the {name} schedule do not describe it "
                f"({str(error)[:200]}): "
                "copy those that NoiseSchedule.to_config gives."
            ) from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NoiseSchedule):
            return NotImplemented
        return self.data_range == other.data_range and torch.equal(self.alpha_bar, other.alpha_bar)

    def __hash__(self) -> int:
        return hash((self.T, self.data_range, float(self.alpha_bar[-1])))

    # ---- steps and noise levels --------------------------------------------------------------------------------------

    @property
    def T(self) -> int:
        """Number of steps."""
        return len(self.alpha_bar) - 1

    def alpha_bar_at(self, t: float | Tensor) -> Tensor:
        """abar_t in float64 on the CPU, for any t in [0, T]; the shape is that of `t`.

        Raises:
            ScheduleError: if a step lies outside [0, T].
        """
        t = self._steps(t, 0)
        below = t.floor().long().clamp(max=self.T - 1)
        abar, ratio = self.alpha_bar[below], self.alpha_bar[below + 1] / self.alpha_bar[below]
        # At t = T the fraction is 1; the power is exact only at 0, so the last step is read off directly.
        return torch.where(t == self.T, self.alpha_bar[-1], abar * ratio ** (t - below))

    def sigma(self, t: float | Tensor) -> Tensor:
        """Noise level of step `t` in [0, 1] image units, float64 on the CPU, of the shape of `t`.

        Raises:
            ScheduleError: if a step lies outside [0, T].
        """
        abar = self.alpha_bar_at(t)
        return ((1 - abar) / abar).sqrt() / self.data_range

    def step(self, sigma: float | Tensor) -> Tensor:
        """The step, usually fractional, whose noise level is `sigma`: the inverse of `sigma(t)`. Float64.

        Raises:
            ScheduleError: if a level lies outside [0, sigma(T)].
        """
        sigma = torch.as_tensor(sigma, dtype=torch.float64).detach().cpu()
        highest = self.sigma(self.T)
        if not bool(((sigma >= 0) & (sigma <= highest)).all()):
            raise ScheduleError(
                f"The noise level {_extremes(sigma)} lies outside the schedule's range 0 to {float(highest):g}: "
                "choose one inside it, or a schedule that goes further."
            )
        abar = _alpha_bar_of(sigma, self.data_range)
        above = torch.searchsorted(-self.alpha_bar, -abar).clamp(1, self.T)  # abar[above - 1] >= abar >= abar[above]
        high, low = self.alpha_bar[above - 1], self.alpha_bar[above]
        fraction = torch.log(abar / high) / torch.log(low / high)
        return (above - 1 + fraction).clamp(0, self.T)

    def sigma_grid(self, tau: float, steps: int, spacing: Spacing = "log-sigma", *, sigma_min: float = 0.01) -> Tensor:
        """Noise levels for a sampler that starts at step `tau`, in [0, 1] image units.

        Args:
            tau: first step, in (0, T].
            steps: number of calls of the estimate.
            spacing: "log-sigma" puts equal ratios between sigma(tau) and `sigma_min`, then goes to 0; "uniform-t" puts
                equal differences between the steps tau, ..., 0 and does not look at `sigma_min`.
            sigma_min: last level before 0 of "log-sigma"; with steps = 1 there is none.

        Returns:
            float64, shape (steps + 1,): falls from exactly sigma(tau) to exactly 0.

        Raises:
            ScheduleError: if tau, steps, spacing or sigma_min is not valid.
        """
        first = float(self.sigma(self._start(tau)))
        if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= _MOST_STEPS:
            raise ScheduleError(
                f"The number of steps is {steps!r}, but sampling needs a whole number of at least 1 and at most "
                f"{_MOST_STEPS}."
            )
        if spacing not in get_args(Spacing):
            raise ScheduleError(
                f"The spacing is {spacing!r}, which is unknown: use one of {', '.join(get_args(Spacing))}."
            )
        if spacing == "uniform-t":
            return self.sigma(tau * torch.arange(steps, -1, -1, dtype=torch.float64) / steps)
        if steps > 1 and not 0 < sigma_min < first:
            raise ScheduleError(
                f"sigma_min is {sigma_min:g}, but it must lie between 0 and sigma(tau) = {first:g}: "
                "lower it or raise tau."
            )
        last = math.log(sigma_min) if steps > 1 else math.log(first)
        levels = torch.linspace(math.log(first), last, steps, dtype=torch.float64).exp()
        levels[0] = first
        return torch.cat([levels, levels.new_zeros(1)])

    # ---- the VP process ----------------------------------------------------------------------------------------------

    def forward_step(self, x_prev: Tensor, t: int | Tensor, eps: Tensor) -> Tensor:
        """Eq. 1: one step forward, x_t = sqrt(alpha_t) x_{t-1} + sqrt(1 - alpha_t) eps, for a whole t in 1..T.

        Args:
            x_prev: x_{t-1}, shape (B, ...), in VP units.
            t: whole step.
            eps: standard normal, of the same shape.

        Raises:
            ScheduleError: if a step is not a whole number in 1..T.
        """
        alpha = self.alpha_bar_at(self._whole(t)) / self.alpha_bar_at(self._whole(t) - 1)
        return _column(alpha.sqrt(), x_prev) * x_prev + _column((1 - alpha).sqrt(), x_prev) * eps

    def diffuse(self, x0: Tensor, t: float | Tensor, eps: Tensor) -> Tensor:
        """Eq. 2: x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps, in VP units.

        Args:
            x0: shape (B, ...), in VP units.
            t: step in [0, T].
            eps: standard normal, of the same shape.

        Raises:
            ScheduleError: if a step lies outside [0, T].
        """
        abar = self.alpha_bar_at(t)
        return _column(abar.sqrt(), x0) * x0 + _column((1 - abar).sqrt(), x0) * eps

    def posterior_coefficients(
        self, t: float | Tensor, s: float | Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Eq. 3 for any stride: a, b, v of q(x_s | x_t, x0) = N(a x_t + b x0, v I) with s < t; s is t - 1 by default.

        Returns:
            float64 tensors of the shape of `t`.

        Raises:
            ScheduleError: if not 0 <= s <= t <= T with t > 0.
        """
        t = self._steps(t, 0)
        s = t - 1 if s is None else self._steps(s, 0)
        if not bool(((s >= 0) & (s <= t) & (t > 0)).all()):
            raise ScheduleError(
                f"The posterior was asked for from step {_extremes(t)} to {_extremes(s)}, but it goes down the steps: "
                "give 0 <= s <= t with t above 0."
            )
        abar_t, abar_s = self.alpha_bar_at(t), self.alpha_bar_at(s)
        r = abar_t / abar_s
        a = r.sqrt() * (1 - abar_s) / (1 - abar_t)
        b = abar_s.sqrt() * (1 - r) / (1 - abar_t)
        v = (1 - abar_s) * (1 - r) / (1 - abar_t)
        return a, b, v

    def posterior(
        self, x_t: Tensor, x0: Tensor, t: float | Tensor, s: float | Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Eq. 3: mean, of the shape of `x_t`, and variance, shape (B, 1, ...) or scalar, of q(x_s | x_t, x0), VP units.

        Raises:
            ScheduleError: as `posterior_coefficients`.
        """
        a, b, v = self.posterior_coefficients(t, s)
        return _column(a, x_t) * x_t + _column(b, x_t) * x0, _column(v, x_t)

    def conditional_score(self, x_t: Tensor, x0_mean: Tensor, t: float | Tensor) -> Tensor:
        """The score grad log p(x_t | y) = (sqrt(abar_t) E[x0 | y, x_t] - x_t) / (1 - abar_t), in VP units.

        Without an observation, E[x0 | x_t] gives the unconditional score (Tweedie's formula).

        Args:
            x_t: shape (B, ...), in VP units.
            x0_mean: E[x0 | y, x_t], the same shape and units.
            t: step in (0, T].

        Raises:
            ScheduleError: if a step lies outside (0, T].
        """
        abar = self.alpha_bar_at(self._start(t))
        return (_column(abar.sqrt(), x_t) * x0_mean - x_t) / _column(1 - abar, x_t)

    def noisy_to_vp(self, noisy: Tensor, t: float | Tensor) -> Tensor:
        """x_t of the VP process from `noisy` at sigma(t) in [0, 1] units; at t = 0 from a clean image. Same shape.

        Raises:
            ScheduleError: if a step lies outside [0, T].
        """
        scale = _column(self.alpha_bar_at(t).sqrt() * self.data_range, noisy)
        return scale * (noisy - 0.5)

    def vp_to_noisy(self, x_t: Tensor, t: float | Tensor) -> Tensor:
        """`noisy` at sigma(t) in [0, 1] units from x_t of the VP process; at t = 0 a clean image. Same shape.

        Raises:
            ScheduleError: if a step lies outside [0, T].
        """
        scale = _column(self.alpha_bar_at(t).sqrt() * self.data_range, x_t)
        return x_t / scale + 0.5

    # ---- checks ------------------------------------------------------------------------------------------------------

    def _steps(self, t: float | Tensor, low: float) -> Tensor:
        t = torch.as_tensor(t, dtype=torch.float64).detach().cpu()
        if not bool(((t >= low) & (t <= self.T)).all()):
            raise ScheduleError(
                f"The step {_extremes(t)} lies outside the schedule: choose one between {low:g} and T = {self.T}."
            )
        return t

    def _start(self, tau: float | Tensor) -> Tensor:
        tau = self._steps(tau, 0)
        if not bool((tau > 0).all()):
            raise ScheduleError(
                f"The step is {_extremes(tau)}, where there is no noise: choose one above 0, up to {self.T}."
            )
        return tau

    def _whole(self, t: int | Tensor) -> Tensor:
        steps = self._steps(t, 1)
        if not bool((steps == steps.round()).all()):
            raise ScheduleError(
                f"The step is {_extremes(steps)}, but a single step forward needs a whole number: round it."
            )
        return steps


def _check_T(T: int) -> None:
    if isinstance(T, bool) or not isinstance(T, int) or not 1 <= T <= _LARGEST_T:
        raise ScheduleError(
            f"The schedule was asked for with T = {T!r}, but T must be a whole number of at least 1 and at most "
            f"{_LARGEST_T}."
        )


def _cumulate(betas: Tensor) -> Tensor:
    """abar_0 ... abar_T from beta_1 ... beta_T."""
    if betas.ndim != 1 or len(betas) == 0 or not bool(((betas > 0) & (betas < 1)).all()):
        raise ScheduleError(
            f"The betas are {_extremes(betas)} with shape {tuple(betas.shape)}, but a schedule needs a list of at "
            "least one number, each above 0 and below 1: check beta_start, beta_end and T."
        )
    return torch.cat([betas.new_ones(1), torch.cumprod(1 - betas, 0)])


def _alpha_bar_of(sigma: Tensor, data_range: float) -> Tensor:
    """The abar at which the VP process has the noise level `sigma` (in [0, 1] units)."""
    return 1 / (1 + (data_range * sigma) ** 2)


def _column(values: Tensor, like: Tensor) -> Tensor:
    """Per-image numbers, shape () or (B,), in the dtype and on the device of `like`, ready to multiply (B, ...)."""
    values = values.to(like.dtype).to(like.device)  # first the dtype: some devices have no float64
    return values.reshape(-1, *[1] * (like.ndim - 1)) if values.ndim else values


def _extremes(values: Tensor) -> str:
    """How an error message names one number or the range of several."""
    if values.numel() == 0:
        return "missing"
    low, high = float(values.min()), float(values.max())
    return f"{low:g}" if low == high or math.isnan(low) else f"{low:g} to {high:g}"
