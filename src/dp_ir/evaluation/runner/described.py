"""`describe` loads each method once before a comparison begins, and keeps what is known of it but not its networks."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dp_ir.errors import DataError
from dp_ir.evaluation.methods.method import Method, draws_samples
from dp_ir.evaluation.methods.noise_method import NoiseMethod
from dp_ir.evaluation.methods.parsing import parse_method
from dp_ir.evaluation.metrics.metric import Metric
from dp_ir.evaluation.metrics.names import SAMPLE_METRICS, SET_METRICS, metric_name
from dp_ir.evaluation.runner.resources import parameters, restoration_cost
from dp_ir.evaluation.runner.results import MethodInfo

REFERENCE_SIZE = (720, 1280)
"""Size of the restored image, (height, width), that FLOPs are told for."""


@dataclass(frozen=True)
class Described:
    """A method without its networks, which are loaded where it runs.

    Args:
        given: what it was given as.
        info: for the results.
        identity: of the method; of a noise control that is to be tuned, its restorer's.
        protocol: a line about it, if it has one.
        tuned_on: metric that a noise control is to be tuned for; else empty.
        base: of that, the method whose images it starts from.
        draws: whether it draws samples.
    """

    given: str | Method
    info: MethodInfo
    identity: str
    protocol: str = ""
    tuned_on: str = ""
    base: str = ""
    draws: bool = False

    @property
    def name(self) -> str:
        """Its name in tables."""
        return self.info.name


def describe(
    methods: Sequence[str | Method], metrics: Sequence[Metric], device: str, precision: str
) -> list[Described]:
    """Load every method once, so that what is wrong with any of them shows before the first image."""
    if not methods:
        raise DataError("No method is given: name at least one.")
    described = [_description(given, device, precision) for given in methods]
    check_names([entry.name for entry in described], "methods", "call one of them otherwise, with NAME= before it")
    for entry in described:
        if entry.tuned_on:
            tuning_metric(entry.tuned_on, metrics)  # says so if it is not there
    by_identity = {entry.identity: entry.name for entry in described if not entry.tuned_on}
    return [
        replace(entry, base=by_identity.get(entry.identity, f"{entry.name}, without noise"))
        if entry.tuned_on
        else entry
        for entry in described
    ]


def _description(given: str | Method, device: str, precision: str) -> Described:
    method = parse_method(given, device=device, precision=precision) if isinstance(given, str) else given
    networks = dict(method.networks)
    cost = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            cost = restoration_cost(networks, REFERENCE_SIZE) if networks else None
        except Exception:  # an unusual network may fail in any way when it is traced; this is one column of many
            cost = None
    info = MethodInfo(
        name=method.name,
        source=given if isinstance(given, str) else "",
        parameters=parameters(networks) if networks else None,
        trained=parameters(networks, method.trained) if networks else None,
        training_images=_training_images(networks, method.trained),
        flops_base=None if cost is None else float(cost.base),
        flops_per_call=None if cost is None else float(cost.per_call),
        flops_size=None if cost is None else cost.size,
    )
    if isinstance(method, NoiseMethod) and method.std is None:
        return Described(given, info, method.base.identity, tuned_on=method.metric, draws=True)
    protocol = str(getattr(method, "protocol", ""))
    return Described(given, info, method.identity, protocol, draws=draws_samples(method))


def _training_images(networks: Mapping[str, Any], roles: Collection[str]) -> int | None:
    """The largest number of images that one of these networks was trained on; None where their cards do not say."""
    records = [getattr(networks[role], "record", None) for role in roles if role in networks]
    counts = [record.card.get("data", {}).get("images") for record in records if record is not None]
    return max((count for count in counts if isinstance(count, int)), default=None)


def tuning_metric(name: str, metrics: Sequence[Metric]) -> Metric:
    """The metric of that name, which a noise control is tuned for.

    Raises:
        DataError: it is not measured, or is none of single images.
    """
    wanted = metric_name(name)
    if wanted in (*SAMPLE_METRICS, *SET_METRICS):
        about = "several samples of each image" if wanted in SAMPLE_METRICS else "whole sets of images"
        raise DataError(
            f"A noise control cannot be tuned for {name}, which is about {about}: tune it for a metric of single "
            "images, such as metric=lpips, or state its strength, as in std=0.02."
        )
    for metric in metrics:
        try:
            if metric_name(metric.name) == wanted:
                return metric
        except DataError:  # a metric of the caller's own
            continue
    raise DataError(f"A noise control is tuned for {name}, which is not measured: add --metric {name}.")


def check_names(names: Sequence[str], what: str, remedy: str) -> None:
    """Raise DataError where two have one name."""
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"Two {what} are called '{twice}': {remedy}.")
