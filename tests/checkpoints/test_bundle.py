"""Bundles: what is written is read back, what was tampered with or reaches too far is refused."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dp_ir.checkpoints import bundle as bundles
from dp_ir.checkpoints.architectures import build
from dp_ir.checkpoints.bundle import (
    Bundle,
    BundleSettings,
    bundle_network,
    list_bundles,
    locate_bundle,
    read_bundle,
    read_config,
    write_bundle,
)
from dp_ir.checkpoints.network_file import describe, load_network, save_network
from dp_ir.errors import BundleError, CheckpointError, DPIRError, MissingExtraError

SETTINGS = BundleSettings(
    schedule={"name": "cosine", "T": 1000, "s": 0.008, "data_range": 2.0},
    tau=300,
    steps=4,
    sampler="ddim",
    spacing="log-sigma",
    sigma_min=0.01,
    eta=0.0,
    task="sr4",
    quality={"set14": {"lpips": 0.16, "psnr_y": 28.3}},
    licence="Apache-2.0",
)
ROLES = {
    "restorer": ("fast-sr", {"channels": 8, "blocks": 1}),
    "denoiser": ("unet-denoiser", {"channels": [8, 16], "blocks": [1, 1]}),
    "fusion": ("fusion-3ca", {"channels": 8, "blocks": 1}),
}


def make(seed=0, settings=SETTINGS, roles=ROLES):
    torch.manual_seed(seed)
    networks = {kind: build(name, config) for kind, (name, config) in roles.items()}
    records = {kind: describe(module, kind=kind, card={"data": f"a|b for {kind}"}) for kind, module in networks.items()}
    partners = {f"{kind}_sha256": records[kind].sha256 for kind in roles if kind != "fusion"}
    return Bundle(settings, networks, records, partners)


def edit(folder, change):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_bundle_comes_back_bit_equal(tmp_path):
    bundle = make()
    config = write_bundle(tmp_path / "sr", bundle)
    assert sorted(path.name for path in (tmp_path / "sr").iterdir()) == [
        "README.md",
        "config.json",
        "denoiser.safetensors",
        "fusion.safetensors",
        "restorer.safetensors",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["sr"]
    assert read_config(tmp_path / "sr") == config
    found = read_bundle(tmp_path / "sr")
    assert (found.settings, found.records, found.partners) == (bundle.settings, bundle.records, bundle.partners)
    for kind, module in bundle.networks.items():
        for key, value in module.state_dict().items():
            assert torch.equal(found.networks[kind].state_dict()[key], value)


def test_config_json_is_what_the_format_says(tmp_path):
    bundle = make()
    write_bundle(tmp_path / "sr", bundle)
    content = json.loads((tmp_path / "sr" / "config.json").read_text())
    assert content["format_version"] == 1
    assert content["tau"] == 300
    assert content["networks"]["fusion"] == {
        "file": "fusion.safetensors",
        "sha256": bundle.records["fusion"].sha256,
        "architecture": "fusion-3ca",
    }
    assert content["partners"]["denoiser_sha256"] == content["networks"]["denoiser"]["sha256"]


def test_a_bundle_that_was_written_before_there_was_a_dial_gives_samples(tmp_path):
    write_bundle(tmp_path / "sr", make(settings=replace(SETTINGS, detail=0.5)))
    assert read_config(tmp_path / "sr").settings.detail == 0.5
    edit(tmp_path / "sr", lambda content: content.pop("detail"))
    assert read_config(tmp_path / "sr").settings == replace(SETTINGS, detail=1.0)


def test_bundles_share_a_denoiser(tmp_path):
    first, shared = make(), {"denoiser": "../denoiser/denoiser.safetensors"}
    write_bundle(tmp_path / "sr", first, shared=shared)
    common = tmp_path / "denoiser" / "denoiser.safetensors"
    before = common.read_bytes()
    second = make(seed=1)
    second.networks["denoiser"], second.records["denoiser"] = first.networks["denoiser"], first.records["denoiser"]
    write_bundle(tmp_path / "deblur", second, shared=shared)
    assert common.read_bytes() == before
    assert not (tmp_path / "deblur" / "denoiser.safetensors").exists()
    a, b = read_bundle(tmp_path / "sr"), read_bundle(tmp_path / "deblur")
    assert a.records["denoiser"] == b.records["denoiser"]
    assert a.records["fusion"].sha256 != b.records["fusion"].sha256
    with pytest.raises(BundleError, match="holds another denoiser"):
        write_bundle(tmp_path / "third", make(seed=2), shared=shared)
    assert not (tmp_path / "third").exists()


def test_the_card_of_a_network_may_change_without_breaking_its_bundle(tmp_path):
    write_bundle(tmp_path / "sr", make())
    path = tmp_path / "sr" / "denoiser.safetensors"
    module, record = load_network(path)
    save_network(path, module, kind="denoiser", card={**record.card, "note": "measured later"})
    assert read_bundle(tmp_path / "sr").records["denoiser"].card["note"] == "measured later"


def test_a_tampered_network_is_refused(tmp_path):
    write_bundle(tmp_path / "sr", make())
    path = tmp_path / "sr" / "fusion.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(BundleError, match=r"fusion.*identity \(sha256\)"):
        read_bundle(tmp_path / "sr")


def test_a_swapped_file_is_refused(tmp_path):
    write_bundle(tmp_path / "sr", make())
    folder = tmp_path / "sr"
    (folder / "denoiser.safetensors").write_bytes((folder / "fusion.safetensors").read_bytes())
    with pytest.raises(BundleError, match="architecture is fusion-3ca"):
        read_bundle(folder)


@pytest.mark.parametrize(
    "file",
    [
        "/etc/denoiser.safetensors",
        "../../denoiser.safetensors",
        "../denoiser.safetensors",
        "../a/../../denoiser.safetensors",
        "a/../denoiser.safetensors",
        "..\\..\\denoiser.safetensors",
        "C:\\denoiser.safetensors",
        "./denoiser.safetensors",
        "denoiser.pth",
        "..",
        "",
        7,
        None,
    ],
)
def test_paths_that_reach_too_far_are_refused(tmp_path, file):
    write_bundle(tmp_path / "inner" / "sr", make())
    edit(tmp_path / "inner" / "sr", lambda content: content["networks"]["denoiser"].update(file=file))
    with pytest.raises(BundleError, match="refused"):
        read_bundle(tmp_path / "inner" / "sr")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.update(format_version=2), "format_version 2.*update dp-ir"),
        (lambda c: c.pop("format_version"), "format_version None"),
        (lambda c: c.update(tau="300"), "tau = '300': expected int"),
        (lambda c: c.update(steps=True), "steps = True"),
        (lambda c: c.pop("schedule"), "schedule = None: expected dict"),
        (lambda c: c.update(detail="all"), "detail = 'all': expected float"),
        (lambda c: c.update(detail=True), "detail = True"),
        (lambda c: c["networks"]["fusion"].pop("sha256"), "does not list its networks"),
        (lambda c: c.update(networks=[]), "lists no network"),
        (lambda c: c.update(partners=3), "does not list its networks"),
        (lambda c: c["networks"]["fusion"].update(file="none.safetensors"), "no weight file"),
    ],
)
def test_contradictions_are_named(tmp_path, change, sentence):
    write_bundle(tmp_path / "sr", make())
    edit(tmp_path / "sr", change)
    with pytest.raises(DPIRError, match=sentence):
        read_bundle(tmp_path / "sr")


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "\xff", "[]"])
def test_a_damaged_config_is_a_named_error(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(BundleError):
        read_config(tmp_path)


def test_a_folder_without_config_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="not a bundle"):
        read_bundle(tmp_path)


@pytest.mark.parametrize("kind", ["restorer", "denoiser", "fusion"])
def test_a_bundle_may_hold_some_of_the_networks_but_not_none(tmp_path, kind):
    write_bundle(tmp_path / "sr", make(roles={kind: ROLES[kind]}))
    assert set(read_bundle(tmp_path / "sr").networks) == {kind}
    assert bundle_network(tmp_path / "sr", kind)[1].kind == kind
    other = "restorer" if kind == "fusion" else "fusion"
    with pytest.raises(BundleError, match=f"has no {other}, only a {kind}"):
        bundle_network(tmp_path / "sr", other)
    with pytest.raises(BundleError, match="lists no network"):
        write_bundle(tmp_path / "none", make(roles={}))


def test_rewriting_keeps_other_files_and_a_failure_leaves_no_half_bundle(tmp_path, monkeypatch):
    folder = tmp_path / "sr"
    write_bundle(folder, make())
    (folder / "picture.png").write_bytes(b"x")
    write_bundle(folder, make(seed=1))
    assert (folder / "picture.png").exists()
    read_bundle(folder)

    def fail(*_, **__):
        raise CheckpointError("disk full")

    monkeypatch.setattr(bundles, "render_card", fail)
    with pytest.raises(CheckpointError, match="disk full"):
        write_bundle(tmp_path / "new", make())
    assert [path.name for path in tmp_path.iterdir()] == ["sr"]


def test_an_unwritable_folder_is_a_named_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_bundle(tmp_path / "file" / "sr", make())


def test_the_card_tells_what_is_known(tmp_path):
    write_bundle(tmp_path / "sr", make())
    card = (tmp_path / "sr" / "README.md").read_text(encoding="utf-8")
    front = card.split("---")[1]
    assert "license: apache-2.0" in front
    assert "library_name: dp-ir" in front
    assert "| set14, psnr y | 28.3 |" in card
    assert "| data | a\\|b for denoiser |" in card
    assert "fusion-3ca" in card


class TestLocating:
    @pytest.fixture(autouse=True)
    def zoo(self, tmp_path, monkeypatch):
        folder = tmp_path / "zoo"
        write_bundle(folder / "sr4", make(), shared={"denoiser": "../denoiser/denoiser.safetensors"})
        monkeypatch.setattr(bundles, "zoo_folder", lambda: folder)
        return folder

    def test_shipped_names_come_first_then_folders(self, zoo, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "sr4").mkdir()
        assert list_bundles() == ["sr4"]
        assert locate_bundle("sr4") == zoo / "sr4"
        assert locate_bundle("./sr4") == Path("sr4")
        assert locate_bundle(tmp_path / "sr4") == tmp_path / "sr4"
        read_bundle(locate_bundle("sr4"))

    def test_what_is_missing_gets_the_list(self, tmp_path):
        with pytest.raises(BundleError, match=r"no bundle 'sr3' \(nearest: sr4\): shipped bundles are sr4"):
            locate_bundle("sr3")
        with pytest.raises(BundleError, match="shipped bundles are sr4"):
            locate_bundle(tmp_path / "none")
        (tmp_path / "file").write_text("")
        with pytest.raises(BundleError, match="is a file"):
            locate_bundle(str(tmp_path / "file"))

    def test_a_hub_id_is_fetched_with_its_revision(self, zoo, monkeypatch):
        asked = {}

        class Hub:
            @staticmethod
            def snapshot_download(repo, **options):
                asked.update(options, repo=repo)
                return str(zoo / "sr4")

        monkeypatch.setitem(sys.modules, "huggingface_hub", Hub)
        assert locate_bundle("someone/sr4", revision="v1") == zoo / "sr4"
        assert (asked["repo"], asked["revision"]) == ("someone/sr4", "v1")
        assert not any("bin" in pattern or "py" in pattern for pattern in asked["allow_patterns"])

    def test_a_hub_that_fails_gives_one_sentence(self, monkeypatch):
        class Hub:
            @staticmethod
            def snapshot_download(repo, **_):
                raise ConnectionError("no\nroute")

        monkeypatch.setitem(sys.modules, "huggingface_hub", Hub)
        with pytest.raises(BundleError, match=r"no route.*shipped bundles are sr4") as caught:
            locate_bundle("someone/sr4")
        assert "\n" not in str(caught.value)

    def test_without_the_extra_it_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        with pytest.raises(MissingExtraError, match=r"dp-ir\[hub\]"):
            locate_bundle("someone/sr4")


@pytest.mark.parametrize(
    ("kinds", "example"),
    [
        (["denoiser"], 'load_denoiser("path/to/sr")'),
        (["restorer"], 'Restoration.from_pretrained("path/to/sr")("photo.png")'),
        (["denoiser", "fusion"], 'Restoration.from_pretrained("path/to/sr", restorer="path/to/restorer.pth")'),
        (["restorer", "denoiser", "fusion"], 'Restoration.from_pretrained("path/to/sr")("photo.png")'),
    ],
)
def test_the_card_says_how_to_use_what_is_there(tmp_path, kinds, example):
    write_bundle(tmp_path / "sr", make(roles={kind: ROLES[kind] for kind in kinds}))
    card = (tmp_path / "sr" / "README.md").read_text("utf-8")
    assert example in card
    assert ("## Sampling" in card) == ("fusion" in kinds)
    assert all((f"{kind.capitalize()}:" in card) == (kind in kinds) for kind in ROLES)
