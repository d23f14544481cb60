"""RLFN: the published size, and its arithmetic against the equations written out on a state dict."""

import pytest
import torch
import torch.nn.functional as F

from dp_ir.networks.rlfn.detect import DETECTOR
from dp_ir.networks.rlfn.model import RLFN


def written_out(state, image, blocks, scale):
    """The network as equations on its parameters (arXiv 2205.07514, figures 2 to 4)."""

    def conv(name, x, **options):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **options)

    shallow = x = conv("conv_1", image, padding=1)
    for number in range(1, blocks + 1):
        block, y = f"block_{number}", x
        for name in ("c1_r", "c2_r", "c3_r"):
            y = conv(f"{block}.{name}", y, padding=1)
            y = torch.where(y > 0, y, 0.05 * y)
        y = conv(f"{block}.c5", x + y)
        narrow = conv(f"{block}.esa.conv1", y)
        pooled = conv(f"{block}.esa.conv2", narrow, stride=2).unfold(2, 7, 3).unfold(3, 7, 3).amax((4, 5))
        coarse = conv(f"{block}.esa.conv3", pooled, padding=1)
        spread = F.interpolate(coarse, image.shape[-2:], mode="bilinear")
        mask = conv(f"{block}.esa.conv4", spread + conv(f"{block}.esa.conv_f", narrow))
        x = y / (1 + torch.exp(-mask))
    x = conv("conv_2", x, padding=1) + shallow
    x = conv("upsampler.0", x, padding=1)
    batch, _, height, width = x.shape
    x = x.view(batch, -1, scale, scale, height, width).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(batch, -1, height * scale, width * scale)


@pytest.mark.parametrize("config", [{}, {"blocks": 2, "channels": 12, "attention_channels": 6, "scale": 3}])
@pytest.mark.parametrize("size", [(15, 15), (17, 31), (40, 22)])
def test_it_is_its_equations(config, size):
    torch.manual_seed(sum(size))
    network = RLFN(**config)
    image = 255 * torch.rand(2, 3, *size)
    result = network(image)
    expected = written_out(network.state_dict(), image, network.blocks, network.scale)
    assert torch.allclose(result, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    result.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_the_published_size():
    network = RLFN()
    assert sum(parameter.numel() for parameter in network.parameters()) == 543_740
    assert len(network.state_dict()) == 114


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"channels": 48, "scale": 2},
        {"channels": 8, "attention_channels": 3, "blocks": 4, "scale": 3, "in_channels": 1},
    ],
)
def test_the_layout_infers_every_hyper_parameter(config):
    network = RLFN(**config)
    assert DETECTOR.matches(network.state_dict())
    assert DETECTOR.config(network.state_dict()) == network.config
