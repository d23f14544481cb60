"""Comparisons of bursts: cameras go along, results are rendered, and linear light is measured."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.datasets.opening import open_dataset
from dp_ir.datasets.pairs import PairedImages
from dp_ir.degradation.chance import image_generator
from dp_ir.degradation.synthetic_burst import synthetic_burst
from dp_ir.errors import DataError
from dp_ir.evaluation.methods.method import Observation
from dp_ir.evaluation.methods.parsing import parse_method
from dp_ir.evaluation.methods.restoration_methods import Interpolation, RestorationMethod, RestorerMethod
from dp_ir.evaluation.metrics.names import border_of, default_metrics, make_metrics
from dp_ir.evaluation.metrics.similarity import PSNR, LinearPSNR
from dp_ir.evaluation.runner.comparison import evaluate
from dp_ir.evaluation.runner.stored_paths import TARGET, stored_image
from dp_ir.image import read_image
from dp_ir.image.raw.burst import Burst, pack
from dp_ir.image.raw.camera import Camera
from dp_ir.image.raw.demosaicking import demosaick_bilinear
from dp_ir.image.raw.synthetic_burst import write_synthetic_burst
from dp_ir.restoration.pipeline import Restoration
from dp_ir.tasks import get_task

CAMERA = Camera(torch.tensor([2.0, 1.0, 1.6]), torch.tensor([[1.5, -0.4, -0.1], [-0.2, 1.4, -0.2], [0.0, -0.5, 1.5]]))


def photograph(side=64):
    """A smooth picture, (1, 3, side, side)."""
    down, right = torch.meshgrid(torch.linspace(0, 3, side), torch.linspace(0, 2, side), indexing="ij")
    return 0.5 + 0.3 * torch.stack([torch.sin(down + right), torch.cos(down), torch.sin(right - down)])[None]


@pytest.fixture
def folder(tmp_path):
    """Two bursts as SyntheticBurst has them."""
    for index in range(2):
        clean = photograph(64 + 16 * index)
        burst = synthetic_burst(clean, generator=image_generator(f"{index:04d}"), frames=3)
        write_synthetic_burst(tmp_path / "Bursts", f"{index:04d}", burst, burst.camera.sensor(clean))
    return tmp_path / "Bursts"


def as_observation(pair):
    return Observation("Bursts", pair.name, pair.observation, pair.camera)


def enlarge(observation):
    """A restorer: mean of all frames, eight times larger, without demosaicking."""
    planes = observation.mean(1)
    colours = torch.stack([planes[:, 0], planes[:, 1:3].mean(1), planes[:, 3]], dim=1)
    return colours.repeat_interleave(8, -1).repeat_interleave(8, -2)


INFO = NetworkInfo(scale=8, input="burst", channels=4)


class TestData:
    def test_targets_are_photographs(self, folder):
        data = open_dataset(folder, scale=8)
        assert [pair.observation.shape for pair in data] == [(1, 3, 4, 8, 8), (1, 3, 4, 10, 10)]
        for pair, side in zip(data, (64, 80), strict=True):
            assert (pair.target - photograph(side)).abs().max() < 0.01  # the sensor clips and has 14 bits
            torch.testing.assert_close(pair.camera.render(pair.camera.sensor(pair.target)), pair.target)

    def test_degraded_here_or_stored_is_the_same(self, folder, tmp_path):
        (tmp_path / "clean").mkdir()
        levels = (photograph()[0].permute(1, 2, 0) * 255).round().byte().numpy()
        Image.fromarray(levels).save(tmp_path / "clean" / "0000.png")
        task = get_task("burst")
        (pair,) = open_dataset(tmp_path / "clean", scale=task.scale, degrade=task.degrade)
        clean = torch.from_numpy(levels / np.float32(255)).permute(2, 0, 1)[None]
        expected = synthetic_burst(clean, generator=image_generator("0000"))
        torch.testing.assert_close(pair.observation[0], expected.frames)
        torch.testing.assert_close(pair.camera.gains, expected.camera.gains)
        torch.testing.assert_close(pair.target, clean)

    def test_without_metadata_a_neutral_camera_with_a_word_about_it(self, folder):
        for file in folder.glob("gt/*/meta_info.json"):
            file.rename(file.with_suffix(".pkl"))
        with pytest.warns(UserWarning, match=r"no meta_info\.json .* as if their sensors saw sRGB"):
            data = open_dataset(folder)
        torch.testing.assert_close(data[0].camera.gains, torch.ones(3))

    @pytest.mark.parametrize("content", ["{}", "no json", '{"gains": [1, 1, 0], "matrix": [[1,0,0],[0,1,0],[0,0,1]]}'])
    def test_damaged_metadata(self, folder, content):
        (folder / "gt" / "0001" / "meta_info.json").write_text(content)
        with pytest.raises(DataError, match=r"0001/meta_info\.json' does not describe a camera"):
            open_dataset(folder)[1]


class TestMethods:
    def test_the_baseline_lies_where_the_photograph_does(self):
        """Of a scene that changes evenly a noiseless mosaic gives all back, if it is placed right."""
        down, right = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        scene = (0.1 + 0.004 * down + 0.003 * right).expand(3, -1, -1)
        mosaic = scene[0, ::4, ::4]
        burst = Observation("d", "i", pack(mosaic)[None, None], Camera.neutral())
        restored = Interpolation()(burst, 0).image
        inner = (..., slice(12, -12), slice(12, -12))
        torch.testing.assert_close(restored[inner], Camera.neutral().render(scene[None])[inner], atol=1e-5, rtol=0)

    def test_the_baseline_takes_the_first_frame(self, folder):
        pair = open_dataset(folder)[0]
        first = Observation("Bursts", pair.name, pair.observation[:, :1], pair.camera)
        torch.testing.assert_close(Interpolation()(first, 0).image, Interpolation()(as_observation(pair), 0).image)
        assert demosaick_bilinear(pair.observation[:, 0]).shape == (1, 3, 16, 16)

    def test_a_restorer_is_rendered(self, folder):
        pair = open_dataset(folder)[0]
        network = LoadedNetwork("restorer", enlarge, INFO, device=torch.device("cpu"))
        output = RestorerMethod("enlarge", network)(as_observation(pair), 0)
        torch.testing.assert_close(output.image, pair.camera.render(enlarge(pair.observation)))
        one = RestorerMethod("one", network, 1)
        torch.testing.assert_close(
            one(as_observation(pair), 0).image, pair.camera.render(enlarge(pair.observation[:, :1]))
        )
        assert one.identity != RestorerMethod("enlarge", network).identity

    def test_a_restoration_takes_the_burst(self, folder):
        pair = open_dataset(folder)[0]
        restoration = Restoration.from_parts(restorer=LoadedNetwork("restorer", enlarge, INFO), tau=0, device="cpu")
        output = RestorationMethod("bundle", restoration)(as_observation(pair), 0)
        expected = pair.camera.render(enlarge(pair.observation))
        torch.testing.assert_close(output.image, expected, atol=1e-6, rtol=0)

    def test_frames_are_a_setting_of_restorers(self, monkeypatch):
        monkeypatch.setattr(
            "dp_ir.evaluation.methods.restoration_methods.load_restorer",
            lambda source, **stated: LoadedNetwork("restorer", enlarge, INFO),
        )
        method = parse_method("restorer:x.pth,frames=1", device="cpu")
        assert (method.name, method.frames) == ("x (frames=1)", 1)
        with pytest.raises(DataError, match=r"frames=0 .* whole number"):
            parse_method("restorer:x.pth,frames=0", device="cpu")


class TestLinear:
    def test_against_the_closed_form(self):
        target = torch.full((1, 3, 8, 8), 0.2)
        output = target.clone()
        output[:, 1] += 0.03
        first, second = CAMERA.render(target), CAMERA.render(output)
        metric = LinearPSNR().through(CAMERA)
        assert metric(second, first).item() == pytest.approx(-10 * np.log10(0.03**2 / 3), abs=1e-3)

    def test_only_with_a_camera(self):
        with pytest.raises(DataError, match="needs the camera"):
            LinearPSNR()(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8))

    def test_by_name(self):
        (metric,), _ = make_metrics(["psnr_linear"], border=7)
        assert (metric.name, metric.border) == ("PSNR linear", 7)
        assert "psnr-linear" in default_metrics(get_task("burst"))
        assert "psnr-linear" not in default_metrics(get_task("sr4"))
        assert [border_of(get_task(name)) for name in ("sr4", "deblur", "burst")] == [4, 0, 40]
        assert border_of(None) == 0


class TestComparison:
    def compare(self, folder, out, methods):
        metrics = [PSNR(border=8, rounding=True), LinearPSNR(border=8)]
        return evaluate(methods, [open_dataset(folder)], out=out, metrics=metrics)

    def test_values_are_those_of_the_16_bit_files(self, folder, tmp_path):
        results = self.compare(folder, tmp_path / "out", ["bicubic"])
        assert all(record.error is None for record in results.records)
        assert not [note for note in results.notes if "has no value" in note]
        pair: object = open_dataset(folder)[1]
        expected = Interpolation()(as_observation(pair), 0).image
        file = stored_image(tmp_path / "out", "bicubic", "Bursts", "0001")
        picture = read_image(file)
        assert picture.bit_depth == 16 == read_image(stored_image(tmp_path / "out", TARGET, "Bursts", "0001")).bit_depth
        assert np.abs(picture.pixels - expected[0].permute(1, 2, 0).numpy()).max() < 1e-5
        linear = -10 * np.log10(
            np.mean(
                (pair.camera.sensor(expected) - pair.camera.sensor(pair.target))[..., 8:-8, 8:-8].double().numpy() ** 2
            )
        )
        record = next(record for record in results.records if record.image == "0001")
        assert record.values["PSNR linear"] == pytest.approx(linear, abs=0.01)

    def test_a_run_goes_on_and_another_camera_is_another_burst(self, folder, tmp_path, monkeypatch):
        self.compare(folder, tmp_path / "out", ["bicubic"])
        asked = []
        original = Interpolation.__call__
        monkeypatch.setattr(
            Interpolation, "__call__", lambda self, seen, seed: asked.append(seen.name) or original(self, seen, seed)
        )
        self.compare(folder, tmp_path / "out", ["bicubic"])
        assert asked == []
        file = folder / "gt" / "0001" / "meta_info.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "gains": [1.5, 1, 1.5]}))
        self.compare(folder, tmp_path / "out", ["bicubic"])
        assert asked == ["0001"]

    def test_images_without_a_camera_get_a_note(self, tmp_path):
        (tmp_path / "set").mkdir()
        Image.new("RGB", (24, 24), (9, 99, 199)).save(tmp_path / "set" / "a.png")
        data = open_dataset(tmp_path / "set", degrade=lambda clean, generator: clean)
        assert isinstance(data, PairedImages)
        results = evaluate(["bicubic:1"], [data], out=tmp_path / "out", metrics=[PSNR(), LinearPSNR()])
        assert results.records[0].values["PSNR"] > 50
        assert any("PSNR linear has no value for 'a'" in note for note in results.notes)

    def test_function_of_another_program(self, folder, tmp_path):
        (tmp_path / "mine.py").write_text(
            "def restore(burst):\n"
            "    planes = burst[:, 0]\n"
            "    colours = planes[:, [0, 1, 3]]\n"
            "    return colours.repeat_interleave(8, -1).repeat_interleave(8, -2).clamp(0, 1)\n"
        )
        results = self.compare(folder, tmp_path / "out", [f"{tmp_path}/mine.py:restore"])
        assert [record.error for record in results.records] == [None, None]
        pair = open_dataset(folder)[0]
        shown = read_image(stored_image(tmp_path / "out", results.methods[0].name, "Bursts", "0000")).pixels
        red = pair.camera.render(pair.observation[:, 0][:, [0, 1, 3]].repeat_interleave(8, -1).repeat_interleave(8, -2))
        assert np.abs(shown - red[0].permute(1, 2, 0).numpy()).max() < 1e-4


def test_observation_as_a_restoration_takes_it(folder):
    pair = open_dataset(folder)[0]
    given = as_observation(pair).input
    assert isinstance(given, Burst)
    torch.testing.assert_close(given.frames, pair.observation[0])
    image = torch.rand(1, 3, 4, 4)
    assert Observation("d", "i", image).input is image
