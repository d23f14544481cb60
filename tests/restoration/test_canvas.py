"""Images in files: what was written is what is read, and nothing stays behind."""

import subprocess
import sys

import pytest
import torch

from dp_ir.errors import ImageWriteError
from dp_ir.restoration.streaming import canvas as canvas_module
from dp_ir.restoration.streaming.canvas import Canvas, check_disk_space
from dp_ir.restoration.tiling.windows import Window


def test_parts_are_written_and_read(tmp_path):
    image = torch.rand(3, 37, 23)
    with Canvas((3, 37, 23), tmp_path) as canvas:
        for top in range(0, 37, 10):
            canvas.write(top, image[:, top : top + 10])
        assert torch.equal(canvas.rows(0, 37)[0], image)
        assert torch.equal(canvas.rows(11, 7)[0], image[:, 11:18])
        window = Window(5, 3, 20, 11)
        assert torch.equal(canvas.read(window)[0], window.of(image))
        canvas.write(4, torch.zeros(1, 3, 2, 23))
        assert torch.equal(canvas.rows(3, 4)[0, :, ::3], image[:, 3:7:3])
        assert canvas.rows(4, 2).eq(0).all()


@pytest.mark.parametrize("size", [(3, 64, 64), (3, 7, 11), (3, 1, 6), (3, 1, 5), (3, 1, 1), (3, 129, 31)])
def test_noise_is_what_torch_draws_at_once(tmp_path, monkeypatch, size):
    monkeypatch.setattr(canvas_module, "_AT_ONCE", 1000)
    whole, parts = (torch.Generator().manual_seed(7) for _ in range(2))
    with Canvas(size, tmp_path) as canvas:
        canvas.draw_noise(parts)
        assert torch.equal(canvas.rows(0, size[1])[0], torch.randn(size, generator=whole))
    assert torch.equal(torch.randn(50, generator=parts), torch.randn(50, generator=whole))


def test_the_file_goes_with_the_canvas_and_with_a_killed_process(tmp_path):
    canvas = Canvas((3, 4, 5), tmp_path)
    canvas.close()
    assert list(tmp_path.iterdir()) == []
    code = (
        "import os, signal; from pathlib import Path; from dp_ir.restoration.streaming.canvas import Canvas\n"
        f"canvas = Canvas((3, 400, 500), Path({str(tmp_path)!r}))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(ImageWriteError, match="nowhere"):
        Canvas((3, 4, 5), tmp_path / "nowhere")


def test_a_full_disk_is_found_before_the_work(tmp_path):
    check_disk_space(tmp_path, 1000, "a.png")
    with pytest.raises(ImageWriteError, match=r"a\.png does not fit into memory and needs 1000000\.0 GB"):
        check_disk_space(tmp_path, 10**15, "a.png")
