"""`benchmarks/unseen.py`: its parts on cases made by hand, and the command with tiny networks and a false reader."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tiny import tiny_bundle

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from dp_ir.errors import DataError  # noqa: E402


@pytest.fixture
def features(benchmark):
    return benchmark("unseen_features")


@pytest.fixture
def text(benchmark):
    return benchmark("unseen_text")


def tiny_model(seed=0):
    """Three convolutions that halve, one that widens, and a head with a pooling that wants images of 32 pixels.

    The weights stand in nodes of their own, as Paddle's exporter writes them.
    """
    rng = np.random.default_rng(seed)
    shapes = [("a", 4, 3), ("b", 6, 4), ("c", 8, 6), ("d", 12, 8), ("head", 2, 12)]
    nodes = [
        onnx.helper.make_node(
            "Constant",
            [],
            [f"w_{name}"],
            value=onnx.numpy_helper.from_array(rng.normal(size=(out, given, 3, 3)).astype(np.float32)),
        )
        for name, out, given in shapes
    ]
    nodes.append(
        onnx.helper.make_node("Constant", [], ["flat"], value=onnx.numpy_helper.from_array(np.array([1, 8], np.int64)))
    )
    previous = "x"
    for name, stride in (("a", 2), ("b", 2), ("c", 2), ("d", 1)):
        weights = [previous, f"w_{name}"]
        nodes.append(onnx.helper.make_node("Conv", weights, [f"conv_{name}"], strides=[stride] * 2, pads=[1] * 4))
        previous = f"relu_{name}"
        nodes.append(onnx.helper.make_node("Relu", [f"conv_{name}"], [previous]))
    nodes += [
        onnx.helper.make_node("AveragePool", [previous], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        onnx.helper.make_node("Conv", ["pooled", "w_head"], ["heads"], pads=[1] * 4),
        onnx.helper.make_node("Reshape", ["heads", "flat"], ["y"]),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "tiny",
        [value("x", onnx.TensorProto.FLOAT, [None, 3, None, None])],
        [value("y", onnx.TensorProto.FLOAT, [1, 8])],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 12)], ir_version=8)


LAYERS = ["relu_a", "relu_b", "relu_d"]


# ---- features --------------------------------------------------------------------------------------------------------


def test_distance_of_maps(features):
    first = torch.tensor([[3.0, 0.0], [4.0, 2.0]]).view(1, 2, 1, 2)  # places (3, 4) and (0, 2): (.6, .8) and (0, 1)
    second = torch.tensor([[0.0, 0.0], [9.0, 1.0]]).view(1, 2, 1, 2)  # (0, 1) at both
    one = (0.6**2 + 0.2**2) / 2
    assert features.layer_distances([first], [second]).item() == pytest.approx(one, abs=1e-6)
    other = torch.ones(1, 5, 2, 2)
    both = features.layer_distances([first, other], [second, -other])
    assert both.tolist() == [pytest.approx([one, 4], abs=1e-6)]
    assert features.layer_distances([first, other], [7 * first, other]).max().item() == pytest.approx(0, abs=1e-8)
    batch = features.layer_distances([torch.cat([first, second])], [torch.cat([second, second])])
    assert batch[:, 0].tolist() == pytest.approx([one, 0], abs=1e-6)
    silent = torch.zeros(1, 2, 1, 2)
    assert features.layer_distances([silent], [silent]).item() == 0


def test_layers_are_the_ends_of_the_resolutions(features):
    assert features.pick_layers(tiny_model()) == ["relu_a", "relu_b", "relu_d"]


def test_layers_need_a_backbone(features):
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "flat", ends[:1], ends[1:])
    with pytest.raises(DataError, match="No convolution"):
        features.pick_layers(onnx.helper.make_model(graph))


def test_a_cut_model_gives_its_layers_for_any_size(features, tmp_path):
    model = tiny_model()
    cut = features.cut(model, LAYERS)
    assert [output.name for output in cut.graph.output] == LAYERS
    assert not any(node.op_type in ("AveragePool", "Reshape") for node in cut.graph.node)
    assert [output.name for output in model.graph.output] == ["y"]

    onnx.save(model, tmp_path / "tiny.onnx")
    backbone = features.load_backbone("tiny", tmp_path / "tiny.onnx")
    image = torch.rand(2, 3, 21, 27)
    maps = backbone(image)
    assert [tuple(entry.shape) for entry in maps] == [(2, 4, 11, 14), (2, 6, 6, 7), (2, 12, 3, 4)]
    weights = torch.from_numpy(onnx.numpy_helper.to_array(model.graph.node[0].attribute[0].t).copy())
    expected = torch.nn.functional.conv2d(2 * image.flip(1) - 1, weights, stride=2, padding=1).relu()
    torch.testing.assert_close(maps[0], expected, rtol=1e-4, atol=1e-4)


def test_a_file_that_is_no_model(features, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model at all")
    with pytest.raises(DataError, match="no ONNX model that can be run"):
        features.load_backbone("bad", tmp_path / "bad.onnx")


def test_distance_of_images(features, tmp_path):
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    backbone = features.load_backbone("tiny", tmp_path / "tiny.onnx")
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 16, 16), scale_factor=4, mode="bicubic").clamp(0, 1)
    for scale, name in (("full", "tiny"), ("half", "tiny 1/2")):
        metric = features.FeatureDistance(backbone, scale)
        assert metric.name == name
        assert ("halved" in metric.protocol) == (scale == "half")
        assert metric(image, image).item() == 0
        apart = metric.by_layer(image, 1 - image)
        assert apart.shape == (1, 3)
        assert metric(image, 1 - image).item() == apart.mean().item() > 0
        series = [metric(features.damaged(image, "white noise (of 255)", level), image).item() for level in (5, 20, 60)]
        assert features.smallest_rise([0, *series]) > 0
        assert metric(2 * image, image).item() == metric((2 * image).clamp(0, 1), image).item()
    with pytest.raises(DataError):
        metric(image, image[..., :32])


def test_damages(features):
    image = torch.rand(1, 3, 24, 24)
    for damage, strengths in features.STRENGTHS.items():
        errors = [float((features.damaged(image, damage, strength) - image).square().mean()) for strength in strengths]
        assert features.smallest_rise([0, *errors]) > 0, damage
    flat = torch.full((1, 3, 24, 24), 0.25)
    torch.testing.assert_close(features.damaged(flat, "blur (sigma in pixels)", 2.0), flat)


def test_the_smallest_rise_is_a_share_of_the_first(features):
    assert features.smallest_rise([0, 4, 3, 9]) == -0.25
    assert features.smallest_rise([1, 3, 6, 7]) == 0.5
    assert features.smallest_rise([0, 2, 6, 12]) == 2
    assert features.smallest_rise([0, 0, 0]) == features.smallest_rise([0, -1, 4]) == 0


class Squares:
    """A distance by a formula of the mean squared error."""

    name, protocol, higher_is_better = "squares", "", False

    def __init__(self, formula=lambda error: error):
        self.formula = formula

    def __call__(self, output, target):
        return self.formula((output - target).double().square().mean(dim=(1, 2, 3)))


def test_bars_of_a_distance_that_ranks_damages(features):
    images = [torch.nn.functional.interpolate(torch.rand(1, 3, 9, 9), scale_factor=6, mode="bicubic").clamp(0, 1)]
    bars, rows = features.behaviour(Squares(), images, "one image")
    assert len(bars) == 1 + len(rows) == 1 + len(features.STRENGTHS)
    assert all(bar.passed for bar in bars), bars
    assert [row[1] for row in rows] == list(features.STRENGTHS)
    assert all(bar.limit > 0 for bar in bars[1:])


@pytest.mark.parametrize("constant", [0.0, 0.3])
def test_no_rise_of_a_constant_distance_passes(features, constant):
    images = [torch.rand(1, 3, 24, 24) for _ in range(2)]
    bars, _ = features.behaviour(Squares(lambda error: 0 * error + constant), images, "two images")
    assert bars[0].passed == (constant == 0)
    assert not any(bar.passed for bar in bars[1:])


def test_no_rise_of_a_distance_that_only_tells_equal_from_unequal_passes(features):
    bars, _ = features.behaviour(Squares(lambda error: (error > 0).double()), [torch.rand(1, 3, 24, 24)], "one image")
    assert [bar.passed for bar in bars] == [True, False, False, False]


# ---- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [
        ("", "", 0),
        ("abc", "", 3),
        ("", "ab", 2),
        ("kitten", "sitting", 3),
        ("flaw", "lawn", 2),
        ("SUZUKI", "SUZUKl", 1),
    ],
)
def test_edit_distance(text, first, second, distance):
    assert text.edit_distance(first, second) == text.edit_distance(second, first) == distance


def test_characters_read_right(text):
    assert text.characters_right("14255", "14255") == 5
    assert text.characters_right("14255", "1425") == 4
    assert text.characters_right("abc", "zzzzzzzz") == 0  # never below
    lines = [text.Line(0, [], "abc"), text.Line(1, [], "defghij")]
    assert text.share_right(lines, [0, 7]) == 0.7  # long lines count for more
    assert text.share_right([], []) is None


class Told:
    """A reader that is told what stands where, by the brightness of the image."""

    def __init__(self, texts):
        self.texts = texts

    def find(self, image):
        return [[(0, 0), (index, 0), (index, 1), (0, 1)] for index in range(len(self._here(image)))]

    def read(self, image, places):
        return [self._here(image)[place[1][0]] for place in places]

    def _here(self, image):
        return self.texts[round(float(image.mean()) * 10)]


def grey(tenths):
    return torch.full((1, 3, 4, 4), tenths / 10)


def test_lines_are_found_in_originals_and_read_elsewhere(text):
    originals = [("harbour", 0.99), ("it", 1.0), ("blurred", 0.89), ("quay", 0.9)]
    outputs = [("hrbour", 0.2), ("it", 1.0), ("blurred", 1.0), ("", 0.0)]
    reader = Told({1: originals, 2: [], 5: outputs, 6: []})
    lines = text.find_lines(reader, [grey(2), grey(1)])
    assert [(line.image, line.text) for line in lines] == [(1, "harbour"), (1, "quay")]
    assert text.read_lines(reader, lines, [grey(6), grey(5)]) == [6, 0]


def test_table_of_legibility(text):
    found = text.Legibility([text.Line(0, [], "abcd"), text.Line(0, [], "efghij")])
    found.right = {"original": [4, 6], "restorer": [4, 0]}
    table = found.table("Text", {"first": [True, False], "none": [False, False], "all": [True, True]}, "restorer")
    assert table.columns == ["read from", "first", "none", "all", "p, as the restorer"]
    assert table.rows[0] == ["lines / characters", "1 / 4", "0 / 0", "2 / 10", None]
    assert table.rows[2] == ["restorer", "1.000", None, "0.400", None]


def test_sheets(text):
    dark, light = torch.full((1, 3, 330, 500), 0.2), torch.full((1, 3, 340, 480), 0.9)
    sheets, lines = text.sheets_of([dark, torch.zeros(1, 3, 100, 900), light], 2)
    assert len(sheets) == 2 * len(text.OPACITIES)
    assert all(sheet.shape == (1, 3, 320, 480) for sheet in sheets)
    assert [line.size for line in lines if line.image == 0] == list(text.SIZES)
    assert sheets[0].max() == pytest.approx(1.0)  # white on dark
    assert sheets[0].min() == pytest.approx(0.2)
    assert sheets[3].min() == pytest.approx(0.0)  # black on light
    assert sheets[2].max() == pytest.approx(0.2 + text.OPACITIES[2] * 0.8)
    again, _ = text.sheets_of([dark, light], 2)
    assert torch.equal(again[0], sheets[0])
    for line in lines:
        (left, top), (right, _), (_, bottom), _ = line.corners
        ground = sheets[line.image][0, 0]
        marked = (ground != ground[0, 0])[int(top) : int(bottom), int(left) : int(right)]
        assert marked.any()
        assert " " not in line.text
        ground[int(top) : int(bottom), int(left) : int(right)] = ground[0, 0]
    assert all((sheet[0, 0] == sheet[0, 0, 0, 0]).all() for sheet in sheets)  # nothing is written outside the corners
    assert text.sheets_of([dark], 0) == ([], [])


# ---- the command -----------------------------------------------------------------------------------------------------

PACKAGE = """
class Recogniser:
    def __call__(self, pieces):
        return [("abcdef"[: 4 + round(piece.mean() / 255)], 0.95) for piece in pieces], 0.0

class RapidOCR:
    def __init__(self, **settings):
        self.text_rec = Recogniser()

    def __call__(self, image, use_cls):
        return [[[[0, 0], [8, 0], [8, 4], [0, 4]], "abcdef", 0.99]], []

    def get_crop_img_list(self, image, places):
        return [image for _ in places]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data sets, a bundle of small untrained networks, and a package of the name that is asked for."""
    root = tmp_path_factory.mktemp("unseen")
    rng = np.random.default_rng(0)
    for dataset in ("Kodak24", "CBSD68"):
        (root / "data" / dataset).mkdir(parents=True)
        for index in range(2):
            pixels = np.kron(rng.integers(0, 256, (12, 15, 3)), np.ones((4, 4, 1))).astype(np.uint8)
            Image.fromarray(pixels).save(root / "data" / dataset / f"{index}.png")
    tiny_bundle(root / "bundle", tau=200, steps=2, task="sr4")
    package = root / "judges" / "rapidocr_onnxruntime"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE)
    onnx.save(tiny_model(0), package / "models" / "a_det_b.onnx")
    onnx.save(tiny_model(1), package / "models" / "a_cls_b.onnx")
    return root


@pytest.fixture
def run(benchmark, monkeypatch):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmarks/unseen.py", *map(str, arguments)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.delitem(sys.modules, "rapidocr_onnxruntime", raising=False)
        return benchmark("unseen").main()

    yield command
    sys.modules.pop("rapidocr_onnxruntime", None)


def test_the_command(place, run, tmp_path, capsys):
    page = tmp_path / "unseen.md"
    sets = ["Kodak24", "CBSD68"]
    status = run(
        *("--data", place / "data", "--bundle", place / "bundle", "--models", place / "judges"),
        *("--write", page, "--detail", 0.5, "--sets", *sets),
    )
    assert status == 0, capsys.readouterr().out
    report = json.loads(page.with_suffix(".json").read_text())
    behaviour, detector, classifier, layers, text = report["tables"]
    assert "behave" in behaviour["title"]
    assert len(report["targets"]) == 2 * 2 * 4
    scores = {(entry["dataset"], entry["method"]): entry["values"] for entry in report["data"]["scores"]}
    for table, judge in ((detector, "detector"), (classifier, "classifier")):
        for name in sets:
            rows = {row[1].partition(" (")[0]: row for row in table["rows"] if row[0] == name}
            assert list(rows) == ["bicubic", "restorer", "restorer + noise", "DP-IR", "DP-IR, detail 0.5"]
            assert rows["DP-IR"][2] == "1 restorer + 2 denoiser + 2 fusion"
            ours, alone = scores[name, "DP-IR"], scores[name, "restorer"]
            for column, key in ((5, judge), (8, f"{judge} 1/2")):
                assert rows["restorer"][column] == "1.000"
                assert rows["restorer + noise"][column + 1] == "1.000"
                assert float(rows["restorer + noise"][column]) <= 1
                assert float(rows["DP-IR"][column]) == pytest.approx(ours[key] / alone[key], abs=6e-4)
    assert {row[2] for row in layers["rows"]} == {"bicubic", "restorer + noise", "DP-IR", "DP-IR, detail 0.5"}
    assert all(len(row[3].split()) == 3 for row in layers["rows"])
    assert text["columns"] == ["read from", *sets, "all", "p, as the restorer"]
    rows = {row[0]: row for row in text["rows"]}
    assert rows["lines / characters"][3].startswith("4 / ")
    assert rows["original"][3] == "1.000"
    assert list(rows)[1:] == ["original", "bicubic", "restorer", "DP-IR", "DP-IR, detail 0.5"]
    assert "the features of these networks" in page.read_text()
    assert "saw text read" in page.read_text()
    assert "Text written onto" not in page.read_text().split("## Protocols")[0]  # no photo has room for a sheet


def test_features_alone_need_no_reader(place, run, tmp_path, capsys):
    models = place / "judges" / "rapidocr_onnxruntime" / "models"
    arguments = ["--data", place / "data", "--bundle", place / "bundle", "--models", models, "--sets", "Kodak24"]
    page = tmp_path / "unseen.md"
    assert run(*arguments, "--limit", 1, "--only", "features", "--write", page) == 0, capsys.readouterr().out
    assert [table["title"].split()[0] for table in json.loads(page.with_suffix(".json").read_text())["tables"]] == [
        "Do",
        "Features",
        "Features",
        "Distance",
    ]
    assert "the features of these networks" in page.read_text()
    assert "saw text read" not in page.read_text()
    assert run(*arguments) == 1
    assert "cannot be used" in " ".join(capsys.readouterr().out.split())


def test_text_alone_needs_no_judge_and_no_noise(place, run, tmp_path, capsys, monkeypatch):
    page = tmp_path / "unseen.md"
    arguments = ["--data", place / "data", "--bundle", place / "bundle", "--models", place / "judges"]
    monkeypatch.setattr("dp_ir.evaluation.noise_control", None)
    monkeypatch.setattr("onnxruntime.InferenceSession", None)
    assert run(*arguments, "--sets", "Kodak24", "--only", "text", "--write", page) == 0, capsys.readouterr().out
    report = json.loads(page.with_suffix(".json").read_text())
    (table,) = report["tables"]
    assert [row[0] for row in table["rows"][1:4]] == ["original", "bicubic", "restorer"]
    assert report["targets"] == []
    written = page.read_text().partition("Measured with")[2] + json.dumps(report["protocols"])
    assert "noise" not in written
    introduction = page.read_text().partition("Measured with")[0]
    assert "saw text read" in introduction
    assert "features" not in introduction
    assert "noise" not in introduction


@pytest.mark.parametrize("models", ["no_such_package", "no/such/folder"])
def test_what_to_install_is_said(place, run, capsys, models):
    assert run("--data", place / "data", "--bundle", place / "bundle", "--models", models) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"'{models}' holds no *_det_*.onnx" in said
    assert "pip install --no-deps --target FOLDER rapidocr_onnxruntime" in said
