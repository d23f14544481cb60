"""The guided-diffusion U-Net against deepinv's networks, and against figures of the released code."""

from __future__ import annotations

import pytest
import torch
from formula_weights import formula_image, with_formula_weights
from torch import nn

from dp_ir.networks.guided_unet.model import GuidedDiffusionDenoiser, GuidedUNet, encode_step

TINY = {"model_channels": 32, "channel_mult": [1, 2], "num_res_blocks": 1, "attention_rates": [2], "num_heads": 4}


def _randomised(network: nn.Module) -> nn.Module:
    for parameter in network.parameters():
        spread = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
        parameter.data = spread * torch.randn_like(parameter) + (parameter.dim() == 1)
    return network.eval()


def _relative(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


# ---- other implementations -----------------------------------------------------------------------------------------


def _copy_block(theirs, ours, attention=None):
    """Weights of one of our residual blocks, with the attention behind it, into one of deepinv's."""
    pairs = [
        (theirs.norm0, ours.in_layers[0]),
        (theirs.conv0, ours.in_layers[2]),
        (theirs.affine, ours.emb_layers[1]),
        (theirs.norm1, ours.out_layers[0]),
        (theirs.conv1, ours.out_layers[3]),
    ]
    if theirs.skip is not None and theirs.skip.weight is not None:
        pairs.append((theirs.skip, ours.skip_connection))
    if attention is not None:
        pairs += [(theirs.norm2, attention.norm), (theirs.proj, attention.proj_out)]
        for name in ("weight", "bias"):  # theirs: heads x channels x (query, key, value)
            value = getattr(attention.qkv, name).data.unflatten(0, (attention.heads, 3, -1)).transpose(1, 2)
            target = getattr(theirs.qkv, name)
            target.data = value.reshape(target.shape)
    for target, source in pairs:
        target.weight.data = source.weight.data.reshape(target.weight.shape).clone()
        target.bias.data = source.bias.data.clone()


@pytest.mark.parametrize(
    ("config", "size", "batch"),
    [
        ({"model_channels": 64, "channel_mult": [1, 2], "num_res_blocks": 2, "attention_rates": [2]}, (16, 24), 2),
        ({"model_channels": 64, "channel_mult": [1, 1, 2], "num_res_blocks": 1, "attention_rates": [1, 4]}, (8, 12), 3),
        ({"model_channels": 128, "channel_mult": [1], "num_res_blocks": 1, "attention_rates": []}, (7, 5), 1),
        (
            {
                "model_channels": 64,
                "channel_mult": [1, 3],
                "num_res_blocks": 3,
                "attention_rates": [1, 2],
                "learn_sigma": False,
            },
            (6, 10),
            2,
        ),
    ],
)
def test_agrees_with_an_independent_implementation(config, size, batch):
    """deepinv's ADMUNet: written apart, other names, another order of the attention's channels."""
    from deepinv.models import ADMUNet

    torch.manual_seed(0)
    ours = _randomised(GuidedUNet(**config))
    theirs = ADMUNet(
        img_resolution=64,
        out_channels=6 if config.get("learn_sigma", True) else 3,
        model_channels=config["model_channels"],
        channel_mult=config["channel_mult"],
        num_blocks=config["num_res_blocks"],
        attn_resolutions=[64 // rate for rate in config["attention_rates"]],
        dropout=0.0,
        pretrained=None,
    )
    encoder, decoder = list(theirs.enc.values()), list(theirs.dec.values())
    pairs = [(theirs.map_layer0, ours.time_embed[0]), (theirs.map_layer1, ours.time_embed[2])]
    pairs += [(encoder[0], ours.input_blocks[0][0]), (theirs.out_norm, ours.out[0]), (theirs.out_conv, ours.out[2])]
    for target, source in pairs:
        target.load_state_dict(source.state_dict(), strict=False)
    for target, stage in zip(encoder[1:], ours.input_blocks[1:], strict=True):
        _copy_block(target, *stage)
    _copy_block(decoder[0], ours.middle_block[0], ours.middle_block[1])
    _copy_block(decoder[1], ours.middle_block[2])
    rest = iter(decoder[2:])
    for stage in ours.output_blocks:
        layers = list(stage)
        attention = layers.pop(1) if len(layers) > 1 and hasattr(layers[1], "qkv") else None
        _copy_block(next(rest), layers[0], attention)
        if len(layers) > 1:
            _copy_block(next(rest), layers[1])
    assert next(rest, None) is None

    x_t, t = torch.randn(batch, 3, *size), torch.linspace(0, 987.6, batch)
    with torch.no_grad():
        expected = theirs.forward_unet(x_t, t)
        assert expected.std() > 0.1
        assert _relative(ours(x_t, t), expected) < 1e-5


@pytest.mark.parametrize(
    ("large", "config", "parameters"),
    [
        (True, {}, 552_814_086),
        (False, {"model_channels": 128, "num_res_blocks": 1, "attention_rates": [16]}, 93_563_910),
    ],
)
def test_names_and_shapes_are_those_of_the_released_files(large, config, parameters):
    """deepinv's DiffUNet loads 256x256_diffusion_uncond.pt and ffhq_10m.pt; its schedule is no part of them."""
    from deepinv.models import DiffUNet

    with torch.device("meta"):
        ours, theirs = GuidedUNet(**config), DiffUNet(large_model=large, pretrained=None)
    expected = {name: value.shape for name, value in theirs.state_dict().items() if "alphas_cumprod" not in name}
    assert {name: value.shape for name, value in ours.state_dict().items()} == expected
    assert sum(p.numel() for p in ours.parameters()) == parameters
    assert ours.multiple_of == 32


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {
                "model_channels": 32,
                "channel_mult": [1, 2],
                "num_res_blocks": 1,
                "attention_rates": [2],
                "num_head_channels": 32,
            },
            [0.440209725, 0.166483623, 0.342300881, 0.030782525, -0.016695624, 0.16601885, 0.269654629],
        ),
        (
            {
                "model_channels": 64,
                "channel_mult": [0.5, 1, 1],
                "num_res_blocks": 1,
                "attention_rates": [1, 4],
                "num_head_channels": 16,
                "use_new_attention_order": True,
            },
            [0.490792615, 0.182575741, 0.645780222, 0.127606525, 0.766534562, 0.449230857, 0.356939692],
        ),
        (
            {
                "model_channels": 32,
                "channel_mult": [1, 2],
                "num_res_blocks": 2,
                "attention_rates": [2],
                "num_heads": 4,
                "resblock_updown": False,
                "use_scale_shift_norm": False,
                "learn_sigma": False,
            },
            [0.166511916, -0.080663732, 0.164750523, -0.119512643, 0.247519313, -0.127597196, 0.296739194],
        ),
    ],
)
def test_gives_the_figures_of_the_released_code(config, expected):
    """Five values, mean and spread that openai/guided-diffusion gives in float64 for the same weights and image."""
    with torch.no_grad():
        eps = with_formula_weights(GuidedUNet(**config))(2 * formula_image(2, 8, 12) - 1, torch.tensor([37.25, 811.0]))
    flat = eps.flatten()
    probes = flat[[0, len(flat) // 3, len(flat) // 2, 2 * len(flat) // 3, len(flat) - 1]]
    found = torch.cat((probes, flat.mean()[None], flat.std()[None]))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-7)


# ---- properties ----------------------------------------------------------------------------------------------------


def test_the_two_orders_of_attention_are_one_permutation_apart():
    torch.manual_seed(0)
    old = _randomised(GuidedUNet(**TINY))
    new = GuidedUNet(**TINY, use_new_attention_order=True)
    state = old.state_dict()
    for name, value in state.items():
        if ".qkv." in name:
            state[name] = value.unflatten(0, (4, 3, -1)).transpose(0, 1).flatten(0, 2)
    new.load_state_dict(state)
    x_t, t = torch.randn(2, 3, 8, 6), torch.tensor([3.0, 700.0])
    torch.testing.assert_close(new(x_t, t), old(x_t, t))


def test_encoding_of_the_step_is_cosines_then_sines_from_one_radian_a_step_down():
    code = encode_step(torch.tensor([0.0, 2.5]), 8)
    phases = 2.5 * torch.tensor([1.0, 0.1, 0.01, 0.001])
    torch.testing.assert_close(
        code, torch.stack((torch.tensor([1.0] * 4 + [0.0] * 4), torch.cat((phases.cos(), phases.sin()))))
    )
    assert encode_step(torch.tensor([1.0]), 9).shape == (1, 9)


@pytest.mark.parametrize("resblock_updown", [True, False])
@pytest.mark.parametrize("use_scale_shift_norm", [True, False])
def test_every_parameter_gets_a_gradient(resblock_updown, use_scale_shift_norm):
    torch.manual_seed(0)
    network = _randomised(
        GuidedUNet(**TINY, resblock_updown=resblock_updown, use_scale_shift_norm=use_scale_shift_norm)
    )
    x_t = torch.randn(2, 3, 8, 8, requires_grad=True)
    network(x_t, torch.tensor([1.0, 500.0])).square().sum().backward()
    assert x_t.grad.abs().sum() > 0
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_denoiser_is_made_of_its_config_and_holds_nothing_but_the_network():
    denoiser = GuidedDiffusionDenoiser(**TINY, schedule="cosine", steps=4000)
    rebuilt = GuidedDiffusionDenoiser(**denoiser.config)
    rebuilt.load_state_dict(denoiser.state_dict())
    assert rebuilt.config == denoiser.config
    assert set(denoiser.state_dict()) == {f"network.{name}" for name in GuidedUNet(**TINY).state_dict()}
    assert denoiser.value_range == (-1.0, 1.0)
    assert (denoiser.multiple_of, denoiser.tiling) == (2, "discouraged")
    assert denoiser.step_scale == 0.25


def test_denoiser_subtracts_the_noise_the_network_predicts():
    torch.manual_seed(0)
    denoiser = GuidedDiffusionDenoiser(**TINY)
    _randomised(denoiser.network)
    sigma = denoiser.sigmas[[20, 250]]
    noisy = torch.randn(2, 3, 8, 6)
    level = sigma[:, None, None, None]
    with torch.no_grad():
        eps = denoiser.network(noisy / (1 + level**2).sqrt(), torch.tensor([20.0, 250.0]))[:, :3]
        torch.testing.assert_close(denoiser(noisy, sigma), noisy - level * eps)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"schedule": "sigmoid"}, "linear, cosine"),
        ({"num_heads": 5}, "do not divide"),
        ({"model_channels": 40}, "divisible"),
    ],
)
def test_wrong_hyper_parameters_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        GuidedDiffusionDenoiser(**{**TINY, **wrong})
