"""Judge a bundle with eyes that no training here saw: features of two other networks, and whether text stays legible.

    python benchmarks/unseen.py --data DATA --models FOLDER [--bundle sr4] [--write results/unseen.md]

DATA holds Set14, Kodak24 and CBSD68. FOLDER is where the package rapidocr_onnxruntime (Apache-2.0) was put by

    pip install --no-deps --target FOLDER rapidocr_onnxruntime opencv-python-headless shapely pyclipper six

or is the name of the package where Python has it. The features are those of its text detector (a PP-LCNetV3) and of its
classifier of upright text (a MobileNetV3), run by ONNX Runtime (extra `export`); its recogniser reads the text.
Everything runs on the CPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from dp_ir.degradation.chance import image_generator
from dp_ir.errors import DataError
from dp_ir.evaluation import PSNR, Metric, NoiseControl, Report, Table, noise_control, open_dataset
from dp_ir.evaluation.methods.method import Observation
from dp_ir.evaluation.methods.restoration_methods import Interpolation
from dp_ir.evaluation.metrics.names import border_of
from dp_ir.restoration.pipeline import Restoration
from dp_ir.tasks import get_task
from reporting import command_line, conclude
from unseen_features import FeatureDistance, behaviour, load_backbone
from unseen_text import (
    PACKAGE,
    SHORTEST,
    SURE,
    Legibility,
    Line,
    Reader,
    find_lines,
    load_reader,
    read_lines,
    sheets_of,
)

SETS = ("Set14", "Kodak24", "CBSD68")
SECTIONS = ("features", "text")
JUDGES = {"detector": "*_det_*.onnx", "classifier": "*_cls_*.onnx"}
"""Networks that judge, and the names of their files in the package."""
DETAILS = (0.25, 0.5, 0.75)
ALONE, NOISE, OURS, ORIGINAL = "restorer", "restorer + noise", "DP-IR", "original"
SHEETS = "sheets"
BEHAVIOUR_IMAGES = 4
TOLERANCE = 2e-3  # of the strength of the noise: half a grey level


@dataclass(frozen=True)
class Material:
    """The images of one set: observations, originals, and the text in them."""

    name: str
    observations: Sequence[Tensor]
    targets: Sequence[Tensor]
    lines: Sequence[Line] = ()


@dataclass(frozen=True)
class Made:
    """What one method made of a set, with the most calls of each network for one image."""

    images: Sequence[Tensor]
    calls: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """One method on one set: the values of each image and their mean, by judge, and the calls of each network."""

    method: str
    dataset: str
    values: Mapping[str, float]
    per_image: Mapping[str, Sequence[float]]
    calls: Mapping[str, int]

    @classmethod
    def of(cls, method: str, material: Material, made: Made, judges: Sequence[Metric]) -> Scores:
        """Judge what a method made of a set."""
        pairs = list(zip(made.images, material.targets, strict=True))
        per_image = {judge.name: torch.cat([judge(*pair) for pair in pairs]).tolist() for judge in judges}
        means = {name: sum(values) / len(values) for name, values in per_image.items()}
        return cls(method, material.name, means, per_image, made.calls)


class Measurement:
    """One run of this command: pipeline, judges, reader and report."""

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self.options, self.console = options, console
        self.pipeline = Restoration.from_pretrained(options.bundle, device="cpu")
        self.task = get_task(self.pipeline.settings.task)
        if self.task.takes_bursts:
            raise DataError(
                f"The bundle '{options.bundle}' takes bursts; only bundles that take images are judged here."
            )
        package, files = find_models(options.models)
        backbones = [load_backbone(name, path) for name, path in files.items() if "features" in options.only]
        self.judges = [FeatureDistance(backbone, scale) for backbone in backbones for scale in ("full", "half")]
        self.reader: Reader | None = load_reader(package) if "text" in options.only else None
        self.report = Report(f"Unseen eyes on the bundle '{options.bundle}'", command_line("unseen"), self._intro())
        self.rows: dict[str, list[list[str | float | None]]] = {name: [] for name in JUDGES}
        self.layers: list[list[str | float | None]] = []
        self.found: dict[str, Legibility] = {}
        self.photos: list[Tensor] = []

    @property
    def details(self) -> list[float]:
        """Settings of the dial that are measured beside the bundle's own."""
        return [detail for detail in self.options.detail if detail != self.pipeline.settings.detail]

    def _intro(self) -> list[str]:
        settings = self.pipeline.settings
        seen = self.pipeline.networks["fusion"].info.detail
        dial = "nowhere" if seen is None else f"from {seen:g} on"
        intro = []
        if "features" in self.options.only:
            intro.append(
                "No training here saw the features of these networks. The distances are not comparable with LPIPS, nor "
                "from judge to judge: what counts are the ratios to the restorer and to the restorer plus the white "
                "noise that is best for the very judge."
            )
        if "text" in self.options.only:
            intro.append("No training here saw text read. What counts is the difference from the restorer.")
        intro.append(
            f"{OURS}: tau {settings.tau:g}, {settings.steps} steps, sampler {settings.sampler}, detail "
            f"{settings.detail:g}; seed {self.options.seed} + image number. Its fusion sees the dial {dial}; below "
            "lies a straight line to the restorer."
        )
        if self.options.limit:
            intro.append(f"Only the first {self.options.limit} images of each set were used.")
        return intro

    # ---- images ------------------------------------------------------------------------------------------------------

    def load(self, name: str) -> Material:
        """The images of a data set, and the text that is read with confidence in the originals."""
        opened = open_dataset(self.options.data / name, scale=self.task.scale, degrade=self.task.degrade)
        pairs = [opened[number] for number in range(min(len(opened), self.options.limit or len(opened)))]
        targets = [pair.target for pair in pairs]
        lines = find_lines(self.reader, targets) if self.reader else []
        return Material(name, [pair.observation for pair in pairs], targets, lines)

    def sheets(self) -> Material:
        """Text written onto the photos."""
        targets, lines = sheets_of(self.photos, self.options.sheets)
        targets = [self.task.crop(target) for target in targets]
        observations: list[Any] = [
            self.task.degrade(target, generator=image_generator(f"sheet {number}"))
            for number, target in enumerate(targets)
        ]
        return Material(SHEETS, observations, targets, lines)

    def methods(self, material: Material) -> dict[str, Made]:
        """What is judged: the observation enlarged, the restorer, and DP-IR at every setting of the dial."""
        label = "bicubic" if self.task.scale > 1 else "input"
        enlarge = Interpolation(scale=self.task.scale)
        made = {
            label: Made([enlarge(Observation("", "", image), 0).image for image in material.observations]),
            ALONE: self.restore(material, ALONE, tau=0),
            OURS: self.restore(material, OURS),
        }
        for detail in self.details:
            name = f"{OURS}, detail {detail:g}"
            made[name] = self.restore(material, name, detail=detail)
        return made

    def restore(self, material: Material, label: str, **settings: Any) -> Made:
        """Run the pipeline on every image; `label` is for the progress bar."""
        images: list[Tensor] = []
        calls: dict[str, int] = {}
        for number, observation in enumerate(self.track(material.observations, f"{material.name}, {label}")):
            result = self.pipeline(observation, seed=self.options.seed + number, **settings)
            images.append(result.image)
            calls = {name: max(count, calls.get(name, 0)) for name, count in result.nfe.items()}
        return Made(images, calls)

    def control(self, material: Material, made: Mapping[str, Made], judge: Metric) -> NoiseControl:
        """The restorer plus the white noise that is best for a judge."""
        found = noise_control(
            made[ALONE].images,
            material.targets,
            judge,
            seed=self.options.seed,
            tolerance=TOLERANCE,
        )
        self.report.state(found.protocol)
        return found

    def track(self, items: Sequence[Any], label: str) -> Iterable[Any]:
        """The items, with a progress bar."""
        return track(items, label, console=self.console, transient=True)

    # ---- sections ----------------------------------------------------------------------------------------------------

    def behave(self, material: Material) -> None:
        """Whether the judges rank damages."""
        rows: list[list[str | float | None]] = []
        images = material.targets[:BEHAVIOUR_IMAGES]
        for judge in self.track(self.judges, "behaviour"):
            bars, means = behaviour(judge, images, f"{material.name}, {len(images)} images")
            self.report.targets += bars
            rows += means
        columns = ["judge", "damage", *["strength: distance"] * 4]
        self.report.tables.append(Table("Do the judges behave? Distances of damaged originals", columns, rows))

    def features(self, material: Material, made: Mapping[str, Made]) -> None:
        """Distances of all methods on one set, and their ratios to restorer and noise control."""
        controls = {
            judge.name: self.control(material, made, judge)
            for judge in self.track(self.judges, f"{material.name}, noise control")
        }
        psnr = PSNR(border=border_of(self.task), rounding=True)
        scores = {method: Scores.of(method, material, entry, [psnr, *self.judges]) for method, entry in made.items()}
        noisy = {
            judge.name: Scores.of(NOISE, material, Made(controls[judge.name].images), [psnr, judge])
            for judge in self.judges
        }
        self.report.data.setdefault("scores", []).extend(vars(entry) for entry in [*scores.values(), *noisy.values()])
        for name, rows in self.rows.items():
            pair = [judge.name for judge in self.judges if judge.backbone.name == name]

            def cells(values: Mapping[str, Scores], pair: Sequence[str] = tuple(pair)) -> list[str]:
                texts = []
                for judge in pair:
                    value = values[judge].values[judge]
                    alone, noise = scores[ALONE].values[judge], noisy[judge].values[judge]
                    texts += [f"{value:.4f}", f"{value / alone:.3f}", f"{value / noise:.3f}"]
                return texts

            for method, entry in scores.items():
                calls = " + ".join(f"{count} {network}" for network, count in entry.calls.items() if count) or None
                rows.append(
                    [material.name, method, calls, f"{entry.values['PSNR']:.2f}", *cells(dict.fromkeys(pair, entry))]
                )
                if method == ALONE:
                    levels = "; ".join(f"{255 * controls[judge].std:.1f}" for judge in pair)
                    label = f"{NOISE} ({levels} of 255)"
                    rows.append([material.name, label, calls, f"{noisy[pair[0]].values['PSNR']:.2f}", *cells(noisy)])
        for judge in self.judges:
            if judge.scale == "full":
                self.by_layer(material, {**made, NOISE: Made(controls[judge.name].images)}, judge)
        self.report.state(psnr.protocol, *(judge.protocol for judge in self.judges))

    def by_layer(self, material: Material, made: Mapping[str, Made], judge: FeatureDistance) -> None:
        """In which layers of a judge a method is better than the restorer: their mean alone would hide it."""
        means = {
            method: torch.cat(
                [judge.by_layer(*pair) for pair in zip(entry.images, material.targets, strict=True)]
            ).mean(dim=0)
            for method, entry in made.items()
        }
        for method, values in means.items():
            if method != ALONE:
                ratios = (values / means[ALONE]).tolist()
                self.layers.append([judge.name, material.name, method, " ".join(f"{ratio:.3f}" for ratio in ratios)])

    def text(self, material: Material, made: Mapping[str, Made], reader: Reader) -> None:
        """Read the text of one set in what every method made of it."""
        into = self.found.setdefault(SHEETS if material.name == SHEETS else "photos", Legibility())
        for method, entry in {ORIGINAL: Made(material.targets), **made}.items():
            into.right.setdefault(method, []).extend(read_lines(reader, material.lines, entry.images))
        into.lines += material.lines
        self.report.data.setdefault("lines", []).extend({"set": material.name, **vars(line)} for line in material.lines)

    def tables_of_text(self, sets: Sequence[str]) -> None:
        """The tables of legibility, once all sets are read."""
        photos, sheets = self.found["photos"], self.found.get(SHEETS)
        found_in = [entry["set"] for entry in self.report.data.get("lines", []) if entry["set"] != SHEETS]
        chosen = {name: [entry == name for entry in found_in] for name in sets}
        chosen["all"] = [True] * len(found_in)
        title = "Text in the photographs: share of characters read right"
        self.report.tables.append(photos.table(title, chosen, ALONE))
        if sheets and sheets.lines:
            sizes = sorted({line.size or 0 for line in sheets.lines})
            opacities = sorted({line.opacity or 0.0 for line in sheets.lines}, reverse=True)
            chosen = {f"{size} px": [line.size == size for line in sheets.lines] for size in sizes}
            chosen |= {f"opacity {value:g}": [line.opacity == value for line in sheets.lines] for value in opacities}
            chosen["all"] = [True] * len(sheets.lines)
            title = "Text written onto photographs: share of characters read right"
            self.report.tables.append(sheets.table(title, chosen, ALONE))
        self.report.data["right"] = {name: found.right for name, found in self.found.items()}
        self.report.state(
            f"Text in the photographs: found and read in the originals by {PACKAGE}; lines read there with confidence "
            f"of at least {SURE:g} and {SHORTEST} characters, so the original is right by definition. Every line is "
            "read at the same place in what a method made, in 8 bits, upright, by itself. Right characters: length of "
            "the line less the edit distance, at least 0, without spaces; their sum / all characters",
            f"Text written onto photographs: Pillow's own font, black or white, blended with an opacity onto the "
            f"middle of {self.options.sheets} photos spread over the sets, then degraded for the task; compared with "
            "what was written, so the original shows the most that can be read",
            "p-values: sign-flip permutation test of the right characters of each line, lines taken as independent",
        )

    def run(self) -> Report:
        """All sets, one after the other, so that only one's images are held; the sheets last."""
        for number, name in enumerate(self.options.sets):
            material = self.load(name)
            self.photos += material.targets if self.reader else []
            if number == 0 and self.judges:
                self.behave(material)
            self.judge(material)
        if self.reader:
            material = self.sheets()
            if material.targets:
                self.judge(material)
            self.tables_of_text(self.options.sets)
        if self.judges:
            columns = ["data", "method", "calls", "PSNR"]
            columns += ["full scale", "/ restorer", "/ noise", "half scale", "/ restorer", "/ noise"]
            self.report.tables[1:1] = [
                Table(f"Features of the {name}: distance", columns, rows) for name, rows in self.rows.items()
            ]
            title = "Distance in each layer at full scale, over the restorer's"
            heads = ["judge", "data", "method", "ratios, the finest layer first"]
            self.report.tables.insert(1 + len(self.rows), Table(title, heads, self.layers))
        return self.report

    def judge(self, material: Material) -> None:
        """All sections on one set."""
        made = self.methods(material)
        if self.judges and material.name != SHEETS:
            self.features(material, made)
        if self.reader:
            self.text(material, made, self.reader)


def find_models(given: str) -> tuple[Path, dict[str, Path]]:
    """The folder that the package lies in, and the files of the judges.

    Args:
        given: a folder, or the name of a package.

    Raises:
        DataError: it holds no such files; the sentence says what to install.
    """
    folder = Path(given)
    if not folder.is_dir():
        spec = find_spec(given) if given.isidentifier() else None
        folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else folder
    folder = folder / PACKAGE if (folder / PACKAGE).is_dir() else folder
    files = {name: sorted(folder.rglob(pattern)) for name, pattern in JUDGES.items()}
    if missing := [JUDGES[name] for name, found in files.items() if not found]:
        raise DataError(
            f"'{given}' holds no {missing[0]}: install the judges with 'pip install --no-deps --target FOLDER "
            f"{PACKAGE} opencv-python-headless shapely pyclipper six', and give --models FOLDER."
        )
    home = folder.parent if folder.name == PACKAGE else folder
    return home, {name: found[0] for name, found in files.items()}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {', '.join(SETS)}")
    parser.add_argument("--models", default=PACKAGE, help="folder that the package is in, or the package's name")
    parser.add_argument("--bundle", default="sr4", help="bundle: shipped name, folder or hub id")
    parser.add_argument("--write", type=Path, help="Markdown page to write, with CSV and JSON beside it")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="measure only these")
    parser.add_argument("--sets", nargs="+", default=SETS, help="folders in DATA")
    parser.add_argument("--detail", nargs="*", type=float, default=DETAILS, help="settings of the dial, 0 to 1")
    parser.add_argument("--sheets", type=int, default=8, help="photos that text is written onto")
    parser.add_argument("--limit", type=int, help="only the first images of each set, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main() -> int:
    console, options = Console(), parse()
    return conclude(lambda: Measurement(options, console).run(), console, options.write)


if __name__ == "__main__":
    sys.exit(main())
