"""Trying a network once, on a small synthetic picture, to notice that it works in other units than stated.

A denoiser that is fed the wrong units fails quietly: it smears, or does nothing, and everything built on it is a little
worse. So a network is run as stated on a picture whose clean version is known. Where it does its work, that is all.
Where it does not, the other conventions of the field are tried, and one that does clearly better is named.

What a wrong statement does not change visibly is not an error: a network for pixels in [-1, 1] works as well in [0, 1],
and one without biases in any range. What cannot be told this way is whether channels are expected as RGB or BGR: noise,
blur and local means are the same in every channel, so nothing changes as long as channels come back as they went in.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.units.probe_denoiser import check_denoiser_units
from dp_ir.checkpoints.units.probe_restorer import doubt_restorer


class ProbeWarning(UserWarning):
    """The probe could not tell whether a network is used as it was made for."""


def probe(network: LoadedNetwork, *, stacklevel: int = 2) -> None:
    """Check on a small synthetic picture that a network is used in the units it was made for.

    A denoiser must remove white noise of known level from a clean picture; a restorer must bring back detail of a
    picture that was reduced (or, at scale 1, blurred), or at least keep its local means. That takes one or two calls
    where it does, and two to thirty where the other conventions must be tried. Not run at all are fusion networks and
    networks of other images than RGB or grey, among them restorers of packed RAW images and bursts, whose result is of
    another kind than what they are given. The network is left as it was: modes, gradients and random numbers.

    Args:
        network: the network behind the contract that is to be checked.
        stacklevel: of the warning, as in `warnings.warn`.

    Raises:
        NetworkContractError: it does clearly better under another contract, which is named; or it cannot be called.
        ProbeWarning: it does not do its work under any convention tried.

    Examples:
        >>> from torch.nn.functional import interpolate
        >>> probe(LoadedNetwork("restorer", lambda y: interpolate(y, scale_factor=2, mode="bicubic")))
    """
    if network.info.channels not in (1, 3):
        return
    doubt = None
    with _undisturbed(network):
        if network.kind == "denoiser":
            doubt = check_denoiser_units(network)
        elif network.kind == "restorer":
            doubt = doubt_restorer(network)
    if doubt:
        warnings.warn(doubt, ProbeWarning, stacklevel=stacklevel)


@contextmanager
def _undisturbed(network: LoadedNetwork) -> Iterator[None]:
    """Evaluation mode, no gradients, and fixed random numbers inside; everything as before outside."""
    modes = [(module, module.training) for module in network.modules()]
    cuda = network.device if network.device.type == "cuda" else None
    # no_grad and not inference_mode: what a network caches in these calls must serve training later
    with torch.no_grad(), torch.random.fork_rng([cuda] if cuda else []):
        torch.default_generator.manual_seed(0)
        if cuda:
            with torch.cuda.device(cuda):
                torch.cuda.manual_seed(0)
        try:
            network.eval()
            yield
        finally:
            for module, training in modes:
                module.training = training
