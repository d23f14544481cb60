"""The tables of a run, `log.csv` and `validation.csv`: a row per step, none beyond the checkpoint that is continued."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dp_ir.errors import CheckpointError
from dp_ir.part_files import replacing


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within, what goes wrong with writing a file of the run becomes one sentence.

    Raises:
        CheckpointError: the disk is full, the folder cannot be written, ...
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch.save raises the latter
        reason = str(error).splitlines()[0] if isinstance(error, OSError) else "perhaps the disk is full"
        raise CheckpointError(
            f"{path} cannot be written ({reason}): make room or name another folder, then run the command again; it "
            "goes on where the last checkpoint is."
        ) from error


class RunTable:
    """A CSV file whose first column is the step.

    Args:
        path: of the file, which need not be there yet.

    Raises:
        CheckpointError: the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: list[str] = []
        self._rows: list[dict[str, str]] = []
        if path.exists():
            try:
                with path.open(newline="", encoding="utf-8") as file:
                    reader = csv.DictReader(file)
                    self._rows = list(reader)
                    self._columns = list(reader.fieldnames or [])
            except (OSError, ValueError, csv.Error) as error:
                raise CheckpointError(f"{path} cannot be read as a table ({error}): move it away.") from error

    def rewind(self, step: int) -> None:
        """Take back the rows of later steps, which are trained again, and those that were not written to their end."""
        whole = [row for row in self._rows if None not in row.values() and row.get("step", "").isdigit()]
        kept = [row for row in whole if int(row["step"]) <= step]
        if len(kept) < len(self._rows):
            self._rows = kept
            self._write_all()

    def add(self, row: Mapping[str, str]) -> None:
        """Append a row; columns that are new get a place, and what was written before has nothing there."""
        self._rows.append(dict(row))
        new = [name for name in row if name not in self._columns]
        self._columns += new
        if new:
            self._write_all()
            return
        with writing(self._path), self._path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def _write_all(self) -> None:
        with (
            writing(self._path),
            replacing(self._path) as beside,
            beside.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(self._rows)
