"""What a restoration costs, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dp_ir.evaluation.report.document import Cell, Report, Table
from dp_ir.evaluation.runner.resources import (
    FLOPS_PROTOCOL,
    MEASURED_PROTOCOL,
    Cost,
    measure,
    parameters,
    restoration_cost,
)
from dp_ir.restoration.pipeline import Restoration


def cost_table(
    entries: Iterable[tuple[str, Cost, Sequence[int]]], title: str = "Floating-point operations / TFLOPs"
) -> Table:
    """The paper's Table 9: base + per call x calls, one row per method, size and number of calls.

    Args:
        entries: name of a method (all empty: no such column), its cost at one size, and the numbers of calls to show.
        title: of the table.
    """
    listed = list(entries)
    named = any(name for name, _, _ in listed)
    rows: list[list[Cell]] = [
        [name, _shown(cost.size), _tera(cost.base), _tera(cost.per_call), count, _tera(cost.at(count))]
        for name, cost, calls in listed
        for count in calls
    ]
    columns = ["method", "size", "base", "per call", "calls", "all"]
    return Table(title, columns, rows) if named else Table(title, columns[1:], [row[1:] for row in rows])


def _tera(operations: int) -> str:
    return f"{operations / 1e12:.4g}"


def cost_report(
    restoration: Restoration,
    sizes: Sequence[tuple[int, int]],
    calls: Sequence[int] = (),
    *,
    measured: Sequence[tuple[int, int]] = (),
    title: str = "Cost",
    command: str = "",
) -> Report:
    """Everything that a restoration costs, as tables with their protocols.

    Args:
        restoration: of which networks; only a fusion counts as trained, all else is taken as it is.
        sizes: of restored images, (height, width), for the operations.
        calls: numbers of sampling steps to add up; the restoration's own by default.
        measured: sizes for seconds and peak memory; nothing is run for none.
        title: of the report.
        command: what made it.

    Raises:
        DPIRError: as `restoration_cost` and `measure`.
    """
    networks: dict[str, Any] = dict(restoration.networks.items())
    steps = len(restoration.chain().sigmas) - 1
    rows: list[list[Cell]] = [
        [role, _count(parameters({role: network})), "yes" if role == "fusion" else "no"]
        for role, network in networks.items()
    ]
    rows.append(["all", _count(parameters(networks)), None])
    report = Report(title, command, tables=[Table("Parameters", ["network", "parameters", "trained for it"], rows)])
    entries: dict[tuple[int, int], Cost] = {}
    for size in sizes:
        if (cost := restoration_cost(networks, size)) is not None:
            entries[size] = cost
    if entries:
        report.tables.append(cost_table([("", cost, calls or (steps,)) for cost in entries.values()]))
        report.state(FLOPS_PROTOCOL)
    if measured:
        rows = []
        for size in measured:
            run = measure(restoration, size)
            memory = None if run.memory is None else f"{run.memory / 2**20:.0f}"
            count = " + ".join(f"{number} {role}" for role, number in run.calls.items() if number)
            rows.append([_shown(size), count, f"{run.seconds:.2f}", memory])
        report.tables.append(Table("Measured", ["size", "calls", "s / image", "peak / MiB"], rows))
        report.state(MEASURED_PROTOCOL)
    return report


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def _shown(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
