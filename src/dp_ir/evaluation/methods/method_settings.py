"""Reading the settings of a method's text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dp_ir.checkpoints.architectures import nearest
from dp_ir.errors import DataError


def read_settings(
    what: str, settings: Mapping[str, str], readers: Mapping[str, Callable[[str], Any]]
) -> dict[str, Any]:
    """Read the settings of a method.

    Args:
        what: the kind of method, for errors.
        settings: texts by key, as `parse_method` finds them; "-" and "_" in keys are the same.
        readers: per key that there is, what turns its text into a value (ValueError: it cannot be read).

    Raises:
        DataError: an unknown key, or a value that cannot be read.
    """
    values: dict[str, Any] = {}
    for key, text in settings.items():
        known = key.replace("-", "_")
        if known not in readers:
            there = f"there are {', '.join(readers)}" if readers else "it has none"
            raise DataError(f"A method of the kind {what!r} has no setting {key!r}{nearest(known, readers)}: {there}.")
        try:
            values[known] = readers[known](text)
        except (ValueError, ArithmeticError, KeyError) as error:
            reader = getattr(readers[known], "__name__", "value")
            raise DataError(f"The setting {key}={text} of the kind {what!r} cannot be read as {reader}.") from error
    return values


def whole_number(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def number(text: str) -> float:
    """A number; whole ones stay whole, as bundles have them, so that equal settings have equal identities."""
    number = float(text)
    return int(number) if number.is_integer() else number


whole_number.__name__ = "a whole number of at least 1"
number.__name__ = "a number"
