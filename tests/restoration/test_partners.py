"""What is said of a fusion network that meets others than it was trained with."""

import warnings

import pytest

from dp_ir.checkpoints.bundle import locate_bundle, read_config
from dp_ir.checkpoints.network_file import NetworkRecord
from dp_ir.restoration.trained_with import (
    UnseenPartnersWarning,
    named_partners,
    network_name,
    partners_of,
    warn_of_unseen_partners,
)

BOTH = ("restorer", "denoiser", "fusion")


def record(architecture, sha256, file=None, **config):
    card = {"origin": {"file": file, "sha256": "0" * 64}} if file else {}
    return NetworkRecord(architecture, config, "restorer", card, sha256=sha256 * 64)


RLFN = record("rlfn", "a", "rlfn_x4.pth", scale=4)
CRAFT = record("spandrel", "b", "craft.pth", network="CRAFT")
UNET = record("unet-denoiser", "c")
FFDNET = record("ffdnet", "d", "ffdnet_color.pth")


def warning(partners, records, present=BOTH):
    with pytest.warns(UnseenPartnersWarning) as caught:
        warn_of_unseen_partners(partners, present, records, stacklevel=1)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    return str(caught[0].message)


def test_a_network_is_called_by_its_architecture_and_file():
    assert network_name(RLFN) == "rlfn of rlfn_x4.pth"
    assert network_name(CRAFT) == "CRAFT of craft.pth"
    assert network_name(UNET) == "unet-denoiser"


def test_a_card_names_partners_as_the_warning_wants_them():
    partners = partners_of({"restorer": RLFN, "denoiser": UNET})
    assert partners == {
        "restorer_sha256": "a" * 64,
        "denoiser_sha256": "c" * 64,
        "restorer": "rlfn of rlfn_x4.pth",
        "denoiser": "unet-denoiser",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_unseen_partners(partners, BOTH, {"restorer": RLFN, "denoiser": UNET}, stacklevel=1)
        warn_of_unseen_partners({}, BOTH, {"restorer": CRAFT}, stacklevel=1)
        warn_of_unseen_partners(partners, ("restorer",), {"restorer": RLFN}, stacklevel=1)
    assert warning(partners, {"restorer": CRAFT, "denoiser": UNET}) == (
        "The fusion network was trained with the restorer rlfn of rlfn_x4.pth (aaaaaaaaaaaa), and meets CRAFT of "
        "craft.pth (bbbbbbbbbbbb) here: it works with others, perhaps not as well."
    )
    assert warning(partners, {"restorer": CRAFT, "denoiser": FFDNET}) == (
        "The fusion network was trained with the restorer rlfn of rlfn_x4.pth (aaaaaaaaaaaa) and the denoiser "
        "unet-denoiser (cccccccccccc), and meets CRAFT of craft.pth (bbbbbbbbbbbb) and ffdnet of ffdnet_color.pth "
        "(dddddddddddd) here: it works with others, perhaps not as well."
    )


def test_partners_without_names_are_found_where_they_can_be():
    identities = {"restorer_sha256": "a" * 64, "denoiser_sha256": "e" * 64}
    assert named_partners(identities, {"restorer": RLFN}) == {**identities, "restorer": "rlfn of rlfn_x4.pth"}
    assert named_partners({**identities, "restorer": "mine"}, {"restorer": RLFN})["restorer"] == "mine"
    assert named_partners({}, {"restorer": RLFN}) == {}
    assert "the denoiser eeeeeeeeeeee, and meets a denoiser without a record here" in warning(
        identities, {"restorer": RLFN}
    )
    shipped = read_config(locate_bundle("sr4")).networks["restorer"]
    said = warning({"restorer_sha256": shipped.sha256}, {"restorer": RLFN})
    assert f"the restorer {shipped.architecture} of sr4 ({shipped.sha256[:12]})" in said
