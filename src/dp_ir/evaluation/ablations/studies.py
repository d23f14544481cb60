"""The paper's experiments as named studies: which methods a question needs, and what is plotted against what.

A study only lists methods, as texts of `parse_method`; `evaluate` runs them, `draw` plots what came out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dp_ir.checkpoints.bundle import BundleSettings, locate_bundle, read_config
from dp_ir.checkpoints.loading import load_denoiser, read_network
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.errors import DataError
from dp_ir.evaluation.methods.parsing import split_method
from dp_ir.evaluation.report.plots import Axis
from dp_ir.restoration.pipeline import DEFAULT_SETTINGS

_DEFAULT = NoiseSchedule.from_config(DEFAULT_SETTINGS.schedule)
_STRENGTHS = (1.0, 0.75, 0.5, 0.25, 0.0)


@dataclass(frozen=True)
class Variant:
    """One method of a study.

    Args:
        text: as for `parse_method`, with its name.
        group: variants of one group are joined by a line.
        x: its place on the axis of the study, where it has one.
    """

    text: str
    group: str = ""
    x: float | None = None

    @property
    def name(self) -> str:
        """Name of the method."""
        return split_method(self.text).name


@dataclass(frozen=True)
class Study:
    """What is compared for one question.

    Args:
        question: what it answers.
        variants: the methods, the reference of the tests first.
        axis: what `Variant.x` is; None where variants have no order.
        notes: lines for the protocols.
    """

    question: str
    variants: Sequence[Variant]
    axis: Axis | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Subject:
    """What a study is made for.

    Args:
        bundle: name, folder or hub id.
        values: the grid of the study, where the default one is not wanted.
        restorers: further restorers by name, for `swap` and `restorer`; see also `has_restorer`.
        denoisers: further denoisers by name, for `swap` and `denoiser`.
        fusions: fusion files by name, for `fusion`.
    """

    bundle: str
    values: Sequence[float] = ()
    restorers: Mapping[str, str] = field(default_factory=dict)
    denoisers: Mapping[str, str] = field(default_factory=dict)
    fusions: Mapping[str, Path] = field(default_factory=dict)

    @property
    def settings(self) -> BundleSettings:
        """Of the bundle."""
        return read_config(locate_bundle(self.bundle)).settings

    @property
    def has_restorer(self) -> bool:
        """Whether the bundle holds a restorer; without one the first of `restorers` takes its place."""
        return "restorer" in read_config(locate_bundle(self.bundle)).networks

    @property
    def schedule(self) -> NoiseSchedule:
        """Of the bundle."""
        return NoiseSchedule.from_config(self.settings.schedule)

    def highest_tau(self, denoiser: str | None = None) -> float:
        """The highest step whose noise level both the denoiser (the bundle's own if None) and the fusion know."""
        folder = locate_bundle(self.bundle)
        limits = [load_denoiser(denoiser or self.bundle, probe=False).info.sigma_range]
        entry = read_config(folder).networks.get("fusion")
        if entry is not None:
            limits.append(_sigma_range(folder / entry.file))
        highest = min((limit[1] for limit in limits if limit is not None), default=math.inf)
        schedule = self.schedule
        return float(schedule.T if float(schedule.sigma(schedule.T)) <= highest else int(schedule.step(highest)))

    def taus(self, highest: float) -> Sequence[float]:
        """The values as steps where sampling starts; raises DataError for those that the networks do not know."""
        for value in self.values:
            if not 0 < value <= highest:
                raise DataError(
                    f"tau = {value:g} was asked for: it must lie above 0 and be at most {highest:g}, up to where the "
                    "networks know the noise."
                )
        return self.values

    def counts(self) -> list[int]:
        """The values as numbers of steps; raises DataError for what is none."""
        for value in self.values:
            if not (value >= 1 and value == value // 1):
                raise DataError(f"{value:g} steps were asked for: give whole numbers of at least 1.")
        return [int(value) for value in self.values]

    def variant(
        self, name: str, *, kind: str = "bundle", group: str = "", x: float | None = None, **settings: Any
    ) -> Variant:
        """The bundle with some settings changed."""
        if not self.has_restorer and "restorer" not in settings:
            if not self.restorers:
                raise DataError(f"The bundle '{self.bundle}' holds no restorer: name one with --restorer NAME=SOURCE.")
            settings["restorer"] = next(iter(self.restorers.values()))
        changes = "".join(f",{key}={_text(value)}" for key, value in settings.items())
        return Variant(f"{name}={kind}:{self.bundle}{changes}", group, x)

    def restorer_alone(self) -> Variant:
        """The bundle's restorer, without diffusion."""
        return self.variant("restorer", tau=0)


def tau_study(subject: Subject) -> Study:
    """Where sampling starts, from the restorer alone up to T."""
    highest, steps = subject.highest_tau(), subject.settings.steps
    grid = subject.taus(highest) or (*range(50, int(highest) - 24, 50), highest)
    schedule = subject.schedule
    variants = [subject.restorer_alone()]
    variants += [
        subject.variant(f"tau {tau:g}, {count} steps", tau=tau, steps=count, group=f"{count} steps", x=tau)
        for count in sorted({steps, max(1, steps // 2)})
        for tau in grid
    ]
    end = f"sigma(tau) is {float(schedule.sigma(highest)):.3g} at the highest tau, {highest:g} of {schedule.T}"
    if highest < schedule.T:
        end += (
            "; the networks know no more noise, and above it the restorer's output stands for every estimate, so that "
            "a start at T has the same law as this one (eq. 8)"
        )
    return Study("How late can sampling start?", variants, Axis("tau (step of T)"), [end + "."])


def steps_study(subject: Subject) -> Study:
    """How many network calls are spent."""
    grid = subject.counts() or [1, 2, 4, 8, 16, 32]
    variants = [subject.restorer_alone()]
    variants += [subject.variant(f"{n} steps", steps=n, group="DP-IR", x=n) for n in grid]
    return Study("How many calls are needed?", variants, Axis("calls of the denoiser and of the fusion", log=True))


def sampler_study(subject: Subject) -> Study:
    """Samplers, each with the jump to tau and without it (the paper's table 10)."""
    grid = subject.counts() or [4, 8, 16, 32]
    tau, highest = subject.settings.tau, subject.highest_tau()
    variants = [subject.restorer_alone()]
    for start, place in ((tau, f"from tau {tau:g}"), (highest, f"from {highest:g}")):
        for sampler in ("ddpm", "ddim", "dpmpp-2m"):
            variants += [
                subject.variant(
                    f"{sampler}, {n} steps {place}",
                    sampler=sampler,
                    eta=_eta(sampler),
                    steps=n,
                    tau=start,
                    group=f"{sampler} {place}",
                    x=n,
                )
                for n in grid
            ]
    note = f"{highest:g} is the highest step the networks know: the restorer's output stands for the estimates before."
    return Study(
        "What do faster samplers add to the jump?",
        variants,
        Axis("calls of the denoiser and of the fusion", log=True),
        [note],
    )


def start_study(subject: Subject) -> Study:
    """What is diffused to tau, and what follows (the paper's table 8)."""
    highest = subject.highest_tau()
    grid = subject.taus(highest) or [tau for tau in (100, 200, 300, 400, 500, 600) if tau <= highest]
    kinds = {
        "restorer's output, fusion": "bundle",
        "upsampled observation, fusion": "upsampled",
        "restorer's output, denoiser alone (SDEdit)": "sdedit",
        "upsampled observation, denoiser and data (CCDF)": "ccdf",
    }
    variants = [subject.restorer_alone()]
    for group, kind in kinds.items():
        for tau in grid:
            # SDEdit and CCDF count tau in a schedule of their own.
            own = tau if kind in ("bundle", "upsampled") else _DEFAULT.step(subject.schedule.sigma(tau))
            variants.append(
                subject.variant(f"{group}, tau {tau:g}", kind=kind, tau=round(float(own), 6), group=group, x=tau)
            )
    note = (
        f"With the fusion {subject.settings.steps} steps are taken, by SDEdit and CCDF 20. SDEdit from the restorer's "
        "output is also what ES-DDPM does with a generator's."
    )
    return Study(
        "Does the jump from the restorer's output beat other late starts?", variants, Axis("tau (step of T)"), [note]
    )


def fusion_study(subject: Subject) -> Study:
    """Fusion networks of equal size, trained on equal terms."""
    if not subject.fusions:
        raise DataError("The study of fusion forms compares trained fusion networks, but none is given.")
    variants = [subject.restorer_alone()]
    variants += [subject.variant(name, fusion=path, group=name) for name, path in subject.fusions.items()]
    return Study("How should the two estimates be combined?", variants)


def swap_study(subject: Subject) -> Study:
    """Networks that the fusion never met (the paper's table 12)."""
    if not subject.restorers and not subject.denoisers:
        raise DataError("The study 'swap' needs other networks: give --restorer NAME=SOURCE or --denoiser NAME=SOURCE.")
    restorers: dict[str, str | None] = {"own": None, **subject.restorers}
    if not subject.has_restorer:
        del restorers["own"]
    denoisers: dict[str, str | None] = {"own": None, **subject.denoisers}
    variants, notes = [], []
    for restorer, source in restorers.items():
        changed: dict[str, Any] = {} if source is None else {"restorer": source}
        variants.append(subject.variant(f"{restorer} restorer", group=restorer, tau=0, **changed))
        variants.append(Variant(f"{restorer} restorer + noise=noise:{source or subject.bundle}", group=restorer))
        for denoiser, other in denoisers.items():
            tau = min(subject.settings.tau, subject.highest_tau(other))
            both: dict[str, Any] = {**changed, **({} if other is None else {"denoiser": other})}
            variants.append(
                subject.variant(f"{restorer} restorer, {denoiser} denoiser", group=restorer, tau=tau, **both)
            )
            notes.append(f"With the {denoiser} denoiser sampling starts at tau = {tau:g}.")
    return Study("Does the fusion work with networks it never met?", variants, notes=[*dict.fromkeys(notes)])


def restorer_study(subject: Subject) -> Study:
    """How good the restorer must be."""
    return _strength_study(subject, "restorer", subject.restorers, "bicubic enlargement")


def denoiser_study(subject: Subject) -> Study:
    """How good the denoiser must be."""
    return _strength_study(subject, "denoiser", subject.denoisers, "a local 5x5 Wiener filter")


def detail_study(subject: Subject) -> Study:
    """The dial from the mean to a sample: the bundle's own, and the straight line between the two."""
    grid = subject.values or (0.2, 0.4, 0.6, 0.8, 1.0)
    variants = [subject.restorer_alone()]
    variants += [subject.variant(f"detail {d:g}", detail=d, group="the dial", x=d) for d in grid]
    variants += [
        subject.variant(f"line {d:g}", kind="line", share=d, group="straight line to detail 1", x=d) for d in grid
    ]
    return Study("How much detail?", variants, Axis("detail"))


STUDIES: dict[str, Callable[[Subject], Study]] = {
    "detail": detail_study,
    "tau": tau_study,
    "steps": steps_study,
    "sampler": sampler_study,
    "start": start_study,
    "fusion": fusion_study,
    "swap": swap_study,
    "restorer": restorer_study,
    "denoiser": denoiser_study,
}
"""Studies by name."""


def _strength_study(subject: Subject, kind: str, sources: Mapping[str, str], plain: str) -> Study:
    variants = [subject.restorer_alone()]
    for strength in subject.values or _STRENGTHS:
        key = f"{kind}_strength"
        if kind == "restorer":
            name = f"restorer of strength {strength:g} alone"
            variants.append(
                subject.variant(name, kind="weaker", tau=0, group="restorer alone", x=strength, **{key: strength})
            )
        variants.append(
            subject.variant(
                f"{kind} of strength {strength:g}", kind="weaker", group="DP-IR", x=strength, **{key: strength}
            )
        )
    for name, source in sources.items():
        changed: dict[str, Any] = {kind: source}
        tau = min(subject.settings.tau, subject.highest_tau(source if kind == "denoiser" else None))
        variants.append(subject.variant(f"{kind} {name}", group=name, tau=tau, **changed))
    note = f"At strength s the {kind}'s output is s times its own plus 1 - s times that of {plain}."
    return Study(f"How good must the {kind} be?", variants, Axis(f"strength of the {kind}"), [note])


def _sigma_range(path: Path) -> tuple[float, float] | None:
    _, record = read_network(path, "fusion")
    limits = record.info.get("sigma_range")
    return None if limits is None else (float(limits[0]), float(limits[1]))


def _eta(sampler: str) -> float:
    return 1.0 if sampler == "ddpm" else 0.0


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
