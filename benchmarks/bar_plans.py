"""What `bars.py` measures and what must be reached: one row of `SECTIONS` per comparison, one `Rule` per bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Relation = Literal[">=", "<="]

OURS = "DP-IR"
SAMPLE = "DP-IR at detail 1"
ESTIMATES = "DP-IR trained for estimates, 8 calls"
ALONE = "restorer"
ONE_FRAME = "restorer, one frame"
INPUT = "input"
NOISE, NOISE_HALF = "restorer + noise", "restorer + noise (half scale)"

DEGRADED = "degraded:"
"""Before the folder of clean images of a set that is made here, by the task's degradation."""

CALLS = "calls of the "
"""Before the role of a network: how often it was called for an image, as a metric."""


@dataclass(frozen=True)
class Rule:
    """One bar, on each of some data sets.

    Args:
        metric: as its column is called, or `CALLS` and a role.
        of: the method that is judged.
        relation: of the figure to the limit.
        limit: what must be reached.
        over: a method whose value divides; empty for none.
        less: a method whose value is taken away; empty for none.
        less_metric: the metric of that, where it is another.
        target: what the figure should be, where its distance from there is limited; None for none.
        sets: names of the data sets; empty for all of the plan.
    """

    metric: str
    of: str
    relation: Relation
    limit: float
    over: str = ""
    less: str = ""
    less_metric: str = ""
    target: float | None = None
    sets: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What is measured, for the table of bars."""
        words = f"{self.metric}, {self.of}"
        if self.over:
            words += f" / {self.over}"
        if self.less:
            words += f" - {f'{self.less_metric}, ' if self.less_metric else ''}{self.less}"
        if self.target is None:
            return words
        return f"|{words} - {self.target:g}|" if self.target else f"|{words}|"

    @property
    def unit(self) -> str:
        """Of the figure."""
        return "dB" if self.metric.startswith("PSNR") and not self.over else ""

    @property
    def digits(self) -> int:
        """Decimals of the figure."""
        if self.metric.startswith(CALLS):
            return 0
        return 3 if self.over or self.metric.startswith("LPIPS") or self.metric.startswith("Spread") else 2

    def measured(self, value: Callable[[str, str], float | None]) -> float | None:
        """The figure, from (method, metric) -> value; None where one of its values is missing."""
        own = value(self.of, self.metric)
        other = value(self.over or self.less, self.less_metric or self.metric) if self.over or self.less else None
        if own is None or (other is None and (self.over or self.less)):
            return None
        if other is not None:
            own = own / other if self.over else own - other
        return own if self.target is None else abs(own - self.target)


@dataclass(frozen=True)
class Plan:
    """One comparison of methods on data sets of a task.

    Args:
        title: of its table.
        task: name, as bars begin with, of a task or of one of `bar_tasks`.
        out: folder below `--out`; plans of one folder share their images, where a name must mean one thing.
        sets: folders in DATA, or `DEGRADED` and a folder of clean images.
        methods: texts by name, with `{BUNDLE}` for a bundle and `{weights}` for WEIGHTS.
        metrics: by their names on the command line.
        rules: the bars.
        needs: a file that must be in WEIGHTS; empty for none.
        partner: whose restorer it is, for the table of bars; empty for the bundle's.
    """

    title: str
    task: str
    out: str
    sets: tuple[str, ...]
    methods: Mapping[str, str]
    metrics: tuple[str, ...]
    rules: tuple[Rule, ...]
    needs: str = ""
    partner: str = ""


# ---- rules that several plans have -----------------------------------------------------------------------------------


def _shares(full: float, half: float, over: tuple[str, str] = (ALONE, ALONE), sets: tuple[str, ...] = ()) -> list[Rule]:
    """LPIPS of DP-IR over that of another method, at full and at half scale."""
    return [
        Rule("LPIPS", OURS, "<=", full, over=over[0], sets=sets),
        Rule("LPIPS 1/2", OURS, "<=", half, over=over[1], sets=sets),
    ]


def _one_call(dataset: str) -> list[Rule]:
    """The calls do not depend on the image, so one data set tells them."""
    return [Rule(f"{CALLS}{role}", OURS, "<=", 1, sets=(dataset,)) for role in ("denoiser", "fusion")]


def _calibrated(part: str) -> Rule:
    return Rule(f"Spread-error {part}", SAMPLE, "<=", 0.1, target=1.0)


# ---- methods and data that several plans have ------------------------------------------------------------------------


def _controls(bundle: str) -> dict[str, str]:
    """The restorer, and the noise controls, each tuned for its scale."""
    return {
        ALONE: f"restorer:{{{bundle}}}",
        NOISE: f"noise:{{{bundle}}}",
        NOISE_HALF: f"noise:{{{bundle}}},metric=lpips-half",
    }


_SR4 = ("test/Set14", "test/Kodak24", "test/CBSD68", "test/Set5")
_MADE = f"{DEGRADED}test/Kodak24"
_PHOTOS = (_MADE, f"{DEGRADED}test/CBSD68")
_BLUR = (_MADE, "deblur/reds320", "deblur/gopro_frames", "deblur/gopro", "deblur/gopro_patches")
_LPIPS = ("psnr", "ssim", "lpips", "lpips-half")
_NATURAL = ("Set14", "Kodak24", "CBSD68")
_SMALL = ("Set14", "Kodak24")


def _jpeg(quality: int, gain: float) -> Plan:
    """Photos at their own size, as a JPEG file has them."""
    return Plan(
        title=f"clean, JPEG of quality {quality}",
        task=f"jpeg-{quality}",
        out=f"jpeg-{quality}",
        sets=(_MADE,),
        methods={OURS: "{clean}", INPUT: "bicubic:1", ALONE: "restorer:{clean}"},
        metrics=_LPIPS,
        rules=(Rule("PSNR", ALONE, ">=", gain, less=INPUT), Rule("LPIPS", OURS, "<=", 1.0, over=INPUT)),
    )


def _swapped(partner: str, file: str, full: float, half: float, stated: str = "") -> Plan:
    """The fusion of sr4 with a restorer of another project."""
    where = f"{{weights}}/{file}"
    return Plan(
        title=f"sr4 with the restorer {partner}",
        task="sr4",
        out=f"swap-{partner}",
        sets=("test/Set14", "test/Kodak24"),
        methods={
            OURS: f"{{sr4}},restorer={where}{f',restorer.{stated}' if stated else ''}",
            ALONE: f"restorer:{where}{f',{stated}' if stated else ''}",
        },
        metrics=_LPIPS,
        rules=tuple(_shares(full, half)),
        needs=file,
        partner=partner,
    )


SECTIONS: dict[str, tuple[Plan, ...]] = {
    "sr4": (
        Plan(
            title="sr4",
            task="sr4",
            out="sr4",
            sets=_SR4,
            methods={
                OURS: "{sr4}",
                SAMPLE: "{sr4},detail=1",
                ESTIMATES: "{sr4-estimate},steps=8",
                "bicubic": "bicubic:4",
                **_controls("sr4"),
            },
            metrics=("psnr", "psnr-y", "ssim", "lpips", "lpips-half", "swd", "bands"),
            rules=(
                *_shares(0.46, 0.52, sets=_NATURAL),
                Rule("PSNR", OURS, ">=", -1.3, less=ALONE, sets=_NATURAL),
                *_shares(0.62, 0.54, over=(NOISE, NOISE_HALF), sets=_NATURAL),
                *_shares(0.95, 0.95, over=(NOISE, NOISE_HALF), sets=("Set5",)),
                Rule("SWD", OURS, "<=", 0.50, over=ALONE, sets=_SMALL),
                *_one_call("Kodak24"),
            ),
        ),
    ),
    "swap": (
        _swapped("CRAFT", "craft_x4.pth", 0.46, 0.47),
        _swapped("RLFN", "rlfn_x4.pth", 0.46, 0.47, "value_range=0,255"),
    ),
    "spread": (
        Plan(
            title="sr4: several samples of each image",
            task="sr4",
            out="sr4",
            sets=("test/Kodak24",),
            methods={SAMPLE: "{sr4},detail=1", ALONE: "restorer:{sr4}"},
            metrics=("psnr", "psnr-mean", "bands", "spread-error"),
            rules=(
                Rule("Band 1", SAMPLE, "<=", 0.30, target=0.0),
                Rule("Band 2", SAMPLE, "<=", 0.15, target=0.0),
                Rule("Colour band 1", SAMPLE, "<=", 0.30, target=0.0),
                Rule("PSNR mean", SAMPLE, "<=", 0.2, less=ALONE, less_metric="PSNR", target=0.0),
                _calibrated("pixels"),
                _calibrated("band 1"),
                _calibrated("band 2"),
            ),
        ),
    ),
    "photo": (
        Plan(
            title="photo",
            task="photo",
            out="photo",
            sets=_PHOTOS,
            methods={OURS: "{photo}", "sr4": "{sr4}", "bicubic": "bicubic:4", **_controls("photo")},
            metrics=(*_LPIPS, "bands"),
            rules=(*_shares(0.75, 0.75), Rule("PSNR", OURS, ">=", -1.0, less=ALONE), *_one_call("Kodak24")),
        ),
        Plan(
            title="photo: soft, noisy and compressed, all of them",
            task="photo-strong",
            out="photo-strong",
            sets=_PHOTOS,
            methods={OURS: "{photo}", "sr4": "{sr4}", "bicubic": "bicubic:4", ALONE: "restorer:{photo}"},
            metrics=_LPIPS,
            rules=(Rule("LPIPS", OURS, "<=", 0.22), Rule("LPIPS 1/2", OURS, "<=", 0.145)),
        ),
        Plan(
            title="photo on clean reductions",
            task="sr4",
            out="sr4",
            sets=("test/Set14", "test/Kodak24"),
            methods={"photo": "{photo}", OURS: "{sr4}"},
            metrics=_LPIPS,
            rules=(Rule("LPIPS", "photo", "<=", 1.10, over=OURS),),
        ),
    ),
    "clean": (
        Plan(
            title="clean",
            task="clean",
            out="clean",
            sets=_PHOTOS,
            methods={OURS: "{clean}", INPUT: "bicubic:1", ALONE: "restorer:{clean}"},
            metrics=(*_LPIPS, "bands"),
            rules=tuple(_one_call("Kodak24")),
        ),
        _jpeg(30, 1.2),
        _jpeg(50, 1.0),
        _jpeg(80, 0.5),
        Plan(
            title="clean on photos that need nothing",
            task="untouched",
            out="untouched",
            sets=(_MADE,),
            methods={OURS: "{clean}", ALONE: "restorer:{clean}"},
            metrics=_LPIPS,
            rules=(Rule("PSNR", OURS, ">=", 36.0),),
        ),
    ),
    "time": (),  # measured in `bar_measures`
    "deblur": (
        Plan(
            title="deblur",
            task="deblur",
            out="deblur",
            sets=_BLUR,
            methods={OURS: "{deblur}", INPUT: "bicubic:1", **_controls("deblur")},
            metrics=(*_LPIPS, "bands"),
            rules=(
                *_shares(0.80, 0.85, sets=("Kodak24",)),
                *_shares(0.95, 0.95, sets=("reds320",)),
                *_one_call("Kodak24"),
            ),
        ),
    ),
    "burst": (
        Plan(
            title="burst",
            task="burst",
            out="burst",
            sets=(_MADE,),
            methods={
                OURS: "{burst}",
                "bilinear + bicubic": "bicubic:4",
                ONE_FRAME: "restorer:{burst},frames=1",
                **_controls("burst"),
            },
            metrics=("psnr", "psnr-linear", *_LPIPS[1:], "bands"),
            rules=(
                *_shares(0.65, 0.75),
                Rule("PSNR", OURS, ">=", -1.2, less=ALONE),
                *_one_call("Kodak24"),
            ),
        ),
    ),
    "networks": (  # and the denoiser, in `bar_measures`
        Plan(
            title="The restorer of sr4",
            task="sr4",
            out="sr4",
            sets=("test/Set5", "test/Set14"),
            methods={"bicubic": "bicubic:4", ALONE: "restorer:{sr4}"},
            metrics=("psnr-y", "ssim-y"),
            rules=(
                Rule("PSNR-Y", ALONE, ">=", 31.9, sets=("Set5",)),
                Rule("PSNR-Y", ALONE, ">=", 28.45, sets=("Set14",)),
            ),
        ),
        Plan(
            title="The restorer of deblur",
            task="deblur",
            out="deblur",
            sets=_BLUR[:4],
            methods={INPUT: "bicubic:1", ALONE: "restorer:{deblur}"},
            metrics=("psnr", "ssim"),
            rules=(
                Rule("PSNR", ALONE, ">=", 2.2, less=INPUT, sets=("Kodak24",)),
                Rule("PSNR", ALONE, ">=", 1.0, less=INPUT, sets=("reds320", "gopro", "gopro_frames")),
            ),
        ),
        Plan(
            title="The restorer of burst, 14 frames",
            task="burst",
            out="burst",
            sets=(_MADE,),
            methods={
                "bilinear + bicubic": "bicubic:4",
                ONE_FRAME: "restorer:{burst},frames=1",
                ALONE: "restorer:{burst}",
            },
            metrics=("psnr", "psnr-linear", "ssim"),
            rules=(Rule("PSNR", ALONE, ">=", 28.6), Rule("PSNR linear", ALONE, ">=", 36.2)),
        ),
    ),
}
"""Comparisons by section."""
