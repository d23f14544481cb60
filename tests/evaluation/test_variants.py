import warnings
from dataclasses import asdict

import pytest
import torch

from dp_ir.checkpoints.bundle import bundle_network, read_config
from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.checkpoints.network_file import save_network
from dp_ir.checkpoints.trained_for import CHAIN_SETTINGS
from dp_ir.degradation import imresize
from dp_ir.errors import DataError, DPIRError
from dp_ir.evaluation.methods.method import Observation
from dp_ir.evaluation.methods.parsing import parse_method
from dp_ir.evaluation.methods.variants import local_wiener
from dp_ir.networks.fast_sr import FastSR
from dp_ir.networks.fusion_fast import FastFusion
from dp_ir.restoration.chain import UnseenChainWarning
from dp_ir.restoration.pipeline import Restoration
from tiny import tiny_restoration

OBSERVATION = Observation("set", "one", torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants") / "bundle"
    made = tiny_restoration(tau=200, steps=2, precision="float32")
    for network in made.networks.values():
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    made.save_pretrained(folder)
    return folder


def image(text):
    return parse_method(text, device="cpu", precision="float32")(OBSERVATION, 3)


def test_upsampled_start_changes_the_start_and_nothing_else(bundle):
    restore = Restoration.from_pretrained(bundle, precision="float32", device="cpu")
    plain, changed = image(f"{bundle}"), image(f"upsampled:{bundle}")
    assert changed.calls == plain.calls == {"restorer": 1, "denoiser": 2, "fusion": 2}
    assert not torch.equal(changed.image, plain.image)
    start = imresize(OBSERVATION.image, 4)
    torch.testing.assert_close(changed.image, restore(OBSERVATION.image, seed=3, start=start).image)
    # Started from the restorer's own output, it is the restoration itself.
    restored = restore(OBSERVATION.image, tau=0).image
    seen = []
    again = restore(OBSERVATION.image, seed=3, start=restored, callback=lambda info: seen.append(info.noisy))
    first = []
    restore(OBSERVATION.image, seed=3, callback=lambda info: first.append(info.noisy))
    inside = (restored > 0) & (restored < 1)  # results are clipped
    assert inside.float().mean() > 0.5
    torch.testing.assert_close(seen[0][inside], first[0][inside])
    assert again.image.shape == plain.image.shape
    with pytest.raises(DPIRError, match="the two must agree"):
        restore(OBSERVATION.image, start=start[..., :-1])


def test_the_start_that_is_studied_is_not_warned_of(bundle, tmp_path):
    fusion, record = bundle_network(bundle, "fusion")
    settings = asdict(read_config(bundle).settings)
    chain = {**{name: settings[name] for name in CHAIN_SETTINGS}, "steps": 1}
    save_network(tmp_path / "fusion.safetensors", fusion, kind="fusion", card={**record.card, "chain": chain})
    text = f"{bundle},fusion={tmp_path / 'fusion.safetensors'}"
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnseenChainWarning)
        assert image(text).calls == image(f"upsampled:{text}").calls == {"restorer": 1, "denoiser": 1, "fusion": 1}
    with pytest.warns(UnseenChainWarning, match="runs with 2 calls"):
        image(f"{text},steps=2")


def test_the_straight_line_is_the_dial_of_a_fusion_that_sees_none(bundle):
    for share in (0, 0.3, 1):
        line, dial = image(f"line:{bundle},share={share}"), image(f"{bundle},detail={share}")
        assert torch.equal(line.image, dial.image)
        assert line.calls == dial.calls
    method = parse_method(f"line:{bundle},share=0", device="cpu")
    assert not method.draws
    with pytest.raises(DataError, match="share=2"):
        image(f"line:{bundle},share=2")
    with pytest.raises(DataError, match=r"^The setting detail=0\.3 is none of the kind 'line', .* write share= .*\.$"):
        image(f"line:{bundle},share=0.5,detail=0.3")


def test_the_straight_line_leads_to_the_sample_of_a_fusion_that_sees_the_dial(bundle, tmp_path):
    torch.manual_seed(1)
    fusion = FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8, detail=0.4)
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # so that ends are clipped
    save_network(tmp_path / "fusion.safetensors", fusion, kind="fusion")
    text = f"{bundle},fusion={tmp_path / 'fusion.safetensors'}"
    restore = parse_method(text, device="cpu", precision="float32").restoration
    last = []
    whole = restore(OBSERVATION.image, seed=3, callback=last.append)
    with torch.no_grad():
        restored = restore.networks["restorer"](OBSERVATION.image)
    assert (last[-1].estimate.clamp(0, 1) != last[-1].estimate).any()
    half = image(f"line:{text},share=0.5").image
    torch.testing.assert_close(half, ((restored + last[-1].estimate) / 2).clamp(0, 1), atol=1e-5, rtol=0)
    assert torch.equal(image(f"line:{text}").image, whole.image)
    assert not torch.allclose(half, image(f"{text},detail=0.5").image, atol=1e-3)  # the fusion's own
    texts = [f"line:{text},share=0.5", f"line:{text},share=0.6", f"{text},detail=0.5"]
    assert len({parse_method(text, device="cpu").identity for text in texts}) == 3


def test_strength_1_is_the_bundle_and_strength_0_the_plain_method(bundle):
    whole = image(f"weaker:{bundle},restorer_strength=1,denoiser_strength=1")
    torch.testing.assert_close(whole.image, image(f"{bundle}").image)
    none = image(f"weaker:{bundle},tau=0,restorer_strength=0")
    torch.testing.assert_close(none.image, imresize(OBSERVATION.image, 4).clamp(0, 1))
    half = image(f"weaker:{bundle},tau=0,restorer_strength=0.5")
    alone = image(f"{bundle},tau=0")
    unclipped = (half.image > 0) & (half.image < 1) & (alone.image > 0) & (alone.image < 1)
    torch.testing.assert_close(half.image[unclipped], ((alone.image + none.image) / 2)[unclipped], atol=2e-2, rtol=0)
    weak = image(f"weaker:{bundle},denoiser_strength=0")
    assert weak.calls == whole.calls
    assert not torch.equal(weak.image, whole.image)


def test_weaker_networks_keep_their_own_ranges_and_precision(bundle, tmp_path):
    torch.manual_seed(1)
    restorer = FastSR(channels=8, blocks=1)
    in_levels = NetworkInfo(scale=4, value_range=(0.0, 255.0))
    save_network(tmp_path / "levels.safetensors", restorer, kind="restorer", info=in_levels)
    text = f"{bundle},tau=0,restorer={tmp_path / 'levels.safetensors'},restorer.probe=no"
    whole, plain = (parse_method(f"{kind}:{text}", device="cpu")(OBSERVATION, 3).image for kind in ("weaker", "bundle"))
    torch.testing.assert_close(whole, plain)
    assert 0.1 < plain.mean() < 0.9


def test_identities_tell_variants_apart(bundle):
    texts = [
        f"{bundle}",
        f"upsampled:{bundle}",
        f"weaker:{bundle},denoiser_strength=0.5",
        f"weaker:{bundle},restorer_strength=0.5",
        f"weaker:{bundle},restorer_strength=0.5,tau=100",
    ]
    identities = {parse_method(text, device="cpu").identity for text in texts}
    assert len(identities) == len(texts)
    assert parse_method(texts[-1], device="cpu").identity in identities


def test_strength_outside_its_range_is_refused(bundle):
    with pytest.raises(DataError, match="a number from 0 to 1"):
        image(f"weaker:{bundle},denoiser_strength=2")


def test_local_wiener_removes_noise_from_flat_parts_and_keeps_clean_images():
    generator = torch.Generator().manual_seed(0)
    noisy = 0.5 + 0.1 * torch.randn(1, 3, 64, 64, generator=generator)
    flat = local_wiener(noisy, torch.tensor([0.1]))
    assert (flat - 0.5).std() < 0.6 * (noisy - 0.5).std()
    picture = torch.rand(2, 3, 20, 20, generator=generator)
    torch.testing.assert_close(local_wiener(picture, torch.tensor([1e-4, 1e-4])), picture, rtol=0, atol=1e-4)
    # The mean of 25 pixels is what is left where noise explains all variance.
    blurred = local_wiener(noisy, torch.tensor([10.0]))
    assert blurred[..., 2, 2] == pytest.approx(noisy[..., :5, :5].mean(dim=(-2, -1)).numpy(), abs=1e-5)
