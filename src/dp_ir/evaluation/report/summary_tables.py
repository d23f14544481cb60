"""The summaries of a comparison as tables, with the protocols of their columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from dp_ir.evaluation.metrics.metric import MetricInfo
from dp_ir.evaluation.report.document import Cell, Table
from dp_ir.evaluation.report.statistics import (
    FEWEST_FOR_INTERVAL,
    FEWEST_FOR_TEST,
    Interval,
)
from dp_ir.evaluation.report.summary import Row, Summary, summarise
from dp_ir.evaluation.runner.results import MethodInfo, Results

_Column = tuple[str, Callable[[Row], Cell]]


def tables(results: Results, *, reference: str | None = None, test: str | None = None) -> list[Table]:
    """Two tables per data set, what each method reaches and what it costs; arguments and errors as for `summarise`.

    Columns in which no method has an entry are left out. The best and the second of each metric are ranked, equal ones
    (as printed) alike.
    """
    made = []
    for summary in summarise(results, reference=reference, test=test):
        cost = cost_table(summary)
        # The first is kept even without numbers: its title says that the methods have no image in common.
        made += [quality_table(summary), *([cost] if len(cost.columns) > 1 else [])]
    return made


def quality_table(summary: Summary) -> Table:
    """Calls of all networks together, metrics, p-values, failures."""
    columns: list[_Column] = [("calls", lambda row: _number(sum(row.calls.values())) if row.calls else None)]
    columns += [(head(metric), _value_cell(metric)) for metric in summary.metrics]
    if summary.test is not None and any(row.p_value is not None for row in summary.rows):
        columns.append((f"p ({summary.test.name})", lambda row: _p_value(row, summary.reference)))
    columns.append(("failed", lambda row: row.failed or None))
    kept = _table(_title(summary), columns, summary.rows)
    return replace(kept, ranks=_ranks(summary, [kept.columns.index(head(metric)) for metric in summary.metrics]))


def cost_table(summary: Summary) -> Table:
    """Calls by network, parameters, floating-point operations, time and memory."""
    columns: list[_Column] = [
        ("calls", lambda row: format_calls(row.calls)),
        ("parameters: trained / all", lambda row: _parameters(row.method)),
        ("on images", lambda row: None if row.method.training_images is None else str(row.method.training_images)),
        (_flops_head(summary), _flops),
        ("s / image", lambda row: None if row.seconds is None else f"{row.seconds:.2f}"),
        ("peak / MiB", lambda row: None if row.peak_memory is None else f"{row.peak_memory / 2**20:.0f}"),
    ]
    return _table(f"{summary.dataset}, cost", columns, summary.rows)


def _table(title: str, columns: Sequence[_Column], rows: Sequence[Row]) -> Table:
    kept = [(name, cell) for name, cell in columns if any(cell(row) is not None for row in rows)]
    cells = [[row.method.name, *(cell(row) for _, cell in kept)] for row in rows]
    return Table(title, ["method", *(name for name, _ in kept)], cells)


def protocols(results: Results, *, reference: str | None = None, test: str | None = None) -> list[str]:
    """Lines that say how every column came about, and which methods failed where; arguments and errors as above."""
    lines = [metric.protocol for metric in results.metrics]
    summaries = summarise(results, reference=reference, test=test)
    if any(interval.low is not None for s in summaries for row in s.rows for interval in row.values.values()):
        lines.append(
            "mean ± half the width of its 95 % confidence interval: expanded percentile bootstrap over the images of a "
            f"data set (none for fewer than {FEWEST_FOR_INTERVAL} images); intervals that overlap say nothing about "
            "whether two methods differ on the same images, the paired test does"
        )
    tested = next((s for s in summaries if any(row.p_value is not None for row in s.rows)), None)
    if tested is not None and tested.test is not None:
        lines.append(
            f"p ({tested.test.name}): two-sided sign-flip permutation test of the mean difference to "
            f"'{tested.reference}' {_tested_quantity(tested.test)}over the common images, adjusted by Holm for the "
            f"number of methods in the table (none for fewer than {FEWEST_FOR_TEST} images)"
        )
    if any(row.method.flops_base is not None for s in summaries for row in s.rows):
        lines.append("GFLOPs: what runs once + what one sampling step takes x the steps taken")
    if any(row.seconds is not None for s in summaries for row in s.rows):
        lines.append(
            "s / image and peak memory: of the run that made each image, whatever else the machine did; on a CPU the "
            "peak is by how much the process grew, so that it is least for what runs last"
        )
    lines += [
        f"{s.dataset}: all means are over the {len(s.images)} of {s.total} images that every method has"
        for s in summaries
        if len(s.images) < s.total
    ]
    return [*dict.fromkeys([*lines, *results.notes]), *_failures(results)]


def head(metric: MetricInfo) -> str:
    """Name and direction of a metric, for the head of a column."""
    if metric.higher_is_better is None:
        return f"{metric.name} → {metric.ideal:g}"
    return f"{metric.name} {'↑' if metric.higher_is_better else '↓'}"


def _ranks(summary: Summary, columns: Sequence[int]) -> dict[tuple[int, int], int]:
    """1 for the best and 2 for the second of each metric, judged as printed; `columns` are those of the metrics."""
    ranks: dict[tuple[int, int], int] = {}
    for column, metric in zip(columns, summary.metrics, strict=True):
        losses = {
            number: round(metric.loss(round(row.values[metric.name].mean, metric.digits)), metric.digits)
            for number, row in enumerate(summary.rows)
            if metric.name in row.values and not math.isnan(row.values[metric.name].mean)
        }
        best = sorted(set(losses.values()))[:2]
        if len(best) == 2:  # where all are equal, none is the best
            ranks.update({(number, column): 1 + best.index(loss) for number, loss in losses.items() if loss in best})
    return ranks


def _value_cell(metric: MetricInfo) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        value = row.values.get(metric.name)
        return None if value is None else format_interval(value, metric.digits)

    return cell


def format_interval(value: Interval, digits: int) -> str:
    """A mean with half the width of its interval."""
    text = f"{value.mean:.{digits}f}"
    return text if value.half_width is None else f"{text} ± {value.half_width:.{digits}f}"


def format_calls(calls: Mapping[str, float]) -> str | None:
    """Network evaluations, such as "1 restorer + 4 denoiser"."""
    return " + ".join(f"{_number(count)} {role}" for role, count in calls.items()) or None


def _number(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}"


def _parameters(method: MethodInfo) -> str | None:
    if method.parameters is None:
        return None
    trained = "-" if method.trained is None else _millions(method.trained)
    return f"{trained} / {_millions(method.parameters)}"


def _millions(count: int) -> str:
    return "0" if count == 0 else f"{count / 1e6:.3g} M"


def _flops_head(summary: Summary) -> str:
    sizes = {row.method.flops_size for row in summary.rows if row.method.flops_size is not None}
    size = f" at {next(iter(sizes))[1]}x{next(iter(sizes))[0]}" if len(sizes) == 1 else ""
    return f"GFLOPs{size}"


def _flops(row: Row) -> str | None:
    base, per_call = row.method.flops_base, row.method.flops_per_call
    if base is None:
        return None
    steps = max((count for role, count in row.calls.items() if role != "restorer"), default=0.0)
    if not per_call or not steps:
        return _giga(base)
    return f"{_giga(base)} + {_giga(per_call)} x {_number(steps)} = {_giga(base + per_call * steps)}"


def _giga(flops: float) -> str:
    giga = flops / 1e9
    return f"{giga:.0f}" if giga >= 100 else f"{giga:.3g}"


def _p_value(row: Row, reference: str) -> str | None:
    if row.method.name == reference:
        return "reference"
    if row.p_value is None:
        return None
    return "< 0.001" if row.p_value < 0.001 else f"{row.p_value:.3f}"


def _title(summary: Summary) -> str:
    count = len(summary.images)
    if count < summary.total:
        return f"{summary.dataset}, the {count} of {summary.total} images that every method has"
    return f"{summary.dataset}, {count} image{'s' if count != 1 else ''}"


def _failures(results: Results) -> list[str]:
    lines = []
    for method in results.methods:
        for dataset in results.datasets:
            failed = [r for r in results.records if (r.method, r.dataset) == (method.name, dataset) and r.error]
            if failed:
                lines.append(
                    f"{method.name} failed on {len(failed)} image{'s' if len(failed) > 1 else ''} of {dataset}; "
                    f"on {failed[0].image}: {failed[0].error}"
                )
    return lines


def _tested_quantity(metric: MetricInfo) -> str:
    """What is compared image by image, where it is not the value itself."""
    return "" if metric.higher_is_better is not None else f"in the distance from {metric.ideal:g} "
