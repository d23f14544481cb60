"""A comparison as one HTML page: tables, protocols, crops side by side, and a slider between any two methods.

The page holds its style, its script and the crops; whole images stay files of the folder, named relatively, so that the
folder can be moved or served as it is. Nothing is fetched from elsewhere. Without script, all but the slider is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from dp_ir.errors import ImageReadError
from dp_ir.evaluation.report.crops import Pixels, Place, embedded, find_places, load_pixels
from dp_ir.evaluation.report.document import Report, format_cell
from dp_ir.evaluation.runner.results import Record, Results
from dp_ir.evaluation.runner.stored_paths import OBSERVATION, TARGET, stored_image
from dp_ir.extras import require

_MOST_CROPS = 700  # about 14 kB each: a page of 13 MB
_MOST_PLACES = 3
_CROP = 96
_ALWAYS = {TARGET: "the target", OBSERVATION: "the observation"}  # no method has such a name


@dataclass(frozen=True)
class Tile:
    """One method at one place: a data URL, or the reason why there is none, with the numbers of the whole image."""

    method: str
    source: str | None
    reason: str
    numbers: str


@dataclass(frozen=True)
class Strip:
    """All methods at one place of one image."""

    where: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class ImageView:
    """One image: its files by method, as relative URLs, and its strips."""

    name: str
    files: Mapping[str, str]
    strips: tuple[Strip, ...]


@dataclass(frozen=True)
class DatasetView:
    """One data set."""

    name: str
    images: tuple[ImageView, ...]


def results_page(
    results: Results, out: Path, report: Report, *, plots: Sequence[Path] = (), reference: str | None = None
) -> str:
    """The page as text, for ``out/index.html``.

    Args:
        results: the comparison.
        out: folder of the page and of the images, see `runner.stored_paths`; what is not there is left out.
        report: its tables and protocols.
        plots: image files in `out`.
        reference: method that others are set against where places are chosen; None: the first.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    jinja = require("jinja2", "A page of results", "eval")
    environment = jinja.Environment(autoescape=True, undefined=jinja.StrictUndefined, trim_blocks=True)
    environment.filters["cell"] = format_cell
    text = (resources.files("dp_ir.evaluation.report") / "templates" / "results.html").read_text(encoding="utf-8")
    datasets = views(results, out, reference=reference)
    shown = [view for view in datasets if any(image.files for image in view.images)]
    return str(
        environment.from_string(text).render(
            report=report,
            datasets=datasets,
            plots=[(plot.stem, _url(plot, out)) for plot in plots],
            viewer=[
                {"name": view.name, "images": [{"name": i.name, "files": _numbered(i.files)} for i in view.images]}
                for view in shown
            ],
            crops_left_out=sum(not image.strips for view in shown for image in view.images),
        )
    )


def views(results: Results, out: Path, *, reference: str | None = None) -> list[DatasetView]:
    """What the page shows of every data set; arguments as for `results_page`."""
    methods = [method.name for method in results.methods]
    names: dict[str, list[str]] = {name: [] for name in results.datasets}
    records: dict[tuple[str, str, str], Record] = {}
    for record in results.records:
        records[record.dataset, record.image, record.method] = record
        if record.image not in names.setdefault(record.dataset, []):
            names[record.dataset].append(record.image)
    total = sum(map(len, names.values()))
    per_image = max(1, len(methods) + len(_ALWAYS))
    count = max(1, min(_MOST_PLACES, _MOST_CROPS // max(1, total * per_image)))
    room = max(1, _MOST_CROPS // (per_image * count))  # images that get crops, evenly over all of them
    chosen = {index * total // min(room, total) for index in range(min(room, total))} if total else set()
    made, number = [], 0
    for dataset, images in names.items():
        shown = []
        for image in images:
            own = {method: records.get((dataset, image, method)) for method in methods}
            shown.append(_image(results, out, dataset, image, own, count if number in chosen else 0, reference))
            number += 1
        made.append(DatasetView(dataset, tuple(shown)))
    return made


def _image(
    results: Results,
    out: Path,
    dataset: str,
    image: str,
    records: Mapping[str, Record | None],
    count: int,
    reference: str | None,
) -> ImageView:
    paths = {_ALWAYS[folder]: stored_image(out, folder, dataset, image) for folder in _ALWAYS}
    # A method that failed may have left the image of an earlier run.
    paths |= {m: stored_image(out, m, dataset, image) for m, record in records.items() if record and not record.error}
    paths = {name: path for name, path in paths.items() if path.is_file()}
    files = {name: _url(path, out) for name, path in paths.items()}
    pixels = _loaded(paths) if count else {}
    made = [name for name in pixels if name not in _ALWAYS.values()]
    if not made:
        return ImageView(image, files, ())
    base = reference if reference in made else made[0]
    shape = pixels[base].shape
    others = [pixels[name] for name in made if name != base and pixels[name].shape == shape]
    target = pixels.get(_ALWAYS[TARGET])
    if not others and target is not None and target.shape == shape:
        others = [target]
    strips = []
    for place in find_places(others, pixels[base], size=_CROP, count=count):
        tiles = [
            _tile(name, pixels.get(name), place, shape, records.get(name), results)
            for name in (*_ALWAYS.values(), *records)
            if name in pixels or name not in _ALWAYS.values()
        ]
        strips.append(Strip(f"{place.left}, {place.top}", tuple(tiles)))
    return ImageView(image, files, tuple(strips))


def _tile(
    name: str,
    image: Pixels | None,
    place: Place,
    shape: tuple[int, ...],
    record: Record | None,
    results: Results,
) -> Tile:
    numbers = " · ".join(
        f"{metric.name} {record.values[metric.name]:.{metric.digits}f}"
        for metric in results.metrics
        if record is not None and metric.name in record.values
    )
    if image is None:
        return Tile(name, None, (record.error if record else None) or "no image", numbers)
    return Tile(name, embedded(image, place.scaled(image.shape[0] / shape[0])), "", numbers)


def _loaded(paths: Mapping[str, Path]) -> dict[str, Pixels]:
    """The images that can be read: one that was damaged since must not take the page with it."""
    loaded = {}
    for name, path in paths.items():
        try:
            loaded[name] = load_pixels(path)
        except ImageReadError:
            continue
    return loaded


def _url(path: Path, out: Path) -> str:
    return quote(path.relative_to(out).as_posix())


def _numbered(files: Mapping[str, str]) -> list[list[str]]:
    """Pairs of method and file: the keys of an object in a script would be put in another order if they are numbers."""
    return [[name, url] for name, url in files.items()]
