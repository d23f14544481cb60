"""The probe: networks used as they were made pass in silence, others are told how; nothing is left behind."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dp_ir.checkpoints.bundle import zoo_folder
from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.network_file import load_network
from dp_ir.checkpoints.units.probe import ProbeWarning, probe
from dp_ir.checkpoints.units.probe_picture import ALL_THE_SAME
from dp_ir.errors import NetworkContractError

UNIT, BYTE, SIGNED = (0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)


@pytest.fixture(scope="module")
def denoiser():
    return load_network(zoo_folder() / "denoiser" / "denoiser.safetensors")[0]


@pytest.fixture(scope="module")
def restorer():
    return load_network(zoo_folder() / "sr4" / "restorer.safetensors")[0]


class Made:
    """A network for [0, 1] and sigma, as somebody else would have made it; counts its calls."""

    def __init__(self, network, value_range=UNIT, sigma_input="sigma"):
        self.network, self.sigma_input, self.calls = network, sigma_input, 0
        self.low, self.width = value_range[0], value_range[1] - value_range[0]

    def __call__(self, image, *sigma):
        self.calls += 1
        if self.sigma_input == "map":
            assert not sigma
            image, sigma = image[:, :3], (image[:, 3].mean((1, 2)),)
        given = [(level.sqrt() if self.sigma_input == "variance" else level) / self.width for level in sigma]
        return self.network((image - self.low) / self.width, *given) * self.width + self.low


def wiener(noisy, sigma):
    """Closed form: shrinks towards the mean of 5 x 5 pixels by what their variance has above that of the noise."""
    mean = F.avg_pool2d(F.pad(noisy, (2, 2, 2, 2), mode="reflect"), 5, 1)
    variance = F.avg_pool2d(F.pad((noisy - mean) ** 2, (2, 2, 2, 2), mode="reflect"), 5, 1)
    kept = (variance - sigma.view(-1, 1, 1, 1) ** 2).clamp(min=0) / variance.clamp(min=1e-12)
    return mean + kept * (noisy - mean)


def clipping(noisy, sigma):
    """A closed form that works in [0, 1] only."""
    return wiener(noisy, sigma).clamp(0, 1)


def enlarge(scale, mode="bicubic"):
    return lambda y: F.interpolate(y, scale_factor=scale, mode=mode)


def check(kind, network, **info):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe(LoadedNetwork(kind, network, NetworkInfo(**info)))


def finding(kind, network, **info):
    with pytest.raises(NetworkContractError) as caught:
        check(kind, network, **info)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f", or {ALL_THE_SAME}.", ".")


# Denoisers


@pytest.mark.parametrize("sigma_input", ["sigma", "variance", "map"])
@pytest.mark.parametrize("value_range", [UNIT, BYTE, SIGNED])
def test_a_denoiser_used_as_made_passes_in_two_calls(denoiser, value_range, sigma_input):
    network = Made(denoiser, value_range, sigma_input)
    check("denoiser", network, value_range=value_range, sigma_input=sigma_input)
    assert network.calls == 2


@pytest.mark.parametrize(
    ("made", "stated", "remedy"),
    [
        ((UNIT, "sigma"), (BYTE, "sigma"), "pass value_range=(0, 1)."),
        ((UNIT, "sigma"), (SIGNED, "sigma"), "pass value_range=(0, 1)."),
        ((UNIT, "sigma"), (UNIT, "variance"), "pass sigma_input='sigma'."),
        ((UNIT, "variance"), (UNIT, "sigma"), "pass sigma_input='variance'."),
        ((UNIT, "map"), (UNIT, "sigma"), "pass sigma_input='map'."),
        ((UNIT, "sigma"), (UNIT, "none"), "pass sigma_input='sigma'."),
        ((BYTE, "sigma"), (UNIT, "sigma"), "pass value_range=(0, 255)."),
        ((BYTE, "variance"), (UNIT, "sigma"), "pass value_range=(0, 255), sigma_input='variance'."),
        ((BYTE, "map"), (SIGNED, "map"), "pass value_range=(0, 255)."),
        ((SIGNED, "variance"), (SIGNED, "sigma"), "pass sigma_input='variance'."),
        ((SIGNED, "sigma"), (BYTE, "sigma"), "pass value_range=(-1, 1)."),
    ],
)
def test_a_denoiser_used_otherwise_is_told_how(denoiser, made, stated, remedy):
    network = Made(denoiser, *made)
    assert finding("denoiser", network, value_range=stated[0], sigma_input=stated[1]).endswith(remedy)


def test_what_makes_no_visible_difference_passes(denoiser):
    check("denoiser", Made(denoiser, SIGNED), value_range=UNIT)
    for value_range in (UNIT, BYTE, SIGNED, (-3.0, 7.0)):
        check("denoiser", wiener, value_range=value_range)  # it does the same in any


def test_units_that_the_contract_has_no_word_for_are_named(denoiser):
    message = finding("denoiser", lambda noisy, sigma: denoiser(noisy, sigma / 255))
    assert message.endswith("wrap it in a function that multiplies the noise level it gets by 255.")
    message = finding(
        "denoiser", lambda image: denoiser(image[:, :3], image[:, 3].mean((1, 2)) / 255), sigma_input="map"
    )
    assert message.endswith("wrap it in a function that multiplies the noise level it gets by 255.")
    message = finding("denoiser", lambda noisy, sigma: 2 * denoiser((noisy + 1) / 2, sigma) - 1, value_range=SIGNED)
    assert message.endswith("wrap it in a function that multiplies the noise level it gets by 0.5.")


def test_a_denoiser_that_returns_the_noise_is_told(denoiser):
    message = finding("denoiser", lambda noisy, sigma: noisy - denoiser(noisy, sigma))
    assert message.endswith("wrap it in a function that subtracts what it returns, the noise, from the image.")
    made = Made(denoiser, SIGNED)
    for network, noise in (
        (lambda x, s: x - made(x, s), "what it returns"),
        (lambda x, s: (x - made(x, s)) / s.view(-1, 1, 1, 1), "sigma times what it returns"),
    ):
        message = finding("denoiser", network, value_range=SIGNED)
        assert message.endswith(f": wrap it in a function that subtracts {noise}, the noise, from the image.")


def test_a_closed_form_is_told_as_well():
    check("denoiser", clipping)
    assert finding("denoiser", clipping, value_range=BYTE).endswith("pass value_range=(0, 1).")
    message = finding("denoiser", wiener, value_range=BYTE, sigma_input="variance")
    assert message.endswith("pass sigma_input='sigma'.")  # and leaves the range, which does not matter, as stated


def test_a_network_of_one_level_is_tried_at_that_level(denoiser):
    levels = []

    def fixed(noisy):
        levels.append((noisy - noisy.mean()).std())
        return denoiser(noisy, torch.tensor([0.15]))

    check("denoiser", fixed, sigma_input="none", sigma_range=(0.15, 0.15))
    assert len(levels) == 1
    byte = Made(fixed, BYTE)
    message = finding("denoiser", byte, sigma_input="none", sigma_range=(0.15, 0.15))
    assert message.endswith("pass value_range=(0, 255).")
    message = finding("denoiser", fixed, sigma_range=(0.15, 0.15))
    assert "cannot be called" in message
    assert message.endswith("pass sigma_input='none'.")


def by_units(plain, bytes_):
    """A denoiser that does one thing for noise levels in [0, 1] units, and another for levels in 255 times those."""
    return lambda noisy, sigma: bytes_(noisy, sigma / 255) if sigma.item() > 2 else plain(noisy, sigma)


def partly(denoiser, share):
    return lambda noisy, sigma: noisy + share * (denoiser(noisy, sigma) - noisy)


def test_a_little_better_is_no_finding():
    # leaves 68 and 56 %, the other way 63 and 48 %
    check("denoiser", by_units(lambda noisy, sigma: wiener(noisy, 0.8 * sigma), wiener))


def test_what_is_not_good_is_compared_though_it_works(denoiser):
    # leaves 53 and 45 %, the other way 44 and 33 %
    message = finding("denoiser", by_units(lambda noisy, sigma: denoiser(noisy, sigma / 1.45), denoiser))
    assert message.endswith("multiplies the noise level it gets by 255.")


def test_better_on_average_but_worse_at_a_level_is_no_finding(denoiser):
    # leaves 69 and 66 %, the other way 77 and 33 %
    other = lambda noisy, sigma: partly(denoiser, 0.3 if sigma < 0.07 else 1.0)(noisy, sigma)  # noqa: E731
    check("denoiser", by_units(partly(denoiser, 0.4), other))


def test_what_is_right_at_one_level_only_is_no_finding(denoiser):
    def moody(noisy, sigma):  # the image at one level, the noise at the other
        return denoiser(noisy, sigma) if sigma < 0.07 else noisy - denoiser(noisy, sigma)

    with pytest.warns(ProbeWarning):
        probe(LoadedNetwork("denoiser", by_units(lambda noisy, _: noisy, moody)))


@pytest.mark.parametrize(("lost", "stays"), [(0.05, True), (0.15, False)])
def test_between_equals_what_was_stated_stays(lost, stays):
    def network(noisy, sigma):  # a little worse on bytes: by half a per cent, by three
        clean = wiener(noisy, sigma)
        return clean + lost * (noisy - clean) if noisy.max() > 2 else clean

    message = finding("denoiser", network, value_range=BYTE, sigma_input="none")
    assert message.endswith("sigma_input='sigma'.")
    assert ("pass value_range" not in message) == stays


def test_the_check_can_be_left_out_and_says_so():
    with pytest.raises(
        NetworkContractError, match=r"pass value_range=\(0, 1\), or leave this check out with probe=False"
    ):
        check("denoiser", clipping, value_range=BYTE)
    with pytest.raises(
        NetworkContractError, match=r"pass value_range=\(0, 1\), or leave this check out with probe=False"
    ):
        check("restorer", lambda y: enlarge(2)(y).clamp(0, 1), value_range=BYTE)


@pytest.mark.parametrize(
    ("sigma_range", "expected"),
    [
        (None, [0.05, 0.1]),
        ((0.005, 1.0), [0.05, 0.1]),
        ((0.3, 0.5), [0.3]),
        ((0.0, 0.07), [0.05, 0.07]),
        ((0.0, 0.02), [0.02]),
        ((0.0, 0.0), []),
    ],
)
def test_levels_lie_where_the_network_was_trained(denoiser, sigma_range, expected):
    seen = []

    def network(noisy, sigma):
        seen.append(round(sigma.item(), 6))
        return denoiser(noisy, sigma)

    check("denoiser", network, sigma_range=sigma_range)
    assert list(dict.fromkeys(seen)) == expected


def test_a_range_in_other_units_is_refused(denoiser):
    assert finding("denoiser", denoiser, sigma_range=(25.0, 50.0)).endswith("sigma_range=(25 / 255, 50 / 255).")
    check("denoiser", denoiser, sigma_range=(0.002, 80.0))


def test_grey_denoisers_are_tried_in_grey():
    def network(noisy, sigma):
        assert noisy.shape[1] == 1
        return wiener(noisy, sigma)

    check("denoiser", network, channels=1)


@pytest.mark.parametrize("network", [lambda noisy, sigma: noisy, lambda noisy, sigma: noisy * 0])
def test_a_denoiser_that_removes_nothing_is_warned_of(network):
    with pytest.warns(ProbeWarning, match=r"left .* the noise on a test picture") as caught:
        probe(LoadedNetwork("denoiser", network))
    assert caught[0].filename == __file__


def test_a_weak_denoiser_passes():
    check("denoiser", lambda noisy, sigma: F.avg_pool2d(F.pad(noisy, (1, 1, 1, 1), mode="reflect"), 3, 1))


# Restorers


@pytest.mark.parametrize("scale", [4, None])
@pytest.mark.parametrize("value_range", [UNIT, BYTE, SIGNED])
def test_a_restorer_used_as_made_passes_in_one_call(restorer, value_range, scale):
    network = Made(restorer, value_range)
    check("restorer", network, value_range=value_range, scale=scale)
    assert network.calls == 1


@pytest.mark.parametrize(
    ("made", "stated"), [(UNIT, BYTE), (UNIT, SIGNED), (BYTE, UNIT), (BYTE, SIGNED), (SIGNED, BYTE)]
)
def test_a_restorer_used_otherwise_is_told_how(restorer, made, stated):
    message = finding("restorer", Made(restorer, made), value_range=stated)
    assert message.endswith(f"pass value_range=({made[0]:g}, {made[1]:g}).")


def test_a_restorer_that_does_the_same_in_another_range_passes(restorer):
    check("restorer", Made(restorer, SIGNED), value_range=UNIT)


def test_a_restorer_that_breaks_the_local_means_is_told():
    assert "local means" in finding("restorer", lambda y: enlarge(2)(y).clamp(0, 1), value_range=BYTE)
    made = Made(lambda y: enlarge(3)(y).clamp(0.3, 0.6), BYTE)
    with pytest.warns(ProbeWarning, match="local means"):  # no range is clearly right
        probe(LoadedNetwork("restorer", made, NetworkInfo(value_range=SIGNED)))


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("value_range", [UNIT, BYTE, SIGNED])
@pytest.mark.parametrize("stated", [True, False])
def test_plain_enlargement_of_any_scale_passes(scale, value_range, stated):
    check("restorer", enlarge(scale), value_range=value_range, scale=scale if stated else None)


def test_a_deblurring_network_is_tried_on_a_blurred_picture():
    calls = []

    def sharpen(y):  # ten steps of Richardson-Lucy deconvolution of a motion along the diagonal
        calls.append(y)
        kernel = torch.eye(7).expand(3, 1, 7, 7) / 7
        blur = lambda x: F.conv2d(F.pad(x, (3, 3, 3, 3), mode="replicate"), kernel, groups=3)  # noqa: E731
        x = y
        for _ in range(10):
            x = x * blur(y / blur(x))
        return x.clamp(0, 1)

    check("restorer", sharpen, scale=1)
    assert len(calls) == 1
    assert finding("restorer", sharpen, scale=1, value_range=BYTE).endswith("pass value_range=(0, 1).")


@pytest.mark.parametrize("value_range", [UNIT, BYTE])
@pytest.mark.parametrize("network", [Made(lambda y: y.clamp(0, 1) ** 0.4), lambda y: y + 0.2 * y.max()])
def test_a_network_that_changes_the_light_is_no_error(network, value_range):
    with pytest.warns(ProbeWarning, match="unless it is meant to change the light"):
        probe(LoadedNetwork("restorer", network, NetworkInfo(scale=1, value_range=value_range)))


def test_a_network_that_changes_the_light_in_one_range_only_is_no_error():
    with pytest.warns(ProbeWarning, match=r"kept better with \(0, 255\)"):
        probe(LoadedNetwork("restorer", lambda y: y + 0.2, NetworkInfo(scale=1)))
    check("restorer", lambda y: enlarge(2)(y) + 0.01)  # as much as an adversarial network may


@pytest.mark.parametrize(("kind", "channels"), [("restorer", 4), ("denoiser", 4), ("fusion", 3)])
def test_bursts_and_fusion_are_not_run(kind, channels):
    check(kind, lambda *_: pytest.fail("it was run"), channels=channels)


def test_grey_restorers_are_tried_in_grey():
    def network(y):
        assert y.shape[1] == 1
        return enlarge(4)(y)

    check("restorer", network, channels=1)


# Both


@pytest.mark.parametrize("kind", ["restorer", "denoiser"])
@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (lambda image, *_: image * float("nan"), "returned NaN"),
        (lambda image, *_: image[..., :5, :7], r"returned \(1, 3, 5, 7\)"),
        (lambda image, *_: [image], "returned a list"),
        (lambda image, *_: image[0, 5], "cannot be called as its contract says .*IndexError"),
        (lambda: 0, "cannot be called as its contract says .*TypeError"),
        (nn.Conv2d(8, 3, 1), "cannot be called as its contract says .*(8 channels|2 positional arguments)"),
        (nn.Conv2d(3, 3, 1).half(), "cannot be called as its contract says"),
    ],
)
def test_a_network_that_fails_however_it_is_called_is_an_error(kind, network, sentence):
    with pytest.raises(NetworkContractError, match=sentence) as caught:
        check(kind, network, scale=1 if kind == "restorer" else None)
    assert "\n" not in str(caught.value)


class Stateful(nn.Module):
    """A denoiser of many moods."""

    def __init__(self, fails=False):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)
        self.gain = nn.Parameter(torch.ones(1))
        self.fails, self.seen, self.cache = fails, [], None

    def forward(self, noisy, sigma):
        assert not self.training
        assert not torch.is_grad_enabled()
        if self.fails:
            raise ValueError("no")
        self.cache = torch.ones(1)
        self.seen.append(torch.rand(1).item())
        return wiener(self.drop(noisy), sigma) * self.gain + 0 * self.norm(noisy)


@pytest.mark.parametrize("kind", ["restorer", "denoiser"])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_network_is_run_in_its_own_precision(kind, bfloat16):
    seen = set()

    def network(image, *_):
        seen.add(torch.is_autocast_enabled("cpu"))
        return image

    info = NetworkInfo(supports_bfloat16=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProbeWarning)
        probe(LoadedNetwork(kind, network, info, bfloat16=bfloat16))
    assert seen == {bfloat16}


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_behind(fails):
    network = Stateful(fails).train()
    network.drop.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(7)
    state = torch.get_rng_state()
    guarded = LoadedNetwork("denoiser", network)
    if fails:
        with pytest.raises(NetworkContractError):
            probe(guarded)
    else:
        probe(guarded)
        (network.cache * network.gain).backward()  # what was kept can be trained with
    assert torch.equal(torch.get_rng_state(), state)
    assert (network.training, network.norm.training, network.drop.training) == (True, True, False)
    assert torch.is_grad_enabled()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_probe_is_deterministic():
    network = Stateful()
    for _ in range(2):
        torch.rand(3)
        probe(LoadedNetwork("denoiser", network))
    half = len(network.seen) // 2
    assert network.seen[:half] == network.seen[half:]


def test_the_place_of_the_warning_can_be_chosen():
    def load():
        probe(LoadedNetwork("denoiser", lambda noisy, sigma: noisy), stacklevel=3)

    with pytest.warns(ProbeWarning) as caught:
        load()
    assert "load()" in (caught[0].line or "load()")
    assert caught[0].lineno == test_the_place_of_the_warning_can_be_chosen.__code__.co_firstlineno + 5
