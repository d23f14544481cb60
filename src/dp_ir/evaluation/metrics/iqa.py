"""DISTS, NIQE and TOPIQ through pyiqa, where the user has it.

pyiqa and the weights that it downloads are for non-commercial use only (PolyForm Noncommercial and S-Lab licences): it
is no dependency and no extra of this package, and whoever installs it accepts its terms.
"""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

import torch
from torch import Tensor

from dp_ir.errors import DataError, DPIRError
from dp_ir.evaluation.metrics.metric import check_pair, round_to_8_bit

NOTE = "pyiqa and its weights are for non-commercial use only"


@dataclass(frozen=True)
class _Measure:
    """One measure of pyiqa: its name there, what it is, direction, and whether it looks at the target."""

    key: str
    text: str
    higher_is_better: bool
    with_target: bool


_MEASURES = {
    "DISTS": _Measure("dists", "DISTS (Ding et al. 2020), VGG16", False, True),
    "NIQE": _Measure("niqe", "NIQE (Mittal et al. 2013), luma, of the output alone", False, False),
    "TOPIQ": _Measure(
        "topiq_nr", "TOPIQ-NR (Chen et al. 2023), ResNet-50 on KonIQ-10k, of the output alone", True, False
    ),
}
_DELTA = "TOPIQ-delta"


@dataclass(frozen=True)
class IQA:
    """A measure of pyiqa between outputs and targets (B, 3, H, W) in [0, 1]: one value per image.

    Args:
        name: "DISTS", "NIQE", "TOPIQ", or "TOPIQ-delta": |TOPIQ-NR(output) - TOPIQ-NR(target)|, lower is better.
        measure: the callable of `load_iqa` for it; "TOPIQ" and "TOPIQ-delta" may share one (`dataclasses.replace`).
        device: where it runs.
        version: of pyiqa, for the protocol.

    Images are clipped and rounded to 8 bits first. NIQE and TOPIQ do not look at the target.
    """

    name: str
    measure: Callable[..., Tensor] = field(repr=False)
    device: str = "cpu"
    version: str = ""

    @property
    def higher_is_better(self) -> bool:
        """Direction of the measure."""
        return self.name != _DELTA and _MEASURES[self.name].higher_is_better

    @property
    def protocol(self) -> str:
        """How the number came about."""
        text = _MEASURES[_base(self.name)].text
        if self.name == _DELTA:
            text = "|TOPIQ-NR(output) - TOPIQ-NR(target)|, " + text.removesuffix(", of the output alone")
        pyiqa = f"pyiqa {self.version}".strip()
        return f"{self.name}: {text}, RGB clipped and rounded to 8 bits; mean over images ({pyiqa}: {NOTE})"

    @torch.inference_mode()
    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Outputs and targets (B, 3, H, W) in [0, 1] -> values (B,) float64; raises DataError."""
        check_pair(output, target)
        images, references = (
            round_to_8_bit(image.detach().to(self.device, torch.float32)) for image in (output, target)
        )
        # One by one: some of these measures depend on what else is in the batch, or return one value for all of it.
        return torch.stack(
            [
                self._one(image.unsqueeze(0), reference.unsqueeze(0))
                for image, reference in zip(images, references, strict=True)
            ]
        )

    def _one(self, image: Tensor, reference: Tensor) -> Tensor:
        if self.name == _DELTA:
            return (self._value(image) - self._value(reference)).abs()
        return self._value(image, reference) if _MEASURES[self.name].with_target else self._value(image)

    def _value(self, *images: Tensor) -> Tensor:
        return self.measure(*images).detach().reshape(()).to(device="cpu", dtype=torch.float64)


def load_iqa(name: str, device: str | torch.device = "cpu") -> IQA:
    """A measure of pyiqa, with the weights that pyiqa has or downloads.

    Args:
        name: as for `IQA`.
        device: where it runs.

    Raises:
        DPIRError: pyiqa is not installed.
        DataError: no such measure, or its weights are not on this machine and cannot be fetched.
    """
    if name != _DELTA and name not in _MEASURES:
        raise DataError(f"There is no measure {name!r} of pyiqa here: known are {', '.join([*_MEASURES, _DELTA])}.")
    try:
        pyiqa: Any = importlib.import_module("pyiqa")
    except ModuleNotFoundError as error:
        if error.name != "pyiqa":
            raise  # it is there, and something it needs itself is not: its own message says more
        raise DPIRError(
            f"{name} needs the package 'pyiqa', which is not installed: pip install pyiqa ({NOTE}), or leave {name} "
            "out."
        ) from error
    key = _MEASURES[_base(name)].key
    try:
        measure = pyiqa.create_metric(key, device=torch.device(device))
    except (OSError, HTTPException, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(
            f"The weights of {name} are not on this machine, and pyiqa cannot fetch or read them ({error}); connect to "
            f"the internet once, or leave {name} out."
        ) from error
    return IQA(name, measure, str(device), str(getattr(pyiqa, "__version__", "")))


def _base(name: str) -> str:
    return "TOPIQ" if name == _DELTA else name
