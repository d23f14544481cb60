"""MIRNet against figures of the released code, and against what its parts promise."""

from __future__ import annotations

import pytest
import torch
from formula_weights import formula_image, with_formula_weights

from dp_ir.networks import MIRNet
from dp_ir.networks.mirnet.model import BlurReduce, MultiScaleBlock, SelectiveKernelFusion

TINY = {"n_feat": 8, "n_rrg": 1, "n_msrb": 1, "height": 2}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"n_feat": 8, "n_rrg": 1, "n_msrb": 2, "height": 3, "width": 3, "bias": True},
            [-0.062539334, 1.057750931, -0.02377284, -0.115552471, 0.793806933, 0.845246991, 1.53313694],
        ),
        (
            {"n_feat": 16, "n_rrg": 2, "n_msrb": 1, "height": 2, "width": 2},
            [0.034321798, 0.345474085, 0.122688126, 0.723481866, 1.002002619, 0.375676774, 0.782737901],
        ),
    ],
)
def test_gives_the_figures_of_the_released_code(config, expected):
    """Five values, mean and spread that swz30/MIRNet at 6934e83 gives in float64 for the same weights and image."""
    with torch.no_grad():
        restored = with_formula_weights(MIRNet(**config))(formula_image(2, 8, 12))
    flat = restored.flatten()
    probes = flat[[0, len(flat) // 3, len(flat) // 2, 2 * len(flat) // 3, len(flat) - 1]]
    found = torch.cat((probes, flat.mean()[None], flat.std()[None]))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-8)


def test_names_and_sizes_are_those_of_the_released_files():
    released = MIRNet()
    state = released.state_dict()
    assert sum(p.numel() for p in released.parameters()) == 31_787_419
    assert len(state) == 797
    shapes = {
        "conv_in.weight": (64, 3, 3, 3),
        "body.0.body.0.blocks.2.1.SA.spatial.conv.weight": (1, 2, 5, 5),
        "body.0.body.0.blocks.2.1.CA.conv_du.0.weight": (32, 256, 1, 1),
        "body.1.body.1.blocks.0.0.body.1.weight": (1,),
        "body.1.body.0.blocks.1.0.conv1x1.weight": (128, 256, 1, 1),
        "body.2.body.1.down.64_4.body.1.top.4.filt": (128, 1, 3, 3),
        "body.2.body.1.down.64_4.body.1.bot.0.filt": (128, 1, 3, 3),
        "body.1.body.0.up.256_2.body.0.bot.1.weight": (128, 256, 1, 1),
        "body.0.body.1.selective_kernel.1.fcs.2.weight": (128, 16, 1, 1),
        "body.0.body.1.selective_kernel.0.conv_du.1.weight": (1,),
        "body.0.body.0.last_up.2.body.1.top.2.weight": (128, 128, 3, 3),
        "body.0.body.0.conv_out.weight": (64, 64, 3, 3),
        "body.0.body.2.weight": (64, 64, 3, 3),
        "conv_out.weight": (3, 64, 3, 3),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


def test_biases_are_only_where_the_released_code_has_them():
    biases = {name for name in MIRNet(**TINY, bias=True).state_dict() if name.endswith("bias")}
    assert biases == {"conv_in.bias", "body.0.body.0.conv_out.bias", "conv_out.bias"}


def test_all_dual_attention_units_share_one_slope_and_a_stream_shares_its_unit():
    network = MIRNet(n_feat=8, n_rrg=2, n_msrb=1, height=2, width=3)
    blocks = [group.body[0].blocks for group in network.body]
    assert len({id(unit.body[1]) for block in blocks for stream in block for unit in stream}) == 1
    assert all(stream[0] is stream[1] is stream[2] for block in blocks for stream in block)


def test_fusion_of_equal_maps_is_that_map_and_of_others_lies_between_them():
    fuse = SelectiveKernelFusion(8, 3)
    maps = torch.randn(3, 2, 8, 5, 6)
    torch.testing.assert_close(fuse([maps[0]] * 3), maps[0])
    fused = fuse(list(maps))
    assert (fused <= maps.amax(0) + 1e-6).all()
    assert (fused >= maps.amin(0) - 1e-6).all()


def test_reduction_keeps_constants_and_silences_the_highest_frequency():
    reduce = BlurReduce(2)
    torch.testing.assert_close(reduce(torch.full((1, 2, 6, 8), 0.7)), torch.full((1, 2, 3, 4), 0.7))
    stripes = torch.tensor([1.0, -1.0]).repeat(4).expand(1, 2, 6, 8)
    torch.testing.assert_close(reduce(stripes), torch.zeros(1, 2, 3, 4))


def test_streams_meet_before_every_use_but_the_first():
    """With the way back closed, the coarse stream reaches the result only through exchanges."""
    block = MultiScaleBlock(8, torch.nn.PReLU(), height=2, width=2, bias=False)
    for parameter in block.last_up.parameters():
        parameter.data.zero_()
    block(torch.randn(1, 8, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.up.parameters())


@pytest.mark.parametrize("sigma_map", [False, True])
def test_says_what_it_is(sigma_map):
    network = MIRNet(**TINY, sigma_map=sigma_map, sigma_range=(0.01, 0.5))
    assert network.sigma_input == ("sigma" if sigma_map else "none")
    assert network.sigma_range == ((0.01, 0.5) if sigma_map else None)
    assert (network.multiple_of, network.scale, network.channels) == (2, 1, 3)
    assert network.tiling == "discouraged"


def test_runs_in_bfloat16_with_a_small_error():
    torch.manual_seed(0)
    network, image = MIRNet(**TINY), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        exact = network(image)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(image)
    assert half.dtype == torch.float32
    assert (half - exact).abs().max() < 0.03 * (exact - image).abs().max()


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_level_is_one_more_channel(channels):
    network = MIRNet(**TINY, channels=channels, sigma_map=True, kernel_size=5)
    noisy = torch.rand(2, channels, 6, 10)
    first, second = network(noisy, torch.tensor([0.1, 0.1])), network(noisy, torch.tensor([0.1, 0.4]))
    assert first.shape == noisy.shape
    torch.testing.assert_close(first[0], second[0])
    assert not torch.allclose(first[1], second[1])
