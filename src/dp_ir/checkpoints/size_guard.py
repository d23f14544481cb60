"""Building networks that a file describes no larger than the file can fill them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from dp_ir.errors import CheckpointError

_SPARE = 1000  # parameters that a network may share or drop; building them takes a blink


@contextmanager
def no_more_parameters_than(tensors: int, source: str) -> Iterator[None]:
    """Stop the building of a network with far more parameters than there are tensors for them.

    Hyper-parameters of a few bytes can describe a network that takes hours to build.

    Args:
        tensors: how many there are.
        source: what to call their origin in errors.

    Raises:
        CheckpointError: within the block, as soon as there are too many.
    """
    builder, limit, registered = threading.get_ident(), 2 * tensors + _SPARE, 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal registered
        registered += threading.get_ident() == builder  # the hook hears of all threads
        if registered > limit:
            raise CheckpointError(
                f"The hyper-parameters in {source} describe a network of more than {limit} parameters, but there are "
                f"{tensors} tensors: use the file as it was written."
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()
