"""DISTS, NIQE and TOPIQ through a stand-in for pyiqa, which is no dependency of this package."""

import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch

from dp_ir.errors import DataError, DPIRError
from dp_ir.evaluation.metrics.iqa import load_iqa

CREATED = []


class Measure:
    """The mean of the image, or the mean difference: a shape of its own for each, as pyiqa's measures have."""

    def __init__(self, key):
        self.key = key

    def __call__(self, *images):
        assert len(images) == (2 if self.key == "dists" else 1)
        assert all(image.shape[0] == 1 and image.dtype == torch.float32 for image in images)
        value = (images[0] - images[1]).abs().mean() if self.key == "dists" else images[0].mean()
        return value.reshape({"dists": (1,), "niqe": (), "topiq_nr": (1, 1)}[self.key])


@pytest.fixture(autouse=True)
def pyiqa(monkeypatch):
    module = ModuleType("pyiqa")
    module.__version__ = "0.1.99"
    CREATED.clear()

    def create_metric(key, device):
        CREATED.append((key, device))
        return Measure(key)

    module.create_metric = create_metric
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    return module


@pytest.fixture
def images():
    output = torch.tensor([0.2, 0.6, 0.8]).view(3, 1, 1, 1).expand(3, 3, 8, 8)
    return output, torch.full((3, 3, 8, 8), 0.4)


@pytest.mark.parametrize(
    ("name", "expected", "higher"),
    [
        ("DISTS", [0.2, 0.2, 0.4], False),
        ("NIQE", [0.2, 0.6, 0.8], False),
        ("TOPIQ", [0.2, 0.6, 0.8], True),
        ("TOPIQ-delta", [0.2, 0.2, 0.4], False),
    ],
)
def test_one_value_per_image(name, expected, higher, images):
    metric = load_iqa(name)
    measured = metric(*images)
    assert measured.dtype == torch.float64
    assert measured.tolist() == pytest.approx(expected, abs=1e-6)
    assert metric.higher_is_better is higher
    assert metric.name == name
    assert metric.protocol.startswith(f"{name}: ")
    assert "pyiqa 0.1.99" in metric.protocol
    assert "non-commercial" in metric.protocol


def test_values_are_those_of_eight_bit_images(images):
    output, target = images
    metric = load_iqa("NIQE")
    torch.testing.assert_close(metric(output + 0.001, target), metric(output, target), rtol=0, atol=0)
    assert metric(output + 1, target).tolist() == [1.0, 1.0, 1.0]


def test_topiq_and_its_delta_can_share_one_network(images):
    metric = load_iqa("TOPIQ")
    shared = replace(metric, name="TOPIQ-delta")
    assert shared(*images).tolist() == load_iqa("TOPIQ-delta")(*images).tolist() != metric(*images).tolist()
    assert [key for key, _ in CREATED] == ["topiq_nr", "topiq_nr"]
    assert CREATED[0][1] == torch.device("cpu")


def test_shapes_that_do_not_fit(images):
    with pytest.raises(DataError, match=r"\(3, 3, 8, 8\)"):
        load_iqa("NIQE")(images[0], images[1][..., :4])


def test_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)  # the import fails, as without the package
    with pytest.raises(DPIRError, match=r"DISTS needs the package 'pyiqa'.*pip install pyiqa.*non-commercial"):
        load_iqa("DISTS")


def test_installed_without_what_it_needs(monkeypatch):
    def broken(name):
        raise ModuleNotFoundError("No module named 'timm'", name="timm")

    monkeypatch.setattr("dp_ir.evaluation.metrics.iqa.importlib.import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="timm"):
        load_iqa("TOPIQ")


@pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("no route"), EOFError("no route")])
def test_weights_that_cannot_be_had(pyiqa, error):
    def create_metric(key, device):
        raise error

    pyiqa.create_metric = create_metric
    with pytest.raises(DataError, match=r"weights of TOPIQ-delta.*no route.*internet once.*leave"):
        load_iqa("TOPIQ-delta")


def test_unknown_measure():
    with pytest.raises(DataError, match=r"'MUSIQ'.*DISTS, NIQE, TOPIQ, TOPIQ-delta"):
        load_iqa("MUSIQ")
