"""What happens after the restorer: a chain of sampler calls, and the dial between the restorer's estimate and a sample.

A fusion may have been trained through one chain, see `dp_ir.checkpoints.trained_for`. It serves others, and says so.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from itertools import chain as in_a_row
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dp_ir.checkpoints.network_file import Kind
from dp_ir.checkpoints.trained_for import chain_in_words, chain_sigmas, trained_for
from dp_ir.diffusion.samplers import SAMPLERS, Sampler, linear_steps
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.errors import ScheduleError, SigmaRangeError

_SAME = 1e-6  # relative to the larger of two numbers, which files may have rounded


class UnseenChainWarning(UserWarning):
    """A fusion runs in another chain than the one it was trained through: it works, but its samples are not right."""


class Chain(NamedTuple):
    """What happens after the restorer."""

    tau: float
    sigmas: Tensor
    """Noise levels from sigma(tau) to 0; of tau = 0 that level alone."""
    sampler: Sampler
    eta: float | None
    """None for the sampler's own."""
    detail: float = 1.0
    """What a fusion that sees the dial is given."""
    share: float = 1.0
    """Of the way from the restorer's estimate to the sample; 1 where the fusion sees this place of the dial itself."""

    @property
    def calls(self) -> int:
        """Of the denoiser and the fusion; samplers that make several a step make one in the last, which ends at 0."""
        several = getattr(self.sampler, "calls_per_step", 1)
        steps = len(self.sigmas) - 1
        return several * steps - (several - 1) if steps else 0

    @property
    def jump_eta(self) -> float:
        """The eta of the steps that the jump to tau replaces."""
        return self.eta if self.eta is not None else getattr(self.sampler, "eta", 0.0)

    def dialled(self, restored: Tensor, sample: Tensor) -> Tensor:
        """The point between the restorer's estimate and a sample, of one shape, that the dial asks for.

        The cheap dial. The best one, with the smallest error for its distance in Wasserstein-2 from the law of clean
        images, is a straight line too, but to the estimate of perfect law that is nearest to the mean, not to a sample
        of the posterior (Freirich et al., NeurIPS 2021).
        """
        return sample if self.share == 1 else (sample - restored).mul_(self.share).add_(restored)

    def in_words(self) -> str:
        """Calls, noise levels and sampler."""
        name = next((name for name, sampler in SAMPLERS.items() if sampler is self.sampler), "another sampler")
        return chain_in_words(self.tau, self.sigmas.tolist(), name, self.jump_eta)


def sampler_of(sampler: str | Sampler) -> Sampler:
    """A sampler by its name, or itself.

    Raises:
        ScheduleError: an unknown name.
    """
    if callable(sampler):
        return sampler
    if sampler not in SAMPLERS:
        raise ScheduleError(f"The sampler is {sampler!r}, which is unknown: use one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[sampler]


def checked_detail(detail: float) -> float:
    """The dial as a float; raises ScheduleError where it is no number from 0 to 1."""
    if isinstance(detail, bool) or not isinstance(detail, Real) or not 0 <= detail <= 1:
        raise ScheduleError(
            f"The detail is {detail!r}: expected a number from 0 (the restorer's own result) to 1 (a full sample)."
        )
    return float(detail)


def seen_and_share(detail: float, least: float | None) -> tuple[float, float]:
    """What a fusion is given of the dial, and the share of the way from the restorer's estimate to what it makes of it.

    Args:
        detail: the dial, 0 to 1.
        least: where what the fusion sees of the dial begins, above 0; None for one that sees nothing of it, which makes
            samples.

    Examples:
        >>> seen_and_share(0.7, 0.4), seen_and_share(0.1, 0.4), seen_and_share(0.7, None)
        ((0.7, 1.0), (0.4, 0.25), (1.0, 0.7))
    """
    least = 1.0 if least is None else least
    return max(detail, least), min(detail / least, 1.0)


def check_sigma_range(
    kind: Kind, limits: tuple[float, float] | None, schedule: NoiseSchedule, tau: float, sigmas: Tensor
) -> None:
    """Raise SigmaRangeError where a chain calls a network at noise levels outside `limits`, None for no limits."""
    if limits is None:
        return
    highest, lowest = float(sigmas[0]), float(sigmas[-2])
    if highest > limits[1] * (1 + _SAME):
        largest = int(schedule.step(limits[1]) + _SAME)
        raise SigmaRangeError(
            f"tau = {tau:g} starts at the noise level {highest:.4g}, but the {kind} was trained for levels up to "
            f"{limits[1]:.4g}: choose tau <= {largest} (--tau {largest})."
        )
    if lowest < limits[0] * (1 - _SAME):
        raise SigmaRangeError(
            f"The last step is at the noise level {lowest:.4g}, but the {kind} was trained for levels from "
            f"{limits[0]:.4g}: choose a larger sigma_min (--sigma-min), or fewer steps."
        )


def warn_of_unseen_chain(chain: Chain, own: Mapping[str, Any], *, other_start: bool, stacklevel: int) -> bool:
    """Compare a chain with the one that a fusion was trained through.

    Args:
        chain: what runs.
        own: see `dp_ir.checkpoints.trained_for.chain_settings`; nothing is compared where it is empty.
        other_start: whether the jump to tau starts from another image than the restorer's estimate.
        stacklevel: as for `warnings.warn`, seen from the caller of this function.

    Returns:
        Whether a warning was given.

    Raises:
        ScheduleError: the chain in the fusion's card is none that could be run.
    """
    if not own or chain.tau == 0:
        return False
    trained = Chain(own["tau"], chain_sigmas(own), sampler_of(own["sampler"]), own["eta"])
    found = [] if _same_calls(chain, trained) else [f"runs with {chain.in_words()}"]
    found += ["starts from another image than the restorer's estimate"] if other_start else []
    if found:
        warnings.warn(
            f"The fusion network was trained for {trained_for(own)}, and {' and '.join(found)} here: its samples are "
            "right in its own chain only, so use that, or a fusion that was trained for estimates.",
            UnseenChainWarning,
            stacklevel=stacklevel + 1,
        )
    return bool(found)


def _same_calls(one: Chain, other: Chain) -> bool:
    """Whether two chains call the fusion alike, and make the same of what it gives."""
    if len(one.sigmas) != len(other.sigmas) or not torch.allclose(one.sigmas, other.sigmas, rtol=_SAME, atol=0):
        return False
    if len(one.sigmas) == 2:  # with one call every sampler gives the estimate
        return True
    steps = [linear_steps(chain.sampler, chain.sigmas, chain.eta) for chain in (one, other)]
    if steps[0] is None or steps[1] is None:
        return False
    pairs = zip(in_a_row(*steps[0]), in_a_row(*steps[1]), strict=True)
    return all(math.isclose(a, b, rel_tol=_SAME, abs_tol=_SAME) for a, b in pairs)
