"""From a weight file to a bundle."""

import pytest
import torch

from dp_ir.checkpoints.bundle import read_bundle
from dp_ir.errors import BundleError, NetworkContractError
from dp_ir.networks.ffdnet.model import FFDNet
from dp_ir.networks.rlfn.model import RLFN
from dp_ir.tasks.conversion import convert

pytestmark = pytest.mark.filterwarnings(
    "ignore::dp_ir.checkpoints.units.probe.ProbeWarning"
)  # random weights do no work


def published(path, network):
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize(("scale", "in_channels", "task"), [(4, 3, "sr4"), (2, 3, ""), (4, 1, "")])
def test_the_task_is_the_one_that_fits(tmp_path, scale, in_channels, task):
    network = RLFN(channels=4, attention_channels=2, blocks=1, scale=scale, in_channels=in_channels)
    record = convert(published(tmp_path / "x.pth", network), tmp_path / "bundle")
    bundle = read_bundle(tmp_path / "bundle")
    assert (bundle.settings.task, bundle.settings.tau) == (task, 0)
    assert list(bundle.networks) == ["restorer"]
    assert bundle.records["restorer"] == record
    assert record.card["origin"]["file"] == "x.pth"
    for name, value in network.state_dict().items():
        assert torch.equal(bundle.networks["restorer"].state_dict()[name], value)


def test_a_denoiser_has_no_task(tmp_path):
    file = published(tmp_path / "x.pth", FFDNet(nc=8, nb=3))
    convert(file, tmp_path / "bundle", stated={"tiling": "discouraged"})
    bundle = read_bundle(tmp_path / "bundle")
    assert (bundle.settings.task, list(bundle.networks)) == ("", ["denoiser"])
    assert bundle.records["denoiser"].info == {"tiling": "discouraged"}
    with pytest.raises(NetworkContractError, match="expected a restorer"):
        convert(file, tmp_path / "other", kind="restorer")
    with pytest.raises(BundleError, match="not an empty folder"):
        convert(file, tmp_path / "bundle")
    convert(file, tmp_path / "bundle", overwrite=True)
    assert read_bundle(tmp_path / "bundle").records["denoiser"].info == {}
