"""Standard input and output as files, where `-` is named as an input or as the output."""

from __future__ import annotations

import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dp_ir.batch.jobs import Outcome, Status
from dp_ir.errors import DPIRError, ImageReadError, ImageWriteError

STREAM = "-"


class Streams:
    """What stands for standard input and output while a batch runs.

    Args:
        inputs: as they were named, with a file in place of `-`.
        output: likewise.
        names: what those files are called where they are spoken of.
    """

    def __init__(self, inputs: Sequence[str], output: str, names: dict[str, str]) -> None:
        self.inputs, self.output, self._names = list(inputs), output, names

    @property
    def writes(self) -> bool:
        """Whether the result goes to standard output, where nothing else may go then."""
        return "standard output" in self._names.values()

    def passed(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        """Outcomes that speak of the streams; a result that belongs to standard output is written there.

        Raises:
            ImageWriteError: it cannot be written there.
        """
        for outcome in outcomes:
            if self.writes and outcome.status is Status.RESTORED:
                _write_out(Path(self.output))
            yield (
                replace(
                    outcome,
                    source=Path(self.spoken(str(outcome.source))),
                    targets=tuple(Path(self.spoken(str(target))) for target in outcome.targets),
                    reason=self.spoken(outcome.reason),
                    notes=tuple(map(self.spoken, outcome.notes)),
                )
                if self._names
                else outcome
            )

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Within, errors and warnings speak of the streams."""
        with warnings.catch_warnings():
            if self._names:
                show = warnings.showwarning
                warnings.showwarning = lambda message, *where, **more: show(self.spoken(str(message)), *where, **more)
            try:
                yield
            except DPIRError as error:
                error.args = (self.spoken(str(error)),)
                raise

    def spoken(self, text: str) -> str:
        """A sentence with the names of the streams in place of those of their files."""
        for path, name in self._names.items():
            text = text.replace(path, name)
        return text


@contextmanager
def streams(
    inputs: Sequence[str], output: str, *, suffix: str, bursts: bool, samples: int, as_json: bool
) -> Iterator[Streams]:
    """Read standard input where `-` is among the inputs, and make ready for a result where it is the output.

    Args:
        inputs: as they were named.
        output: as it was named.
        suffix: of a result on standard output.
        bursts: standard input is a RAW file.
        samples: results per input.
        as_json: the outcomes go to standard output.

    Raises:
        ImageReadError, ImageWriteError: the stream is a terminal, or cannot hold that; it cannot be read.
    """
    if STREAM not in (*inputs, output):
        yield Streams(inputs, output, {})
        return
    names: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="dp-ir-") as scratch:
        if output == STREAM:
            if samples > 1 or as_json:
                more = "JSON was" if as_json else "several samples were"
                raise ImageWriteError(f"Standard output takes one result, but {more} asked for, too: name a file.")
            if sys.stdout.isatty():
                raise ImageWriteError("Standard output is a terminal: send the image to a file or a program (> x.png).")
            output = str(Path(scratch) / f"stdout{suffix}")
            names[output] = "standard output"
        if STREAM in inputs:
            path = Path(scratch) / ("stdin.dng" if bursts else "stdin")
            _read_in(path)
            names[str(path)] = "standard input"
            inputs = [str(path) if named == STREAM else named for named in inputs]
        yield Streams(inputs, output, names)


def _read_in(path: Path) -> None:
    if sys.stdin.isatty():
        raise ImageReadError("Standard input is a terminal: expected an image from a file or a program (< photo.jpg).")
    try:
        with path.open("xb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    except OSError as error:
        raise ImageReadError(f"Standard input cannot be read ({error.strerror}): check where it comes from.") from error


def _write_out(path: Path) -> None:
    try:
        sys.stdout.buffer.write(path.read_bytes())
        sys.stdout.buffer.flush()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ImageWriteError(f"The result cannot be written to standard output ({reason}).") from error
