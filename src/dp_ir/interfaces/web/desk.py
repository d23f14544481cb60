"""The queue: which photos there are, what is to be done, what is done, and who is told of it."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from dp_ir.errors import DPIRError
from dp_ir.interfaces.web.child import Child
from dp_ir.interfaces.web.models import Everything, Job, Photo, View, Wish
from dp_ir.interfaces.web.shelf import Shelf, new_id, result_suffix
from dp_ir.interfaces.web.work import Look, Preview, Restore, Settings, Spread

Event = tuple[str, Any]
"""What happened, "photo", "job", "gone", or "all", and the record, the identity, or everything."""

_BACKLOG = 1000  # events that a listener may be behind, before it is told everything again
_GRACE = 0.3  # seconds that a look at a photo waits for the preview of it, which a person waits for


class Desk:
    """Keeps the queue of a server. Its methods are called in one event loop.

    Args:
        shelf: where photos and results lie.
        settings: of the work.
        details: the default of the dial, by task.
    """

    def __init__(self, shelf: Shelf, settings: Settings, details: dict[str, float]) -> None:
        self.shelf, self._details = shelf, details
        self.photos = {photo.id: photo for photo in shelf.photos()}
        self.jobs = {job.id: job for job in shelf.jobs() if job.photo in self.photos}
        numbers = [entry.number for entry in self.photos.values()], [entry.number for entry in self.jobs.values()]
        self._number = max([0, *numbers[0], *numbers[1]])
        self._listeners: set[asyncio.Queue[Event | None]] = set()
        self._work = asyncio.Event()
        self._looks: asyncio.Queue[Photo] = asyncio.Queue()
        self._previews = 0
        self._running: Job | None = None
        self._quick = Child(settings, warm=("photo", "clean"))
        self._long = Child(settings, priority=5)
        for photo in self.photos.values():
            if not photo.levels and not photo.reason:
                self._looks.put_nowait(photo)
        self._tasks = [asyncio.create_task(self._look_at_all()), asyncio.create_task(self._restore_all())]
        self._work.set()

    async def close(self) -> None:
        """Stop all work; what was under way is queued when a server starts anew in the same folder."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(self._quick.close(), self._long.close(), *self._tasks, return_exceptions=True)

    def everything(self) -> Everything:
        """All records."""
        return Everything(photos=list(self.photos.values()), jobs=list(self.jobs.values()))

    async def events(self) -> AsyncIterator[Event]:
        """Everything, then what changes."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(_BACKLOG)
        self._listeners.add(queue)
        try:
            yield "all", self.everything()
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.discard(queue)

    def end(self) -> None:
        """Let all go that listen or wait, because the server ends."""
        self._quick.end()
        for queue in self._listeners:
            with suppress(asyncio.QueueFull):
                queue.put_nowait(None)

    # ---- photos ------------------------------------------------------------------------------------------------------

    def new_number(self) -> int:
        """Counts photos and jobs."""
        self._number += 1
        return self._number

    def add(self, photo: Photo) -> None:
        """Take a photo whose file lies on the shelf, or a further frame of a burst."""
        self.photos[photo.id] = photo
        self._changed(photo)
        self._looks.put_nowait(photo)

    def remove(self, photo: Photo) -> None:
        """Forget a photo, and all that was made of it."""
        for job in [job for job in self.jobs.values() if job.photo == photo.id]:
            self.cancel(job)
            del self.jobs[job.id]
            self.shelf.forget(job)
            self._tell("gone", job.id)
        self.photos.pop(photo.id, None)
        self.shelf.forget(photo)
        self._tell("gone", photo.id)

    async def preview(self, view: View) -> dict[str, Any]:
        """What `Preview` gives; raises DPIRError."""
        photo = self.photos[view.photo]
        asked = view.model_dump(exclude={"photo", "task"})
        task = "burst" if photo.burst else view.task or photo.task
        work = Preview(self.shelf.source(photo), photo.burst, task, **asked)
        self._previews += 1
        try:
            # Once sent, an answer comes, and must be taken, even where no one waits for it any more.
            pending = asyncio.ensure_future(self._quick.ask(work))
            pending.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            return await asyncio.shield(pending)
        finally:
            self._previews -= 1

    async def _look_at_all(self) -> None:
        while True:
            photo = await self._looks.get()
            await asyncio.sleep(_GRACE)
            while self._previews:
                await asyncio.sleep(0.05)
            if photo.id not in self.photos or (photo.burst and not self._looks.empty()):
                continue  # removed meanwhile; or further frames of a burst follow
            look = Look(self.shelf.source(photo), self.shelf.photo_folder(photo) / "tiles", photo.burst)
            try:
                facts = await self._quick.ask(look)
            except DPIRError as error:
                facts = {"reason": str(error)}
            if photo.id in self.photos:
                photo.reason = ""
                self._update(photo, facts)

    # ---- jobs --------------------------------------------------------------------------------------------------------

    def submit(self, wish: Wish) -> Job:
        """Queue a restoration of a photo that is known."""
        photo = self.photos[wish.photo]
        task = "burst" if photo.burst else wish.task or photo.task
        detail = self._details[task] if wish.detail is None else wish.detail
        job = Job(
            id=new_id(),
            number=self.new_number(),
            photo=photo.id,
            task=task,
            detail=detail,
            seed=wish.seed,
            scale=wish.scale,
            result=f"{Path(photo.name).stem}-restored{result_suffix(photo.name)}",
        )
        job.command = _command(photo, job, default=self._details[task])
        self.jobs[job.id] = job
        self._changed(job)
        self._work.set()
        return job

    def spread(self, job: Job) -> None:
        """Have further samples drawn of a job that is done; before the queue, because a person waits for it."""
        if job.state == "done" and job.spread in ("", "failed"):
            self._update(job, {"spread": "queued", "share": 0.0, "reason": ""})
            self._work.set()

    def cancel(self, job: Job) -> None:
        """End a job that is not done, or the drawing of its further samples."""
        if job is self._running:
            self._long.stop()
        if job.state in ("queued", "running"):
            self._update(job, {"state": "cancelled", "share": 0.0})
        elif job.spread in ("queued", "running"):
            self._update(job, {"spread": ""})

    async def _restore_all(self) -> None:
        while True:
            waiting = [job for job in self.jobs.values() if job.spread == "queued"]
            waiting += [job for job in self.jobs.values() if job.state == "queued"]
            if not waiting:
                self._work.clear()
                await self._work.wait()
                continue
            self._running = waiting[0]
            try:
                await self._do(self._running)
            finally:
                self._running = None

    async def _do(self, job: Job) -> None:
        photo, folder = self.photos[job.photo], self.shelf.job_folder(job)
        source, layers = self.shelf.source(photo), folder / "layers"
        field = "spread" if job.state == "done" else "state"
        work: Restore | Spread
        if field == "spread":
            work = Spread(source, layers, photo.burst, job.task, job.seed, (job.height, job.width))
        else:
            target = self.shelf.result(job)
            work = Restore(source, target, layers, photo.burst, job.task, job.detail, job.seed, job.scale)
        begun = time.monotonic()

        def follow(share: float) -> None:
            job.share = share
            if field == "state":
                job.seconds = time.monotonic() - begun
            self._tell("job", job)

        self._update(job, {field: "running", "share": 0.0})
        try:
            facts = await self._long.ask(work, follow)
            facts |= {field: "done", "share": 1.0}
            if field == "spread":
                facts["layers"] = [*job.layers, "full", "unsure"]
            else:
                facts["seconds"] = time.monotonic() - begun
        except DPIRError as error:
            facts = {field: "failed", "reason": str(error)}
        if job.id in self.jobs and getattr(job, field) == "running":  # else it was cancelled meanwhile
            self._update(job, facts)

    # ---- who is told -------------------------------------------------------------------------------------------------

    def _update(self, record: Photo | Job, facts: dict[str, Any]) -> None:
        for name, value in facts.items():
            setattr(record, name, value)
        self._changed(record)

    def _changed(self, record: Photo | Job) -> None:
        self.shelf.keep(record)
        self._tell("photo" if isinstance(record, Photo) else "job", record)

    def _tell(self, kind: str, what: Photo | Job | str) -> None:
        said = what if isinstance(what, str) else what.model_copy()
        for queue in self._listeners:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(("all", self.everything()))
            with suppress(asyncio.QueueFull):
                queue.put_nowait((kind, said))


def _command(photo: Photo, job: Job, *, default: float) -> str:
    """The line that makes the same file; a burst is a folder there."""
    source = Path(photo.name).stem if photo.burst else photo.name
    source = f"./{source}" if source.startswith("-") else source
    words = [
        "dp-ir",
        "restore",
        source,
        "-o",
        f"./{job.result}" if job.result.startswith("-") else job.result,
        "--task",
        job.task,
    ]
    words += ["--detail", f"{job.detail:g}"] if job.detail != default else []
    words += ["--seed", str(job.seed)] if job.seed else []
    words += ["--scale", f"{job.scale:g}"] if job.scale is not None else []
    return shlex.join(words)
