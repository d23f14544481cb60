"""What became of the inputs of a batch, for people or for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping

import typer

from dp_ir.batch.finding import counted
from dp_ir.batch.jobs import Outcome, Status
from dp_ir.interfaces.words import printable


def report(
    outcomes: Iterable[Outcome], *, left_out: Mapping[str, int], as_json: bool = False, to_stderr: bool = False
) -> int:
    """Say of each input what became of it, as soon as it is known, and how many there were in the end.

    Args:
        outcomes: of a batch.
        left_out: how many files of folders were no input, by kind.
        as_json: one JSON object per line on standard output: an outcome has "source", "status", "targets", "reason",
            "seconds", "notes" and "facts", which has the facts, "task" and "advice" of `dp-ir info --json` where the
            task was chosen; the last line has "summary", with a number per status, "left_out" by kind, and
            "seconds".
        to_stderr: leave standard output to the result.

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
            typer.echo(printable(_sentence(outcome)), err=to_stderr or outcome.status is Status.FAILED)
    if as_json:
        summary = {status.value: number for status, number in count.items()}
        seconds = round(time.perf_counter() - start, 3)
        typer.echo(json.dumps({"summary": summary, "left_out": dict(left_out), "seconds": seconds}))
    elif sum(count.values()) > 1 or left_out:
        done = ", ".join(f"{number} {status.value}" for status, number in count.items() if number)
        typer.echo(printable(f"{done}; left out: {counted(left_out)}" if left_out else done), err=to_stderr)
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
            "facts": dict(outcome.facts),
        }
    )


def _sentence(outcome: Outcome) -> str:
    if outcome.status is Status.FAILED:
        return f"dp-ir: {outcome.reason}"
    if outcome.status is Status.SKIPPED:
        made = f", {outcome.reason}" if outcome.reason else ""
        return f"{outcome.source}: skipped, {outcome.targets[0]} exists{made} (--overwrite restores it again)"
    others = f" and {len(outcome.targets) - 1} more" if len(outcome.targets) > 1 else ""
    return f"{outcome.source} -> {outcome.targets[0]}{others} ({outcome.seconds:.1f} s)"
