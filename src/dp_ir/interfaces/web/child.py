"""A process that does the heavy work, as the server sees it: asked, followed, stopped."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from functools import partial

from dp_ir.errors import DPIRError
from dp_ir.interfaces.web.work import Facts, Settings, Work, serve_work


class StoppedError(DPIRError):
    """The process ended before it was done."""


class Child:
    """A process that does one piece of work after the other; one that ends is followed by another.

    Args:
        settings: of its work.
        priority: by how much it stands behind others, 0 to 19.
        warm: bundles to load at once.
    """

    def __init__(self, settings: Settings, *, priority: int = 0, warm: tuple[str, ...] = ()) -> None:
        self._target = partial(serve_work, settings=settings, priority=priority, warm=warm)
        self._lock = asyncio.Lock()
        self._ended = False
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=self._target, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    async def ask(self, work: Work, follow: Callable[[float], None] | None = None) -> Facts:
        """Have a piece of work done, after those that were asked for before.

        Args:
            work: what to do.
            follow: told of the share that is done, 0 to 1.

        Raises:
            DPIRError: it failed; StoppedError: the process was stopped or died.
        """
        async with self._lock:
            if not self._ended and not self._process.is_alive():
                self._start()
            try:
                self._connection.send(work)
                while True:
                    kind, value = await asyncio.to_thread(self._connection.recv)
                    if kind == "done":
                        facts: Facts = value
                        return facts
                    if kind == "failed":
                        raise DPIRError(value)
                    if follow is not None:
                        follow(value)
            except (EOFError, OSError) as error:
                self._process.join()
                if not self._ended:
                    self._start()
                raise StoppedError(
                    "The process that restores ended, perhaps for lack of memory: try again with less at a time."
                ) from error

    def stop(self) -> None:
        """End what it does now; another process takes its place."""
        self._process.kill()
        self._process.join()

    def end(self) -> None:
        """End it for good, without waiting."""
        self._ended = True
        self._process.kill()

    async def close(self) -> None:
        """End it for good."""
        self.end()
        await asyncio.to_thread(self._process.join)
