"""A comparison as files: JSON that can be read again, CSV, Markdown, LaTeX and a page.

Every file is written beside its name and renamed, so it is whole or not there.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dp_ir.errors import DataError
from dp_ir.evaluation.metrics.metric import MetricInfo
from dp_ir.evaluation.report.document import Report, Table, format_cell
from dp_ir.evaluation.report.page import results_page
from dp_ir.evaluation.report.plots import Axis, Point, Series, curves, plane
from dp_ir.evaluation.report.summary import summarise
from dp_ir.evaluation.report.summary_tables import protocols, tables
from dp_ir.evaluation.runner.results import MethodInfo, RankHistogram, Record, Results, SetRecord
from dp_ir.evaluation.runner.stored_paths import safe_name
from dp_ir.part_files import replace_text

_FORMAT = "dp-ir results"
_VERSION = 1


def write_all(
    results: Results, report: Report, out: Path, *, reference: str | None = None, plots: Sequence[Path] | None = None
) -> list[Path]:
    """Write results.json, .csv, .md and .tex, plots and index.html into `out`; the paths written.

    Args:
        results: the comparison.
        report: its tables, as of `to_report`.
        out: folder that holds the images as `runner.stored_paths.stored_image` says; images that are not there are left
            out of the page.
        reference: method that the others are shown against.
        plots: files in `out` that belong to the comparison; plane-DATASET.svg and ranks-DATASET.svg are drawn if None.

    Raises:
        DataError: the folder cannot be written to.
        MissingExtraError: matplotlib or jinja2 is not installed; what does not need it is written all the same.
    """
    # What was measured first: it must not be lost to a package that is missing.
    texts = {"json": to_json(results), "csv": to_csv(results), "md": report.to_markdown(), "tex": to_latex(report)}
    written = [replace_text(out / f"results.{suffix}", text, DataError) for suffix, text in texts.items()]
    plots = [*_planes(results, out), *_rank_plots(results, out)] if plots is None else plots
    page = results_page(results, out, report, plots=plots, reference=reference)
    return [*written, *plots, replace_text(out / "index.html", page, DataError)]


def to_report(
    results: Results,
    *,
    reference: str | None = None,
    test: str | None = None,
    title: str = "Comparison",
    further: Sequence[Table] = (),
) -> Report:
    """Tables and protocols as a `Report`, which prints itself and becomes Markdown; errors of `summary.summarise`.

    `further` tables stand before those of the data sets.
    """
    report = Report(title, results.command, machine=dict(results.machine))
    report.tables = [*further, *tables(results, reference=reference, test=test)]
    report.state(*protocols(results, reference=reference, test=test))
    return report


def to_json(results: Results) -> str:
    """Strict JSON of everything in `results`; `from_json` gives it back. Numbers that are not finite become texts."""
    content = {"format": _FORMAT, "version": _VERSION, **asdict(results)}
    return json.dumps(_strict(content), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def from_json(text: str) -> Results:
    """Read what `to_json` wrote; raises DataError for anything else."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(
            f"These results are no JSON ({error}); give the file results.json that 'dp-ir evaluate' wrote."
        ) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT or content.get("version") != _VERSION:
        raise DataError(
            f"This JSON does not say that it is '{_FORMAT}' of version {_VERSION}; give the file results.json that "
            "'dp-ir evaluate' of this version wrote."
        )
    try:
        return Results(
            command=content["command"],
            methods=tuple(MethodInfo(**_with_size(entry)) for entry in content["methods"]),
            datasets=tuple(content["datasets"]),
            metrics=tuple(MetricInfo(**entry) for entry in content["metrics"]),
            records=tuple(Record(**_with_numbers(entry)) for entry in content["records"]),
            sets=tuple(SetRecord(**_with_ranks(_with_numbers(entry))) for entry in content["sets"]),
            notes=tuple(content["notes"]),
            machine=content["machine"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"These results are incomplete ({type(error).__name__}: {error}); evaluate again to write them anew."
        ) from error


def to_csv(results: Results) -> str:
    """One row per method and image: names, metrics, calls by network, seconds, bytes, error.

    Metrics of whole sets follow in rows whose image is empty. What is not known is empty.
    """
    metrics = [metric.name for metric in results.metrics]
    roles = list(dict.fromkeys(role for record in results.records for role in record.calls))
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    calls = [f"calls of {role}" for role in roles]
    writer.writerow(["dataset", "image", "method", *metrics, *calls, "seconds", "peak_memory_bytes", "error"])
    for record in results.records:
        values = [record.values.get(name) for name in metrics]
        counts = [record.calls.get(role) for role in roles]
        cost = [record.seconds, record.peak_memory]
        writer.writerow([record.dataset, record.image, record.method, *values, *counts, *cost, record.error])
    for entry in results.sets:
        values = [entry.values.get(name) for name in metrics]
        writer.writerow([entry.dataset, "", entry.method, *values, *[None] * len(roles), None, None, None])
    return stream.getvalue()


def to_latex(report: Report) -> str:
    r"""The tables for LaTeX with the package booktabs: the best in bold, the second underlined.

    The protocols stand above them as comments. Compiles with any engine for names that it has the letters of.
    """
    lines = ["% \\usepackage{booktabs}", "% " + " ".join(report.command.split())]
    lines += [f"% {' '.join(line.split())}" for line in report.protocols]
    parts = ["\n".join(lines), *(latex_table(table) for table in report.tables)]
    return "\n\n".join(parts) + "\n"


def latex_table(table: Table) -> str:
    """One table environment."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_escape(table.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        " & ".join(latex_escape(column) for column in table.columns) + r" \\",
        r"\midrule",
    ]
    for number, row in enumerate(table.rows):
        cells = []
        for column, cell in enumerate(row):
            text = latex_escape(format_cell(cell))
            command = {1: r"\textbf", 2: r"\underline"}.get(table.ranks.get((number, column), 0))
            cells.append(f"{command}{{{text}}}" if command else text)
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines)


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # after \\ a bracket would be its optional argument
    "]": "{]}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "±": r"$\pm$",
    "\u00d7": r"$\times$",
    "\u03c3": r"$\sigma$",
    "\u03c4": r"$\tau$",
    "\u2212": r"$-$",
}


def latex_escape(text: str) -> str:
    """Text as LaTeX prints it; letters beyond ASCII stay as they are (UTF-8)."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def _planes(results: Results, out: Path) -> list[Path]:
    """The perception-distortion plane of every data set on which two methods have both numbers."""
    single = [metric for metric in results.metrics if not metric.of_sets]
    distortion = next((metric for metric in single if metric.name.startswith("PSNR")), None)
    perception = next((metric for metric in single if metric.name.startswith("LPIPS")), None)
    if distortion is None or perception is None:
        return []
    x, y = Axis(f"{distortion.name} / dB", True), Axis(perception.name, False)
    written = []
    for summary in summarise(results):
        points = [
            Point(row.method.name, row.values[distortion.name].mean, row.values[perception.name].mean)
            for row in summary.rows
            if distortion.name in row.values and perception.name in row.values
        ]
        points = [point for point in points if math.isfinite(point.x) and math.isfinite(point.y)]
        if len(points) > 1:
            path = out / f"plane-{safe_name(summary.dataset)}.svg"
            written.append(plane(points, path, x=x, y=y, title=summary.dataset))
    return written


def _rank_plots(results: Results, out: Path) -> list[Path]:
    """The rank histograms of every data set where a spread was measured, one panel per part, one line per method."""
    written = []
    for dataset in results.datasets:
        records = [record for record in results.sets if record.dataset == dataset and record.ranks]
        if not records:
            continue
        parts = list(dict.fromkeys(part for record in records for part in record.ranks))
        cells = len(next(iter(records[0].ranks.values())).shares)
        axes = {part: Axis(f"share of places x {cells}, {part}") for part in parts}
        lines = [
            Series(
                record.method,
                range(cells),
                {axes[part].label: [share * cells for share in own.shares] for part, own in record.ranks.items()},
            )
            for record in records
        ]
        lines.append(Series("calibrated", range(cells), {axis.label: [1.0] * cells for axis in axes.values()}))
        path = out / f"ranks-{safe_name(dataset)}.svg"
        x = Axis(f"rank of the truth among {cells - 1} samples")
        written.append(curves(lines, path, x=x, y=list(axes.values()), title=dataset))
    return written


def _strict(value: Any) -> Any:
    """The same structure in types that strict JSON has."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): _strict(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_strict(entry) for entry in value]
    return value


def _with_numbers(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Values that are texts ("inf") as the numbers they stand for."""
    return {**entry, "values": {name: float(value) for name, value in entry["values"].items()}}


def _with_ranks(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A data set's figures with its histograms as such; files of earlier versions have none."""
    ranks = entry.get("ranks", {})
    return {**entry, "ranks": {p: RankHistogram(tuple(own["shares"]), own["unevenness"]) for p, own in ranks.items()}}


def _with_size(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A method with its size as a pair, and its numbers of operations as numbers."""
    size = entry["flops_size"]
    operations = {
        name: None if entry[name] is None else float(entry[name]) for name in ("flops_base", "flops_per_call")
    }
    return {**entry, **operations, "flops_size": None if size is None else tuple(size)}
