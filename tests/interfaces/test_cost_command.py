"""The function behind `dp-ir cost`."""

import pytest
import typer
from typer.testing import CliRunner

from dp_ir.errors import DPIRError
from dp_ir.interfaces.cost import cost, parse_size


@pytest.fixture
def app():
    app = typer.Typer()
    app.command()(cost)
    return app


def test_tables_of_a_shipped_bundle(app):
    result = CliRunner().invoke(app, ["sr4", "--size", "64x32", "--calls", "2", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "4,292,683" in result.output  # the parameters that its card states, together
    assert "64x32" in result.output
    assert "FLOPs: 2 per multiply-accumulate" in result.output
    assert "Measured" not in result.output


@pytest.mark.parametrize(("text", "size"), [("1280x720", (720, 1280)), (" 64 x 32 ", (32, 64)), ("5\u00d74", (4, 5))])
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "720p", "1280", "0x5", "5x0", "-1x5", "axb", "1e3x5"])
def test_sizes_that_are_none(text):
    with pytest.raises(DPIRError, match="width and height in pixels"):
        parse_size(text)
