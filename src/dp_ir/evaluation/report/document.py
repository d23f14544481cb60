"""Reports: tables and targets for the terminal, as Markdown and as JSON, with the command that made them.

The writers are thirty lines of our own: pandas would be a large dependency, and ranks no cells.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from dp_ir.errors import DataError
from dp_ir.evaluation.runner.results import machine
from dp_ir.part_files import replace_text

Cell = str | int | float | None

_TERMINAL = {1: "bold", 2: "underline"}
_MARKDOWN = {1: "**", 2: "_"}  # it knows no underline


@dataclass(frozen=True)
class Target:
    """A figure that must be reached.

    Args:
        what: what is measured.
        on: on which data.
        relation: ">=" or "<=": how the measured figure must stand to the limit.
        limit: the figure to reach.
        measured: the figure measured; None if it could not be, which counts as not reached.
        unit: printed behind both figures.
        digits: decimals printed.
    """

    what: str
    on: str
    relation: Literal[">=", "<="]
    limit: float
    measured: float | None
    unit: str = ""
    digits: int = 2

    @property
    def passed(self) -> bool:
        """Whether the measured figure reaches the limit (judged unrounded)."""
        if self.measured is None or math.isnan(self.measured):
            return False
        return self.measured >= self.limit if self.relation == ">=" else self.measured <= self.limit


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Args:
        title: what stands above it.
        columns: heads.
        rows: cells, as many as there are columns.
        ranks: 1 for the best cells of a column and 2 for the second, by (row, column); empty where nothing is ranked.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    ranks: Mapping[tuple[int, int], int] = field(default_factory=dict)


@dataclass
class Report:
    """What one command measured: targets, tables, and what they were measured with.

    `intro` opens the page, `protocols` closes it: how each measure came about. `data` takes whatever else belongs into
    the JSON file, such as the values of single images.
    """

    title: str
    command: str
    intro: Sequence[str] = ()
    targets: list[Target] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    protocols: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=lambda: machine())

    @property
    def passed(self) -> bool:
        """Whether every target is reached."""
        return all(target.passed for target in self.targets)

    def state(self, *protocols: str) -> None:
        """Add protocols that are not stated yet."""
        self.protocols += [protocol for protocol in dict.fromkeys(protocols) if protocol not in self.protocols]

    def targets_table(self) -> Table:
        """The targets as a table of their own."""
        rows = [
            [
                target.what,
                target.on,
                f"{_sign(target.relation)} {_with_unit(target.limit, target)}",
                "not measured" if target.measured is None else _with_unit(target.measured, target),
                "yes" if target.passed else "NO",
            ]
            for target in self.targets
        ]
        return Table("Targets", ["what", "on", "target", "measured", "reached"], rows)

    def print(self, console: Console) -> None:
        """Print every table on a terminal."""
        for table in self._all_tables():
            shown = RichTable(title=table.title, title_justify="left")
            for index, column in enumerate(table.columns):
                shown.add_column(escape(column), justify="left" if index == 0 else "right")
            for number, row in enumerate(table.rows):
                style = {"NO": "red", "yes": "green"}.get(str(row[-1]), "")
                styles = [_TERMINAL.get(table.ranks.get((number, column), 0), "") for column in range(len(row))]
                cells = [Text(format_cell(cell), style=look) for cell, look in zip(row, styles, strict=True)]
                shown.add_row(*cells, style=style)
            console.print(shown)
        for protocol in self.protocols:
            console.print(escape(f"- {protocol}"), style="dim")

    def to_markdown(self) -> str:
        """The report as a Markdown page."""
        parts = [f"# {self.title}", f"Made by\n\n```\n{self.command}\n```", *self.intro]
        parts.append("Measured with " + ", ".join(f"{key} {value}" for key, value in self.machine.items()) + ".")
        for table in self._all_tables():
            lines = [f"| {' | '.join(_markdown(column) for column in table.columns)} |"]
            lines.append("|" + "|".join([" --- ", *[" ---: " for _ in table.columns[1:]]]) + "|")
            for number, row in enumerate(table.rows):
                marks = [_MARKDOWN.get(table.ranks.get((number, column), 0), "") for column in range(len(row))]
                cells = [f"{mark}{_markdown(format_cell(cell))}{mark}" for cell, mark in zip(row, marks, strict=True)]
                lines.append(f"| {' | '.join(cells)} |")
            parts += [f"## {table.title}", "\n".join(lines)]
        if self.protocols:
            parts += ["## Protocols", "\n".join(f"- {_plain(protocol)}" for protocol in self.protocols)]
        return "\n\n".join(parts) + "\n"

    def to_json(self) -> str:
        """The report as JSON; infinities and missing numbers become null."""
        content = {
            "title": self.title,
            "command": self.command,
            "machine": dict(self.machine),
            "passed": self.passed,
            "targets": [{**vars(target), "passed": target.passed} for target in self.targets],
            "tables": [{"title": table.title, "columns": table.columns, "rows": table.rows} for table in self.tables],
            "protocols": self.protocols,
            "data": self.data,
        }
        return json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"

    def write(self, path: str | Path) -> list[Path]:
        """Write the Markdown page, and the JSON file of the same name beside it, each whole or not at all.

        Raises:
            DataError: the folder cannot be written to.
        """
        page = Path(path)
        data = page.with_suffix(".json")
        return [replace_text(page, self.to_markdown(), DataError), replace_text(data, self.to_json(), DataError)]

    def _all_tables(self) -> list[Table]:
        return [self.targets_table(), *self.tables] if self.targets else list(self.tables)


def format_cell(cell: Cell) -> str:
    """A cell as text: a dash for nothing, four significant digits for a float."""
    if cell is None:
        return "-"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _sign(relation: str) -> str:
    return "≥" if relation == ">=" else "≤"


def _with_unit(number: float, target: Target) -> str:
    return f"{number:.{target.digits}f} {target.unit}".rstrip()


def _markdown(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """One line in which Markdown sees no HTML."""
    return " ".join(text.split()).replace("<", "&lt;")


def _finite(value: Any) -> Any:
    """The same structure in types that strict JSON has."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(entry) for entry in value]
    return value
