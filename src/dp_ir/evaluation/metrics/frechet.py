"""FID (Heusel et al. 2017) and KID (Binkowski et al. 2018) of two sets of images.

The features are those of the Inception network that both papers use: the network comes from torchmetrics and
torch-fidelity (Apache-2.0), its weights from a file of this machine or from torch-fidelity's own address. Both metrics
compare distributions: the sets need not be paired, and a few dozen images say little about a distribution in 2048
dimensions.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dp_ir.checkpoints.weights import read_state_dict
from dp_ir.errors import CheckpointError, DataError
from dp_ir.extras import require

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
"""Name of torch-fidelity's file with the weights."""

_FEATURE = "FID and KID"
_INCEPTION = "Inception v3 of 2015-12-05, layer 2048, each image resized by itself to 299x299 (bilinear, antialiased)"
_LAYER = "2048"  # the last average pooling, as in both papers


class SmallSetWarning(UserWarning):
    """A set of images is too small for the covariance of its features: FID is biased upwards by much."""


class Features:
    """Features of images by a network, each image on its own, so that sizes may differ; equal images once only.

    Args:
        network: uint8 (1, 3, H, W) -> (1, D), such as the module of `load_inception`; it resizes by itself.
        dimension: D.
        title: what the network is, for the protocol.

    FID and KID of many methods share their targets: the features of an image are kept (16 kB each for Inception) under
    the hash of its pixels.
    """

    def __init__(self, network: nn.Module, dimension: int = 2048, title: str = _INCEPTION) -> None:
        self.network = network
        self.dimension = dimension
        self.title = title
        self._kept: dict[bytes, Tensor] = {}

    @torch.inference_mode()
    def __call__(self, images: Sequence[Tensor]) -> Tensor:
        """Images (1, 3, H, W) in [0, 1], clipped and rounded to 8 bits -> (N, D) float64 on the CPU.

        Raises:
            DataError: an image of another shape, or features that are not (1, D).
        """
        return torch.stack([self._one(image) for image in images])

    def _one(self, image: Tensor) -> Tensor:
        if image.ndim != 4 or image.shape[:2] != (1, 3):
            raise DataError(f"{_FEATURE} need images (1, 3, H, W), but one has the shape {tuple(image.shape)}.")
        pixels = (image.detach().cpu().clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).contiguous()
        key = hashlib.blake2b(pixels.numpy().tobytes(), person=str(tuple(pixels.shape[2:])).encode()[:16]).digest()
        if key not in self._kept:
            device = next((parameter.device for parameter in self.network.parameters()), torch.device("cpu"))
            features = self.network(pixels.to(device))
            if features.shape != (1, self.dimension):
                raise DataError(
                    f"The features of one image must be (1, {self.dimension}), but the network returns "
                    f"{tuple(features.shape)}; state its own dimension."
                )
            self._kept[key] = features[0].to(device="cpu", dtype=torch.float64)
        return self._kept[key]


@dataclass(frozen=True)
class FID:
    """Frechet distance between two Gaussians fitted to the features of outputs and targets; lower is better.

    Args:
        features: of `load_inception`, shared with `KID`.

    Needs two images on each side; below as many images as features (2048) a `SmallSetWarning` says that the value is
    biased and only comparable at equal numbers of images.
    """

    features: Features = field(repr=False)

    name = "FID"
    higher_is_better = False

    @property
    def protocol(self) -> str:
        """How the number came about."""
        return (
            f"FID: {self.features.title}, whole images clipped and rounded to 8 bits, unbiased covariances, float64; "
            "biased upwards for few images, so comparable at equal numbers of images only"
        )

    def __call__(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> float:
        """Two sets of images (1, 3, H, W) in [0, 1], of any sizes and numbers -> distance.

        Raises:
            DataError: fewer than two images in a set, or an image of another shape.
        """
        _check_sets(self.name, outputs, targets)
        fewest = min(len(outputs), len(targets))
        if fewest < self.features.dimension:
            warnings.warn(
                f"FID over {fewest} images estimates a covariance of {self.features.dimension} features: its value is "
                "biased upwards, and only comparable with one over as many images; KID has no such bias.",
                SmallSetWarning,
                stacklevel=2,
            )
        return frechet_distance(self.features(outputs), self.features(targets))


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Frechet distance between the Gaussians fitted to two sets of features (N, D) and (M, D), in float64.

    ``|m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2)`` with unbiased covariances (Heusel et al. 2017, eq. 6). With
    centred features X and Y the last trace is the sum of the singular values of X Y^T, up to a factor: unlike the root
    of a product of two D x D matrices that are singular for few images, it is exact and cheap.
    """
    means, roots = [], []
    for features in (first, second):
        mean = features.double().mean(dim=0)
        centred = (features.double() - mean) / (len(features) - 1) ** 0.5
        means.append(mean)
        # R of the QR decomposition has the same Gram matrix, and never more than D rows.
        roots.append(torch.linalg.qr(centred, mode="r").R)
    joint = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    spread = roots[0].square().sum() + roots[1].square().sum()
    return float((means[0] - means[1]).square().sum() + spread - 2.0 * joint)


@dataclass(frozen=True)
class KID:
    """Kernel distance: unbiased squared MMD of the features with the cubic kernel, times 1000; lower is better.

    Args:
        features: of `load_inception`, shared with `FID`.
        subsets: random subsets that the value is the mean over, where the sets are larger than `subset_size`.
        subset_size: images of a subset; smaller sets count as one subset.
        seed: of the subsets.

    Being unbiased, it may be a little below 0 for sets of one distribution.
    """

    features: Features = field(repr=False)
    subsets: int = 100
    subset_size: int = 1000
    seed: int = 0

    name = "KID"
    higher_is_better = False

    @property
    def protocol(self) -> str:
        """How the number came about."""
        return (
            f"KID x 1000: {self.features.title}, whole images clipped and rounded to 8 bits, unbiased MMD^2 with the "
            f"kernel (x.y/D + 1)^3, one subset up to {self.subset_size} images, else the mean of {self.subsets} "
            f"subsets of {self.subset_size}, seed {self.seed} (torchmetrics)"
        )

    def __call__(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> float:
        """Two sets of images (1, 3, H, W) in [0, 1], of any sizes and numbers -> distance.

        Raises:
            DataError: fewer than two images in a set, or an image of another shape.
            MissingExtraError: torchmetrics is not installed.
        """
        _check_sets(self.name, outputs, targets)
        module = require("torchmetrics.image.kid", _FEATURE, "eval")
        size = min(self.subset_size, len(outputs), len(targets))
        whole = len(outputs) == len(targets) == size
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it keeps the features, of which there are few
            metric = module.KernelInceptionDistance(
                feature=_Given(self.features.dimension), subsets=1 if whole else self.subsets, subset_size=size
            )
        metric.update(self.features(targets), real=True)
        metric.update(self.features(outputs), real=False)
        with torch.random.fork_rng(devices=[]):  # the subsets come from the global generator
            torch.manual_seed(self.seed)
            mean, _ = metric.compute()
        return 1000.0 * float(mean)


class _Given(nn.Module):
    """Hands features that are already computed through torchmetrics' metric."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) -> the same."""
        return features


def _check_sets(name: str, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
    if min(len(outputs), len(targets)) < 2:
        raise DataError(
            f"{name} compares two distributions and needs at least two images of each, but there are {len(outputs)} "
            f"outputs and {len(targets)} targets; use a metric of single images."
        )


def load_inception(weights: str | Path | None = None, device: str | torch.device = "cpu") -> Features:
    """The features of FID and KID.

    Args:
        weights: torch-fidelity's file of weights, or a folder that holds it under its own name. None: its copy in
            torch's cache, or its download.
        device: where the network runs.

    Raises:
        MissingExtraError: torchmetrics or torch-fidelity is not installed.
        DataError: no such file, or nothing on disk and no download possible.
        CheckpointError: the file does not hold this network.
    """
    extractor = require("torch_fidelity.feature_extractor_inceptionv3", _FEATURE, "eval")
    module = require("torchmetrics.image.fid", _FEATURE, "eval")
    if weights is None:
        state, source = _downloaded(extractor.URL_INCEPTION_V3), "torch-fidelity"
    else:
        path = Path(weights) / INCEPTION_FILE if Path(weights).is_dir() else Path(weights)
        if not path.is_file():
            raise DataError(
                f"There is no file '{path}' with the Inception weights of {_FEATURE}; name an existing file, or leave "
                "the weights out so that they are downloaded."
            )
        state, source = read_state_dict(path), str(path)
    # The class reads a file without restraint: it is handed the tensors that were read safely.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    try:
        network = module.NoTrainInceptionV3("inception-v3-compat", [_LAYER], feature_extractor_weights_path=buffer)
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights from '{source}' are not the Inception network of {_FEATURE} "
            f"({len(state)} tensors); give torch-fidelity's file '{INCEPTION_FILE}'."
        ) from error
    return Features(network.eval().requires_grad_(False).to(device))


def _downloaded(address: str) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.hub.load_state_dict_from_url(
            address, map_location="cpu", progress=False, weights_only=True
        )
    except (OSError, HTTPException, RuntimeError) as error:  # no way out, cut off on the way, not a weight file
        raise DataError(
            f"The Inception weights of {_FEATURE} are not on this machine, and they cannot be fetched ({error}); "
            f"connect to the internet once, or give torch-fidelity's file '{INCEPTION_FILE}' with --weights."
        ) from error
    return state
