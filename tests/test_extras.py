"""Packages that only some features need: what is missing is said with the extra that installs it."""

import sys

import pytest

from dp_ir.errors import MissingExtraError
from dp_ir.evaluation import load_inception, load_lpips
from dp_ir.evaluation.report.statistics import bootstrap_interval
from dp_ir.extras import require


@pytest.mark.parametrize(
    ("package", "extra", "use"),
    [
        ("torchvision", "eval", load_lpips),
        ("torch_fidelity", "eval", load_inception),
        ("scipy", "eval", lambda: bootstrap_interval([float(value) for value in range(31, 40)])),
    ],
)
def test_a_missing_package_names_its_extra(package, extra, use, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match=rf"'{package}'.*pip install 'dp-ir\[{extra}\]'"):
        use()


def test_a_package_that_is_there_but_broken_says_so_itself(tmp_path, monkeypatch):
    (tmp_path / "there_but_broken.py").write_text("import no_such_package_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_at_all"):
        require("there_but_broken", "A feature", "eval")
