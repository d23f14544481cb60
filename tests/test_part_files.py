"""Files under way: what killed runs leave is removed, what somebody is writing is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dp_ir.part_files import part_path, remove_left_overs

PLACED = "from pathlib import Path; from dp_ir.part_files import part_path; p = part_path(Path({!r})); p.touch()"


def left_by_a_dead_process(target: Path) -> None:
    subprocess.run([sys.executable, "-c", PLACED.format(str(target))], check=True)


def test_what_a_dead_process_left_is_removed(tmp_path):
    left_by_a_dead_process(tmp_path / "a.png")
    assert len(list(tmp_path.iterdir())) == 1
    assert remove_left_overs(tmp_path) == 1
    assert not list(tmp_path.iterdir())


def test_what_a_running_process_writes_stays(tmp_path):
    part_path(tmp_path / "a.png").touch()
    program = PLACED.format(str(tmp_path / "b.png")) + "; print(1, flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    other.stdout.readline()
    assert remove_left_overs(tmp_path) == 0
    other.kill()
    other.communicate()
    assert remove_left_overs(tmp_path) == 1


def test_a_number_that_another_process_has_inherited_protects_nothing(tmp_path):
    path = part_path(tmp_path / "a.png")
    path.touch()
    os.utime(path, (0, 0))  # written before this process, which has the number in its name, began
    assert remove_left_overs(tmp_path) == 1


def test_files_of_other_hosts_stay_for_a_day(tmp_path):
    recent, old = tmp_path / ".a.png.elsewhere-7-0123456789ab.part", tmp_path / ".b.png.elsewhere-7-0123456789ab.part"
    recent.touch()
    old.touch()
    os.utime(old, (old.stat().st_mtime - 90_000,) * 2)
    assert remove_left_overs(tmp_path) == 1
    assert list(tmp_path.iterdir()) == [recent]


@pytest.mark.parametrize("name", ["film.part", ".a.png.part", ".a.png.123.part", "a.png", ".a.host-1-xyz.part"])
def test_what_others_call_so_is_not_touched(tmp_path, name):
    (tmp_path / name).touch()
    assert remove_left_overs(tmp_path) == 0


def test_links_and_folders_are_not_touched(tmp_path):
    victim = tmp_path / "victim"
    victim.touch()
    (tmp_path / ".a.png.elsewhere-7-0123456789ab.part").mkdir()
    (tmp_path / ".b.png.elsewhere-7-0123456789ab.part").symlink_to(victim)
    assert remove_left_overs(tmp_path) == 0
    assert victim.exists()
    assert remove_left_overs(tmp_path / "nowhere") == 0


@pytest.mark.parametrize("name", ["a" * 251 + ".png", "写" * 83 + ".png"])
def test_the_longest_names_have_room(tmp_path, name):
    target = tmp_path / name
    target.touch()
    part_path(target).touch()
