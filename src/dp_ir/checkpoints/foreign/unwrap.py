"""Finding the one state dict in what a weight file held, however it was wrapped, and checking that it is one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dp_ir.errors import CheckpointError

WRAPPING_KEYS = (
    *("params_ema", "params-ema", "ema_state_dict", "state_dict_ema", "model_ema", "ema"),
    *("params", "model_state_dict", "state_dict", "model", "net", "network"),
    *("net_g", "netG", "generator", "g"),
)
"""Keys under which published training code puts the state dict: averaged weights first, adversarial training last."""

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "net_g.", "netG.", "generator.")
"""What data-parallel training, compilation and training frameworks put before every name."""

_DEPTH = 4
_AVERAGED = ("ema_model", "net_g_ema", "netG_ema", "generator_ema", "g_ema")
_GROUPS = tuple(dict.fromkeys((*(f"{key}." for key in (*_AVERAGED, *WRAPPING_KEYS)), *PREFIXES)))
"""How the names of a network begin where those of others stand beside it, the averaged one first."""
_COUNTERS = frozenset({"n_averaged", "num_updates", "total_ops", "total_params"})
"""Last parts of names that averaging and profilers add; no network has such numbers."""
_BESIDE = re.compile(
    r"(.*_)?(loss\w*|criterion|lpips|vgg\d*|percep\w*|disc\w*|critic|net_?d|metrics?|best|psnr|ssim)(_.*)?",
    re.IGNORECASE,
)
"""First parts of names of what a network is trained with or against, or judged by."""
_OWN_NUMBERING = (
    "model.",
    "net.",
    "network.",
)  # in front of a number these are a network's own: `model.0.weight` of ESRGAN, DnCNN
_DTYPES = {
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
}


def unwrap(content: Any, source: str) -> dict[str, Tensor]:
    """Find the state dict in what a file held, and remove the prefixes that all its names share.

    A mapping under one of `WRAPPING_KEYS` is looked into, repeatedly; failing that, the only state dict among the
    values is taken. What lies beside it (epochs, states of optimizers) is left alone.

    Args:
        content: what the file held.
        source: what to call the file in errors.

    Returns:
        Names and tensors.

    Raises:
        CheckpointError: there is no state dict, or more than one; the sentence says what there is.
    """
    state = _find(content, _DEPTH)
    if state is None:
        raise CheckpointError(f"{source} holds {_inventory(content)}: expected a state dict, names with tensors.")
    return _without_prefixes({str(name): value.detach() for name, value in state.items()})


@dataclass(frozen=True)
class Group:
    """Tensors of a file that may be those of one network.

    Args:
        state: names, without the prefixes that all of them share, and tensors.
        usual: whether it lies where training code puts the network; False for any other state dict.
    """

    state: dict[str, Tensor]
    usual: bool


def groups(content: Any) -> Iterator[Group]:
    """Everything in what a file held that may be a network, the likeliest first; see `unwrap`.

    Each state dict comes first as it is, then without counters, losses and discriminators, then the parts of it whose
    names begin as those of wrapped networks do.
    """
    for path, state in _states(content):
        usual = all(key in WRAPPING_KEYS for key in path)
        named = {str(name): value for name, value in state.items()}
        yield from (Group(part, usual) for part in _parts(named, 2))


def left_aside(content: Any, taken: Mapping[str, Tensor]) -> list[str]:
    """Where the tensors of a file lie that are none of those taken, each as the shortest name that tells it."""
    used = {id(value) for value in taken.values()}
    places = [
        ((*path, *str(name).split(".")), id(value) in used)
        for path, state in _states(content)
        for name, value in state.items()
    ]
    shared = {place[:length] for place, is_used in places if is_used for length in range(len(place) + 1)}
    unused = (place for place, is_used in places if not is_used)
    shortest = (next((place[:n] for n in range(1, len(place)) if place[:n] not in shared), place) for place in unused)
    return list(dict.fromkeys(".".join(place) for place in shortest))


def check_tensors(tensors: Mapping[str, Tensor], source: str, size: int) -> None:
    """Check that tensors are plain numbers that can have been in a file of this size.

    A tensor of any shape can be made of one stored number, and a network built to fit it would fill any memory.

    Raises:
        CheckpointError: a tensor is of another kind, is empty, or claims more numbers than the file has.
    """
    storages: dict[int, int] = {}
    claimed = 0
    for name, value in tensors.items():
        if value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu":
            kind = "quantized" if value.is_quantized else str(value.layout).removeprefix("torch.")
            kind = kind if value.device.type == "cpu" else f"empty ({value.device.type})"
            raise CheckpointError(
                f"{source} holds {shown([name])} as a tensor that is {kind}: expected plain tensors; save them dense."
            )
        if value.dtype not in _DTYPES:
            kind = str(value.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"{source} holds {shown([name])} as {kind}: expected numbers of float16 to float64; convert them."
            )
        if not value.numel():
            raise CheckpointError(
                f"{source} holds {shown([name])} of shape {tuple(value.shape)}, without a number: fetch or write it "
                "again."
            )
        storage = value.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        claimed += value.numel() * value.element_size()
    if claimed > 8 * size + 2**20 or sum(storages.values()) > size:
        raise CheckpointError(
            f"{source} claims {claimed} bytes of numbers in {size} bytes of file, which no network needs: fetch or "
            "write it again."
        )


def shown(names: Iterable[Any], limit: int = 5) -> str:
    """The first names on one line, shortened; what is no name is given by its type."""
    names = list(names)
    words = [
        ascii(name[:60])[1:-1] if isinstance(name, str) else str(name) if type(name) is int else type(name).__name__
        for name in names[:limit]
    ]
    return ", ".join(words) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _find(content: Any, depth: int) -> Mapping[Any, Tensor] | None:
    if not isinstance(content, Mapping) or depth < 0:
        return None
    if _is_state(content):
        return content
    for key in WRAPPING_KEYS:
        if (found := _find(content.get(key), depth - 1)) is not None:
            return found
    states = [value for value in content.values() if _is_state(value)]
    return states[0] if len(states) == 1 else None


def _states(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Tensor]]]:
    """Every state dict where one may be, with the keys that lead to it."""
    if not isinstance(content, Mapping) or len(path) > _DEPTH:
        return
    if _is_state(content):
        yield path, content
        return
    for key in WRAPPING_KEYS:
        yield from _states(content.get(key), (*path, key))
    for key, value in content.items():
        if isinstance(key, str) and key not in WRAPPING_KEYS:
            yield from _states(value, (*path, key))
    if own := {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}:
        yield path, own


def _parts(state: dict[str, Tensor], depth: int) -> Iterator[dict[str, Tensor]]:
    """A state dict, itself without what is beside its network, and groups of its names."""
    yield _without_prefixes(state)
    plain = _without_prefixes({name: value for name, value in state.items() if not _counts(name, value)})
    network = {name: value for name, value in plain.items() if not _BESIDE.fullmatch(name.partition(".")[0])}
    if 0 < len(network) < len(state):
        yield _without_prefixes(network)
    for prefix in _GROUPS if depth else ():
        part = {name.removeprefix(prefix): value for name, value in network.items() if name.startswith(prefix)}
        if 0 < len(part) < len(network) and "" not in part:
            yield from _parts(part, depth - 1)


def _counts(name: str, value: Tensor) -> bool:
    """Whether a tensor is a counter: by its name, or as a whole number that is part of no layer."""
    is_number = "." not in name and not value.ndim and not value.is_floating_point()
    return is_number or name.rpartition(".")[2] in _COUNTERS


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(name, str | int) and isinstance(value, Tensor) for name, value in content.items())
    )


def _inventory(content: Any) -> str:
    """What there is instead of a state dict."""
    where = ""
    for _ in range(_DEPTH):
        if not isinstance(content, Mapping):
            break
        key = next((key for key in WRAPPING_KEYS if isinstance(content.get(key), Mapping)), None)
        if key is None:
            break
        content, where = content[key], f" under {key}"
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}{where}"
    if states := [name for name, value in content.items() if _is_state(value)]:
        return f"several state dicts{where} ({shown(states)}), of which one must be saved alone"
    if any(isinstance(value, Tensor) for value in content.values()):
        others = {name: value for name, value in content.items() if not isinstance(value, Tensor)}
        kinds = sorted({type(value).__name__ for value in others.values()})
        return f"among its tensors{where} also {shown(others)} ({', '.join(kinds)})"
    return f"the keys {shown(content)}{where}" if content else f"nothing{where}"


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        shorter = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if len(shorter) < len(state) or "" in shorter:
            continue
        if prefix in _OWN_NUMBERING and any(name[0].isdigit() for name in shorter):
            continue
        return _without_prefixes(shorter)
    return state
