"""Plots of comparisons with matplotlib: the perception-distortion plane, and curves over tau or calls.

Drawn without a display and without touching the global state of matplotlib. Colours are those of Okabe and Ito, which
people tell apart whatever their colour vision; shapes and line styles say the same once more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dp_ir.errors import DataError
from dp_ir.extras import require
from dp_ir.part_files import replacing

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vP*X<>"
_LINES = ("-", "--", "-.", ":")
_SUFFIXES = (".svg", ".png", ".pdf")
_DOTS_PER_INCH = 150
# Where a label may lie beside its point, in points of 1/72 inch: the first place that is free is taken.
_PLACES = tuple(
    (round(radius * math.cos(angle)), round(radius * math.sin(angle)))
    for radius in (9, 18, 28, 40)
    for angle in (math.radians(degrees) for degrees in (30, 330, 150, 210, 90, 270, 0, 180))
)


@dataclass(frozen=True)
class Axis:
    """A quantity on an axis.

    Args:
        label: with its unit, such as "PSNR-Y / dB".
        higher_is_better: its direction; None where neither is better.
        log: whether its scale is logarithmic.
    """

    label: str
    higher_is_better: bool | None = None
    log: bool = False


@dataclass(frozen=True)
class Point:
    """One method on the plane: points of one `group` share colour and shape, and are joined in the order given.

    A point of the group "" stands alone. An empty label is not printed.
    """

    label: str
    x: float
    y: float
    group: str = ""


@dataclass(frozen=True)
class Series:
    """One line in every panel.

    Args:
        label: for the legend.
        x: places.
        values: by label of the axis, one number per place; a panel whose axis is missing here does not get the line.
        spread: likewise half-widths of intervals, drawn as a band; may be empty.
    """

    label: str
    x: Sequence[float]
    values: Mapping[str, Sequence[float]]
    spread: Mapping[str, Sequence[float]] = field(default_factory=dict)


def pareto(points: Sequence[Point], *, x: Axis, y: Axis) -> list[int]:
    """Indices of the points that no other beats, from the best in x to the best in y.

    One point beats another when it is at least as good in both quantities and better in one. Points with a number that
    is not finite are left out.

    Raises:
        DataError: an axis without direction.

    Examples:
        >>> axes = {"x": Axis("PSNR / dB", True), "y": Axis("LPIPS", False)}
        >>> pareto([Point("a", 28.0, 0.3), Point("b", 27.0, 0.2), Point("c", 26.0, 0.25)], **axes)
        [0, 1]
    """
    for axis in (x, y):
        if axis.higher_is_better is None:
            raise DataError(f"A frontier needs to know which way '{axis.label}' is better; state it in its Axis.")
    gains = {
        index: (point.x if x.higher_is_better else -point.x, point.y if y.higher_is_better else -point.y)
        for index, point in enumerate(points)
        if math.isfinite(point.x) and math.isfinite(point.y)
    }
    kept = [
        index
        for index, own in gains.items()
        if not any(other != own and other[0] >= own[0] and other[1] >= own[1] for other in gains.values())
    ]
    return sorted(kept, key=lambda index: (-gains[index][0], index))


def plane(points: Sequence[Point], path: str | Path, *, x: Axis, y: Axis, title: str = "") -> Path:
    """Draw the perception-distortion plane with every point labelled and the Pareto frontier through the best.

    Args:
        points: the methods; those with a number that is not finite are left out.
        path: an .svg, .png or .pdf file, replaced whole.
        x: the distortion, such as ``Axis("PSNR-Y / dB", True)``; needs a direction.
        y: the perception, such as ``Axis("LPIPS", False)``; needs a direction.
        title: above the plane.

    Raises:
        DataError: no finite point, an axis without direction, another suffix, or a file that cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    shown = [point for point in points if math.isfinite(point.x) and math.isfinite(point.y)]
    if not shown:
        raise DataError("The plane needs at least one point with two finite numbers, but there is none.")
    frontier = pareto(shown, x=x, y=y)
    figure, (panel,) = _figure(1, title)
    best = [shown[index] for index in frontier]
    # A staircase: between two points of the frontier nothing is reached that is as good as both.
    stairs = [(best[0].x, best[0].y)]
    for before, after in itertools.pairwise(best):
        stairs += [(after.x, before.y), (after.x, after.y)]
    panel.plot(*zip(*stairs, strict=True), color="0.6", linestyle="--", linewidth=1.0, zorder=1, label="frontier")
    for number, group in enumerate(_groups(shown)):
        look = {"color": _COLOURS[number % len(_COLOURS)], "marker": _MARKERS[number % len(_MARKERS)]}
        line = "-" if len(group) > 1 and group[0].group else ""
        xs, ys = [point.x for point in group], [point.y for point in group]
        panel.plot(
            xs, ys, **look, linestyle=line, linewidth=1.0, markersize=6.5, zorder=3, label=group[0].group or None
        )
    _dress(panel, x, y)
    panel.margins(0.14)
    handles, labels = panel.get_legend_handles_labels()
    panel.legend(handles, labels, fontsize=8, framealpha=0.8)
    _place_labels(figure, panel, shown)
    return _save(figure, Path(path))


def curves(series: Sequence[Series], path: str | Path, *, x: Axis, y: Axis | Sequence[Axis], title: str = "") -> Path:
    """Draw lines over one quantity, one panel per axis of `y` side by side.

    Args:
        series: the lines; numbers that are not finite leave a gap.
        path: an .svg, .png or .pdf file, replaced whole.
        x: what they go over, such as ``Axis("tau")`` or ``Axis("network calls", log=True)``.
        y: what is drawn, such as ``[Axis("PSNR-Y / dB", True), Axis("LPIPS", False)]``.
        title: above the panels.

    Raises:
        DataError: no series, lines of unequal length, another suffix, or a file that cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    axes = [y] if isinstance(y, Axis) else list(y)
    if not series or not axes:
        raise DataError("Curves need at least one series and one axis, but there is none.")
    figure, panels = _figure(len(axes), title)
    for axis, panel in zip(axes, panels, strict=True):
        for number, line in enumerate(series):
            if axis.label not in line.values:
                continue
            values, spread = line.values[axis.label], line.spread.get(axis.label)
            if len(values) != len(line.x) or (spread is not None and len(spread) != len(line.x)):
                raise DataError(
                    f"The series '{line.label}' has {len(line.x)} places but {len(values)} values of '{axis.label}'; "
                    "give one value, and one half-width if any, for each."
                )
            colour = _COLOURS[number % len(_COLOURS)]
            look = {"marker": _MARKERS[number % len(_MARKERS)], "linestyle": _LINES[number % len(_LINES)]}
            panel.plot(line.x, values, color=colour, **look, markersize=5, linewidth=1.4, label=line.label)
            if spread is not None:
                low = [value - half for value, half in zip(values, spread, strict=True)]
                high = [value + half for value, half in zip(values, spread, strict=True)]
                panel.fill_between(line.x, low, high, color=colour, alpha=0.15, linewidth=0)
        _dress(panel, x, axis)
        if x.log:
            _plain_ticks(panel, sorted({float(place) for line in series for place in line.x}))
    handles, labels = panels[0].get_legend_handles_labels()
    if len(series) > 1 and handles:
        panels[0].legend(handles, labels, fontsize=8, framealpha=0.8)
    return _save(figure, Path(path))


def _figure(panels: int, title: str) -> tuple[Any, list[Any]]:
    figure = require("matplotlib.figure", "A plot", "eval").Figure(
        figsize=(1.4 + 4.6 * panels, 4.4), layout="constrained"
    )
    require("matplotlib.backends.backend_agg", "A plot", "eval").FigureCanvasAgg(figure)
    if title:
        figure.suptitle(_plain(title), fontsize=11)
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _groups(points: Sequence[Point]) -> list[list[Point]]:
    """Points of one group together, in the order of their first; lone points each by themselves."""
    groups: dict[tuple[str, int], list[Point]] = {}
    for index, point in enumerate(points):
        groups.setdefault((point.group, -1 if point.group else index), []).append(point)
    return list(groups.values())


def _dress(panel: Any, x: Axis, y: Axis) -> None:
    """Labels, directions, scales and a light grid. An arrow to the right on the upright axis points upwards."""
    panel.set_xlabel(_directed(x))
    panel.set_ylabel(_directed(y))
    if x.log:
        panel.set_xscale("log")
    if y.log:
        panel.set_yscale("log")
    panel.grid(True, color="0.9", linewidth=0.6)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _directed(axis: Axis) -> str:
    label = _plain(axis.label)
    if axis.higher_is_better is None:
        return label
    return f"{label}   better →" if axis.higher_is_better else f"← better   {label}"


def _plain_ticks(panel: Any, places: list[float]) -> None:
    """Ticks where something was measured, written out: powers of ten say little over 4 to 100 calls."""
    if len(places) > 12 or min(places) <= 0:
        return
    ticker = require("matplotlib.ticker", "A plot", "eval")
    panel.xaxis.set_major_locator(ticker.FixedLocator(places))
    panel.xaxis.set_major_formatter(ticker.FuncFormatter(lambda place, _: f"{place:g}"))
    panel.xaxis.set_minor_locator(ticker.NullLocator())


def _place_labels(figure: Any, panel: Any, points: Sequence[Point]) -> None:
    """Put every label beside its point where it covers neither a point nor another label, if there is such a place."""
    figure.draw_without_rendering()  # the layout must be known
    renderer = figure.canvas.get_renderer()
    box = require("matplotlib.transforms", "A plot", "eval").Bbox
    scale = figure.dpi / 72
    frame = panel.get_window_extent(renderer)
    centres = [panel.transData.transform((point.x, point.y)) for point in points]
    taken = [box.from_bounds(cx - 4 * scale, cy - 4 * scale, 8 * scale, 8 * scale) for cx, cy in centres]
    legend = panel.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent(renderer))
    for point in points:
        if not point.label:
            continue
        label = panel.annotate(
            _plain(point.label), (point.x, point.y), xytext=_PLACES[0], textcoords="offset points", fontsize=8, zorder=4
        )
        cost = []
        for dx, dy in _PLACES:
            label.set(position=(dx, dy), ha="left" if dx > 1 else "right" if dx < -1 else "center", va="center")
            extent = label.get_window_extent(renderer)
            outside = not (frame.x0 <= extent.x0 and extent.x1 <= frame.x1 and frame.y0 <= extent.y0)
            cost.append(sum(extent.overlaps(other) for other in taken) + 2 * (outside or extent.y1 > frame.y1))
            if cost[-1] == 0:
                break
        dx, dy = _PLACES[cost.index(min(cost))]
        label.set(position=(dx, dy), ha="left" if dx > 1 else "right" if dx < -1 else "center")
        if math.hypot(dx, dy) > 12:  # far labels need a line to their point
            panel.annotate(
                "", (point.x, point.y), xytext=(dx, dy), textcoords="offset points", arrowprops=dict(_THREAD), zorder=2
            )
        taken.append(label.get_window_extent(renderer))


_THREAD = {"arrowstyle": "-", "color": "0.7", "linewidth": 0.6}


def _plain(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


def _save(figure: Any, path: Path) -> Path:
    """Write the figure whole or not at all; the same figure gives the same bytes."""
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise DataError(f"A plot cannot be written as '{path}'; name a file that ends in {', '.join(_SUFFIXES)}.")
    # Text stays text in SVG: it can be searched and read aloud. Salt and date would differ from run to run.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "dp-ir"}
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}[suffix]
    with require("matplotlib", "A plot", "eval").rc_context(settings), replacing(path, DataError) as beside:
        figure.savefig(beside, format=suffix[1:], dpi=_DOTS_PER_INCH, metadata=metadata)
    return path
