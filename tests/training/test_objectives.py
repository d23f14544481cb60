import pytest
import torch
from torch import nn

from dp_ir.image.raw.camera import Camera
from dp_ir.training.objectives import BridgeObjective, DenoiserObjective, FusionObjective, RestorerObjective


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


def test_every_patch_counts_by_the_logarithm_of_its_error() -> None:
    clean = torch.rand(3, 3, 16, 16)
    errors = torch.tensor([0.5, 0.1, 0.02])
    batch = {"clean": clean, "observation": clean + errors[:, None, None, None]}
    expected = torch.log(errors**2 + 1e-4).mean()
    torch.testing.assert_close(RestorerObjective().loss(nn.Identity(), batch), expected)


def test_bursts_are_compared_as_rendered_and_cut_in_training_only() -> None:
    camera = Camera(torch.tensor([[2.0, 1.0, 1.5]]).repeat(2, 1), torch.eye(3).repeat(2, 1, 1))
    clean = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    batch = {
        "clean": clean,
        "observation": torch.zeros(2, 5, 4, 2, 2),
        "gains": camera.gains,
        "matrix": camera.matrix,
        "frames": torch.tensor([3, 5]),
    }
    seen = []

    class Sensor(nn.Module):
        def forward(self, burst: torch.Tensor) -> torch.Tensor:
            seen.append(burst.shape[1])
            return camera.sensor(clean)

    model = Sensor()
    # The sensor's values of the clean image render to it.
    torch.testing.assert_close(RestorerObjective().loss(model, batch), torch.log(torch.tensor(1e-4)))
    RestorerObjective().validate(model.eval(), [batch], {})
    assert seen == [3, 5]


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
