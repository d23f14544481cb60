"""What is shown of a comparison: a summary per data set, a row per method, with intervals and a paired test.

All numbers of a summary are over the same images: those that every method has. A method that failed on every
image has a row without numbers, and takes no image from the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dp_ir.errors import DataError
from dp_ir.evaluation.metrics.metric import MetricInfo
from dp_ir.evaluation.report.statistics import (
    Interval,
    bootstrap_interval,
    holm,
    paired_p_value,
)
from dp_ir.evaluation.runner.results import MethodInfo, Record, Results


@dataclass(frozen=True)
class Row:
    """One method on one data set.

    Args:
        method: the method.
        values: mean and interval by metric name, for a metric of sets without interval; what it lacks is missing.
        p_value: that it equals the reference in the tested metric, adjusted by Holm; None where there is no test.
        calls: mean network evaluations per image, by role.
        seconds: mean per image; None where not measured.
        peak_memory: the largest of the images in bytes; None where not measured.
        failed: images on which it raised an error.
    """

    method: MethodInfo
    values: Mapping[str, Interval]
    p_value: float | None
    calls: Mapping[str, float]
    seconds: float | None
    peak_memory: int | None
    failed: int


@dataclass(frozen=True)
class Summary:
    """One data set: what its table is made from.

    Args:
        dataset: its name.
        images: names of the images that every method has, over which all means are.
        total: images that there are.
        metrics: those that some method has, in order.
        rows: one per method that has a record, in order.
        reference: the method that others are tested against.
        test: the tested metric; None where no metric of images is there.
    """

    dataset: str
    images: tuple[str, ...]
    total: int
    metrics: tuple[MetricInfo, ...]
    rows: tuple[Row, ...]
    reference: str
    test: MetricInfo | None


def summarise(results: Results, *, reference: str | None = None, test: str | None = None) -> list[Summary]:
    """One summary per data set that has records.

    Args:
        results: the comparison.
        reference: name of the method that the others are tested against; None: the first.
        test: name of the metric of images that is tested; None: the first LPIPS, else the first metric of images.

    Raises:
        DataError: no such method, or no such metric of images.
        MissingExtraError: scipy is not installed.
    """
    if not results.methods:
        return []
    names = [method.name for method in results.methods]
    against = _known(reference, names, "method") if reference is not None else names[0]
    tested = _tested(results.metrics, test)
    summaries = []
    for dataset in results.datasets:
        records = {
            name: {r.image: r for r in results.records if (r.method, r.dataset) == (name, dataset)} for name in names
        }
        if any(records.values()):
            summaries.append(_summary(results, dataset, records, against, tested))
    return summaries


def common_images(records: Iterable[Mapping[str, Record]]) -> tuple[str, ...]:
    """Images that every method has without an error, in the order of the first; methods that have none do not count."""
    sets = [{image: record for image, record in own.items() if record.error is None} for own in records]
    having = [own for own in sets if own]
    return tuple(image for image in having[0] if all(image in own for own in having)) if having else ()


def _summary(
    results: Results,
    dataset: str,
    records: Mapping[str, Mapping[str, Record]],
    reference: str,
    tested: MetricInfo | None,
) -> Summary:
    images = common_images(records.values())
    of_sets = {(record.method, record.dataset): record.values for record in results.sets}
    present = [method for method in results.methods if records[method.name]]
    values: dict[str, dict[str, Interval]] = {}
    for method in present:
        own = [record for image in images if (record := records[method.name].get(image)) and record.error is None]
        values[method.name] = {
            metric.name: bootstrap_interval([record.values[metric.name] for record in own])
            for metric in results.metrics
            # A mean over fewer images than the others' would not be comparable.
            if not metric.of_sets and own and all(metric.name in record.values for record in own)
        }
        for name, value in of_sets.get((method.name, dataset), {}).items():
            values[method.name][name] = Interval(value, None, None, len(own))
    p_values = _p_values(records, images, values, reference, tested)
    rows = tuple(_row(method, values[method.name], p_values[method.name], records, images) for method in present)
    return Summary(
        dataset=dataset,
        images=images,
        total=len({image for own in records.values() for image in own}),
        metrics=tuple(metric for metric in results.metrics if any(metric.name in row.values for row in rows)),
        rows=rows,
        reference=reference,
        test=tested if tested is not None and any(tested.name in row.values for row in rows) else None,
    )


def _row(
    method: MethodInfo,
    values: Mapping[str, Interval],
    p_value: float | None,
    records: Mapping[str, Mapping[str, Record]],
    images: Sequence[str],
) -> Row:
    everything = records[method.name]
    own = [everything[image] for image in images if image in everything and everything[image].error is None]
    seconds = [record.seconds for record in own if record.seconds is not None]
    memory = [record.peak_memory for record in own if record.peak_memory is not None]
    roles = dict.fromkeys(role for record in own for role in record.calls)
    return Row(
        method=method,
        values=values,
        p_value=p_value,
        calls={role: sum(record.calls.get(role, 0) for record in own) / len(own) for role in roles},
        seconds=sum(seconds) / len(seconds) if seconds else None,
        peak_memory=max(memory, default=None),
        failed=sum(record.error is not None for record in everything.values()),
    )


def _p_values(
    records: Mapping[str, Mapping[str, Record]],
    images: Sequence[str],
    values: Mapping[str, Mapping[str, Interval]],
    reference: str,
    metric: MetricInfo | None,
) -> dict[str, float | None]:
    """By method, for those that have the metric on every one of the images, as the reference must."""
    if metric is None or metric.name not in values.get(reference, {}):
        return dict.fromkeys(values)
    paired = {
        method: [metric.loss(records[method][image].values[metric.name]) for image in images]
        for method, has in values.items()
        if metric.name in has
    }
    raw = {name: paired_p_value(own, paired[reference]) for name, own in paired.items() if name != reference}
    return {**dict.fromkeys(values), **dict(zip(raw, holm(list(raw.values())), strict=True))}


def _tested(metrics: Sequence[MetricInfo], name: str | None) -> MetricInfo | None:
    single = [metric for metric in metrics if not metric.of_sets]
    if name is not None:
        known = _known(name, [metric.name for metric in single], "metric of images")
        return next(metric for metric in single if metric.name == known)
    perceptual = [metric for metric in single if metric.name.startswith("LPIPS")]
    return next(iter(perceptual or single), None)


def _known(name: str, names: Sequence[str], what: str) -> str:
    for known in names:
        if known.casefold() == name.casefold():
            return known
    raise DataError(f"There is no {what} '{name}' in this comparison; name one of {', '.join(names) or 'none'}.")
