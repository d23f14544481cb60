"""Bars and reports: what is judged, what is written, and that it can be read again."""

import csv
import io
import json
import math

import pytest
import torch
from rich.console import Console

from dp_ir.evaluation import Report, Table, Target


@pytest.mark.parametrize(
    ("relation", "limit", "measured", "passed"),
    [
        (">=", 31.6, 31.6, True),
        (">=", 31.6, 31.599, False),
        ("<=", 0.62, 0.62, True),
        ("<=", 0.62, 0.6200001, False),
        (">=", 1.0, None, False),
        ("<=", 1.0, math.nan, False),
        (">=", -1.8, -1.2, True),
    ],
)
def test_a_bar_is_judged_unrounded(relation, limit, measured, passed):
    assert Target("what", "data", relation, limit, measured).passed is passed


def example() -> Report:
    report = Report("A title", "python make.py --all", intro=["An introduction."], machine={"processor": "abacus"})
    report.targets = [Target("PSNR", "Set5", ">=", 30.0, 31.234, "dB"), Target("a|b", "Set5", "<=", 1.0, None)]
    report.tables = [Table("Numbers", ["name", "value"], [["x [y]", 1.23456], ["none", None]])]
    report.data = {"values": torch.tensor([1.5, math.inf]).tolist()}
    report.state("PSNR: how", "PSNR: how")
    report.state("PSNR: how", "LPIPS: how")
    return report


def test_markdown_holds_command_bars_tables_and_each_protocol_once():
    page = example().to_markdown()
    assert "python make.py --all" in page
    assert "| PSNR | Set5 | ≥ 30.00 dB | 31.23 dB | yes |" in page
    assert "| a\\|b | Set5 | ≤ 1.00 | not measured | NO |" in page
    assert "| x [y] | 1.235 |" in page
    assert "| none | - |" in page
    assert page.count("PSNR: how") == page.count("LPIPS: how") == 1
    assert "processor abacus" in page


def test_json_is_strict_and_complete():
    def refuse(name):
        raise AssertionError(name)

    content = json.loads(example().to_json(), parse_constant=refuse)
    assert content["targets"][0]["measured"] == 31.234
    assert [bar["passed"] for bar in content["targets"]] == [True, False]
    assert content["passed"] is False
    assert content["data"]["values"] == [1.5, None]
    assert content["command"] == "python make.py --all"


def test_csv_has_every_cell_and_unrounded_targets():
    report = example()
    report.tables.append(Table("Numbers", ["name"], [["of the same title"]]))
    cells = list(csv.DictReader(io.StringIO(report.to_csv())))
    assert {cell["table"] for cell in cells} == {"Targets", "Numbers"}
    found = {(cell["table"], cell["row"], cell["column"]): cell["value"] for cell in cells}
    assert len(found) == len(cells) == 2 * 8 + 2 * 2 + 1
    assert found["Targets", "0", "measured"] == "31.234"
    assert (found["Targets", "1", "what"], found["Targets", "1", "measured"]) == ("a|b", "")
    assert (found["Targets", "0", "passed"], found["Targets", "1", "passed"]) == ("True", "False")
    assert found["Numbers", "0", "value"] == "1.23456"
    assert (found["Numbers", "1", "name"], found["Numbers", "1", "value"]) == ("none", "")
    assert found["Numbers", "2", "name"] == "of the same title"


def test_terminal_shows_brackets_and_bars():
    stream = io.StringIO()
    example().print(Console(file=stream, width=120))
    shown = stream.getvalue()
    for text in ("x [y]", "31.23 dB", "not measured", "LPIPS: how"):
        assert text in shown


def test_written_beside_and_renamed(tmp_path):
    page = tmp_path / "docs" / "bars.md"
    assert example().write(page) == [page, page.with_suffix(".csv"), page.with_suffix(".json")]
    assert sorted(path.name for path in page.parent.iterdir()) == ["bars.csv", "bars.json", "bars.md"]
    assert page.read_text(encoding="utf-8") == example().to_markdown()
    assert json.loads(page.with_suffix(".json").read_text())["title"] == "A title"
