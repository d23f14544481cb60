"""The server: photos come in, jobs are queued, results go out. What is done with them lies below the interfaces."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.exceptions import HTTPException as AnyHTTPException

from dp_ir import __version__
from dp_ir.checkpoints.bundle import locate_bundle, read_config
from dp_ir.errors import DPIRError
from dp_ir.image.files.reading import image_size
from dp_ir.interfaces.web.desk import Desk
from dp_ir.interfaces.web.gate import Gate
from dp_ir.interfaces.web.models import (
    About,
    Choice,
    Everything,
    Identity,
    Job,
    Layer,
    Photo,
    Problem,
    TaskName,
    View,
    Wish,
)
from dp_ir.interfaces.web.shelf import Shelf, checked_name, is_raw, new_id
from dp_ir.interfaces.web.tiles import tile_name
from dp_ir.interfaces.web.uploads import RAW_TYPE, TYPES, RefusedError, drain, receive
from dp_ir.interfaces.web.work import Settings
from dp_ir.tasks import get_task
from dp_ir.tasks.choice import suited_bundle

_PAGE = Path(__file__).parent / "page"
_MAX_FRAMES = 20
_KEPT = {"cache-control": "private, max-age=86400, immutable"}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in (*TYPES, RAW_TYPE)},
    }
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 401, 403, 404, 408, 409, 413, 415, 422, 507)
}
_Number = Annotated[int, InPath(ge=0, le=10_000)]
_File: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "The file."}
}


@dataclass(frozen=True)
class Limits:
    """What is taken in: bytes of a file, and how many photos at a time."""

    max_bytes: int = 200_000_000
    max_photos: int = 200


def make_app(folder: Path, settings: Settings, limits: Limits, token: str | None = None) -> FastAPI:
    """The application.

    Args:
        folder: where photos and results are kept; what an earlier server left there is found.
        settings: of the work.
        limits: of what is taken in.
        token: what clients must know; None where only this machine can reach the server.
    """
    choices = [_choice(task) for task in get_args(TaskName)]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        desk = app.state.desk = Desk(Shelf(folder), settings, {choice.task: choice.detail for choice in choices})
        try:
            yield
        finally:
            await desk.close()

    app = FastAPI(
        title="DP-IR",
        version=__version__,
        description="Photos come in by POST /api/photos, POST /api/restore queues what is to be done with one, "
        "GET /api/jobs/{job} says how far it is, and GET /api/jobs/{job}/result gives the file.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=_PROBLEMS,
    )
    app.add_middleware(Gate, token=token)
    app.add_exception_handler(AnyHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(RefusedError, _not_taken)
    app.add_exception_handler(DPIRError, _failed)
    _add_photos(app, settings, limits)
    _add_jobs(app)

    @app.get("/api/about")
    async def about() -> About:
        """What this server is, and what it takes."""
        return About(
            version=__version__,
            tasks=choices,
            max_bytes=limits.max_bytes,
            max_photos=limits.max_photos,
            max_pixels=settings.max_pixels,
        )

    @app.get("/api", include_in_schema=False)
    async def interface() -> Response:
        return FileResponse(_PAGE / "api.html")

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(_PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=_PAGE))
    return app


def _add_photos(app: FastAPI, settings: Settings, limits: Limits) -> None:
    @app.post("/api/photos", status_code=201, openapi_extra=_BODY)
    async def upload(
        request: Request,
        name: Annotated[str, Query(description="Of the file, with its suffix, without a path.", max_length=255)],
        burst: Annotated[Identity | None, Query(description="Of the first frame, for further ones.")] = None,
    ) -> Photo:
        """Take a photo, or a RAW frame, which begins a burst or is added to one; the body is the file itself."""
        desk, raw = _desk(request), is_raw(checked_name(name))
        if burst is None and len(desk.photos) >= limits.max_photos:
            raise HTTPException(409, f"There are {len(desk.photos)} photos, as many as are kept: remove some first.")
        photo = Photo(id=new_id(), number=desk.new_number(), name=name, burst=raw, task="burst" if raw else "photo")
        if burst is not None:
            photo = _photo(desk, burst)
            if not (photo.burst and raw) or photo.frames >= _MAX_FRAMES:
                raise HTTPException(
                    409, f"'{name}' cannot be added: expected one of at most {_MAX_FRAMES} RAW frames of a burst."
                )
        source = desk.shelf.source(photo)
        target = source / name if raw else source
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise HTTPException(409, f"'{name}' is a frame of this burst already: expected another.")
        try:
            count = await receive(request, target, raw=raw, max_bytes=limits.max_bytes, max_pixels=settings.max_pixels)
        except BaseException:
            if burst is None:
                desk.shelf.forget(photo)
            raise
        if burst is not None and burst not in desk.photos:
            raise HTTPException(404, "The burst was removed meanwhile.")
        photo.bytes += count
        photo.frames += burst is not None
        if not raw:
            height, width = image_size(target)
            photo.task = suited_bundle(width, height)  # type: ignore[assignment]  # it gives two of the names
        desk.add(photo)
        return photo

    @app.get("/api/photos/{photo}")
    async def one_photo(request: Request, photo: Identity) -> Photo:
        """What is known of a photo."""
        return _photo(_desk(request), photo)

    @app.delete("/api/photos/{photo}", status_code=204)
    async def remove(request: Request, photo: Identity) -> None:
        """Forget a photo, and all that was made of it; what runs is stopped."""
        desk = _desk(request)
        desk.remove(_photo(desk, photo))

    @app.get("/api/photos/{photo}/tiles/{level}/{row}/{column}", responses=_File)
    async def photo_tile(request: Request, photo: Identity, level: _Number, row: _Number, column: _Number) -> Response:
        """A tile of the photo as it was uploaded."""
        desk = _desk(request)
        return _tile(desk.shelf.photo_folder(_photo(desk, photo)) / "tiles", level, row, column)

    @app.post("/api/preview", responses={200: {"content": {"image/png": {}}}}, response_class=Response)
    async def preview(request: Request, view: View) -> Response:
        """Restore a part of a photo at once: before, at detail 0, at the asked detail, ..., one below the other.

        The header `x-preview` says in JSON where the part lies in the result.
        """
        desk = _desk(request)
        _photo(desk, view.photo)
        made = await desk.preview(view)
        return Response(made["image"], media_type="image/png", headers={"x-preview": json.dumps(made["facts"])})


def _add_jobs(app: FastAPI) -> None:
    @app.get("/api/jobs")
    async def everything(request: Request) -> Everything:
        """All photos and jobs."""
        return _desk(request).everything()

    @app.post("/api/restore", status_code=202)
    async def restore(request: Request, wish: Wish) -> Job:
        """Queue a restoration."""
        desk = _desk(request)
        _photo(desk, wish.photo)
        return desk.submit(wish)

    @app.get("/api/jobs/{job}")
    async def one_job(request: Request, job: Identity) -> Job:
        """How far a job is."""
        return _job(_desk(request), job)

    @app.delete("/api/jobs/{job}", status_code=202)
    async def cancel(request: Request, job: Identity) -> Job:
        """End a job, or the drawing of its further samples; one that is done stays."""
        desk, found = _desk(request), _job(_desk(request), job)
        desk.cancel(found)
        return found

    @app.post("/api/jobs/{job}/spread", status_code=202)
    async def spread(request: Request, job: Identity) -> Job:
        """Draw further samples, which give the layers full and unsure; only of a job that is done."""
        desk, found = _desk(request), _job(_desk(request), job)
        desk.spread(found)
        return found

    @app.get("/api/jobs/{job}/result", responses=_File)
    async def result(request: Request, job: Identity) -> Response:
        """The file."""
        desk, found = _desk(request), _job(_desk(request), job)
        if found.state != "done":
            raise HTTPException(409, f"The job is {found.state}, and has no file: expected one that is done.")
        return FileResponse(desk.shelf.result(found), filename=found.result)

    @app.get("/api/jobs/{job}/layers/{layer}/{level}/{row}/{column}", responses=_File)
    async def layer_tile(
        request: Request, job: Identity, layer: Layer, level: _Number, row: _Number, column: _Number
    ) -> Response:
        """A tile of a layer of a result."""
        desk = _desk(request)
        return _tile(desk.shelf.job_folder(_job(desk, job)) / "layers" / layer, level, row, column)

    @app.get("/api/events", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
    async def events(request: Request) -> StreamingResponse:
        """Everything, then every change, as server-sent events "all", "photo", "job" and "gone"."""
        desk = _desk(request)

        async def lines() -> AsyncIterator[str]:
            async for kind, what in desk.events():
                data = what.model_dump_json() if isinstance(what, BaseModel) else json.dumps(what)
                yield f"event: {kind}\ndata: {data}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")


def _choice(task: str) -> Choice:
    known = get_task(task)
    detail = read_config(locate_bundle(task)).settings.detail
    scale = known.scale / 2 if known.takes_bursts else known.scale
    return Choice(task=task, scale=scale, detail=detail)  # type: ignore[arg-type]  # checked by pydantic


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _photo(desk: Desk, photo: str) -> Photo:
    if photo not in desk.photos:
        raise HTTPException(404, f"There is no photo {photo}: it was removed, or belongs to another server.")
    return desk.photos[photo]


def _job(desk: Desk, job: str) -> Job:
    if job not in desk.jobs:
        raise HTTPException(404, f"There is no job {job}: it was removed, or belongs to another server.")
    return desk.jobs[job]


def _tile(folder: Path, level: int, row: int, column: int) -> Response:
    for suffix in (".jpg", ".png"):
        path = (folder / tile_name(level, row, column)).with_suffix(suffix)
        if path.is_file():
            return FileResponse(path, headers=_KEPT)
    raise HTTPException(404, "There is no such tile: it lies outside of the image, or is not made yet.")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _not_taken(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    await drain(request)
    return JSONResponse({"error": str(error)}, error.status)


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 422)


async def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(step) for step in first["loc"][1:]) or "body"
    return JSONResponse({"error": f"{place}: {first['msg']}; see /api for what is expected."}, 422)
