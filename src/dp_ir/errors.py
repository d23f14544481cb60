"""Every error this package raises on purpose.

Each carries one sentence that says what was found, what was expected and what to do; the command line prints that
sentence and exits with a status other than 0.
"""

from __future__ import annotations


class DPIRError(Exception):
    """Base of all errors raised on purpose by this package."""


class ImageReadError(DPIRError):
    """A file is not an image that can be restored."""


class ImageWriteError(DPIRError):
    """An image cannot be written where or how it was asked for."""


class CheckpointError(DPIRError):
    """A weight file is missing, damaged, or does not hold what its architecture needs."""


class UnsafeCheckpointError(CheckpointError):
    """A weight file would run code when loaded; it is refused, and nothing in it was executed."""


class BundleError(DPIRError):
    """A bundle folder is incomplete or contradicts itself."""


class SigmaRangeError(DPIRError):
    """A noise level lies outside the range a network was trained for."""


class ScheduleError(DPIRError):
    """A noise schedule, step or grid of steps is not valid."""


class UnsupportedSchedulerError(DPIRError):
    """A foreign scheduler cannot run on an estimate of the clean image."""


class NetworkContractError(DPIRError):
    """A network returned something other than its contract promises (shape, range, finite values)."""


class RecipeError(DPIRError):
    """A training recipe is incomplete or contradicts itself."""


class DataError(DPIRError):
    """A folder of images does not hold what training or evaluation needs."""


class MissingExtraError(DPIRError):
    """A feature needs an optional dependency that is not installed."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs the package '{package}', which is not installed: pip install 'dp-ir[{extra}]'."
        )
