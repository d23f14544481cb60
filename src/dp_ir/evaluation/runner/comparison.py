"""`evaluate` runs methods on data sets, stores their outputs and measures them; nothing is done twice.

Every output is stored as an 8-bit PNG (of a burst 16-bit) and measured from that file, so a method that is run here and
a folder of images that another program made are treated alike. Image i of a data set has the seed ``seed + i``, and
sample j of it, where a metric asks for several, the one that `Restoration` gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dp_ir.datasets.pairs import ImageFiles
from dp_ir.errors import DataError
from dp_ir.evaluation.methods.method import Method
from dp_ir.evaluation.metrics.metric import Metric, SetMetric
from dp_ir.evaluation.metrics.names import metric_info
from dp_ir.evaluation.metrics.spread import MeanPSNR, SpreadError
from dp_ir.evaluation.runner.described import Described, check_names, describe
from dp_ir.evaluation.runner.drawn_samples import (
    RANKS_PROTOCOL,
    draw_samples,
    samples_asked_for,
    spread_figures,
)
from dp_ir.evaluation.runner.evaluation_worker import EvaluationWorker, sentence_of
from dp_ir.evaluation.runner.image_records import (
    fingerprint,
    pair_digest,
    read_json,
    shown_observation,
    store_image,
    stored_bits,
    tensor_digest,
    write_json,
)
from dp_ir.evaluation.runner.resources import FLOPS_PROTOCOL
from dp_ir.evaluation.runner.results import RankHistogram, Record, Results, SetRecord, machine
from dp_ir.evaluation.runner.run_state import Item, Progress, Run, Targets
from dp_ir.evaluation.runner.stored_paths import OBSERVATION, TARGET, stored_image
from dp_ir.evaluation.runner.tuned_noise import add_tuned_noise


def evaluate(
    methods: Sequence[str | Method],
    datasets: Sequence[Any],
    *,
    out: Path,
    metrics: Sequence[Metric],
    set_metrics: Sequence[SetMetric] = (),
    seed: int = 0,
    limit: int | None = None,
    processes: int = 1,
    command: str = "",
    watch: Callable[[Progress], None] | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> Results:
    """Compare methods.

    What an earlier run left in `out` is kept as far as it fits: an image while method, data and seed are the same, its
    values while the metrics' protocols are. So a run that was ended at any moment goes on, and a further method or
    metric costs no more than itself. What failed is tried again.

    Args:
        methods: texts as `parse_method` reads them, or methods, with distinct names.
        datasets: as `datasets.open_datasets` gives them, with distinct names: sequences of pairs with a `name`.
        out: folder for images and records, see `stored_paths.stored_image`.
        metrics: of single images. The one that a noise control is tuned for must be among them.
        set_metrics: of whole sets, computed over the images that all methods have (but for those that have none).
        seed: of the first image of each data set.
        limit: take only so many images of each data set.
        processes: how many work side by side, sharing the processor's threads.
        command: as a reader would type it, for the results.
        watch: told of every step.
        device: where methods given as texts run.
        precision: of their networks.

    Raises:
        DataError: two methods or data sets of one name, no images, or an image that cannot be read.
        DPIRError: a method cannot be loaded, `out` cannot be written, or a worker process was ended from outside. A
            method that fails on an image ends nothing: its record holds the sentence.
        MissingExtraError: a metric needs a package that is not installed.
    """
    tell = watch or (lambda progress: None)
    samples = samples_asked_for([*metrics, *set_metrics])
    single = [metric for metric in metrics if not isinstance(metric, MeanPSNR)]
    described = describe(methods, single, device, precision)
    check_names([dataset.name for dataset in datasets], "data sets", "name their folders differently")
    items = _prepare(datasets, out, limit, tell)
    ordinary = [entry for entry in described if not entry.tuned_on]
    bases = {entry.base: entry.given for entry in described if entry.tuned_on}
    identities = {entry.name: entry.identity for entry in described} | {
        entry.base: entry.identity for entry in described if entry.tuned_on
    }
    runs = {entry.name: entry.given for entry in ordinary}
    runs |= {name: given for name, given in bases.items() if name not in runs}
    worker = EvaluationWorker(out, runs, datasets, single, device, precision)
    total = len(items) * (len(runs) + len(described) - len(ordinary))
    run = Run(worker, processes, seed, total, tell)
    run.do([run.job(name, item, identities[name]) for name in runs for item in items])
    for entry in described:
        if entry.tuned_on:
            add_tuned_noise(run, entry, items)
    if samples > 1:
        draw_samples(run, described, items, samples, [*metrics, *set_metrics])
    records = [_record(run, entry, item, metrics) for entry in described for item in items]
    sets = _set_records(run, records, items, set_metrics)
    notes = [entry.protocol for entry in described if entry.protocol] + run.notes
    if (grey := sum(item.grey for item in items)) and any(metric.name == "PSNR-Y" for metric in metrics):
        notes.append(
            f"Greyscale targets ({grey} of all) are compared as RGB with three equal channels; programs that take a "
            "grey file as Y itself give 1.32 dB less PSNR-Y for it, which is 0.09 dB in the mean of Set14"
        )
    if any(record.ranks for record in sets):
        notes.append(RANKS_PROTOCOL)
    if any(entry.info.flops_base is not None for entry in described):
        notes.append(FLOPS_PROTOCOL)
    return Results(
        command=command,
        methods=[entry.info for entry in described],
        datasets=[dataset.name for dataset in datasets],
        metrics=[*map(metric_info, metrics), *(replace(metric_info(metric), of_sets=True) for metric in set_metrics)],
        records=records,
        sets=sets,
        notes=list(dict.fromkeys(notes)),
        machine=machine(),
    )


def _prepare(datasets: Sequence[Any], out: Path, limit: int | None, tell: Callable[[Progress], None]) -> list[Item]:
    """Read all data once, so that what is wrong with them shows before the first method, and store them to be seen."""
    items = []
    for number, dataset in enumerate(datasets):
        count = len(dataset) if limit is None else min(limit, len(dataset))
        if count < 1:
            raise DataError(f"The data set '{dataset.name}' gives no images: check the folder, or ask for more images.")
        names: list[str] = []
        for index in range(count):
            pair = dataset[index]
            names.append(pair.name)
            tell(Progress(0, 0, f"reading {dataset.name}/{pair.name}"))
            grey = bool((pair.target == pair.target[:, :1]).all())
            item = Item(number, index, pair.name, pair_digest(pair), tensor_digest(pair.target), grey)
            items.append(item)
            for folder, image, digest in (
                (TARGET, pair.target, item.target),
                (OBSERVATION, shown_observation(pair.observation, pair.camera), item.observation),
            ):
                path = stored_image(out, folder, dataset.name, pair.name)
                stamp = path.with_suffix(".json")
                if not path.is_file() or read_json(stamp).get("shows") != digest:
                    store_image(path, image, stored_bits(pair.camera))
                    write_json(stamp, {"shows": digest})
        check_names(names, f"images of '{dataset.name}'", "rename one of the files")
    return items


def _record(run: Run, entry: Described, item: Item, metrics: Sequence[Metric]) -> Record:
    """What was stored of one method on one image, in the words of the results."""
    stored = run.record(entry.name, item)
    seconds, peak = stored.seconds, stored.peak_memory
    if entry.tuned_on and stored.error is None:  # what makes the image is the restorer
        base = run.record(entry.base, item)
        seconds, peak = base.seconds, base.peak_memory
    judged = run.judged.get((entry.name, item.dataset, item.image))
    known = {**stored.values, **(judged.values if judged else {})}
    values = {
        metric.name: known[metric.protocol] for metric in metrics if metric.protocol in known and stored.error is None
    }
    dataset = run.worker.datasets[item.dataset].name
    return Record(entry.name, dataset, item.name, values, dict(stored.calls), seconds, peak, stored.error)


def _set_records(
    run: Run, records: Sequence[Record], items: Sequence[Item], metrics: Sequence[SetMetric]
) -> list[SetRecord]:
    """Metrics of sets, over the images that every method has which has any."""
    made: list[SetRecord] = []
    for number, dataset in enumerate(run.worker.datasets) if metrics else ():
        mine = [item for item in items if item.dataset == number]
        good: dict[str, set[str]] = {}
        for record in records:
            if record.dataset == dataset.name and record.error is None:
                good.setdefault(record.method, set()).add(record.image)
        common = [item for item in mine if all(item.name in names for names in good.values())]
        for method in good if common else ():
            run.say(f"{method}: all of {dataset.name}")
            of_spread = [metric for metric in metrics if isinstance(metric, SpreadError)]
            plain = [metric for metric in metrics if not isinstance(metric, SpreadError)]
            values = _set_values(run, method, dataset, common, plain)
            judged = [own for item in common if (own := run.judged.get((method, item.dataset, item.image)))]
            ranks: Mapping[str, RankHistogram] = {}
            if of_spread and len(judged) == len(common):  # a figure over fewer images would not be comparable
                figures = spread_figures([own.spreads for own in judged], of_spread)
                values, ranks = {**values, **figures.values}, figures.ranks
                run.say_reasons(f"{method} on {dataset.name}", figures.reasons)
            made.append(SetRecord(method, dataset.name, values, ranks))
    return made


def _set_values(
    run: Run, method: str, dataset: Any, items: Sequence[Item], metrics: Sequence[SetMetric]
) -> dict[str, float]:
    out = run.worker.out
    stored = [run.record(method, item) for item in items]
    key = fingerprint(*(record.image + record.target for record in stored))
    path = stored_image(out, method, dataset.name, "x").with_name(".set.json")
    content = read_json(path)
    known = content.get("values", {}) if content.get("key") == key else {}
    outputs = ImageFiles([stored_image(out, method, dataset.name, item.name) for item in items])
    values: dict[str, float] = {}
    for metric in metrics:
        if metric.protocol not in known:
            try:
                known[metric.protocol] = float(metric(outputs, Targets(dataset, [item.image for item in items])))
            except Exception as error:  # such as too few images for it; the other metrics go on
                run.say_reasons(f"{method} on {dataset.name}", {metric.name: sentence_of(error)})
                continue
            write_json(path, {"key": key, "values": known})
        values[metric.name] = known[metric.protocol]
    return values
