"""Engines give what PyTorch gives, through the whole restoration, and say plainly what they cannot do."""

from __future__ import annotations

import shutil
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dp_ir.checkpoints.contract import NetworkInfo, info_of
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.errors import DPIRError, MissingExtraError
from dp_ir.networks.fast_fusion.model import FastFusion
from dp_ir.networks.fast_sr.model import FastSR
from dp_ir.networks.unet_denoiser.model import UNetDenoiser
from dp_ir.restoration.pipeline import Restoration
from dp_ir.runtime.engines import engine_device, run_by

CPU = torch.device("cpu")


def tiny_networks() -> dict[str, Any]:
    torch.manual_seed(0)
    networks: dict[str, nn.Module] = {
        "restorer": FastSR(channels=8, blocks=1),
        "denoiser": UNetDenoiser(channels=(8, 8), blocks=(1, 1), encoding=8),
        "fusion": FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8),
    }
    for network in networks.values():
        for parameter in network.parameters():  # heads start as zeros, which would hide everything before them
            parameter.data += 0.3 * parameter[0].numel() ** -0.5 * torch.randn(parameter.shape)
    return networks


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_restoration_is_the_same_with_every_engine(engine: Any) -> None:
    networks = tiny_networks()
    plain = Restoration.from_parts(**networks, precision="float32", device="cpu", steps=3)
    other = Restoration.from_parts(**networks, precision="float32", device="auto", steps=3, engine=engine)
    assert {
        kind: network.module for kind, network in other.networks.items()
    } == networks  # which `save_pretrained` writes
    for image in (torch.rand(1, 3, 9, 14), torch.rand(2, 3, 17, 5)):
        expected = plain(image, seed=3).image
        torch.testing.assert_close(other(image, seed=3).image, expected, rtol=0, atol=1e-4)
    for parameter in networks["denoiser"].parameters():  # an engine runs the weights that it was made of
        parameter.data.zero_()
    torch.testing.assert_close(other(image, seed=3).image, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_the_dial_reaches_a_fusion_in_every_engine(engine: Any) -> None:
    torch.manual_seed(1)
    fusion = FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8, detail=0.4)
    for parameter in fusion.parameters():
        parameter.data += 0.3 * parameter[0].numel() ** -0.5 * torch.randn(parameter.shape)
    networks = {"restorer": nn.Conv2d(3, 3, 1), "denoiser": tiny_networks()["denoiser"], "fusion": fusion}
    plain = Restoration.from_parts(**networks, precision="float32", device="cpu", steps=1)
    other = Restoration.from_parts(**networks, precision="float32", device="cpu", steps=1, engine=engine)
    image = torch.rand(1, 3, 12, 18)
    for detail in (0.3, 1.0):
        expected = plain(image, detail=detail).image
        torch.testing.assert_close(other(image, detail=detail).image, expected, rtol=0, atol=1e-4)
    assert not torch.allclose(plain(image, detail=0.3).image, expected, atol=1e-3)


def test_openvino_in_bfloat16_is_as_near_as_autocast() -> None:
    network = tiny_networks()["denoiser"]
    info = info_of(network)
    values = torch.rand(1, 3, 48, 64), torch.tensor([0.3])
    exact, autocast, found = (
        run_by(engine, LoadedNetwork("denoiser", network, info), device=CPU, precision=precision)(*values)  # type: ignore[arg-type]
        for engine, precision in (("torch", "float32"), ("torch", "bfloat16"), ("openvino", "bfloat16"))
    )
    assert 0 < (found - exact).norm() <= 2 * (autocast - exact).norm()


def test_compiled_networks_give_the_same() -> None:
    class Small(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image.sin().repeat_interleave(2, 2).repeat_interleave(2, 3) * 0.5

    network = run_by(
        "compile", LoadedNetwork("restorer", Small(), NetworkInfo(scale=2)), device=CPU, precision="float32"
    )
    with torch.inference_mode():
        for size in ((4, 6), (7, 5)):
            image = torch.rand(1, 3, *size)
            torch.testing.assert_close(network(image), Small()(image))


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DPIRError, match=r"C\+\+ compiler.*--engine torch"):
        run_by("compile", LoadedNetwork("restorer", nn.Identity(), NetworkInfo()), device=CPU, precision="float32")


@pytest.mark.parametrize(("engine", "package"), [("openvino", "openvino"), ("onnxruntime", "onnx")])
def test_an_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, engine: Any, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"'{package}'.*dp-ir\[export\]"):
        run_by(
            engine, LoadedNetwork("restorer", FastSR(channels=8, blocks=1), NetworkInfo()), device=CPU, precision="auto"
        )


def test_what_engines_refuse() -> None:
    with pytest.raises(DPIRError, match="expected one of torch, compile, openvino, onnxruntime"):
        engine_device("tensorrt", "cpu")  # type: ignore[arg-type]
    with pytest.raises(DPIRError, match="runs on the CPU"):
        engine_device("openvino", "meta")
    with pytest.raises(DPIRError, match="bfloat16"):
        run_by("onnxruntime", LoadedNetwork("restorer", nn.Identity(), NetworkInfo()), device=CPU, precision="bfloat16")
    with pytest.raises(DPIRError, match=r"no torch\.nn\.Module"):
        Restoration.restorer_only(lambda image: image, engine="openvino")
