"""What the server keeps of photos and of their restorations: its answers, and the records on the disk."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

TaskName = Literal["photo", "clean", "sr4", "deblur", "burst"]
"""The shipped bundles that the page offers, by the names of their tasks."""

Layer = Literal["restored", "image", "full", "unsure"]
"""What the page shows of a result: detail 0, the file's own, detail 1, and how much samples differ."""

Share = Annotated[float, Field(ge=0, le=1)]
Identity = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]


class Photo(BaseModel):
    """A photo that was uploaded, or a burst of frames."""

    id: Identity
    number: int = Field(description="Photos are kept in the order in which they came.")
    name: str = Field(description="Of the file as it was uploaded; of a burst, of its first frame.")
    burst: bool = False
    frames: int = 1
    bytes: int = 0
    width: int | None = Field(default=None, description="Pixels as the photo is shown; None until it was looked at.")
    height: int | None = None
    task: TaskName = Field(description="What suits its size, and is taken unless another is asked for.")
    advice: str = Field(default="", description="Another task that its state speaks for, in words.")
    levels: int = Field(default=0, description="Of the tiles to show it by; 0 until it was looked at.")
    reason: str = Field(default="", description="Why it cannot be restored; empty where it can.")


class Wish(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(extra="forbid")

    photo: Identity
    task: TaskName | None = Field(default=None, description="What is wrong with it; by default what suits its size.")
    detail: Share | None = Field(default=None, description="How much detail is made up; by default the bundle's own.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    scale: Annotated[float, Field(gt=0, le=8)] | None = Field(
        default=None, description="Sides, relative to the photo's."
    )


class Job(BaseModel):
    """A restoration, from the queue to its file."""

    id: Identity
    number: int
    photo: Identity
    task: TaskName
    detail: float
    seed: int = 0
    scale: float | None = None
    state: Literal["queued", "running", "done", "failed", "cancelled"] = "queued"
    share: float = Field(default=0.0, description="Of the work that is done, 0 to 1.")
    seconds: float = Field(default=0.0, description="That it has taken so far.")
    reason: str = ""
    notes: list[str] = Field(default_factory=list, description="What was said meanwhile, such as metadata left out.")
    result: str = Field(default="", description="Name of the file.")
    bytes: int = 0
    width: int = 0
    height: int = 0
    layers: list[Layer] = []
    levels: int = 0
    spread: Literal["", "queued", "running", "done", "failed"] = Field(
        default="", description="Further samples, for the layers full and unsure."
    )
    command: str = Field(default="", description="The command line that makes the same file.")


class View(BaseModel):
    """The part of a photo that is to be restored at once."""

    model_config = ConfigDict(extra="forbid")

    photo: Identity
    task: TaskName | None = None
    detail: Share | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    x: Share = Field(default=0.5, description="Its centre, as a share of the width.")
    y: Share = Field(default=0.5, description="Its centre, as a share of the height.")
    width: Annotated[int, Field(ge=16, le=1024)] = Field(default=640, description="Pixels of the result.")
    height: Annotated[int, Field(ge=16, le=1024)] = 480
    full: bool = Field(default=False, description="Give detail 1, too, which takes longer.")


class Everything(BaseModel):
    """All photos and jobs, in their order."""

    photos: list[Photo]
    jobs: list[Job]


class Choice(BaseModel):
    """A task of the page."""

    task: TaskName
    scale: float = Field(description="How many times larger a result is than the photo.")
    detail: float = Field(description="The default of the dial.")


class About(BaseModel):
    """What this server is and what it takes."""

    version: str
    tasks: list[Choice]
    max_bytes: int
    max_photos: int
    max_pixels: int


class Problem(BaseModel):
    """Why something was refused: one sentence."""

    error: str
