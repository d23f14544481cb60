"""Judging the stored samples of an image: every one is read once, and what they say is kept beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dp_ir.datasets.layouts import load_rgb
from dp_ir.datasets.pairs import ImagePair
from dp_ir.errors import DataError
from dp_ir.evaluation.metrics.metric import Metric, SetMetric
from dp_ir.evaluation.metrics.spread import (
    MeanPSNR,
    Spread,
    SpreadError,
    measure,
    rank_shares,
    spread_over_error,
    unevenness,
)
from dp_ir.evaluation.runner.described import Described
from dp_ir.evaluation.runner.evaluation_worker import metric_values
from dp_ir.evaluation.runner.image_records import (
    fingerprint,
    read_json,
    stored_bits,
    write_json,
)
from dp_ir.evaluation.runner.results import RankHistogram
from dp_ir.evaluation.runner.run_state import Item, Run
from dp_ir.evaluation.runner.stored_paths import stored_sample

_MEASURE = "pixels and bands in whole levels, ties evenly"  # what is kept of another measure does not fit

RANKS_PROTOCOL = (
    "Ranks of the truth among the samples (results.json, plots): share of each rank over all places, colours and "
    "images, ties spread evenly over the ranks that they allow; flat for calibrated samples, a U for too little "
    "spread, a dome for too much; unevenness: largest deviation of a share from an even one, relative to that"
)


@dataclass(frozen=True)
class SampleValues:
    """What the samples of one image say.

    Args:
        values: of metrics of samples, by protocol.
        spreads: by part, see `spread.measure`; empty where they were not asked for.
        reasons: why a metric has no value, by its name.
    """

    values: Mapping[str, float]
    spreads: Mapping[str, Spread]
    reasons: Mapping[str, str] = field(default_factory=dict)


def samples_asked_for(metrics: Sequence[Metric | SetMetric]) -> int:
    """How many samples of an image some metrics need: 1 where none is about samples.

    Raises:
        DataError: they do not agree, or ask for fewer than two.
    """
    counts = {metric.samples for metric in metrics if isinstance(metric, MeanPSNR | SpreadError)}
    if len(counts) > 1 or any(count < 2 for count in counts):
        raise DataError(
            f"The metrics ask for {' and '.join(map(str, sorted(counts)))} samples of each image, expected one number "
            "of at least 2: make them with the same number."
        )
    return max(counts, default=1)


def measure_samples(
    files: Sequence[Path],
    key: str,
    pair: Callable[[], ImagePair],
    *,
    metrics: Sequence[Metric],
    spreads: bool,
) -> SampleValues:
    """Judge the samples of one image, or find what an earlier run said of them.

    Args:
        files: the samples, as of `stored_paths.stored_sample`; what they say is kept beside the last.
        key: hash of samples and target: what is kept counts only where it is the same.
        pair: reads the true image.
        metrics: of the samples of one image.
        spreads: whether their spread is to be measured.

    Raises:
        DPIRError: a file cannot be read or written.
    """
    kept, key = files[-1].with_name("judged.json"), fingerprint(_MEASURE, key)
    content = read_json(kept)
    known: dict[str, Any] = content if content.get("key") == key else {"key": key, "values": {}, "spreads": {}}
    missing = [metric for metric in metrics if metric.protocol not in known["values"]]
    reasons: dict[str, str] = {}
    if missing or (spreads and not known["spreads"]):
        samples, true = torch.cat([load_rgb(path) for path in files]), pair()
        values, reasons = metric_values(missing, samples, true)
        known["values"] |= values
        if spreads and not known["spreads"]:
            bits = stored_bits(true.camera)
            known["spreads"] = {part: asdict(own) for part, own in _measured(samples, true.target, bits).items()}
        write_json(kept, known)
    return SampleValues(
        {protocol: value for protocol, value in known["values"].items() if protocol in _protocols(metrics)},
        {part: Spread(**{**own, "ranks": tuple(own["ranks"])}) for part, own in known["spreads"].items() if spreads},
        reasons,
    )


@dataclass(frozen=True)
class SpreadFigures:
    """What the spread of a method's samples is on a whole data set.

    Args:
        values: of the metrics, by name.
        ranks: by part.
        reasons: why a metric has no value, by its name.
    """

    values: Mapping[str, float]
    ranks: Mapping[str, RankHistogram]
    reasons: Mapping[str, str]


def spread_figures(images: Sequence[Mapping[str, Spread]], metrics: Sequence[SpreadError]) -> SpreadFigures:
    """The spreads of all images together, at least one, each by part as of `measure_samples`."""
    values, ranks, reasons = {}, {}, {}
    for metric in metrics:
        spreads = [own[metric.part] for own in images]
        shares = rank_shares(spreads)
        ranks[metric.part] = RankHistogram(shares, unevenness(shares))
        try:
            values[metric.name] = spread_over_error(spreads)
        except DataError as error:
            reasons[metric.name] = str(error)
    return SpreadFigures(values, ranks, reasons)


def _measured(samples: Tensor, target: Tensor, bits: int) -> dict[str, Spread]:
    """`measure` in [0, 1] units, of whole levels, in which bands are exact: of 8 bits they need float32, of 16 more."""
    top, dtype = 2**bits - 1, torch.float32 if bits == 8 else torch.float64
    levels = [image.cpu().to(dtype).clamp(0, 1).mul(top).round() for image in (samples, target[0])]
    spreads = measure(*levels).items()
    return {part: Spread(own.error / top**2, own.spread / top**2, own.ranks) for part, own in spreads}


def _protocols(metrics: Sequence[Metric]) -> set[str]:
    return {metric.protocol for metric in metrics}


def draw_samples(
    run: Run, described: Sequence[Described], items: Sequence[Item], count: int, metrics: Sequence[Metric | SetMetric]
) -> None:
    """Draw further samples of what went well, up to `count` of each image, and judge them."""
    of_images = [metric for metric in metrics if isinstance(metric, MeanPSNR)]
    of_spread = [metric for metric in metrics if isinstance(metric, SpreadError)]
    names = ", ".join(metric.name for metric in metrics if isinstance(metric, MeanPSNR | SpreadError))
    if fixed := [entry.name for entry in described if not entry.draws]:
        run.notes.append(f"No {names} of {', '.join(fixed)}: one image of each, whatever the seed")
    drawn = [
        (entry, item)
        for entry in described
        for item in items
        if entry.draws and run.record(entry.name, item).error is None
    ]
    jobs = []
    for entry, item in drawn:
        late = run.late.get((entry.name, item.dataset))
        identity = entry.identity if late is None else late.identity
        jobs += [run.job(entry.name, item, identity, late, number) for number in range(1, count)]
    run.total += len(jobs)
    run.do(jobs)
    for entry, item in drawn:
        dataset = run.worker.datasets[item.dataset]
        records = [run.record(entry.name, item, number) for number in range(count)]
        if failed := [record.error for record in records if record.error is not None]:
            run.notes.append(f"No {names} of {entry.name} for '{item.name}' of {dataset.name}: {failed[0]}")
            continue
        run.say(f"{entry.name}: samples of {dataset.name}/{item.name}")
        files = [stored_sample(run.worker.out, entry.name, dataset.name, item.name, n) for n in range(count)]
        images = fingerprint(item.target, *(record.image for record in records))
        pair = partial(dataset.__getitem__, item.image)
        judged = measure_samples(files, images, pair, metrics=of_images, spreads=bool(of_spread))
        run.judged[entry.name, item.dataset, item.image] = judged
        run.say_reasons(f"'{item.name}' of {dataset.name}", judged.reasons)
