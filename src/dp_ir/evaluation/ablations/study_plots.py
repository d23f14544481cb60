"""The plots of a study: the plane of two metrics, and figures against what the study varies."""

from __future__ import annotations

import math
from pathlib import Path

from dp_ir.evaluation.ablations.studies import Study, Variant
from dp_ir.evaluation.metrics.metric import MetricInfo
from dp_ir.evaluation.report.plots import Axis, Point, Series, curves, plane
from dp_ir.evaluation.report.summary import summarise
from dp_ir.evaluation.runner.results import Results
from dp_ir.evaluation.runner.stored_paths import safe_name


def draw(
    study: Study, results: Results, out: Path, *, fidelity: str = "PSNR-Y", perception: str = "LPIPS"
) -> list[Path]:
    """Plot a study: the plane of two metrics for every data set, and figures against the study's axis where it has one.

    Against the axis stand both, and the metrics of images that have no direction, such as the energy of bands.

    Args:
        study: what was asked.
        results: of its variants.
        out: folder for ``<data set>-plane.svg`` and ``<data set>-curves.svg``.
        fidelity: metric on the horizontal axis of the plane; the first of images where it was not measured.
        perception: metric on the vertical axis, likewise the last.

    Returns:
        The files written; none where fewer than two metrics of images that have a direction were measured.
    """
    single = [metric for metric in results.metrics if not metric.of_sets and metric.higher_is_better is not None]
    if len(single) < 2:
        return []
    first = next((metric for metric in single if metric.name == fidelity), single[0])
    others = [metric for metric in single if metric is not first]
    second = next((metric for metric in others if metric.name == perception), others[-1])
    x, y = _axis(first), _axis(second)
    aims = [metric for metric in results.metrics if not metric.of_sets and metric.higher_is_better is None]
    variants = {variant.name: variant for variant in study.variants}
    written = []
    for summary in summarise(results):
        rows = [
            row
            for row in summary.rows
            if row.method.name in variants and {first.name, second.name} <= row.values.keys()
        ]
        means = {row.method.name: (row.values[first.name].mean, row.values[second.name].mean) for row in rows}
        if not means:  # nothing was measured here
            continue
        points = [Point(_short(variants[name]), *mean, group=variants[name].group) for name, mean in means.items()]
        stem = safe_name(summary.dataset)
        written.append(plane(points, out / f"{stem}-plane.svg", x=x, y=y, title=f"{study.question} {summary.dataset}"))
        values = {row.method.name: {name: value.mean for name, value in row.values.items()} for row in rows}
        panels = {_axis(metric).label: metric for metric in (second, first, *aims)}
        lines = []
        for group in dict.fromkeys(variant.group for variant in study.variants):
            placed = [(float(v.x), v.name) for v in study.variants if v.group == group and v.x is not None]
            own = sorted((place, name) for place, name in placed if name in means)
            if own:
                drawn = {
                    label: [values[name].get(metric.name, math.nan) for _, name in own]
                    for label, metric in panels.items()
                }
                lines.append(Series(group, [place for place, _ in own], drawn))
        if study.axis is not None and lines:
            path = out / f"{stem}-curves.svg"
            y_axes = [_axis(metric) for metric in panels.values()]
            written.append(curves(lines, path, x=study.axis, y=y_axes, title=f"{study.question} {summary.dataset}"))
    return written


def _axis(metric: MetricInfo) -> Axis:
    unit = " / dB" if metric.name.startswith("PSNR") else ""
    return Axis(f"{metric.name}{unit}", metric.higher_is_better)


def _short(variant: Variant) -> str:
    """What tells a variant apart within its group, which has its own colour."""
    return variant.name if variant.x is None else f"{variant.x:g}"
