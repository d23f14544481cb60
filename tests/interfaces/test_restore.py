"""`dp-ir restore` from arguments to files, with a tiny bundle."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from conftest import listing
from dp_ir import load_network, read_image, save_network
from dp_ir.batch.manifest import MANIFEST
from dp_ir.restoration.pipeline import Restoration


def pixels(path):
    return np.asarray(Image.open(path))


def test_one_photo_becomes_four_times_larger_in_the_named_file(dp_ir, bundle, photos, tmp_path):
    target = tmp_path / "new folder" / "sharp.png"
    result = dp_ir("restore", photos / "a.jpg", "-o", target, "--bundle", bundle, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert str(target) in result.stdout
    assert pixels(target).shape == (48, 64, 3)
    assert listing(tmp_path / "new folder") == ["sharp.png"]


def test_the_command_gives_what_the_pipeline_gives(dp_ir, bundle, photos, tmp_path):
    options = ("--seed", 5, "--tau", 250, "--steps", 2, "--sampler", "dpmpp-2m", "--precision", "float32")
    dp_ir("restore", photos / "b.png", "-o", tmp_path / "b.png", "-b", bundle, "--device", "cpu", *options)
    restoration = Restoration.from_pretrained(bundle, device="cpu", precision="float32")
    expected = restoration(photos / "b.png", seed=5, tau=250, steps=2, sampler="dpmpp-2m").image
    assert np.array_equal(pixels(tmp_path / "b.png"), np.round(expected.pixels * 255).astype(np.uint8))


def test_an_image_and_a_seed_give_one_result_whatever_the_batch(dp_ir, bundle, photos, tmp_path):
    common = ("-b", bundle, "--device", "cpu", "--seed", 3)
    dp_ir("restore", photos, "-o", tmp_path / "both", *common)
    dp_ir("restore", photos / "b.png", "-o", tmp_path / "alone", *common)
    dp_ir("restore", photos / "b.png", "-o", tmp_path / "other", *common[:-1], 4)
    assert np.array_equal(pixels(tmp_path / "both" / "b.png"), pixels(tmp_path / "alone" / "b.png"))
    assert not np.array_equal(pixels(tmp_path / "other" / "b.png"), pixels(tmp_path / "alone" / "b.png"))


def test_what_exists_is_skipped_and_said_until_overwriting_is_asked_for(dp_ir, bundle, photos, tmp_path):
    out = tmp_path / "out"
    command = ("restore", photos, "-o", out, "-b", bundle, "--device", "cpu")
    assert "2 restored" in dp_ir(*command).stdout
    good = (out / "a.png").read_bytes()
    (out / "b.png").write_bytes(b"kept")
    second = dp_ir(*command)
    assert second.exit_code == 0
    assert second.stdout.count("skipped, ") == 2
    assert "2 skipped" in second.stdout
    assert (out / "b.png").read_bytes() == b"kept"
    third = dp_ir(*command, "--overwrite")
    assert "2 restored" in third.stdout
    assert (out / "a.png").read_bytes() == good
    assert pixels(out / "b.png").shape == (48, 64, 3)


def test_samples_come_with_their_mean_and_deviation(dp_ir, bundle, photos, tmp_path):
    out = tmp_path / "out"
    common = ("restore", photos / "b.png", "-b", bundle, "--device", "cpu", "--precision", "float32")
    result = dp_ir(*common, "-o", out, "--samples", 3)
    assert result.exit_code == 0, result.stderr
    assert listing(out) == ["b-1.png", "b-2.png", "b-3.png", "b-mean.png", "b-std.png"]
    samples = np.stack([pixels(out / f"b-{index}.png") for index in (1, 2, 3)]) / 255.0
    assert np.abs(pixels(out / "b-mean.png") / 255.0 - samples.mean(0)).max() < 1 / 255
    deviation = read_image(out / "b-std.png")
    assert deviation.bit_depth == 16
    assert np.abs(deviation.pixels - samples.std(0, ddof=1)).max() < 1 / 255
    assert deviation.pixels.max() > 1 / 255
    dp_ir(*common, "-o", tmp_path / "one")
    assert np.array_equal(pixels(tmp_path / "one" / "b.png"), pixels(out / "b-1.png"))


@pytest.mark.parametrize(("format", "suffix", "kind"), [("tiff", "tif", "TIFF"), ("jpeg", "jpg", "JPEG")])
def test_the_format_is_written_as_asked(dp_ir, bundle, photos, tmp_path, format, suffix, kind):
    dp_ir("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--device", "cpu", "--format", format)
    assert listing(tmp_path / "out") == [f"a.{suffix}", f"b.{suffix}"]
    assert Image.open(tmp_path / "out" / f"a.{suffix}").format == kind


def test_a_part_of_a_photo_is_restored_alone(dp_ir, bundle, photos, tmp_path):
    Image.open(photos / "b.png").crop((2, 3, 10, 9)).save(tmp_path / "part.png")
    common = ("-b", bundle, "--device", "cpu")
    assert dp_ir("restore", photos / "b.png", "-o", tmp_path / "a.png", *common, "--crop", "2,3,8,6").exit_code == 0
    dp_ir("restore", tmp_path / "part.png", "-o", tmp_path / "b.png", *common)
    assert np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


def test_tau_0_is_the_restorer_alone(dp_ir, bundle, photos, tmp_path):
    options = ("--tau", 0, "--precision", "float32", "--device", "cpu")
    dp_ir("restore", photos / "b.png", "-o", tmp_path / "r.png", "-b", bundle, *options)
    restoration = Restoration.from_pretrained(bundle, device="cpu", precision="float32")
    expected = restoration(photos / "b.png").restored
    assert np.array_equal(pixels(tmp_path / "r.png"), np.round(expected.pixels * 255).astype(np.uint8))


def test_the_dial_goes_from_the_restorer_to_a_sample(dp_ir, bundle, photos, tmp_path):
    options = ("-b", bundle, "--precision", "float32", "--device", "cpu", "--seed", 3)
    made = {}
    for detail in (None, 0, 0.5, 1):
        given = () if detail is None else ("--detail", detail)
        result = dp_ir("restore", photos / "b.png", "-o", tmp_path / f"{detail}.png", *options, *given)
        assert result.exit_code == 0, result.output
        made[detail] = pixels(tmp_path / f"{detail}.png").astype(int)
    dp_ir("restore", photos / "b.png", "-o", tmp_path / "tau.png", *options, "--tau", 0)
    assert np.array_equal(made[0], pixels(tmp_path / "tau.png"))
    assert np.array_equal(made[1], made[None])
    restoration = Restoration.from_pretrained(bundle, device="cpu", precision="float32")
    expected = restoration(photos / "b.png", seed=3, detail=0.5).image
    assert np.array_equal(made[0.5], np.round(expected.pixels * 255))
    assert 0 < np.abs(made[0.5] - made[0]).mean() < np.abs(made[1] - made[0]).mean()


@pytest.mark.parametrize("value", ["1.5", "-0.1", "nan", "inf"])
def test_a_dial_that_is_none_is_one_sentence(dp_ir, bundle, photos, tmp_path, value):
    result = dp_ir("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--device", "cpu", "--detail", value)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"dp-ir: The detail is {value}: expected a number from 0 ")
    assert not (tmp_path / "out").exists()


def test_results_with_another_dial_are_named_and_kept(dp_ir, bundle, photos, tmp_path):
    command = ("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--device", "cpu")
    dp_ir(*command)
    assert dp_ir(*command, "--detail", 1).stderr == ""  # which is what the bundle says itself
    other = dp_ir(*command, "--detail", 0.5)
    assert "2 skipped" in other.stdout
    assert "detail 1.0 instead of 0.5" in other.stderr


def test_a_fusion_brings_its_chain_which_is_recorded(dp_ir, bundle, photos, tmp_path):
    network, _ = load_network(bundle / "fusion.safetensors")
    chain = {
        "schedule": {"name": "linear", "T": 1000, "beta_start": 1e-4, "beta_end": 0.02, "data_range": 2.0},
        **{"tau": 250, "steps": 1, "sampler": "ddpm", "spacing": "uniform-t", "sigma_min": 0.02, "eta": 1.0},
    }
    file = tmp_path / "fusion.safetensors"
    save_network(file, network, kind="fusion", card={"chain": chain})
    options = ("-b", bundle, "--device", "cpu", "--precision", "float32", "--fusion", file)

    def restored(name, *given):
        result = dp_ir("restore", photos, "-o", tmp_path / name, *options, *given)
        assert result.exit_code == 0, result.output
        made_by = json.loads((tmp_path / name / MANIFEST).read_text().splitlines()[0])["made_by"]
        return result, {key: made_by[key] for key in chain}

    own, recorded = restored("own")
    assert own.stderr == ""
    assert recorded == chain
    restoration = Restoration.from_pretrained(bundle, fusion=file, device="cpu", precision="float32")
    expected = restoration(photos / "b.png").image
    assert np.array_equal(pixels(tmp_path / "own" / "b.png"), np.round(expected.pixels * 255))
    other, recorded = restored("other", "--steps", 2, "--sampler", "ddim")
    assert recorded == {**chain, "steps": 2, "sampler": "ddim", "eta": None}
    assert other.stderr.count("dp-ir: note: ") == 1
    assert "trained for 1 call at the noise level" in other.stderr
    assert "runs with 2 calls" in other.stderr
    again = dp_ir("restore", photos, "-o", tmp_path / "own", *options, "--steps", 2)
    assert "steps 1 instead of 2" in again.stderr


def test_an_input_is_never_overwritten(dp_ir, bundle, photos):
    before = {name: (photos / name).read_bytes() for name in listing(photos)}
    result = dp_ir("restore", photos / "b.png", "-o", photos, "-b", bundle, "--overwrite", "--device", "cpu")
    assert result.exit_code == 1
    assert "would overwrite the input" in result.stderr
    assert {name: (photos / name).read_bytes() for name in listing(photos)} == before


def test_a_fusion_among_strangers_works_and_says_so(dp_ir, bundle, photos, tmp_path):
    strange = Path(shutil.copytree(bundle, tmp_path / "strange"))
    config = json.loads((strange / "config.json").read_text())
    config["partners"] = {"restorer_sha256": "0" * 64, "denoiser_sha256": "0" * 64}
    (strange / "config.json").write_text(json.dumps(config))
    result = dp_ir("restore", photos, "-o", tmp_path / "out", "-b", strange, "--device", "cpu")
    assert result.exit_code == 0
    assert result.stderr.startswith("dp-ir: note: ")
    assert ".py" not in result.stderr
    assert listing(tmp_path / "out") == ["a.png", "b.png"]


def test_an_interruption_keeps_what_is_done_and_says_how_to_go_on(dp_ir, bundle, photos, tmp_path, monkeypatch):
    original, calls = Restoration.__call__, []

    def interrupted(self, image, **settings):
        calls.append(image)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, image, **settings)

    monkeypatch.setattr(Restoration, "__call__", interrupted)
    command = ("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--device", "cpu")
    result = dp_ir(*command)
    assert result.exit_code == 130
    assert "the same command continues" in result.stderr
    assert "Traceback" not in result.output
    assert listing(tmp_path / "out") == ["a.png"]
    monkeypatch.undo()
    assert "1 restored, 1 skipped" in dp_ir(*command).stdout


def test_programs_get_one_json_object_per_line_and_nothing_else(dp_ir, bundle, photos, tmp_path):
    (photos / "broken.png").write_bytes(b"no image")
    command = (
        "restore",
        photos,
        photos / "gone.png",
        "-o",
        tmp_path / "out",
        "-b",
        bundle,
        "--device",
        "cpu",
        "--json",
    )
    result = dp_ir(*command)
    assert result.exit_code == 1
    *outcomes, summary = map(json.loads, result.stdout.splitlines())
    by_name = {Path(outcome["source"]).name: outcome for outcome in outcomes}
    assert {name: outcome["status"] for name, outcome in by_name.items()} == {
        "a.jpg": "restored",
        "b.png": "restored",
        "broken.png": "failed",
        "gone.png": "failed",
    }
    assert by_name["a.jpg"]["targets"] == [str(tmp_path / "out" / "a.png")]
    assert by_name["a.jpg"]["seconds"] > 0
    assert "broken.png" in by_name["broken.png"]["reason"]
    assert summary["summary"] == {"restored": 2, "skipped": 0, "failed": 2}
    again = [json.loads(line) for line in dp_ir(*command).stdout.splitlines()]
    assert again[-1]["summary"] == {"restored": 0, "skipped": 2, "failed": 2}


def test_metadata_goes_along_and_what_does_not_is_said_to_people_and_programs(dp_ir, bundle, photos, tmp_path):
    with Image.open(photos / "b.png") as image:
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", "a tree with a bird")
        info.add(b"tIME", bytes(7))
        image.save(tmp_path / "c.png", pnginfo=info, dpi=(300, 300))
    common = ("restore", tmp_path / "c.png", "-b", bundle, "--device", "cpu", "--overwrite")
    result = dp_ir(*common, "-o", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        assert image.text == {"parameters": "a tree with a bird"}
        assert round(image.info["dpi"][0]) == 300
    assert "dp-ir: note: c.png: left out of the result: the PNG chunk tIME." in result.stderr
    result = dp_ir(*common, "-o", tmp_path / "out", "--format", "webp", "--samples", 2, "--json")
    note = "c.png: left out of the result: the PNG chunk tIME; the text 'parameters'."
    assert json.loads(result.stdout.splitlines()[0])["notes"] == [note]
    assert result.stderr.count("left out of the result") == 1
    assert json.loads((tmp_path / "out" / MANIFEST).read_text().splitlines()[-1])["notes"] == [note]


def test_what_is_found_of_photos_is_told_to_programs_and_its_advice_to_people(dp_ir, tmp_path):
    (tmp_path / "in").mkdir()
    y, x = np.mgrid[0:20, 0:24]
    soft = np.stack([8 * x, 10 * y, 5 * (x + y)], axis=-1).astype(np.uint8)
    for name in ("a", "b"):
        Image.fromarray(soft).save(tmp_path / "in" / f"{name}.png")
    common = ("--device", "cpu", "--detail", 0)
    result = dp_ir("restore", tmp_path / "in", "-o", tmp_path / "out", *common, "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    described = json.loads(dp_ir("info", tmp_path / "in" / "a.png", "--json").stdout)
    names = ("width", "height", "noise", "blockiness", "fineness", "task", "advice")
    assert lines[0]["facts"] == {name: described[name] for name in names}
    assert lines[0]["facts"]["task"] == "photo"
    assert "--task deblur" in lines[0]["facts"]["advice"]
    for line, name in zip(lines, ("a.png", "b.png"), strict=False):
        assert f"{name}: {described['advice']}" in line["notes"]
        assert result.stderr.count(f"dp-ir: note: {name}: {described['advice']}") == 1
    assert result.stderr.count("photos of at most 2 megapixels") == 1
    written = [json.loads(line) for line in (tmp_path / "out" / MANIFEST).read_text().splitlines()]
    assert [entry["facts"] for entry in written if entry.get("status") == "restored"] == [lines[0]["facts"]] * 2
    named = dp_ir("restore", tmp_path / "in" / "a.png", "-o", tmp_path / "named.png", *common, "--json", "-b", "photo")
    assert json.loads(named.stdout.splitlines()[0])["facts"] == {}
    assert "It is soft" not in named.stderr


def test_other_settings_and_networks_are_named_and_the_results_kept(dp_ir, bundle, photos, tmp_path, rlfn_file):
    out = tmp_path / "out"
    command = ("restore", photos, "-o", out, "-b", bundle, "--device", "cpu")
    dp_ir(*command)
    before = (out / "a.png").read_bytes()
    assert dp_ir(*command, "--steps", 3, "--sampler", "ddim").stderr == ""  # which is what the bundle says itself
    other = dp_ir(*command, "--seed", 4, "--restorer", rlfn_file)
    assert "2 skipped" in other.stdout
    assert "another restorer, seed 0 instead of 4" in other.stderr
    assert (out / "a.png").read_bytes() == before
    dp_ir(*command, "--seed", 4, "--overwrite")
    assert (out / "a.png").read_bytes() != before


def test_a_named_file_is_made_again_for_another_seed_input_or_content(dp_ir, bundle, photos, tmp_path):
    target = tmp_path / "large.png"
    common = ("-o", target, "-b", bundle, "--device", "cpu")

    def made(*arguments):
        result = dp_ir("restore", *arguments, *common)
        assert result.exit_code == 0, result.output
        return result, target.read_bytes()

    _, first = made(photos / "a.jpg")
    again, same = made(photos / "a.jpg")
    assert "skipped" in again.stdout
    assert same == first
    seeded, other = made(photos / "a.jpg", "--seed", 7)
    assert "seed 0 instead of 7" in seeded.stderr
    assert other != first
    back, restored = made(photos / "a.jpg")
    assert restored == first, back.output
    another, mirrored = made(photos / "b.png")
    assert "b.png is not what" in another.stderr
    assert np.array_equal(pixels(target).shape, (48, 64, 3))
    assert mirrored != first
    shutil.copy(photos / "a.jpg", photos / "b.png")  # the content decides what it is
    changed, last = made(photos / "b.png")
    assert "made again" in changed.stderr
    assert last == first


def test_a_named_file_and_the_manifest_of_its_folder_agree(dp_ir, bundle, photos, tmp_path):
    out = tmp_path / "out"
    common = ("-b", bundle, "--device", "cpu")
    dp_ir("restore", photos, "-o", out, *common)
    assert "skipped" in dp_ir("restore", photos / "a.jpg", "-o", out / "a.png", *common).stdout
    assert "seed 0 instead of 7" in dp_ir("restore", photos / "a.jpg", "-o", out / "a.png", *common, "--seed", 7).stderr
    folder = dp_ir("restore", photos, "-o", out, *common)
    assert "1 result of earlier runs" in folder.stderr
    assert "seed 7 instead of 0" in folder.stderr
    assert "2 skipped" in folder.stdout
    as_json = dp_ir("restore", photos, "-o", out, *common, "--json").stdout.splitlines()
    assert [json.loads(line).get("reason") for line in as_json] == ["made with seed 7 instead of 0", "", None]


def test_a_failure_says_nothing_of_files_that_others_made(dp_ir, bundle, photos, tmp_path):
    target, broken = tmp_path / "large.png", tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    common = ("-o", target, "-b", bundle, "--device", "cpu")
    assert dp_ir("restore", broken, *common).exit_code == 1
    target.write_bytes(b"precious")  # a person's own
    refused = dp_ir("restore", photos / "a.jpg", *common)
    assert refused.exit_code == 1
    assert "nothing says that it is a result of" in refused.stderr
    assert target.read_bytes() == b"precious"


def test_a_failure_leaves_the_result_before_which_may_be_replaced(dp_ir, bundle, photos, tmp_path):
    target, broken = tmp_path / "large.png", tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    common = ("-o", target, "-b", bundle, "--device", "cpu")
    assert dp_ir("restore", photos / "a.jpg", *common).exit_code == 0
    first = target.read_bytes()
    assert dp_ir("restore", broken, *common).exit_code == 1
    assert target.read_bytes() == first
    assert dp_ir("restore", photos / "a.jpg", *common, "--seed", 7).exit_code == 0
    assert target.read_bytes() != first


def test_a_named_file_that_nobody_knows_is_left_alone(dp_ir, bundle, photos, tmp_path):
    target = tmp_path / "large.png"
    target.write_bytes(b"precious")
    command = ("restore", photos / "a.jpg", "-o", target, "-b", bundle, "--device", "cpu")
    refused = dp_ir(*command)
    assert refused.exit_code == 1
    assert "nothing says that it is a result of" in refused.stderr
    assert target.read_bytes() == b"precious"
    assert dp_ir(*command, "--overwrite").exit_code == 0
    assert pixels(target).shape == (48, 64, 3)


def test_what_is_no_image_is_counted_for_people_and_programs(dp_ir, bundle, photos, tmp_path):
    (photos / "layers").write_bytes(b"8BPS")
    Image.open(photos / "b.png").save(
        photos / "moving", format="GIF", save_all=True, append_images=[Image.new("L", (9, 9))]
    )
    shutil.copy(photos / "a.jpg", photos / "phone.jfif")
    (photos / "notes.txt").write_text("none")
    command = ("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--device", "cpu")
    result = dp_ir(*command)
    assert result.exit_code == 0
    assert "4 restored; left out: 1 Photoshop document, 1 .txt" in result.stdout
    assert listing(tmp_path / "out") == ["a.png", "b.png", "moving.png", "phone.png"]
    assert "moving: left out of the result: the second frame" in result.stderr
    summary = json.loads(dp_ir(*command, "--json").stdout.splitlines()[-1])
    assert summary["left_out"] == {"Photoshop document": 1, ".txt": 1}


@pytest.mark.parametrize("name", ["x.pdf", "x.gif", "x.final"])
def test_an_output_that_ends_like_some_other_file_is_asked_about(dp_ir, bundle, photos, tmp_path, name):
    command = ("restore", photos / "a.jpg", "-b", bundle, "--device", "cpu", "-o")
    asked = dp_ir(*command, tmp_path / name)
    assert asked.exit_code == 1
    assert "slash at its end" in asked.stderr
    assert not (tmp_path / name).exists()
    assert dp_ir(*command, f"{tmp_path / name}/").exit_code == 0
    assert listing(tmp_path / name) == ["a.png"]


def test_workers_without_ray_are_refused(dp_ir, bundle, photos, tmp_path):
    result = dp_ir("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--workers", 2)
    assert result.exit_code == 1
    assert "--executor ray" in result.stderr
