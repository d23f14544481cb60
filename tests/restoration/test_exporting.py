"""Exported models against PyTorch, read by the runtimes themselves, at sizes that tracing did not see."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from torch import Tensor, nn

from dp_ir.checkpoints.bundle import Bundle, BundleSettings, locate_bundle, read_bundle, write_bundle
from dp_ir.checkpoints.contract import NetworkInfo, info_of
from dp_ir.checkpoints.network_file import describe
from dp_ir.errors import BundleError, DPIRError
from dp_ir.networks.fast_fusion.model import FastFusion
from dp_ir.networks.fast_sr.model import FastSR
from dp_ir.networks.rrdb.model import RRDBNet
from dp_ir.networks.swinir.model import SwinIR
from dp_ir.networks.unet_denoiser.model import UNetDenoiser
from dp_ir.runtime.export_files import export_bundle
from dp_ir.runtime.exporting import to_onnx, to_openvino

SIZES = ((1, 2, 2), (3, 7, 2), (2, 4, 9))  # batch, and sides in size multiples
Model = Callable[[list[np.ndarray]], np.ndarray]


def randomised(network: nn.Module) -> nn.Module:
    """Heads start as zeros, which would hide everything before them."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data += 0.3 * parameter[0].numel() ** -0.5 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


def onnx_model(path: Path) -> Model:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    return lambda values: session.run(None, dict(zip(names, values, strict=True)))[0]


def openvino_model(path: Path) -> Model:
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda values: compiled(values)[0]


READERS = {"onnx": (".onnx", onnx_model), "openvino": (".xml", openvino_model)}


def arguments(inputs: list[str], batch: int, height: int, width: int) -> list[Tensor]:
    levels = torch.linspace(0.05, 0.5, batch)
    dials = torch.linspace(0.9, 0.2, batch)
    numbers = {"sigma": levels, "detail": dials}
    return [numbers[name] if name in numbers else torch.rand(batch, 3, height, width) for name in inputs]


def check(network: nn.Module, model: Model, inputs: list[str], multiple: int, smallest: int) -> None:
    for batch, rows, columns in SIZES:
        values = arguments(inputs, batch, max(rows * multiple, smallest), max(columns * multiple, smallest))
        with torch.no_grad():
            expected = network(*values)
        found = torch.from_numpy(model([value.numpy() for value in values]))
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def tiny_bundle(folder: Path) -> Path:
    networks: dict[Any, nn.Module] = {
        "restorer": randomised(FastSR(channels=8, blocks=1)),
        "denoiser": randomised(UNetDenoiser(channels=(8, 8), blocks=(1, 1), encoding=8)),
        "fusion": randomised(FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8)),
    }
    records = {kind: describe(network, kind=kind) for kind, network in networks.items()}
    write_bundle(folder, Bundle(BundleSettings(**_settings()), networks, records, {}))
    return folder


def _settings() -> dict[str, Any]:
    shipped = read_bundle(locate_bundle("sr4")).settings
    return {**vars(shipped), "quality": {}}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def test_a_bundle_as_models(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    paths = export_bundle(tiny, folder)
    assert paths == [folder / f"{kind}.onnx" for kind in ("restorer", "denoiser", "fusion")]
    check_folder(tiny, folder, onnx_model)
    assert "`detail`" not in (folder / "README.md").read_text()
    assert "detail" not in json.loads((folder / "networks.json").read_text())["networks"]["fusion"]
    assert [path.name for path in tmp_path.iterdir()] == ["models"]  # nothing half written is left


def test_the_shipped_networks(tmp_path: Path) -> None:
    export_bundle("sr4", tmp_path, format="openvino")
    check_folder(locate_bundle("sr4"), tmp_path, openvino_model)


def check_folder(name: Path, folder: Path, read: Callable[[Path], Model]) -> None:
    bundle = read_bundle(name)
    description = json.loads((folder / "networks.json").read_text())
    assert description["networks"].keys() == bundle.networks.keys()
    for kind, entry in description["networks"].items():
        assert entry["file"] in (folder / "README.md").read_text()
        assert entry["sha256"] == bundle.records[kind].sha256
        model = read(folder / entry["file"])
        check(bundle.networks[kind], model, entry["inputs"], entry["multiple_of"], entry["minimum_size"])


@pytest.mark.parametrize("format", list(READERS))
def test_a_fusion_with_a_dial_has_one_more_input(format: Any, tmp_path: Path) -> None:
    fusion = randomised(FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8, detail=0.4))
    record = describe(fusion, kind="fusion")
    bundle = Bundle(BundleSettings(**{**_settings(), "detail": 0.5}), {"fusion": fusion}, {"fusion": record})
    write_bundle(tmp_path / "bundle", bundle)
    (path,) = export_bundle(tmp_path / "bundle", tmp_path / "models", format=format)
    description = json.loads((tmp_path / "models" / "networks.json").read_text())
    inputs = description["networks"]["fusion"]["inputs"]
    assert inputs == ["restored", "denoised", "noisy", "sigma", "detail"]
    assert description["settings"]["detail"] == 0.5
    card = (tmp_path / "models" / "README.md").read_text()
    assert "restored, denoised, noisy, sigma, detail" in card
    assert description["networks"]["fusion"]["detail"] == 0.4
    assert "`detail` (batch) is the dial" in card
    assert "sees it from 0.4 to 1; below, mix linearly with `restored`." in card
    model = READERS[format][1](path)
    check_folder(tmp_path / "bundle", tmp_path / "models", READERS[format][1])
    *given, _ = arguments(inputs, 2, 8, 12)
    for dial in (torch.tensor([0.4, 0.9]), torch.tensor([1.0, 0.6])):
        found = model([value.numpy() for value in (*given, dial)])
        with torch.no_grad():
            np.testing.assert_allclose(found, fusion(*given, dial).numpy(), atol=1e-4)


TRANSFORMER = functools.partial(SwinIR, img_size=16, embed_dim=8, depths=[2], num_heads=[2], upscale=2)


@pytest.mark.parametrize("make", [TRANSFORMER, functools.partial(RRDBNet, num_feat=8, num_block=1, num_grow_ch=4)])
@pytest.mark.parametrize("format", list(READERS))
def test_brought_along_restorers(make: Callable[[], nn.Module], format: str, tmp_path: Path) -> None:
    network = randomised(make())
    info = info_of(network)
    path = tmp_path / f"model{READERS[format][0]}"
    if format == "onnx":
        path.write_bytes(to_onnx("restorer", network, info).model_proto.SerializeToString())
    else:
        openvino.save_model(to_openvino("restorer", network, info), path, compress_to_fp16=False)
    check(network, READERS[format][1](path), ["observation"], info.multiple_of, 2 * info.multiple_of)


def test_export_leaves_the_network_as_it_was() -> None:
    network = FastSR(channels=8, blocks=1).train()
    to_openvino("restorer", network, info_of(network))
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


class SizeFixed(nn.Module):
    """Takes its first image's height for every image's: what tracing makes of a careless network."""

    def forward(self, image: Tensor) -> Tensor:
        """Scale by a number that tracing does not see change."""
        return image * float(image.shape[-1])


@pytest.mark.parametrize(
    ("export", "network", "info"),
    [
        (to_openvino, SizeFixed(), NetworkInfo(scale=1)),
        (to_onnx, lambda image: image, NetworkInfo(scale=1)),
        (to_openvino, lambda image: image, NetworkInfo(scale=1)),
        (to_onnx, nn.Conv2d(4, 3, 1), NetworkInfo(scale=1, channels=4)),
        (to_openvino, nn.Conv2d(5, 3, 1), NetworkInfo(scale=1)),
    ],
    ids=["another size", "a function", "a function too", "a burst", "other channels"],
)
def test_what_cannot_be_exported_is_refused_in_one_sentence(
    export: Callable[..., Any], network: Any, info: NetworkInfo
) -> None:
    with pytest.raises(DPIRError, match=r"^The restorer, a \w+, cannot be exported to (ONNX|OpenVINO)") as caught:
        export("restorer", network, info)
    assert "PyTorch" in str(caught.value)


def test_models_that_exist_are_not_replaced_unasked(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "restorer.xml").write_text("mine")
    (tmp_path / "other.txt").write_text("kept")
    with pytest.raises(BundleError, match="--overwrite"):
        export_bundle(tiny, tmp_path, format="openvino", kinds=["restorer"])
    assert (tmp_path / "restorer.xml").read_text() == "mine"
    export_bundle(tiny, tmp_path, format="openvino", kinds=["restorer"], overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md", "networks.json", "other.txt", "restorer.bin", "restorer.xml",
    ]  # fmt: skip


def test_a_network_that_the_bundle_lacks(tmp_path: Path) -> None:
    network = randomised(FastSR(channels=8, blocks=1))
    records = {"restorer": describe(network, kind="restorer")}
    write_bundle(tmp_path / "alone", Bundle(BundleSettings(**_settings()), {"restorer": network}, records, {}))  # type: ignore[arg-type, dict-item]
    with pytest.raises(BundleError, match="has no fusion"):
        export_bundle(tmp_path / "alone", tmp_path / "out", kinds=["fusion"])
