"""Checks of the repository itself: versions that agree, nothing that names a machine, files of a readable size."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

import dp_ir

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

INDEX_HOST = re.compile(
    r"(?:https?|file)://[^\s\"')>]*?(?:pypi|pythonhosted|/simple\b|/wheels?\b)|(?:^|\s)(?:--)?(?:extra-)?index-url\b"
)
MACHINE_PATH = re.compile(r"(?<![\w./~-])/(?:work|home|root|Users|tmp|opt|mnt|srv)/\w")


def tracked_files() -> list[Path]:
    """What git would commit; every file where this is no git checkout."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    found = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in found.stdout.split("\0") if name and (ROOT / name).is_file()]


def tracked_text() -> list[tuple[Path, str]]:
    texts = []
    for path in tracked_files():
        try:
            texts.append((path, path.read_text("utf-8")))
        except UnicodeDecodeError:  # an image or a weight file
            continue
    return texts


def requirement_name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0]).lower()


def constraints() -> dict[str, list[str]]:
    """Name -> its lines; several where versions differ between Pythons."""
    lines: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            lines.setdefault(requirement_name(line), []).append(line)
    return lines


def test_the_version_is_stated_once():
    assert dp_ir.__version__ == PROJECT["version"]


@pytest.mark.parametrize("pattern", [INDEX_HOST, MACHINE_PATH], ids=["package index", "machine path"])
def test_no_file_names_a_package_index_or_a_path_of_some_machine(pattern):
    named = [
        f"{path.relative_to(ROOT)}: {match[0]!r}"
        for path, text in tracked_text()
        if path != Path(__file__)
        for match in pattern.finditer(text)
    ]
    assert not named


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (INDEX_HOST, "pip install --extra-index-url https://mirror.example/simple", True),
        (INDEX_HOST, "see https://files.pythonhosted.org/packages/x", True),
        (INDEX_HOST, "see https://arxiv.org/abs/2411.05993", False),
        (MACHINE_PATH, "cache = '/home/me/cache'", True),
        (MACHINE_PATH, "docs/home/page and 3/work/7 and ~/work/x", False),
    ],
    ids=["option", "address", "paper", "home folder", "relative folders"],
)
def test_the_patterns_of_this_file_find_what_they_should(pattern, text, found):
    assert bool(pattern.search(text)) is found


def test_every_direct_dependency_has_a_known_version():
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    direct = {requirement_name(requirement) for group in groups for requirement in group} - {PROJECT["name"]}
    known = constraints()
    assert not direct - set(known)
    for name, lines in known.items():
        assert all(re.fullmatch(r"[\w.-]+==[\w.+]+( ; python_version (<|>=) \"3\.11\")?", line) for line in lines), name
        markers = sorted(line.partition(" ; ")[2] for line in lines)
        assert len(set(markers)) == len(markers) <= 2, name


def test_modules_can_be_read_in_one_sitting():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked_files()
        if path.suffix == ".py" and (lines := len(path.read_text("utf-8").splitlines())) > 500
    }
    assert not long


def test_shipped_weights_stay_small():
    zoo = ROOT / "src" / "dp_ir" / "zoo"
    weights = [path for path in tracked_files() if path.is_relative_to(zoo) and path.suffix != ".md"]
    assert sum(path.stat().st_size for path in weights) < 90e6  # of all tasks together
    assert not [path for path in tracked_files() if path.suffix in {".pth", ".pt", ".ckpt", ".pkl", ".bin"}]


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_makefile_has_the_commands_of_the_readme(target):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(rf"^{target}:.*##", makefile, re.MULTILINE)
    assert "make test" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_links_between_pages_lead_somewhere():
    link = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(?:#[^)\s]*)?\)")
    pages = [page for page in tracked_files() if page.suffix == ".md" and "zoo" not in page.parts]
    targets = {(page, page.parent / target) for page in pages for target in link.findall(page.read_text("utf-8"))}
    assert len(targets) > 30
    lost = [
        f"{page.relative_to(ROOT)}: {target.relative_to(page.parent)}"
        for page, target in targets
        if not target.exists()
    ]
    assert not lost, lost
