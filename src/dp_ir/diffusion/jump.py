"""Eq. 8: every step before tau in one jump, because the estimate of the clean image is the same for all of them.

With the restorer's answer x_IR in the place of x0 for t = T .. tau + 1, the posteriors of eq. 3 compose to

    p(x_tau | x_T, x_IR) = N(K x_T + M x_IR, V I),
    K = sqrt(abar_T / abar_tau) (1 - abar_tau) / (1 - abar_T)
    M = sqrt(abar_tau) (1 - abar_T / abar_tau) / (1 - abar_T)
    V = (1 - abar_tau) (1 - abar_T / abar_tau) / (1 - abar_T),

which is eq. 3 itself with one stride from T to tau. Only for abar_T -> 0 is this the forward diffusion of x_IR.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dp_ir.diffusion.noise import randn
from dp_ir.diffusion.samplers import check_eta
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.errors import ScheduleError

Variance = Literal["posterior", "beta"]
"""Variance of one ancestral step: that of eq. 3, or beta_t (the larger choice of Ho et al., 2020)."""


class JumpCoefficients(NamedTuple):
    """x_tau ~ N(K x_T + M x_IR, V I), in VP units."""

    K: float
    M: float
    V: float


def jump_coefficients(
    schedule: NoiseSchedule,
    tau: float,
    *,
    eta: float = 1.0,
    start: float | None = None,
    steps: Sequence[float] | None = None,
    variance: Variance = "posterior",
) -> JumpCoefficients:
    """K, M and V of eq. 8 for the chain from `start` down to `tau`, exact for any abar_T.

    With DDIM(eta) steps t -> s, of variance s_t^2 = eta^2 (1 - abar_s) / (1 - abar_t) (1 - abar_t / abar_s), and C the
    product of all sqrt((1 - abar_s - s_t^2) / (1 - abar_t)):

        K = C,    M = sqrt(abar_tau) - C sqrt(abar_T),    V = (1 - abar_tau) - C^2 (1 - abar_T).

    eta = 1 is the ancestral chain and eta = 0 gives V = 0; these two do not depend on the stride, 0 < eta < 1 does.

    Args:
        schedule: the noise schedule.
        tau: where the jump lands, in (0, start].
        eta: share of fresh noise in each replaced step, in [0, 1].
        start: where the jump begins; T by default.
        steps: the replaced chain, falling from `start` to `tau`; every whole step by default.
        variance: "posterior", or "beta" for ancestral steps whose variance is 1 - abar_t / abar_s.

    Raises:
        ScheduleError: if tau, start, steps, eta or variance is not valid.
    """
    chain = _chain(schedule, tau, schedule.T if start is None else start, steps)
    eta = check_eta(eta)
    if variance not in ("posterior", "beta"):
        raise ScheduleError(f"The variance is {variance!r}, which is unknown: use 'posterior' or 'beta'.")
    if variance == "beta" and eta != 1:
        raise ScheduleError(f"The variance 'beta' belongs to ancestral steps, but eta is {eta:g}: set eta to 1.")

    abar = schedule.alpha_bar_at(chain)
    abar_T, abar_tau = abar[0], abar[-1]
    abar_t, abar_s = abar[:-1], abar[1:]
    K, M, V = schedule.posterior_coefficients(chain[0], chain[-1])
    if variance == "beta":
        # What step t -> s adds is carried on to tau by the product of the a's below it, itself a K: the one from s.
        P = (abar_s / abar_tau).sqrt() * (1 - abar_tau) / (1 - abar_s)
        V = (P**2 * (1 - abar_t / abar_s)).sum()
    elif eta < 1:
        s_squared = eta**2 * (1 - abar_s) / (1 - abar_t) * (1 - abar_t / abar_s)
        C = ((1 - abar_s - s_squared) / (1 - abar_t)).sqrt().prod()
        K, M = C, abar_tau.sqrt() - C * abar_T.sqrt()
        V = ((1 - abar_tau) - C**2 * (1 - abar_T)).clamp(min=0) if eta > 0 else torch.zeros(())
    return JumpCoefficients(float(K), float(M), float(V))


def jump(
    schedule: NoiseSchedule,
    restored: Tensor,
    tau: float,
    generators: Sequence[torch.Generator] | None = None,
    *,
    x_T: Tensor | None = None,
    noise: Tensor | None = None,
    eta: float = 1.0,
    steps: Sequence[float] | None = None,
    variance: Variance = "posterior",
) -> Tensor:
    """Eq. 8: from x_T straight to `noisy` at sigma(tau), with the restorer's answer as the estimate on the way.

    Without `x_T`, it is standard normal and is integrated out: K x_T + sqrt(V) z is one draw of variance K^2 + V. So
    the noise of an image is the same for every tau, and at tau = T the result is plain sampling's own start.

    Args:
        schedule: the noise schedule.
        restored: the restorer's answer, (B, 3, H, W), in [0, 1] units.
        tau: where sampling is to start, in (0, T].
        generators: one per image, as from `noise.generators`; not needed if x_T is given and V is 0.
        x_T: state of the VP process at T, of the shape of `restored`, in VP units.
        noise: z itself, of the shape of `restored`, where it has been drawn before.
        eta: as in `jump_coefficients`.
        steps: as in `jump_coefficients`.
        variance: as in `jump_coefficients`.

    Returns:
        `noisy` at sigma(tau), of the shape, dtype and device of `restored`, in [0, 1] units.

    Raises:
        ScheduleError: as `jump_coefficients`; if x_T has another shape; if noise is needed without generators.
    """
    K, M, V = jump_coefficients(schedule, tau, eta=eta, steps=steps, variance=variance)
    x_tau = M * schedule.noisy_to_vp(restored, 0)
    if x_T is None:
        V += K**2
    elif x_T.shape != restored.shape:
        raise ScheduleError(
            f"x_T has shape {tuple(x_T.shape)}, but the restored image has {tuple(restored.shape)}: the two must agree."
        )
    else:
        x_tau = x_tau + K * x_T.to(restored)
    if V > 0:
        if noise is None:
            if generators is None:
                raise ScheduleError("The jump draws noise, but there are no generators: give one per image.")
            noise = randn(restored.shape, generators, restored.device, restored.dtype)
        x_tau = x_tau + math.sqrt(V) * noise
    return schedule.vp_to_noisy(x_tau, tau)


def _chain(schedule: NoiseSchedule, tau: float, start: float, steps: Sequence[float] | None) -> Tensor:
    """The steps from `start` down to `tau`, both included, float64."""
    if not 0 < tau <= start <= schedule.T:
        raise ScheduleError(
            f"The jump was asked for from step {start:g} to tau = {tau:g}, but it needs "
            f"0 < tau <= start <= T = {schedule.T}: choose tau and start accordingly."
        )
    if steps is None:
        steps = [start, *range(math.ceil(start) - 1, math.floor(tau), -1), tau] if tau < start else [start]
    chain = torch.as_tensor(steps, dtype=torch.float64)
    falls = chain.ndim == 1 and len(chain) > 0 and bool((chain[1:] < chain[:-1]).all())
    if not falls or chain[0] != start or chain[-1] != tau:
        raise ScheduleError(
            f"The replaced steps are {list(steps)}, but they must fall from start = {start:g} to tau = {tau:g}: "
            "list both ends and everything between."
        )
    return chain
