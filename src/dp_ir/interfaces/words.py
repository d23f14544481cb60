"""Text from elsewhere, such as the names of files, on a terminal."""

from __future__ import annotations

_LONGEST = 2000


def printable(text: object) -> str:
    """One line of what a terminal shows as it is.

    Names of files may hold anything, line feeds and commands to the terminal included, and bytes that are no text.
    """
    line = " ".join(str(text).split())
    line = line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
