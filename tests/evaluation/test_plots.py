"""The frontier against its definition, and plots that say what they show."""

import math
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dp_ir.errors import DataError
from dp_ir.evaluation.report.plots import Axis, Point, Series, curves, pareto, plane

PSNR = Axis("PSNR-Y / dB", True)
LPIPS = Axis("LPIPS", False)
POINTS = [
    Point("restorer", 28.4, 0.31),
    Point("bicubic", 26.0, 0.44),
    Point("tau 100", 28.2, 0.28, "DP-IR"),
    Point("tau 200", 27.9, 0.26, "DP-IR"),
    Point("costs $5 & <more>", 27.0, 0.27),
    Point("failed", math.nan, 0.1),
]


def texts(path):
    return ["".join(node.itertext()) for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_frontier_is_what_nothing_beats(pairs):
    points = [Point("", float(x), float(y)) for x, y in pairs]
    found = pareto(points, x=PSNR, y=LPIPS)
    for index, (x, y) in enumerate(pairs):
        beaten = any((a > x and b <= y) or (a >= x and b < y) for a, b in pairs)
        assert (index in found) is not beaten
    assert [points[index].x for index in found] == sorted((points[index].x for index in found), reverse=True)
    mirrored = pareto([Point("", -p.x, -p.y) for p in points], x=Axis("-PSNR", False), y=Axis("-LPIPS", True))
    assert mirrored == found


def test_frontier_leaves_out_what_is_not_finite_and_needs_directions():
    assert pareto(POINTS, x=PSNR, y=LPIPS) == [0, 2, 3]
    with pytest.raises(DataError, match="'tau'"):
        pareto(POINTS, x=Axis("tau"), y=LPIPS)


def test_plane_names_axes_directions_and_points(tmp_path):
    path = plane(POINTS, tmp_path / "new" / "plane.svg", x=PSNR, y=LPIPS, title="Set14")
    shown = texts(path)
    for text in ("restorer", "bicubic", "tau 100", "tau 200", "DP-IR", "costs $5 & <more>", "Set14", "frontier"):
        assert text in shown
    assert "failed" not in shown
    assert any("PSNR-Y / dB" in text and text.endswith("better →") for text in shown)
    assert any("LPIPS" in text and text.startswith("← better") for text in shown)


def test_plots_are_reproducible_and_leave_nothing_else(tmp_path):
    first = plane(POINTS, tmp_path / "a.svg", x=PSNR, y=LPIPS).read_bytes()
    assert plane(POINTS, tmp_path / "b.svg", x=PSNR, y=LPIPS).read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.svg", "b.svg"]


def test_curves_have_a_panel_per_axis_and_tell_lines_apart(tmp_path):
    lines = [
        Series("ddpm", [4, 10, 100], {"PSNR-Y / dB": [28.0, 27.8, 27.5], "LPIPS": [0.3, 0.25, math.nan]}),
        Series("ddim", [4, 10], {"PSNR-Y / dB": [28.0, 27.7]}, {"PSNR-Y / dB": [0.1, 0.2]}),
    ]
    calls = Axis("network calls", False, log=True)
    shown = texts(curves(lines, tmp_path / "curves.svg", x=calls, y=[PSNR, LPIPS]))
    assert sum("network calls" in text for text in shown) == 2
    assert {"ddpm", "ddim", "4", "10", "100"} <= set(shown)
    image = Image.open(curves(lines, tmp_path / "curves.png", x=calls, y=PSNR))
    assert image.format == "PNG"
    colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20)}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours


def test_bad_input_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="at least one point"):
        plane([Point("a", math.inf, 0.1)], tmp_path / "a.svg", x=PSNR, y=LPIPS)
    with pytest.raises(DataError, match=r"a\.jpg.*\.svg"):
        plane(POINTS, tmp_path / "a.jpg", x=PSNR, y=LPIPS)
    with pytest.raises(DataError, match="'ddpm' has 2 places but 1 values"):
        curves([Series("ddpm", [1, 2], {"LPIPS": [0.1]})], tmp_path / "a.svg", x=Axis("tau"), y=LPIPS)
    with pytest.raises(DataError, match="at least one series"):
        curves([], tmp_path / "a.svg", x=Axis("tau"), y=LPIPS)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        plane(POINTS, tmp_path / "file" / "a.svg", x=PSNR, y=LPIPS)
