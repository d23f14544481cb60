import pytest
import torch
from torch import nn

from dp_ir.degradation import imresize
from dp_ir.training.objectives import BORDER, BridgeObjective, DenoiserObjective, FusionObjective, RestorerObjective


def _batch(side: int = 8) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "clean": torch.rand(3, 3, side, side, generator=generator),
        "eps": torch.randn(3, 3, side, side, generator=generator),
        "sigma": torch.tensor([0.01, 0.1, 0.7]),
    }


class _Offset(nn.Module):
    """A network whose every pixel is wrong by `slope * sigma`."""

    def __init__(self, clean: torch.Tensor, slope: float) -> None:
        super().__init__()
        self.clean, self.slope = clean, slope

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.clean + self.slope * inputs[-1][:, None, None, None]


@pytest.mark.parametrize("prior", [0.1, 0.25])
def test_weighted_error_in_closed_form(prior: float) -> None:
    batch = _batch()
    model = _Offset(batch["clean"], 0.3)
    # An error of k sigma everywhere weighs k^2 sigma^2 (sigma^2 + p^2) / (sigma p)^2 = k^2 (1 + sigma^2 / p^2).
    expected = (0.3**2 * (1 + batch["sigma"] ** 2 / prior**2)).mean()
    torch.testing.assert_close(DenoiserObjective(prior).loss(model, batch), expected)
    fusion = FusionObjective(denoiser=lambda noisy, sigma: noisy, spread=prior)
    torch.testing.assert_close(fusion.loss(model, {**batch, "restored": batch["clean"]}), expected)


def test_denoiser_sees_the_noise_it_is_told_of() -> None:
    seen = {}

    class Spy(nn.Module):
        def forward(self, noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            seen.update(noisy=noisy, sigma=sigma)
            return noisy

    batch = _batch(64)
    DenoiserObjective().loss(Spy(), batch)
    measured = (seen["noisy"] - batch["clean"]).std(dim=(1, 2, 3))
    torch.testing.assert_close(measured, seen["sigma"], rtol=0.03, atol=0)


def test_restorer_pairs_do_not_see_the_border_of_the_patch() -> None:
    whole = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    observation = imresize(whole, 0.25)
    top, side = 16, 32 + 2 * BORDER
    seen = {}

    class Spy(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            seen["observation"] = inputs
            return imresize(inputs, 4)

    objective = RestorerObjective(lambda clean: imresize(clean, 0.25), 4)
    loss = objective.loss(Spy(), {"clean": whole[..., top : top + side, top : top + side]})
    inner = (top + BORDER) // 4
    torch.testing.assert_close(seen["observation"], observation[..., inner : inner + 8, inner : inner + 8])
    clean = whole[..., top + BORDER : top + BORDER + 32, top + BORDER : top + BORDER + 32]
    torch.testing.assert_close(loss, 1e3 * (imresize(seen["observation"], 4) - clean).square().mean())


def test_given_observations_are_used_as_they_are() -> None:
    batch = {"clean": torch.rand(2, 3, 16, 16), "observation": torch.rand(2, 3, 4, 4)}
    objective = RestorerObjective(lambda clean: pytest.fail("degraded although the observation was given"), 4)
    model = nn.Upsample(scale_factor=4)
    expected = 1e3 * (model(batch["observation"]) - batch["clean"]).square().mean()
    torch.testing.assert_close(objective.loss(model, batch), expected)


def test_validation_gives_every_metric_of_every_estimate() -> None:
    clean = torch.full((1, 3, 16, 16), 0.5)
    crop = {"clean": clean, "restored": clean + 0.1}

    class Oracle(nn.Module):
        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return clean

    mse = {"mse": lambda a, b: (a - b).square().mean((1, 2, 3))}
    figures = FusionObjective(lambda noisy, sigma: noisy, levels=(0.2,)).validate(Oracle(), [crop], mse)
    assert figures["mse_restored"] == pytest.approx(0.01)
    assert figures["mse_denoised_sigma0.2"] == pytest.approx(0.04, rel=0.1)
    assert figures["mse_fused_sigma0.2"] == 0
    figures = DenoiserObjective(levels=(0.2, 0.5)).validate(Oracle(), [crop], mse)
    assert figures == {"mse_sigma0.2": 0, "mse_sigma0.5": 0}


@pytest.mark.parametrize("velocity", [True, False])
def test_bridge_loss_in_closed_form(velocity: bool) -> None:
    batch = {**_batch(64), "t": torch.tensor([0.1, 0.5, 1.0])}
    batch["restored"] = batch["clean"] + 0.2
    objective = BridgeObjective(noise=0.1, spread=0.5, velocity=velocity)
    # The error of an estimate that is wrong by 0.3 t everywhere is 0.09 t^2; that of its velocity is 0.09.
    expected = 0.09 / 0.25 * (torch.ones(3) if velocity else batch["t"] ** 2).mean()
    torch.testing.assert_close(objective.loss(_Offset(batch["clean"], 0.3), batch), expected)


def test_bridge_sees_the_mixture_it_is_told_of() -> None:
    seen = {}

    class Spy(nn.Module):
        def forward(self, mixed: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            seen.update(mixed=mixed)
            return mixed

    batch = {**_batch(96), "t": torch.tensor([0.1, 0.5, 1.0])}
    batch["restored"] = batch["clean"] + 0.2
    BridgeObjective(noise=0.1, spread=1.0, velocity=False).loss(Spy(), batch)
    added = seen["mixed"] - batch["clean"]
    torch.testing.assert_close(added.mean(dim=(1, 2, 3)), 0.2 * batch["t"], rtol=0.02, atol=0)
    torch.testing.assert_close(added.std(dim=(1, 2, 3)), 0.1 * batch["t"], rtol=0.03, atol=0)
