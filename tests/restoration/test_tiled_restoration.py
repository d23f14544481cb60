"""A restoration in tiles is the restoration of the whole: same noise, same estimates, no seams, at any memory."""

import warnings

import pytest
import torch
from tiled_networks import Convolutions, local_restoration, photo

from dp_ir import Restoration
from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.errors import DPIRError
from dp_ir.image.raw.burst import Burst
from dp_ir.integrations.diffusers_sampler import diffusers_sampler
from dp_ir.restoration.tiling import tiled_networks as passes
from dp_ir.restoration.tiling.tiled_networks import TiledNetworks
from dp_ir.restoration.tiling.tiler import TilingNote

LEVEL = 1 / 255


def difference(one, other):
    return float((one - other).abs().max())


@pytest.mark.parametrize("size", [(90, 110), (61, 97), (40, 300)])
@pytest.mark.parametrize(
    "settings",
    [
        {"sampler": "ddim"},
        {"sampler": "ddim", "eta": 0.6},
        {"sampler": "ddpm"},
        {"sampler": "dpmpp-2m"},
        {"tau": 0},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_tiles_give_what_the_whole_gives(settings, size):
    restore, image = local_restoration(), photo(*size)
    whole = restore(image, seed=3, tile=1024, **settings)
    tiled = restore(image, seed=3, tile=96, **settings)
    assert difference(whole.image, tiled.image) < 1e-5
    assert difference(whole.restored, tiled.restored) < 1e-5
    assert whole.nfe == tiled.nfe  # tiles of one pass are one evaluation


def test_samplers_of_others_work_in_tiles():
    def euler(estimate, noisy, sigmas, *, generators=None, eta=None, callback=None):
        for high, low in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
            noisy = noisy + (low - high) / high * (noisy - estimate(noisy, torch.tensor([high] * len(noisy))))
        return noisy

    restore, image = local_restoration(), photo(70, 80)
    assert difference(restore(image, sampler=euler).image, restore(image, sampler=euler, tile=64).image) < 1e-5


def test_the_noise_is_that_of_the_whole_image():
    restore, image = local_restoration(), photo(77, 70)
    seen = {tile: [] for tile in (64, 1024)}
    for tile, infos in seen.items():
        restore(image, seed=5, tile=tile, sampler="ddpm", callback=infos.append)
    assert difference(seen[64][0].noisy - seen[1024][0].noisy, 0) < 1e-6
    assert [info.index for info in seen[64]] == [0, 1, 2, 3]
    assert seen[64][0].estimate.shape == (1, 3, 154, 140)


def test_batches_and_samples_are_tiled_alike():
    restore = local_restoration()
    images = torch.cat([photo(60, 66, seed=seed) for seed in range(2)])
    whole = restore(images, seed=[4, 9], num_samples=2, sampler="ddpm")
    tiled = restore(images, seed=[4, 9], num_samples=2, sampler="ddpm", tile=64)
    assert difference(whole.samples, tiled.samples) < 1e-5
    assert tiled.nfe == {"restorer": 1, "denoiser": 8, "fusion": 8}


def test_several_tiles_at_once_give_the_same():
    restore, image = local_restoration(), photo(70, 90).repeat(2, 1, 1, 1)
    noisy, sigma = photo(140, 180, seed=1).repeat(2, 1, 1, 1), torch.tensor([0.1, 0.3])
    with torch.inference_mode():
        one, many = (TiledNetworks(restore.networks, tile=64, batch=batch) for batch in (1, 4))
        restored = one.restored(image, lambda result: result)
        assert torch.allclose(many.restored(image, lambda result: result), restored, atol=1e-6)
        expected = one.estimate(restored)(noisy, sigma)
        assert torch.allclose(many.estimate(restored)(noisy, sigma), expected, atol=1e-6)


# ---- the networks that ship ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    return Restoration.from_pretrained("sr4", device="cpu", precision="float32")


def test_shipped_networks_are_local_enough(shipped):
    image = photo(64, 72, seed=2)
    whole, tiled = (shipped(image, seed=1, tile=tile) for tile in (1024, 192))
    assert difference(whole.image, tiled.image) < LEVEL
    assert difference(whole.restored, tiled.restored) < LEVEL / 10


def test_there_is_no_seam(shipped):
    """Differences between neighbours across the middle of each overlap are those of the untiled image."""
    image = photo(40, 88, seed=4)
    whole, tiled = (shipped(image, seed=1, tile=tile).image for tile in (1024, 192))
    gradient = tiled.diff(dim=-1).abs().mean((0, 1, 2))
    change = (tiled - whole).diff(dim=-1).abs().mean((0, 1, 2))
    # Were a tile off by a hundredth of the usual difference between neighbours, a column would stand out.
    assert float(change.max()) < 0.01 * float(gradient.mean())
    assert float(change.max()) < LEVEL / 10


def test_bursts_are_tiled_with_all_their_frames():
    restore = Restoration.from_pretrained("burst", device="cpu", precision="float32")
    planes = photo(48, 56, seed=6)[:, [0, 1, 1, 2]]
    burst = Burst(torch.cat([planes, planes.roll(1, -1), planes.roll(1, -2)]))
    whole, tiled = (restore(burst, seed=2, tile=tile).image.pixels for tile in (2048, 256))
    assert whole.shape == tiled.shape == (384, 448, 3)
    # Every tile registers the frames for itself, so that it is not the same, but the same photograph.
    assert abs(whole - tiled).mean() < 0.02


# ---- memory ----------------------------------------------------------------------------------------------------------


class Greedy(Convolutions):
    """Runs out of memory above so many pixels, from the n-th call on."""

    def __init__(self, images, seed, most, first=0, error=None):
        super().__init__(images, seed)
        self.most, self.first, self.calls = most, first, 0
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    def forward(self, *arguments):
        self.calls += 1
        if arguments[0].shape[-2] * arguments[0].shape[-1] > self.most and self.calls > self.first:
            raise self.error
        return super().forward(*arguments)


ERRORS = [
    None,
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
]


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "python", "cpu"])
@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_when_memory_runs_out_tiles_are_halved_and_no_step_is_done_again(first, error):
    image, seen = photo(128, 150), []
    parts = {"restorer": Convolutions(1, 1), "denoiser": Convolutions(1, 2), "fusion": Convolutions(3, 3)}
    settings = {"device": "cpu", "precision": "float32", "steps": 4, "sampler": "ddpm", "eta": 1.0}
    expected = Restoration.from_parts(**parts, **settings)(image, seed=2)
    greedy = Greedy(1, 2, 90 * 90, first, error)
    restore = Restoration.from_parts(**{**parts, "denoiser": greedy}, **settings)
    with pytest.warns(TilingNote, match="goes on in tiles of 64"):
        result = restore(image, seed=2, callback=seen.append)
    assert difference(expected.image, result.image) < 1e-5
    assert [info.index for info in seen] == [0, 1, 2, 3]
    assert result.nfe == expected.nfe
    # Whole passes, one failure, and the rest in 3 x 4 tiles.
    assert greedy.calls == first + 1 + 12 * (4 - first)


def test_memory_that_runs_out_again_halves_the_tiles_again():
    image = photo(300, 310)
    parts = {"restorer": Greedy(1, 1, 70 * 70), "denoiser": Convolutions(1, 2), "fusion": Convolutions(3, 3)}
    restore = Restoration.from_parts(**parts, device="cpu", precision="float32", steps=1)
    expected = Restoration.from_parts(
        **{**parts, "restorer": Convolutions(1, 1)}, device="cpu", precision="float32", steps=1
    )(image)
    with pytest.warns(TilingNote) as notes:
        result = restore(image)
    assert len(notes) == 2
    assert difference(expected.image, result.image) < 1e-5


def test_what_no_tile_can_help_is_not_tried_forever():
    parts = {"restorer": Greedy(1, 1, 0), "denoiser": Convolutions(1, 2), "fusion": Convolutions(3, 3)}
    restore = Restoration.from_parts(**parts, device="cpu", precision="float32")
    image = photo(128, 128)
    with pytest.warns(TilingNote), pytest.raises(torch.OutOfMemoryError):
        restore(image)
    assert parts["restorer"].calls < 5


@pytest.mark.filterwarnings("ignore::dp_ir.restoration.tiling.tiler.TilingNote")
def test_tiles_are_as_large_as_memory_allows(monkeypatch):
    monkeypatch.setattr(passes, "_UNMEASURED", 0)
    restore, image = local_restoration(), photo(160, 200)
    sides = []
    for free in (10e6, 60e6, 4e9):
        monkeypatch.setattr(passes, "budget", lambda device, memory, free=free: int(free))
        going = restore.passes(None, None, 1, None)
        with torch.inference_mode():
            restored = going.restored(image, lambda result: result)
            going.estimate(restored)(restored, torch.tensor([0.1]))
        sides.append(going.tilers["estimate"].side)
    assert 256 == sides[0] < sides[1] < sides[2] == passes.LARGEST_TILE


def test_networks_that_look_far_are_tiled_only_where_memory_demands_it(monkeypatch):
    monkeypatch.setattr(passes, "LARGEST_TILE", 64)
    infos = {"denoiser": NetworkInfo(tiling="discouraged")}
    parts = {"restorer": Convolutions(1, 1), "denoiser": Convolutions(1, 2), "fusion": Convolutions(3, 3)}
    restore = Restoration.from_parts(**parts, infos=infos, device="cpu", precision="float32", steps=1)
    image = photo(100, 120)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TilingNote)
        restore(image)
    with pytest.warns(TilingNote, match="what is far away in the image changes"):
        restore(image, tile=64)


@pytest.mark.parametrize("tile", [0, 63, -1, 100.0, True])
def test_a_tile_that_cannot_be_is_refused(tile):
    with pytest.raises(DPIRError, match="at least 64"):
        local_restoration()(photo(8, 8), tile=tile)


@pytest.mark.parametrize("tile", [64, 1024])
def test_progress_rises_to_one(tile):
    shares = []
    local_restoration()(photo(60, 90), num_samples=2, tile=tile, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] == pytest.approx(1)
    assert len(shares) == 9 if tile == 1024 else len(shares) > 60


def test_progress_rises_to_one_with_a_sampler_of_two_calls_a_step():
    heun, shares = diffusers_sampler("HeunDiscreteScheduler"), []
    result = local_restoration()(photo(60, 90), sampler=heun, steps=3, seed=0, progress=shares.append)
    assert result.nfe["denoiser"] == 5
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(set(shares)) == len(shares)


def test_an_exception_of_the_progress_ends_the_restoration():
    def stop(share):
        raise KeyboardInterrupt

    restore, image = local_restoration(), photo(16, 16)
    with pytest.raises(KeyboardInterrupt):
        restore(image, progress=stop)
