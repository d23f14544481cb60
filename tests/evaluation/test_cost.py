"""Costs against closed forms: parameters, operations of layers and of restorations, memory of known allocations."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.errors import DPIRError
from dp_ir.evaluation.report.cost_tables import cost_report, cost_table
from dp_ir.evaluation.runner.resources import Cost, flops, measure, parameters, peak_memory, restoration_cost
from dp_ir.networks import EpsilonDenoiser, FastFusion, FastSR, FFTformer, SwinIR, UNetBridge, UNetDenoiser
from dp_ir.restoration.pipeline import DEFAULT_SETTINGS, Restoration


def conv_flops(kernel, inside, outside, height, width):
    return 2 * kernel * kernel * inside * outside * height * width


class Enlarge(nn.Module):
    """Twice as large, by one convolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, observation):
        return F.pixel_shuffle(self.conv(observation), 2)


class Denoise(nn.Module):
    def __init__(self, inside=3):
        super().__init__()
        self.conv = nn.Conv2d(inside, 3, 3, padding=1)

    def forward(self, noisy, sigma=None):
        return self.conv(noisy)


class Fuse(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(9, 3, 1)

    def forward(self, restored, denoised, noisy, sigma):
        return self.conv(torch.cat((restored, denoised, noisy), dim=1))


class Sharing(nn.Module):
    """One activation in two places, and one weight in two layers."""

    def __init__(self):
        super().__init__()
        slope = nn.PReLU()
        self.body = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), slope, nn.Conv2d(3, 3, 3, padding=1), slope)
        self.body[2].weight = self.body[0].weight

    def forward(self, image):
        return self.body(image)


def parts():
    return {"restorer": Enlarge(), "denoiser": Denoise(), "fusion": Fuse()}


class TestParameters:
    def test_of_layers(self):
        assert parameters(parts()) == (27 * 12 + 12) + (27 * 3 + 3) + (9 * 3 + 3)

    def test_of_some_roles(self):
        assert parameters(parts(), ["fusion"]) == 30
        assert parameters(parts(), []) == 0

    def test_shared_weights_count_once(self):
        layer = nn.Conv2d(3, 3, 1)
        assert parameters({"restorer": layer, "denoiser": nn.Sequential(layer, layer)}) == 12

    def test_a_guarded_network_counts_as_what_it_guards(self):
        assert parameters({"fusion": LoadedNetwork("fusion", Fuse())}) == 30

    def test_a_function_is_not_known(self):
        networks = {**parts(), "denoiser": lambda noisy, sigma: noisy}
        assert parameters(networks) is None
        assert parameters(networks, ["fusion"]) == 30


class Step(nn.Module):
    """Predicts noise, and looks at the step."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image, step):
        return self.conv(image) * step[:, None, None, None]


class TestFlops:
    @pytest.mark.parametrize(("kernel", "inside", "outside"), [(1, 3, 5), (3, 4, 6), (5, 2, 7)])
    def test_of_a_convolution(self, kernel, inside, outside):
        layer = nn.Conv2d(inside, outside, kernel, padding=kernel // 2)
        assert flops(layer, torch.empty(1, inside, 10, 14)) == conv_flops(kernel, inside, outside, 10, 14)

    def test_of_groups_strides_and_transposes(self):
        grouped = nn.Conv2d(8, 8, 3, padding=1, stride=2, groups=8)
        assert flops(grouped, torch.empty(1, 8, 12, 12)) == 2 * 9 * 8 * 6 * 6
        transposed = nn.ConvTranspose2d(4, 6, 2, stride=2)
        assert flops(transposed, torch.empty(1, 4, 5, 5)) == conv_flops(2, 4, 6, 5, 5)

    def test_of_a_linear_layer_and_of_attention(self):
        assert flops(nn.Linear(7, 11), torch.empty(13, 7)) == 2 * 7 * 11 * 13

        class Attention(nn.Module):
            def forward(self, tokens):
                return F.scaled_dot_product_attention(tokens, tokens, tokens)

        assert flops(Attention(), torch.empty(1, 2, 16, 8)) == 2 * (2 * 2 * 16 * 16 * 8)

    def test_grows_with_the_pixels_of_a_convolutional_network(self):
        network = UNetDenoiser(channels=(4, 6, 8), blocks=(1, 1, 1))
        sigma = torch.empty(1)
        one = [flops(network, torch.empty(1, 3, 32 * k, 32), sigma) for k in (1, 2, 3)]
        assert one[2] - one[1] == one[1] - one[0] > 0

    @pytest.mark.parametrize(
        "network",
        [
            UNetDenoiser(channels=(4, 6, 8), blocks=(1, 1, 1)),
            UNetBridge(channels=(4, 6, 8), blocks=(1, 1, 1)),
            FastFusion(),
            FastSR(),
            SwinIR(embed_dim=8, depths=(2,), num_heads=(2,), window_size=8),
            FFTformer(dim=8, num_blocks=(1, 1, 1), num_refinement_blocks=1),
            Sharing(),
            EpsilonDenoiser(Step()),
        ],
        ids=lambda network: type(network).__name__,
    )
    def test_tracing_counts_what_running_counts_and_leaves_the_network_alone(self, network):
        network.eval()
        image, sigma = torch.rand(1, 3, 32, 32), torch.tensor([0.1])
        inputs = {
            "UNetDenoiser": (image, sigma),
            "UNetBridge": (image, sigma),
            "EpsilonDenoiser": (image, sigma),
            "FastFusion": (image, image, image, sigma),
        }.get(type(network).__name__, (image,))
        before = {name: (id(weight), weight.clone()) for name, weight in network.named_parameters()}
        counted = flops(network, *inputs)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(*inputs)
        assert counted == counter.get_total_flops() > 0
        for name, weight in network.named_parameters():
            assert (id(weight), weight.device.type) == (before[name][0], "cpu")
            assert torch.equal(weight, before[name][1])

    def test_a_network_that_looks_at_numbers_is_run(self):
        class Choosing(nn.Module):
            def __init__(self):
                super().__init__()
                self.few, self.many = nn.Conv2d(3, 1, 1), nn.Conv2d(3, 8, 1)

            def forward(self, image, sigma):
                return self.many(image) if float(sigma) > 0.5 else self.few(image)

        for sigma, channels in ((0.1, 1), (0.9, 8)):
            assert flops(Choosing(), torch.rand(1, 3, 6, 6), torch.tensor([sigma])) == conv_flops(1, 3, channels, 6, 6)

    def test_a_large_image_costs_nothing(self):
        network = nn.Conv2d(3, 64, 3, padding=1)
        with peak_memory() as peak:
            counted = flops(network, torch.empty(1, 3, 4000, 4000, device="meta"))
        assert counted == conv_flops(3, 3, 64, 4000, 4000)
        assert peak.added is not None
        assert peak.added < 64 * 4000 * 4000  # a fraction of what the output alone would take


class TestRestorationCost:
    def test_base_and_per_call(self):
        cost = restoration_cost(parts(), (20, 30), scale=2)
        assert cost == Cost(
            conv_flops(3, 3, 12, 10, 15), conv_flops(3, 3, 3, 20, 30) + conv_flops(1, 9, 3, 20, 30), (20, 30)
        )
        assert [cost.at(calls) for calls in (0, 1, 5)] == [cost.base + calls * cost.per_call for calls in (0, 1, 5)]
        assert cost.at(0) == cost.base

    def test_finds_the_scale_of_a_network_that_does_not_say_it(self):
        assert restoration_cost(parts(), (20, 30)) == restoration_cost(parts(), (20, 30), scale=2)
        assert restoration_cost({"restorer": Enlarge()}, (20, 30)).base == conv_flops(3, 3, 12, 10, 15)

    def test_is_what_a_restoration_does(self):
        infos = {"restorer": NetworkInfo(scale=2, multiple_of=4), "denoiser": NetworkInfo(multiple_of=8)}
        restore = Restoration.from_parts(**parts(), infos=infos, settings=DEFAULT_SETTINGS, device="cpu")
        for steps in (1, 4):
            with FlopCounterMode(display=False) as counter:
                restore(torch.rand(1, 3, 11, 9), steps=steps)
            assert restoration_cost(restore.networks, (22, 18), infos=infos).at(steps) == counter.get_total_flops()

    def test_a_denoiser_that_takes_the_level_as_a_map(self):
        info = NetworkInfo(sigma_input="map")
        cost = restoration_cost({"denoiser": Denoise(4)}, (6, 5), infos={"denoiser": info})
        assert cost == Cost(0, conv_flops(3, 4, 3, 6, 5), (6, 5))

    def test_a_bridge_is_paid_per_call(self):
        network = UNetBridge(channels=(4, 6, 8), blocks=(1, 1, 1))
        cost = restoration_cost({"restorer": Enlarge(), "bridge": network}, (32, 32), scale=2)
        assert cost.per_call == flops(network, torch.empty(1, 3, 32, 32), torch.empty(1))
        assert cost.base == conv_flops(3, 3, 12, 16, 16)

    def test_a_function_is_not_known(self):
        assert restoration_cost({**parts(), "fusion": lambda *images: images[0]}, (8, 8)) is None

    def test_a_size_that_a_network_cannot_take(self):
        with pytest.raises(DPIRError, match=r"The denoiser cannot be called with an image of 2x2 pixels"):
            restoration_cost({"denoiser": nn.Sequential(nn.Conv2d(3, 3, 5), nn.Flatten())}, (2, 2))

    def test_an_unknown_role(self):
        with pytest.raises(DPIRError, match="role 'critic'"):
            restoration_cost({"critic": Denoise()}, (8, 8))

    def test_the_table_adds_up(self):
        table = cost_table([("ours", Cost(2 * 10**12, 5 * 10**11, (720, 1280)), (0, 4))])
        assert table.columns == ["method", "size", "base", "per call", "calls", "all"]
        assert [list(row) for row in table.rows] == [
            ["ours", "1280x720", "2", "0.5", 0, "2"],
            ["ours", "1280x720", "2", "0.5", 4, "4"],
        ]


class TestPeakMemory:
    def test_sees_an_allocation_that_is_gone_at_the_end(self):
        size = 160 * 2**20
        code = (  # in a process that holds no memory that was freed before
            "import torch; from dp_ir.evaluation.runner.resources import peak_memory\n"
            f"with peak_memory() as peak: block = torch.ones({size} // 4); del block\n"
            "print(peak.added)"
        )
        told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert size * 0.9 < int(told.stdout) < size * 1.5

    def test_sees_next_to_nothing_where_nothing_is_allocated(self):
        with peak_memory() as peak:
            pass
        assert peak.added < 16 * 2**20

    def test_is_measured_where_the_work_fails(self):
        peaks = []

        def fail():
            with peak_memory() as peak:
                peaks.append(peak)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert peaks[0].added is not None


def test_a_report_of_a_restoration():
    restore = Restoration.from_parts(**parts(), infos={"restorer": NetworkInfo(scale=2)}, device="cpu", steps=3)
    report = cost_report(restore, [(16, 16)], (1, 2), measured=[(16, 16)])
    sizes, cost, measured = report.tables
    assert [row[:2] for row in sizes.rows] == [
        ["restorer", "336"],
        ["denoiser", "84"],
        ["fusion", "30"],
        ["all", "450"],
    ]
    assert [row[3] for row in cost.rows] == [1, 2]
    assert measured.rows[0][:2] == ["16x16", "1 restorer + 3 denoiser + 3 fusion"]
    assert len(report.protocols) == 2
    assert measure(restore, (16, 16)).calls == {"restorer": 1, "denoiser": 3, "fusion": 3}
