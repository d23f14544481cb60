"""What people do in Python: numbers of numpy, no seed, bytes, open files, and another default type of numbers."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from tiled_networks import local_restoration, photo

from dp_ir import load_restorer, save_network
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.errors import DPIRError, ImageReadError, NetworkContractError
from dp_ir.image import read_image
from dp_ir.networks.fast_sr.model import FastSR
from dp_ir.restoration import Restoration
from dp_ir.runtime import precision
from dp_ir.runtime.precision import pick_device

IMAGE = photo(16, 12)


def test_no_seed_is_one_by_chance_that_is_told():
    restoration = local_restoration()
    one, other = (restoration(IMAGE, seed=None) for _ in range(2))
    assert one.seeds != other.seeds
    assert not torch.equal(one.image, other.image)
    assert torch.equal(restoration(IMAGE, seed=one.seeds).image, one.image)
    assert len(set(restoration(IMAGE.repeat(3, 1, 1, 1), seed=None).seeds)) == 3


@pytest.mark.parametrize(
    "number", [np.int64, np.uint8, np.array, torch.tensor], ids=["int64", "uint8", "array", "tensor"]
)
def test_numbers_of_other_libraries_are_numbers(number):
    restoration = local_restoration()
    given = {"seed": 7, "steps": 2, "num_samples": 2, "tile": 64, "tau": 200}
    expected = restoration(IMAGE, **given).image
    assert torch.equal(restoration(IMAGE, **{name: number(value) for name, value in given.items()}).image, expected)
    assert torch.equal(local_restoration(steps=number(2), tau=number(200))(IMAGE, seed=number(7)).image, expected)
    both = IMAGE.repeat(2, 1, 1, 1)
    seeds = restoration(both, seed=[1, 2]).image
    assert torch.equal(restoration(both, seed=np.array([1, 2])).image, seeds)
    assert torch.equal(restoration(both, seed=torch.tensor([1, 2])).image, seeds)


@pytest.mark.parametrize("seed", [True, np.float64(1.5), "7", b"7", -1])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(DPIRError, match="The seed is"):
        local_restoration()(IMAGE, seed=seed)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
def test_the_content_of_a_file_and_an_open_file_are_images(tmp_path, format):
    buffer = io.BytesIO()
    Image.new("RGB", (12, 9), (10, 120, 240)).save(buffer, format)  # which leaves it at its end
    path = tmp_path / "photo"
    path.write_bytes(buffer.getvalue())
    restoration = local_restoration()
    expected = restoration(path).image.pixels
    for given in (buffer, buffer.getvalue(), bytearray(buffer.getvalue())):
        assert np.array_equal(restoration(given).image.pixels, expected)
    assert not buffer.closed
    with path.open("rb") as file:
        assert np.array_equal(read_image(file).pixels, read_image(path).pixels)


def test_what_stands_for_a_path_is_one(tmp_path):
    class Place:
        def __fspath__(self):
            return str(tmp_path / "photo.png")

    Image.new("RGB", (12, 9), (10, 120, 240)).save(Place())
    restoration = local_restoration()
    assert np.array_equal(restoration(Place()).image.pixels, restoration(tmp_path / "photo.png").image.pixels)


def test_an_array_of_the_other_byte_order_is_one(tmp_path):
    array = (photo(16, 12)[0].permute(1, 2, 0).numpy() * 65535).astype(np.uint16)
    restoration = local_restoration()
    found, expected = restoration(array.astype(">u2")).image, restoration(array).image
    assert np.array_equal(found, expected)


def test_bytes_that_are_no_image_are_refused(tmp_path):
    (tmp_path / "text").write_text("none")
    with pytest.raises(ImageReadError, match="the bytes given as an image' is empty"):
        read_image(b"")
    with pytest.raises(ImageReadError, match="is a PDF document"):
        read_image(io.BytesIO(b"%PDF-1.7"))
    with (tmp_path / "text").open() as file, pytest.raises(ImageReadError, match="open for reading bytes"):
        read_image(file)


def test_another_default_type_of_numbers_changes_nothing(tmp_path):
    save_network(tmp_path / "restorer.safetensors", FastSR(channels=8, blocks=1), kind="restorer")
    restoration = local_restoration()
    expected = restoration(IMAGE, seed=3, num_samples=2)
    loaded = load_restorer(tmp_path / "restorer.safetensors", probe=False)(IMAGE)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        found = restoration(IMAGE, seed=3, num_samples=2)
        again = load_restorer(tmp_path / "restorer.safetensors", probe=False)(IMAGE)
        made_here = LoadedNetwork("restorer", torch.nn.Conv2d(3, 3, 1))(IMAGE)
        chain = local_restoration()(IMAGE, seed=3).image
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(found.image, expected.image)
    assert torch.equal(found.std, expected.std)
    assert torch.equal(again, loaded)
    assert made_here.dtype == chain.dtype == torch.float32


def test_a_network_that_fails_is_named_as_what_failed():
    def wrong(image):
        raise ValueError("not enough values to unpack")

    with pytest.raises(NetworkContractError, match=r"The restorer, function, failed with ValueError \(not enough"):
        Restoration.restorer_only(wrong, device="cpu")(IMAGE)


def test_a_device_is_refused_with_the_reason(monkeypatch):
    def missing(*_, **__):
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr(precision.torch, "empty", missing)
    monkeypatch.setattr(precision.torch.version, "cuda", None)
    with pytest.raises(DPIRError, match="built without CUDA"):
        pick_device("cuda")
    monkeypatch.setattr(precision.torch.version, "cuda", "12.8")
    monkeypatch.setattr(precision.torch.cuda, "device_count", lambda: 0)
    with pytest.raises(DPIRError, match="no GPU with a working driver"):
        pick_device("cuda")
    monkeypatch.setattr(precision.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(precision.torch.cuda, "is_available", lambda: True)
    with pytest.raises(DPIRError, match="there are 2 GPUs"):
        pick_device("cuda:7")
    with pytest.raises(DPIRError, match="PyTorch says"):
        pick_device("toaster")


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
def test_names_in_an_ascii_locale(tmp_path):
    """In a process of its own, since the locale is read when Python starts."""
    folder = os.fsencode(tmp_path) + b"/gr\xc3\xb6\xc3\x9fe"
    os.mkdir(folder)  # noqa: PTH102 - names as bytes
    program = (
        "import os, sys, numpy as np\n"
        "from dp_ir.image import from_array, write_image\n"
        "from dp_ir.interfaces.cli import main\n"
        "assert sys.getfilesystemencoding() == 'ascii'\n"
        "path = os.fsdecode(os.fsencode(sys.argv[1]) + b'/\\xc3\\xa9.png')\n"
        "write_image(path, from_array(np.zeros((4, 4, 3), np.uint8)))\n"
        "sys.argv[1:] = ['--version']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    print('\\u2191 \\u00e9')\n"  # as the heads of tables have it
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    run = subprocess.run([sys.executable, "-c", program, folder], env=environment, capture_output=True)
    assert os.listdir(folder) == [b"\xc3\xa9.png"], run.stderr  # noqa: PTH208
    assert run.returncode == 0, run.stderr
    assert b"\\u2191 \\xe9" in run.stdout
