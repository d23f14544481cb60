"""Tables of a run: rows of the past, columns of the future."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dp_ir.errors import CheckpointError
from dp_ir.training.tables import RunTable, writing


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_columns_that_come_later_get_a_place(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    table = RunTable(path)
    table.add({"step": "1", "psnr": "20"})
    table.add({"step": "2", "psnr": "21"})
    RunTable(path).add({"step": "3", "lpips": "0.1", "psnr": "22"})
    RunTable(path).add({"step": "4", "psnr": "23"})
    assert rows(path) == [
        {"step": "1", "psnr": "20", "lpips": ""},
        {"step": "2", "psnr": "21", "lpips": ""},
        {"step": "3", "psnr": "22", "lpips": "0.1"},
        {"step": "4", "psnr": "23", "lpips": ""},
    ]


@pytest.mark.parametrize(("step", "left"), [(0, []), (2, ["1", "2"]), (9, ["1", "2", "3"])])
def test_later_rows_are_taken_back(tmp_path: Path, step: int, left: list[str]) -> None:
    path = tmp_path / "table.csv"
    table = RunTable(path)
    for number in (1, 2, 3):
        table.add({"step": str(number), "loss": "1"})
    with path.open("a") as file:
        file.write("4")  # a row that was not written to its end
    table = RunTable(path)
    table.rewind(step)
    table.add({"step": "7", "loss": "2"})
    assert [row["step"] for row in rows(path)] == [*left, "7"]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"table\.csv cannot be written \(.*Not a directory.*\): make room"):
        RunTable(tmp_path / "file" / "table.csv").add({"step": "1"})
    with pytest.raises(CheckpointError, match=r"perhaps the disk is full"), writing(tmp_path / "checkpoint.pt"):
        raise RuntimeError("unexpected pos 64 vs 0")
