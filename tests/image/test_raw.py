"""RAW files: what LibRaw says of DNGs written here becomes one scale, one phase and one camera."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from dng_files import PHASES, mosaic_of, write_dng

from dp_ir.errors import ImageReadError, MissingExtraError
from dp_ir.image.metadata.exif import upright
from dp_ir.image.raw.burst import unpack
from dp_ir.image.raw.raw_files import read_raw

rawpy = pytest.importorskip("rawpy")

RNG = np.random.default_rng(0)
SCENE = RNG.integers(1000, 16000, (36, 48, 3)).astype(np.uint16)  # LibRaw takes nothing below 22 pixels
XYZ_TO_SENSOR = np.array([[0.9, -0.2, -0.1], [-0.4, 1.2, 0.2], [-0.1, 0.2, 0.6]])
XYZ_FROM_SRGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def dng(tmp_path: Path, mosaic: np.ndarray | None = None, **facts) -> Path:
    return write_dng(tmp_path / "frame.dng", mosaic_of(SCENE, "RGGB") if mosaic is None else mosaic, **facts)


@pytest.mark.parametrize("phase", PHASES)
def test_every_phase_becomes_rggb(tmp_path, phase):
    path = dng(tmp_path, mosaic_of(SCENE, phase), pattern=PHASES[phase])
    row, column = divmod(phase.index("R"), 2)
    seen = SCENE[row : 36 - row, column : 48 - column] / 16383.0  # whole cells that begin with red
    expected = np.stack([seen[::2, ::2, 0], seen[::2, 1::2, 1], seen[1::2, ::2, 1], seen[1::2, 1::2, 2]])
    frame = read_raw(path)
    assert frame.phase == phase
    np.testing.assert_allclose(frame.planes, expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(37, 48), (36, 49), (37, 49)])
def test_odd_rows_and_columns_are_cut(tmp_path, shape):
    mosaic = RNG.integers(0, 16384, shape).astype(np.uint16)
    found = unpack(read_raw(dng(tmp_path, mosaic)).planes)
    np.testing.assert_allclose(found * 16383, mosaic[:36, :48], atol=1e-2)


@pytest.mark.parametrize("phase", PHASES)
def test_black_is_subtracted_per_pixel_of_the_cell_and_white_is_one(tmp_path, phase):
    mosaic = np.tile(np.array([[500, 600], [700, 800]], np.uint16), (16, 16))
    mosaic[8:10, 8:10] = 4000
    mosaic[:2, :2] = 100  # below black, as noise may be
    planes = read_raw(dng(tmp_path, mosaic, pattern=PHASES[phase], black=(500, 600, 700, 800), white=4000)).planes
    assert sorted(set(planes.flatten().tolist())) == [0, 1]
    assert planes[:, 1:-1, 1:-1].sum() == 4


def test_a_value_between_black_and_white_is_linear(tmp_path):
    mosaic = np.full((24, 24), 1000 + 1500, np.uint16)
    assert torch.allclose(read_raw(dng(tmp_path, mosaic, black=(1000,) * 4, white=4000)).planes, torch.tensor(0.5))


def test_only_the_visible_area_is_read(tmp_path):
    frame = read_raw(dng(tmp_path, active=(2, 4, 36, 48)))
    np.testing.assert_allclose(unpack(frame.planes) * 16383, mosaic_of(SCENE, "RGGB")[2:, 4:], atol=1e-2)


def test_white_balance_leaves_green_as_it_is(tmp_path):
    gains = read_raw(dng(tmp_path, neutral=(0.5, 1.0, 0.8))).camera.gains
    np.testing.assert_allclose(gains, [2, 1, 1.25], rtol=1e-4)


@pytest.mark.parametrize(("neutral", "gains"), [((1.25, 1.0, 0.5), (1, 1.25, 2.5)), ((0.5, 1.0, 0.8), (2, 1, 1.25))])
def test_what_is_overexposed_is_white(tmp_path, neutral, gains):
    """For which no channel may be dimmed, nor be brighter than the others when it saturates."""
    mosaic = np.full((24, 24), 16383, np.uint16)
    frame = read_raw(dng(tmp_path, mosaic, neutral=neutral, matrix=XYZ_TO_SENSOR))
    np.testing.assert_allclose(frame.camera.gains, gains, rtol=1e-4)
    red, green, other, blue = frame.planes
    assert torch.equal(green, other)
    shown = frame.camera.render(torch.stack((red, green, blue))[None])
    np.testing.assert_allclose(shown, torch.ones_like(shown), atol=1e-3)


def test_the_colour_matrix_leads_from_the_sensor_to_srgb(tmp_path):
    """The inverse of sRGB to XYZ to sensor, with grey kept grey."""
    sensor_from_srgb = XYZ_TO_SENSOR @ XYZ_FROM_SRGB
    sensor_from_srgb /= sensor_from_srgb.sum(1, keepdims=True)
    camera = read_raw(dng(tmp_path, matrix=XYZ_TO_SENSOR)).camera
    np.testing.assert_allclose(camera.matrix, np.linalg.inv(sensor_from_srgb), atol=2e-3)
    np.testing.assert_allclose(camera.matrix.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_carried_as_turns_and_mirroring(tmp_path, orientation):
    frame = read_raw(dng(tmp_path, orientation=orientation))
    stored = np.arange(6, dtype=np.float32).reshape(2, 3)
    turned = np.rot90(stored[:, ::-1] if frame.mirrored else stored, frame.turns)
    np.testing.assert_array_equal(turned, upright(stored, orientation))


def test_the_camera_and_the_exposure_are_told(tmp_path):
    frame = read_raw(dng(tmp_path, model="Two", seconds=0.02))
    assert frame.maker == "Acme Two"
    assert frame.exposure == pytest.approx(0.02, rel=1e-3)


def test_what_is_missing_is_said_and_replaced(tmp_path):
    bare = read_raw(dng(tmp_path, neutral=None))
    assert torch.equal(bare.camera.gains, torch.ones(3))
    assert torch.equal(bare.camera.matrix, torch.eye(3))
    assert [note.split(",")[0] for note in bare.notes] == ["no white balance", "no colour matrix"]
    daylight = read_raw(dng(tmp_path, neutral=None, matrix=XYZ_TO_SENSOR))
    assert [note.split(",")[0] for note in daylight.notes] == ["no white balance"]
    assert daylight.camera.gains.min() == 1
    assert daylight.camera.gains.max() > 1.2
    assert not read_raw(dng(tmp_path, matrix=XYZ_TO_SENSOR)).notes


def test_the_colours_are_those_that_libraw_develops(tmp_path):
    """A smooth scene, developed by LibRaw without a tone curve, against gains and matrix."""
    y, x = np.mgrid[0:64, 0:64] / 64
    smooth = (np.stack([2000 + 4000 * x, 3000 + 4000 * y, 2500 + 2000 * x * y], -1)).astype(np.uint16)
    path = dng(
        tmp_path, mosaic_of(smooth, "GRBG"), pattern=PHASES["GRBG"], neutral=(0.5, 1.0, 0.7), matrix=XYZ_TO_SENSOR
    )
    with rawpy.imread(str(path)) as raw:
        developed = raw.postprocess(gamma=(1, 1), no_auto_bright=True, use_camera_wb=True, output_bps=16) / 65535.0
    camera = read_raw(path).camera
    linear = camera.linear(torch.from_numpy((smooth / 16383.0).astype(np.float32)).permute(2, 0, 1)[None])
    found = linear[0].permute(1, 2, 0).clamp(0, 1).numpy()
    assert np.abs(found - developed)[4:-4, 4:-4].max() < 0.01


X_TRANS = (1, 1, 0, 1, 1, 2, 1, 1, 2, 1, 1, 0, 2, 0, 1, 0, 2, 1, 1, 1, 2, 1, 1, 0, 1, 1, 0, 1, 1, 2, 0, 2, 1, 2, 0, 1)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [(X_TRANS, "6x6 pixels"), ((0, 1, 2, 1), "mosaic of RGBG"), ((0, 0, 0, 0), "1x1 pixels"), ((1, 0, 1, 2), "GRGB")],
    ids=["X-Trans", "other cell", "monochrome", "columns"],
)
def test_an_unknown_phase_is_refused(tmp_path, pattern, words):
    with pytest.raises(ImageReadError, match=words) as caught:
        read_raw(dng(tmp_path, pattern=pattern))
    assert "frame.dng" in str(caught.value)
    assert "expected a Bayer mosaic" in str(caught.value)


def test_pixels_with_all_colours_are_refused(tmp_path):
    tags = [(50706, 1, 4, bytes((1, 4, 0, 0)), True), (271, 2, 0, "Acme", True), (272, 2, 0, "One", True)]
    tifffile.imwrite(tmp_path / "linear.dng", SCENE, photometric=34892, extratags=tags, metadata=None)
    with pytest.raises(ImageReadError, match="hold all colours"):
        read_raw(tmp_path / "linear.dng")


@pytest.mark.parametrize("kept", [0, 10, 300, 0.5, -10])
def test_a_damaged_file_is_one_sentence(tmp_path, kept, capfd):
    path = dng(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(ImageReadError, match=r"frame\.dng' cannot be read as RAW data") as caught:
        read_raw(path)
    assert "b'" not in str(caught.value)


def test_a_giant_is_refused_before_it_is_decoded(tmp_path):
    with pytest.raises(ImageReadError, match="megapixels"):
        read_raw(dng(tmp_path), max_pixels=100)


def test_black_above_white_is_refused(tmp_path):
    with pytest.raises(ImageReadError, match="black is 5000 and white 4000"):
        read_raw(dng(tmp_path, black=(5000,) * 4, white=4000))


def test_without_rawpy_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(MissingExtraError, match=r"dp-ir\[raw\]"):
        read_raw(dng(tmp_path))


@pytest.mark.skipif("DP_IR_DATA" not in os.environ, reason="the data is not here: set DP_IR_DATA")
@pytest.mark.parametrize("phase", PHASES)
def test_a_real_scene_in_four_phases_looks_the_same(tmp_path, phase):
    """The four files are one scene, whose mean colour does not depend on where the mosaic begins."""
    folder = Path(os.environ["DP_IR_DATA"]) / "raw"
    files = [(name, folder / f"DSC_1339_768x512_{name.lower()}.raw") for name in ("RGGB", phase)]
    if not all(path.is_file() for _, path in files):
        pytest.skip("the scene is not in that data")
    means = []
    for name, path in files:
        mosaic = np.fromfile(path, "<u2").reshape(512, 768)
        frame = read_raw(write_dng(tmp_path / f"{name}.dng", mosaic, pattern=PHASES[name]))
        means.append(frame.planes.mean((1, 2)))
    assert torch.allclose(means[0], means[1], rtol=0.02)
