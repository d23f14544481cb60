"""What a metric is: of single images, or of whole sets, with how it is shown in tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from dp_ir.errors import DataError


class Metric(Protocol):
    """What a comparison needs of a metric of single images."""

    @property
    def name(self) -> str:
        """Short name for the head of a column."""
        ...

    @property
    def protocol(self) -> str:
        """One line that lets somebody else compute the same number."""
        ...

    @property
    def higher_is_better(self) -> bool | None:
        """Direction of the metric; None where what is nearest to its attribute `ideal` (0 without one) is best."""
        ...

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Outputs and targets (B, 3, H, W) in [0, 1] -> values (B,)."""
        ...


class SetMetric(Protocol):
    """What a comparison needs of a metric of whole sets of images, such as `distribution.SlicedWasserstein`."""

    @property
    def name(self) -> str:
        """Short name for the head of a column."""
        ...

    @property
    def protocol(self) -> str:
        """One line that lets somebody else compute the same number."""
        ...

    @property
    def higher_is_better(self) -> bool | None:
        """Direction of the metric; None where what is nearest to its attribute `ideal` (0 without one) is best."""
        ...

    def __call__(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> float:
        """Two sets of images, each (1, 3, H, W) in [0, 1] and of any size -> one number."""
        ...


def round_to_8_bit(image: Tensor) -> Tensor:
    """Clip to [0, 1] and round to the 256 levels of an 8-bit file."""
    return (image.clamp(0.0, 1.0) * 255.0).round() / 255.0


def check_pair(output: Tensor, target: Tensor) -> None:
    """Raise `DataError` unless both are (B, 3, H, W) of the same shape."""
    if output.ndim != 4 or output.shape[1] != 3 or output.shape != target.shape:
        raise DataError(
            f"The output has shape {tuple(output.shape)} and the target {tuple(target.shape)}; both must be "
            "(B, 3, H, W) and equal: crop or resize them before they are compared."
        )


@dataclass(frozen=True)
class MetricInfo:
    """One column of numbers.

    Args:
        name: head of the column, such as "PSNR-Y" or "LPIPS 1/2".
        protocol: one line that lets somebody else compute the same number.
        higher_is_better: its direction; None where neither is better, but what is nearest to `ideal`.
        digits: decimals in tables.
        of_sets: whether there is one value per data set (FID, SWD) rather than one per image.
        ideal: the best value of a metric without direction.
    """

    name: str
    protocol: str
    higher_is_better: bool | None
    digits: int = 3
    of_sets: bool = False
    ideal: float = 0.0

    def loss(self, value: float) -> float:
        """What a value is worth: the smaller, the better, whatever the direction.

        Examples:
            >>> MetricInfo("Band 1", "log2 of a ratio", None).loss(-2.0)
            2.0
        """
        if self.higher_is_better is None:
            return abs(value - self.ideal)
        return -value if self.higher_is_better else value
