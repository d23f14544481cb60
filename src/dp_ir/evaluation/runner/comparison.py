"""Running methods on data sets and judging what they make: everything stored, nothing done twice.

Every output is stored as an 8-bit PNG (of a burst 16-bit) and judged from that file, so a method that is run here and a
folder of images that another program made are judged alike. Image i of a data set has the seed ``seed + i``, and
sample j of it, where a metric asks for several, the one that `Restoration` gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from dp_ir.errors import DataError
from dp_ir.evaluation.methods.method import Method
from dp_ir.evaluation.metrics.frechet import ImageFiles
from dp_ir.evaluation.metrics.metric import Metric, SetMetric
from dp_ir.evaluation.metrics.names import metric_info
from dp_ir.evaluation.metrics.spread import MeanPSNR, SpreadError
from dp_ir.evaluation.runner.described import Described, check_names, describe
from dp_ir.evaluation.runner.drawn_samples import (
    RANKS_PROTOCOL,
    Judged,
    judge_samples,
    samples_asked_for,
    spread_figures,
)
from dp_ir.evaluation.runner.evaluation_worker import Job, Workshop, do_all, sentence_of
from dp_ir.evaluation.runner.image_records import (
    ImageRecord,
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
from dp_ir.evaluation.runner.stored_paths import OBSERVATION, TARGET, stored_image, stored_sample
from dp_ir.evaluation.runner.tuned_noise import NoisyImages, tune, tuning_metric, tuning_note
from dp_ir.restoration.seeds import sample_seed


@dataclass(frozen=True)
class Progress:
    """How far a comparison is.

    Args:
        done: images of methods that are done, those kept from earlier runs among them.
        total: images of methods that there will be.
        doing: what was just done, for people.
    """

    done: int
    total: int
    doing: str


@dataclass(frozen=True)
class _Item:
    """One image of a data set: places, name, and hashes of what is in it."""

    dataset: int
    image: int
    name: str
    observation: str
    target: str
    grey: bool


class _Targets(Sequence[Tensor]):
    """Targets of a data set that are read when they are asked for."""

    def __init__(self, dataset: Any, places: Sequence[int]) -> None:
        self._dataset, self._places = dataset, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]  # slices would read all
        target: Tensor = self._dataset[self._places[index]].target
        return target


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
    workshop = Workshop(out, runs, datasets, single, device, precision)
    total = len(items) * (len(runs) + len(described) - len(ordinary))
    run = _Run(workshop, processes, seed, total, tell)
    run.do([run.job(name, item, identities[name]) for name in runs for item in items])
    for entry in described:
        if entry.tuned_on:
            _add_noise(run, entry, items)
    if samples > 1:
        _draw(run, described, items, samples, [*metrics, *set_metrics])
    records = [_record(run, entry, item, metrics) for entry in described for item in items]
    sets = _judge_sets(run, records, items, set_metrics)
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


class _Run:
    """The state of one comparison: what is done, and what must be said of it."""

    def __init__(
        self, workshop: Workshop, processes: int, seed: int, total: int, tell: Callable[[Progress], None]
    ) -> None:
        self.workshop, self.processes, self.seed = workshop, max(1, processes), seed
        self.records: dict[tuple[str, int, int, int], ImageRecord] = {}  # by method, data set, image and sample
        self.judged: dict[tuple[str, int, int], Judged] = {}
        self.late: dict[tuple[str, int], NoisyImages] = {}
        self.notes: list[str] = []
        self.total, self._tell = total, tell

    def job(self, method: str, item: _Item, identity: str, late: Method | None = None, sample: int = 0) -> Job:
        own = sample_seed(self.seed + item.image, sample)
        made_of = fingerprint(identity, item.observation, own)
        return Job(method, item.dataset, item.image, item.name, own, made_of, item.target, late, sample)

    def record(self, method: str, item: _Item, sample: int = 0) -> ImageRecord:
        return self.records[method, item.dataset, item.image, sample]

    def do(self, jobs: Sequence[Job]) -> None:
        """Do what is missing of some jobs."""
        rest = []
        for job in jobs:
            record = self.workshop.record(job)
            if record is None or self.workshop.missing(job, record):
                rest.append(job)
            else:
                self._keep(job, record, {})
        for job, record, reasons in do_all(self.workshop, rest, self.processes):
            self._keep(job, record, reasons)

    def say(self, doing: str) -> None:
        self._tell(Progress(len(self.records), self.total, doing))

    def say_reasons(self, of_what: str, reasons: Mapping[str, str]) -> None:
        self.notes += [f"{metric} has no value for {of_what}: {reason}" for metric, reason in reasons.items()]

    def _keep(self, job: Job, record: ImageRecord, reasons: Mapping[str, str]) -> None:
        self.records[job.method, job.dataset, job.image, job.sample] = record
        dataset = self.workshop.datasets[job.dataset].name
        self.say_reasons(f"'{job.name}' of {dataset}", reasons)
        self.say(f"{job.method}: {dataset}/{job.name}")


# ---- data ------------------------------------------------------------------------------------------------------------


def _prepare(datasets: Sequence[Any], out: Path, limit: int | None, tell: Callable[[Progress], None]) -> list[_Item]:
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
            item = _Item(number, index, pair.name, pair_digest(pair), tensor_digest(pair.target), grey)
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


# ---- the noise control -----------------------------------------------------------------------------------------------


def _add_noise(run: _Run, entry: Described, items: Sequence[_Item]) -> None:
    """Tune the noise of one control per data set, and make its images from the restorer's."""
    workshop = run.workshop
    metric = tuning_metric(entry.tuned_on, workshop.metrics)
    for number, dataset in enumerate(workshop.datasets):
        mine = [item for item in items if item.dataset == number]
        kept = [(item, run.record(entry.base, item)) for item in mine]
        kept = [(item, record) for item, record in kept if record.error is None and metric.protocol in record.values]
        std, calls = 0.0, {}
        if kept:
            run.say(f"tuning the noise of {entry.name} on {dataset.name}")
            std = _tuned(run, entry, metric, dataset, kept)
            calls = dict(kept[0][1].calls)
            run.notes.append(tuning_note(entry.name, dataset.name, std, metric.name))
        late = NoisyImages(entry.name, workshop.out, entry.base, entry.identity, std, calls)
        run.late[entry.name, number] = late
        run.do([run.job(entry.name, item, late.identity, late) for item in mine])


def _tuned(
    run: _Run, entry: Described, metric: Metric, dataset: Any, kept: Sequence[tuple[_Item, ImageRecord]]
) -> float:
    """The best strength, from an earlier run where nothing has changed since."""
    out = run.workshop.out
    places = [item.image for item, _ in kept]
    seeds = [run.seed + place for place in places]
    key = fingerprint(metric.protocol, *seeds, *(record.image + record.target for _, record in kept))
    path = stored_image(out, entry.name, dataset.name, "x").with_name(".tuning.json")
    stored = read_json(path)
    if stored.get("key") == key:
        return float(stored["std"])
    files = [stored_image(out, entry.base, dataset.name, item.name) for item, _ in kept]
    std = tune(metric, files, _Targets(dataset, places), seeds)
    write_json(path, {"key": key, "std": std})
    return std


# ---- several samples of each image -----------------------------------------------------------------------------------


def _draw(
    run: _Run, described: Sequence[Described], items: Sequence[_Item], count: int, metrics: Sequence[Metric | SetMetric]
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
        dataset = run.workshop.datasets[item.dataset]
        records = [run.record(entry.name, item, number) for number in range(count)]
        if failed := [record.error for record in records if record.error is not None]:
            run.notes.append(f"No {names} of {entry.name} for '{item.name}' of {dataset.name}: {failed[0]}")
            continue
        run.say(f"{entry.name}: samples of {dataset.name}/{item.name}")
        files = [stored_sample(run.workshop.out, entry.name, dataset.name, item.name, n) for n in range(count)]
        images = fingerprint(item.target, *(record.image for record in records))
        pair = partial(dataset.__getitem__, item.image)
        judged = judge_samples(files, images, pair, metrics=of_images, spreads=bool(of_spread))
        run.judged[entry.name, item.dataset, item.image] = judged
        run.say_reasons(f"'{item.name}' of {dataset.name}", judged.reasons)


# ---- results ---------------------------------------------------------------------------------------------------------


def _record(run: _Run, entry: Described, item: _Item, metrics: Sequence[Metric]) -> Record:
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
    dataset = run.workshop.datasets[item.dataset].name
    return Record(entry.name, dataset, item.name, values, dict(stored.calls), seconds, peak, stored.error)


def _judge_sets(
    run: _Run, records: Sequence[Record], items: Sequence[_Item], metrics: Sequence[SetMetric]
) -> list[SetRecord]:
    """Metrics of sets, over the images that every method has which has any."""
    made: list[SetRecord] = []
    for number, dataset in enumerate(run.workshop.datasets) if metrics else ():
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
    run: _Run, method: str, dataset: Any, items: Sequence[_Item], metrics: Sequence[SetMetric]
) -> dict[str, float]:
    out = run.workshop.out
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
                known[metric.protocol] = float(metric(outputs, _Targets(dataset, [item.image for item in items])))
            except Exception as error:  # such as too few images for it; the other metrics go on
                run.say_reasons(f"{method} on {dataset.name}", {metric.name: sentence_of(error)})
                continue
            write_json(path, {"key": key, "values": known})
        values[metric.name] = known[metric.protocol]
    return values
