"""Networks from elsewhere on the command line: `info`, `convert`, and `restore` and `train` with their options."""

import json
import shutil
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from spandrel.architectures.DnCNN import DnCNN

from conftest import listing
from dp_ir import NoiseSchedule, Restoration, load_denoiser, load_network, load_restorer
from dp_ir.checkpoints.network_file import read_record
from dp_ir.interfaces import describe
from dp_ir.restoration import replacement
from dp_ir.training.recipe import load_recipe


def pixels(path):
    return np.asarray(Image.open(path))


def restored(image, **settings):
    """What the pipeline gives for a photo, as 8-bit pixels."""
    result = Restoration.from_pretrained(device="cpu", **settings)(image)
    return np.round(result.image.pixels * 255).astype(np.uint8)


def said_on_stderr(result) -> list[str]:
    """Without what the probe thinks of random weights."""
    return [line for line in result.stderr.splitlines() if "on a test picture" not in line]


def one_note(result) -> str:
    assert result.exit_code == 0, result.output
    lines = said_on_stderr(result)
    assert len(lines) == 1, lines
    assert lines[0].startswith("dp-ir: note: ")
    return lines[0]


def one_error(result) -> str:
    assert result.exit_code == 1, result.output
    lines = said_on_stderr(result)
    assert len(lines) == 1, lines
    assert lines[0].startswith("dp-ir: ")
    assert lines[0].endswith(".")
    return lines[0]


# info ---------------------------------------------------------------------------------------------------------------


def test_info_gives_all_that_is_known_of_a_published_file(dp_ir, rlfn_file):
    said = json.loads(dp_ir("info", rlfn_file, "--json").stdout)
    restorer = load_restorer(rlfn_file)
    assert (said["what"], said["kind"], said["architecture"]) == ("network", "restorer", "rlfn")
    assert said["config"] == restorer.record.config
    assert said["sha256"] == restorer.record.sha256
    assert said["parameters"] == restorer.record.parameters
    facts = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(restorer.info).items()}
    assert {name: said[name] for name in facts} == facts
    assert (said["format"], said["precision"]) == ("torch-zip", ["float16"])
    assert said["file_sha256"] == restorer.record.card["origin"]["sha256"]


def test_info_puts_the_facts_in_words(dp_ir, rlfn_file, ffdnet_file):
    lines = dp_ir("info", rlfn_file).stdout.splitlines()
    for line in ("kind: restorer", "scale: 4", "channels: 3, RGB", "minimum size: 15", "value range: 0 to 255"):
        assert line in lines
    assert "  attention_channels: 2" in lines
    assert not any(line.startswith("noise level") for line in lines)
    lines = dp_ir("info", ffdnet_file).stdout.splitlines()
    assert "noise levels: 0 to 0.2941 (0 to 75 of 255)" in lines
    assert "noise level goes in as: its standard deviation, as a second argument" in lines
    assert "bfloat16: not known to be safe, so float32 is used" in lines
    assert not any(line.startswith("scale") for line in lines)


def test_there_are_words_for_every_value_of_a_fact():
    words = describe._WORDS
    assert {words["sigma_input"](value) for value in ("sigma", "variance", "map", "none")} != {None}
    assert words["tiling"]("discouraged") != words["tiling"]("supported")
    assert words["sigma_range"](None) == "any"
    assert words["scale"](None) == "whatever the network returns"
    assert words["channels"](4) == "4"
    assert words["input"]("burst") != words["input"]("image")


def test_info_names_what_spandrel_recognised(dp_ir, tmp_path):
    torch.save(DnCNN(in_nc=1, out_nc=1, nc=8, nb=4).state_dict(), tmp_path / "grey.pth")
    lines = dp_ir("info", tmp_path / "grey.pth").stdout.splitlines()
    assert "architecture: DnCNN, as spandrel knows it" in lines
    assert "channels: 1, grey" in lines
    assert any(line.startswith("as a denoiser: after stating") for line in lines)


@pytest.mark.parametrize("name", ["foreign.safetensors", "foreign.pth"])
def test_info_says_what_can_be_said_of_weights_that_no_network_fits(dp_ir, tmp_path, name):
    tensors = {"conv_in.weight": torch.zeros(4, 3, 3, 3), "conv_in.bias": torch.zeros(4, dtype=torch.float16)}
    if name.endswith("pth"):
        torch.save({"params_ema": tensors}, tmp_path / name)
    else:
        save_file(tensors, tmp_path / name)
    result = dp_ir("info", tmp_path / name, "--json")
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert "no known network fits" in said["what"]
    assert said["reason"].startswith("No network matches the weights")
    assert (said["tensors"], said["parameters"]) == (2, 112)
    assert said["precision"] == ["float16", "float32"]
    assert said["first_tensors"]["conv_in.weight"] == [4, 3, 3, 3]
    assert "  conv_in.weight: 4, 3, 3, 3" in dp_ir("info", tmp_path / name).stdout.splitlines()


def test_info_says_why_a_known_network_does_not_fit(dp_ir, rlfn_file):
    state = torch.load(rlfn_file)["params"]
    state["module.conv_2.weight"] = torch.zeros(4, 5, 3, 3)
    torch.save(state, rlfn_file)
    result = dp_ir("info", rlfn_file)
    assert result.exit_code == 0
    assert "conv_2.weight: found (4, 5, 3, 3), expected (4, 4, 3, 3)" in result.stdout


def test_info_calls_damage_an_error(dp_ir, bundle, rlfn_file, tmp_path):
    rlfn_file.write_bytes(rlfn_file.read_bytes()[:-50])
    assert "truncated or damaged" in one_error(dp_ir("info", rlfn_file))
    mine = tmp_path / "mine.safetensors"
    shutil.copy(bundle / "fusion.safetensors", mine)
    tensors, entry = load_file(mine), {"dp_ir": json.dumps({**vars_of(mine), "kind": "fusion"})}
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name] * float("nan")}, mine, entry)
    assert "NaN" in one_error(dp_ir("info", mine))


def vars_of(path) -> dict:
    record = read_record(path)
    return {"architecture": record.architecture, "config": record.config, "card": record.card}


def test_info_of_something_on_the_hub_fetches_it(dp_ir, rlfn_file, monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *names, **_: asked.append(names) or str(rlfn_file))
    said = json.loads(dp_ir("info", "owner/name/weights/rlfn_x4.pth", "--json").stdout)
    assert asked == [("owner/name", "weights/rlfn_x4.pth")]
    assert said["architecture"] == "rlfn"


# convert ------------------------------------------------------------------------------------------------------------


def test_a_converted_restorer_is_a_bundle_that_restores_by_itself(dp_ir, rlfn_file, photos, tmp_path):
    folder = tmp_path / "my-rlfn"
    result = dp_ir("convert", rlfn_file, "-o", folder)
    assert result.exit_code == 0, result.output
    assert listing(folder) == ["README.md", "config.json", "restorer.safetensors"]
    assert f"the restorer rlfn of {rlfn_file.name}" in result.stdout
    assert f"--bundle {folder}" in result.stdout
    said = json.loads(dp_ir("info", folder, "--json").stdout)
    assert (said["task"], said["sampling"]["tau"], said["lacks"]) == ("sr4", 0, ["denoiser", "fusion"])
    assert said["networks"]["restorer"]["value_range"] == [0.0, 255.0]
    assert said["networks"]["restorer"]["card"]["origin"]["file"] == "rlfn_x4.pth"
    assert "lacks: denoiser, fusion" in dp_ir("info", folder).stdout.splitlines()
    done = dp_ir("restore", photos / "b.png", "-o", tmp_path / "out.png", "--bundle", folder, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    enlarged = pixels(photos / "b.png").repeat(4, 0).repeat(4, 1)
    assert np.abs(pixels(tmp_path / "out.png").astype(int) - enlarged).max() <= 1


def test_a_converted_denoiser_takes_the_place_of_another(dp_ir, ffdnet_file, bundle, photos, tmp_path):
    folder = tmp_path / "my-ffdnet"
    result = dp_ir(
        "convert", ffdnet_file, "-o", folder, "--override", "sigma_range=0,0.25", "--override", "supports-bfloat16=yes"
    )
    assert f"--denoiser {folder}" in result.stdout
    _, record = load_network(folder / "denoiser.safetensors")
    assert record.info == {"sigma_range": [0.0, 0.25], "supports_bfloat16": True}
    command = ("restore", photos / "b.png", "-b", bundle, "--denoiser", folder, "--device", "cpu", "--tau", 250)
    assert dp_ir(*command, "--precision", "float32", "-o", tmp_path / "folder.png").exit_code == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"denoiser": load_denoiser(ffdnet_file), "tau": 250, "precision": "float32"}
        expected = restored(photos / "b.png", name=bundle, **options)
    assert np.array_equal(pixels(tmp_path / "folder.png"), expected)


@pytest.mark.filterwarnings("ignore::dp_ir.checkpoints.units.probe.ProbeWarning")  # of the last line
def test_a_blind_network_becomes_a_denoiser_when_its_levels_are_stated(dp_ir, tmp_path):
    torch.manual_seed(0)
    torch.save(DnCNN(in_nc=3, out_nc=3, nc=8, nb=4).state_dict(), tmp_path / "blind.pth")
    levels = ("--override", "sigma_range=10/255,50/255")
    assert dp_ir("convert", tmp_path / "blind.pth", "-o", tmp_path / "a").exit_code == 0
    assert dp_ir("convert", tmp_path / "blind.pth", "-o", tmp_path / "b", *levels).exit_code == 0
    assert listing(tmp_path / "a")[-1] == "restorer.safetensors"
    assert "denoiser.safetensors" in listing(tmp_path / "b")
    assert load_denoiser(tmp_path / "b").info.sigma_range == (10 / 255, 50 / 255)


def test_nothing_is_overwritten_unasked(dp_ir, rlfn_file, tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "diary.txt").write_text("dear diary")
    assert "--overwrite" in one_error(dp_ir("convert", rlfn_file, "-o", folder))
    assert listing(folder) == ["diary.txt"]
    assert dp_ir("convert", rlfn_file, "-o", folder, "--overwrite").exit_code == 0
    assert (folder / "diary.txt").read_text() == "dear diary"
    own = folder / "restorer.safetensors"
    before = own.read_bytes()
    assert "would overwrite" in one_error(dp_ir("convert", own, "-o", folder, "--overwrite"))
    assert own.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rlfn_x4.pth", "--override", "value_rage=0,255"), "nearest: value_range"),
        (("rlfn_x4.pth", "--override", "value_range=0"), "LOW,HIGH"),
        (("rlfn_x4.pth", "--kind", "denoiser"), "expected a denoiser"),
        (("gone.pth",), "There is no weight file gone.pth"),
        (("sr4",), "sr4 is no weight file"),
        (("fusion.safetensors",), "holds a fusion network"),
        (("rlfn_x4.pth", "-o", "rlfn_x4.pth"), "not an empty folder"),
    ],
)
def test_what_cannot_be_converted_is_one_sentence(dp_ir, rlfn_file, bundle, tmp_path, monkeypatch, arguments, words):
    shutil.copy(bundle / "fusion.safetensors", tmp_path)
    monkeypatch.chdir(tmp_path)
    before = listing(tmp_path)
    assert words in one_error(dp_ir("convert", "-o", "out", *arguments))
    assert listing(tmp_path) == before


# restore ------------------------------------------------------------------------------------------------------------


def test_a_restorer_from_elsewhere_meets_the_bundles_fusion(dp_ir, rlfn_file, bundle, photos, tmp_path):
    partnered = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    config = json.loads((partnered / "config.json").read_text())
    config["partners"] = {f"{kind}_sha256": config["networks"][kind]["sha256"] for kind in ("restorer", "denoiser")}
    (partnered / "config.json").write_text(json.dumps(config))
    out = tmp_path / "out"
    command = ("restore", photos, "-o", out, "-b", partnered, "--restorer", rlfn_file, "--device", "cpu")
    first = dp_ir(*command)
    found, expected = load_restorer(rlfn_file), config["networks"]["restorer"]["sha256"]
    assert f"trained with the restorer fast-sr ({expected[:12]}), and meets " in one_note(first)
    assert f"meets rlfn of rlfn_x4.pth ({found.record.sha256[:12]}) here" in first.stderr
    assert "2 restored" in first.stdout
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(pixels(out / "b.png"), restored(photos / "b.png", name=bundle, restorer=found))
    again = dp_ir(*command)
    assert again.stderr == ""  # nothing was to do, so no network was read
    assert "2 skipped" in again.stdout
    alone = dp_ir(*command[:2], "-o", tmp_path / "alone", *command[4:], "--tau", 0)
    assert alone.stderr == ""  # and no fusion has run


def test_a_fusion_replaces_the_bundles_own(dp_ir, rlfn_file, bundle, photos, tmp_path):
    assert dp_ir("convert", rlfn_file, "-o", tmp_path / "plain").exit_code == 0
    parts = ("--denoiser", bundle, "--fusion", bundle / "fusion.safetensors", "--device", "cpu")
    command = ("restore", photos / "b.png", "-b", tmp_path / "plain", *parts)
    note = one_note(dp_ir(*command, "-o", tmp_path / "a.png"))
    assert "its tau is 0" in note
    assert "--tau 400" in note
    own = dp_ir(*command, "-o", tmp_path / "b.png", "--tau", 300, "--steps", 3, "--sigma-min", 0.05)
    assert said_on_stderr(own) == []
    same = dp_ir("restore", photos / "b.png", "-b", bundle, "--restorer", rlfn_file, "-o", tmp_path / "c.png", *parts)
    assert same.exit_code == 0
    assert np.array_equal(pixels(tmp_path / "b.png"), pixels(tmp_path / "c.png"))
    assert not np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


def test_facts_are_stated_per_network(dp_ir, bundle, photos, tmp_path):
    command = ("restore", photos / "b.png", "-b", bundle, "--device", "cpu", "-o", tmp_path / "b.png")
    said = one_error(dp_ir(*command, "--override", "denoiser.sigma_range=0,0.2"))
    largest = int(NoiseSchedule.cosine(1000).step(0.2))
    assert f"choose tau <= {largest} (--tau {largest})." in said
    assert "0.2" in one_error(dp_ir(*command, "--override", "denoiser.sigma_range=0,0.2", "--tau", largest + 1))
    assert dp_ir(*command, "--override", "denoiser.sigma_range=0,0.2", "--tau", largest).exit_code == 0
    above = ("--override", "denoiser.sigma_range=0.06,1", "--overwrite")
    assert "--sigma-min" in one_error(dp_ir(*command, *above))
    assert dp_ir(*command, *above, "--sigma-min", 0.06).exit_code == 0
    assert "expected restorer.KEY=VALUE" in one_error(dp_ir(*command, "--override", "fusion.scale=1", "--overwrite"))


def test_what_is_missing_is_named_with_its_option(dp_ir, rlfn_file, ffdnet_file, photos, tmp_path):
    dp_ir("convert", rlfn_file, "-o", tmp_path / "restorer")
    dp_ir("convert", ffdnet_file, "-o", tmp_path / "denoiser")
    command = ("restore", photos / "b.png", "-o", tmp_path / "b.png", "--device", "cpu", "-b")
    assert "--restorer" in one_error(dp_ir(*command, tmp_path / "denoiser"))
    assert "--denoiser, --fusion" in one_error(dp_ir(*command, tmp_path / "restorer", "--tau", 300))


def test_every_note_is_one_line(dp_ir, bundle, photos, tmp_path, monkeypatch):
    def load(*_, **__):
        warnings.warn("The probe\n  could not tell\nwhat this is.", stacklevel=1)
        return load_restorer(lambda y: y.repeat_interleave(4, 2).repeat_interleave(4, 3), scale=4, probe=False)

    monkeypatch.setitem(replacement.LOADERS, "restorer", load)
    result = dp_ir("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--restorer", "x", "--device", "cpu")
    assert one_note(result) == "dp-ir: note: The probe could not tell what this is."


# train --------------------------------------------------------------------------------------------------------------


def test_train_takes_the_partners_of_a_fusion_by_name(dp_ir, tmp_path, monkeypatch):
    asked = {}

    def train(kind, recipe, overrides, out, **_):
        asked["recipe"] = load_recipe(recipe, overrides)
        return out / "fusion.safetensors"

    monkeypatch.setattr("dp_ir.training.run.train", train)
    names = ("--restorer", "my, [odd] name=1.pth", "--denoiser", "sr4")
    facts = (
        "--override",
        "restorer.value_range=0,255",
        "--override",
        "denoiser.sigma_input=map",
        "--override",
        "restorer.scale=4",
    )
    result = dp_ir("train", "fusion", "-d", tmp_path, "-o", tmp_path / "run", *names, *facts, "optim.steps=7")
    assert result.exit_code == 0, result.output
    partners = asked["recipe"].partners
    assert (partners.restorer, partners.denoiser) == ("my, [odd] name=1.pth", "sr4")
    assert partners.restorer_info == {"value_range": [0.0, 255.0], "scale": 4}
    assert partners.denoiser_info == {"sigma_input": "map"}
    assert asked["recipe"].optim.steps == 7


@pytest.mark.parametrize("name", ["pics #1", "010", "1_000", "null", "a: b", "[x]", "${x}", "\\${x}", 'say "x"'])
def test_folders_are_taken_as_they_are_named(dp_ir, tmp_path, monkeypatch, name):
    asked = {}

    def train(kind, recipe, overrides, out, **_):
        asked["recipe"] = load_recipe(recipe, overrides)
        return out / "restorer.safetensors"

    monkeypatch.setattr("dp_ir.training.run.train", train)
    result = dp_ir("train", "restorer", "--gt", name, "--lq", f"{name} lq", "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert (asked["recipe"].data.clean, asked["recipe"].data.observation) == (name, f"{name} lq")


@pytest.mark.parametrize("option", [("--restorer", "a.pth"), ("--denoiser", "sr4"), ("--override", "restorer.scale=4")])
def test_only_a_fusion_has_partners(dp_ir, tmp_path, option):
    said = one_error(dp_ir("train", "denoiser", "-d", tmp_path, "-o", tmp_path / "run", *option))
    assert "`dp-ir train fusion`" in said
    assert not (tmp_path / "run").exists()


def test_a_restorer_of_a_python_file_is_run_and_made_again_when_the_file_changes(dp_ir, photos, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("def enlarge(y):\n    return y.repeat_interleave(4, 2).repeat_interleave(4, 3)\n")
    command = (
        "restore",
        photos,
        "-o",
        tmp_path / "out",
        "--restorer",
        f"{mine}:enlarge",
        "--tau",
        0,
        "--device",
        "cpu",
    )
    command = (*command, "--override", "restorer.scale=4")
    first = dp_ir(*command)
    assert first.exit_code == 0, first.output
    results = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    assert results
    mine.write_text(mine.read_text().replace("return y", "return 1 - y"))
    assert "another restorer" in dp_ir(*command).stderr
    assert dp_ir(*command, "--overwrite").exit_code == 0
    assert all((tmp_path / "out" / name).read_bytes() != content for name, content in results.items())
