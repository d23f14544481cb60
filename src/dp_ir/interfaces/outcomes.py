"""What became of the inputs of a batch, for people or for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

import typer

from dp_ir.interfaces.words import printable
from dp_ir.restoration.jobs import Outcome, Status


def report(outcomes: Iterable[Outcome], *, as_json: bool = False) -> int:
    """Say of each input what became of it, as soon as it is known, and how many there were in the end.

    Args:
        outcomes: of a batch.
        as_json: one JSON object per line on standard output: an outcome has "source", "status", "targets", "reason",
            "seconds" and "notes"; the last line has "summary", with a number per status, and "seconds".

    Returns:
        How many failed.
    """
    start = time.perf_counter()
    count = dict.fromkeys(Status, 0)
    for outcome in outcomes:
        count[outcome.status] += 1
        if as_json:
            typer.echo(_json(outcome))
        else:
            typer.echo(printable(_sentence(outcome)), err=outcome.status is Status.FAILED)
    if as_json:
        summary = {status.value: number for status, number in count.items()}
        typer.echo(json.dumps({"summary": summary, "seconds": round(time.perf_counter() - start, 3)}))
    elif sum(count.values()) > 1:
        typer.echo(", ".join(f"{number} {status.value}" for status, number in count.items() if number))
    return count[Status.FAILED]


def _json(outcome: Outcome) -> str:
    return json.dumps(
        {
            "source": str(outcome.source),
            "status": outcome.status.value,
            "targets": [str(target) for target in outcome.targets],
            "reason": outcome.reason,
            "seconds": round(outcome.seconds, 3),
            "notes": outcome.notes,
        }
    )


def _sentence(outcome: Outcome) -> str:
    if outcome.status is Status.FAILED:
        return f"dp-ir: {outcome.reason}"
    if outcome.status is Status.SKIPPED:
        return f"{outcome.source}: skipped, {outcome.targets[0]} exists (--overwrite restores it again)"
    others = f" and {len(outcome.targets) - 1} more" if len(outcome.targets) > 1 else ""
    return f"{outcome.source} -> {outcome.targets[0]}{others} ({outcome.seconds:.1f} s)"
