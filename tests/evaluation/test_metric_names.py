"""Metrics by name: spellings, shared networks, folders of weights, and what is said where something is missing."""

import sys
import urllib.error
from types import ModuleType

import pytest
import torch
import torchvision
from torch import nn

from dp_ir.errors import DataError
from dp_ir.evaluation.metrics import names as metric_names
from dp_ir.evaluation.metrics.frechet import INCEPTION_FILE, Features
from dp_ir.evaluation.metrics.names import DEFAULT_METRICS, GROUPS, METRICS, make_metrics, metric_info, metric_name


@pytest.fixture(scope="module")
def squeeze():
    torch.manual_seed(0)
    return torchvision.models.squeezenet1_1(weights=None).features.state_dict()


@pytest.fixture
def weights(tmp_path, squeeze):
    torch.save(squeeze, tmp_path / "squeezenet1_1_features.pth")
    return tmp_path


@pytest.fixture
def loaded(monkeypatch):
    """Every network a stand-in; what was loaded from where."""
    calls = []

    class Backbone(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.pnet_type, self.net = name, torch.nn.Identity()

    def load_lpips(file, backbone):
        calls.append((backbone, file))
        return Backbone(backbone)

    def load_inception(file, device):
        calls.append(("inception", file))
        return Features(nn.Identity())

    pyiqa = ModuleType("pyiqa")
    pyiqa.create_metric = lambda key, device: calls.append((key, None))
    monkeypatch.setitem(sys.modules, "pyiqa", pyiqa)
    monkeypatch.setattr(metric_names, "load_lpips", load_lpips)
    monkeypatch.setattr(metric_names, "load_inception", load_inception)
    return calls


@pytest.mark.parametrize("name", METRICS)
def test_every_name_makes_the_metric_that_it_shows(name, loaded):
    images, sets = make_metrics([name], border=4)
    [metric] = [*images, *sets]
    assert metric_name(metric.name) == name  # the head of its column is understood as its name
    info = metric_info(metric)
    assert (info.name, info.protocol, info.higher_is_better) == (metric.name, metric.protocol, metric.higher_is_better)
    assert info.of_sets is bool(sets) is (name in ("swd", "fid", "kid") or name.startswith("spread-error"))
    assert metric.protocol.startswith(metric.name)
    if name.startswith(("band", "colour-band", "spread-error")):
        assert info.higher_is_better is None
        assert info.ideal == (1 if name.startswith("spread-error") else 0)
        assert metric.protocol.endswith(f"{info.ideal:g} is right")
        assert info.digits == 2
    else:
        assert info.higher_is_better is (name.startswith(("psnr", "ssim", "ms-ssim")) or name == "topiq")


def test_names_are_all_different(loaded):
    images, sets = make_metrics(METRICS, border=0)
    shown = [metric.name for metric in [*images, *sets]]
    assert len(set(shown)) == len(shown) == len(METRICS)
    assert len({metric.protocol for metric in [*images, *sets]}) == len(METRICS)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("PSNR_Y", "psnr-y"),
        (" lpips 1/2", "lpips-half"),
        ("LPIPS-Alex 1/2", "lpips-alex-half"),
        ("LPIPS-squeeze", "lpips"),
        ("MSSSIM", "ms-ssim"),
        ("TOPIQ_NR", "topiq"),
        ("Fid", "fid"),
        ("BAND 1", "band-1"),
        ("Spread_error band 2", "spread-error-band-2"),
        ("PSNR_mean", "psnr-mean"),
    ],
)
def test_spellings(text, name):
    assert metric_name(text) == name


@pytest.mark.parametrize(("text", "near"), [("lpip", "lpips"), ("pnsr-y", "psnr-y"), ("topiq-detla", "topiq-delta")])
def test_unknown_names_get_the_nearest(text, near):
    with pytest.raises(DataError, match=rf"'{text}' \(nearest: {near}\): known are psnr, "):
        make_metrics([text], border=0)


def test_groups_stand_for_their_metrics(loaded):
    images, sets = make_metrics(["Band 2", "bands", "psnr", "Spread error"], border=3, samples=5)
    assert [metric.name for metric in images] == ["Band 2", "Band 1", "Colour band 1", "Colour band 2", "PSNR"]
    assert [metric.name for metric in sets] == [f"Spread-error {part}" for part in ("pixels", "band 1", "band 2")]
    assert [metric.samples for metric in sets] == [5, 5, 5]
    [[mean], _] = make_metrics(["psnr-mean"], border=3, samples=5)
    assert (mean.border, mean.samples) == (3, 5)
    for group in GROUPS:
        with pytest.raises(DataError, match=f"'{group}' stands for several metrics: name one of "):
            metric_name(group)
    with pytest.raises(DataError, match="nearest: spread-error"):
        metric_name("spread-eror")


def test_order_and_repetition(loaded):
    images, sets = make_metrics(["swd", "LPIPS", "psnr", "lpips", "kid"], border=0)
    assert [metric.name for metric in images] == ["LPIPS", "PSNR"]
    assert [metric.name for metric in sets] == ["SWD", "KID"]


def test_networks_are_loaded_once(loaded, weights):
    images, sets = make_metrics(
        ["lpips", "lpips-half", "lpips-vgg-half", "topiq-delta", "topiq", "fid", "kid"], border=0, weights=weights
    )
    assert images[0].network is images[1].network
    assert images[3].measure is images[4].measure
    assert sets[0].features is sets[1].features
    # What the folder holds is taken from there, the rest from where torchvision and torch-fidelity keep theirs.
    assert loaded == [
        ("squeeze", weights / "squeezenet1_1_features.pth"),
        ("vgg", None),
        ("topiq_nr", None),
        ("inception", None),
    ]


def test_inception_is_found_in_the_folder(loaded, weights):
    (weights / INCEPTION_FILE).touch()
    make_metrics(["kid"], border=0, weights=weights)
    assert loaded == [("inception", weights / INCEPTION_FILE)]


def test_the_border_and_the_rounding_reach_the_pixel_metrics():
    names = [name for name in METRICS if name.startswith(("psnr", "ssim", "ms")) and name != "psnr-linear"]
    for metric in make_metrics(names, border=7)[0]:
        assert "border 7, clipped and rounded to 8 bits first" in metric.protocol
    target = torch.rand(1, 3, 190, 190)
    framed = target.clone()
    framed[..., :7] = 0
    for metric in make_metrics(names, border=7)[0]:
        assert metric(framed, target).item() in (pytest.approx(1.0), 100.0)  # of SSIM, and the most that PSNR can be


def test_the_default_with_the_one_backbone_it_needs(weights):
    images, sets = make_metrics(DEFAULT_METRICS, border=4, weights=weights)
    assert [metric.name for metric in images] == ["PSNR-Y", "PSNR", "SSIM-Y", "LPIPS", "LPIPS 1/2"]
    assert [metric.name for metric in sets] == ["SWD"]
    assert [metric_info(metric).digits for metric in [*images, *sets]] == [2, 2, 4, 4, 4, 2]
    target = torch.rand(1, 3, 64, 64)
    assert all(metric(target, target).isfinite().all() for metric in images[2:])


def test_a_file_is_the_backbone_itself(weights):
    [metric], _ = make_metrics(["lpips"], border=0, weights=weights / "squeezenet1_1_features.pth")
    assert metric.name == "LPIPS"


def test_no_such_folder(tmp_path):
    with pytest.raises(DataError, match="no file or folder"):
        make_metrics(["psnr"], border=0, weights=tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("lpips-alex", r"AlexNet.*no route.*internet.*alexnet-owt-7be5be79\.pth.*--weights"),
        ("lpips-vgg", r"VGG16.*no route.*internet.*vgg16-397923af\.pth.*--weights"),
        ("fid", rf"Inception.*no route.*internet.*{INCEPTION_FILE}.*--weights"),
    ],
)
def test_no_internet(monkeypatch, weights, name, sentence):
    def no_internet(*args, **kwargs):
        raise urllib.error.URLError("no route")

    monkeypatch.setenv("TORCH_HOME", str(weights / "cache"))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_internet)
    with pytest.raises(DataError, match=sentence):
        make_metrics([name], border=0, weights=weights)
