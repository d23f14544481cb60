"""Which shipped bundle suits a photo of which nothing else is said, and what its state suggests beside that."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import Any

from dp_ir.image.picture.photo_facts import PhotoFacts

SMALL_PHOTO, LARGE_PHOTO = "photo", "clean"
"""The bundles that are chosen: four times larger, and at the photo's own size."""

LARGE = 2_000_000
"""Pixels above which a photo is large."""

CHOICES = {
    SMALL_PHOTO: f"photos of at most {LARGE / 1e6:g} megapixels are made four times larger (--task {SMALL_PHOTO}); "
    f"--task {LARGE_PHOTO} cleans them at their own size.",
    LARGE_PHOTO: f"photos of more than {LARGE / 1e6:g} megapixels are cleaned at their own size "
    f"(--task {LARGE_PHOTO}); --task {SMALL_PHOTO} makes them four times larger.",
}
"""What each choice means, and how to ask for the other."""


class ChoiceNote(UserWarning):
    """A bundle was chosen by the size of the photo."""


class AdviceNote(UserWarning):
    """The state of a photo speaks for another task than the one that was chosen."""


# The clearest tenth of sharp photos has less grain than this, and all but the faintest JPEG files more of a step.
_CLEAN_NOISE, _CLEAN_BLOCKINESS = 1.5 / 255, 0.2 / 255
_SHARP, _SOFT = 0.4, 0.28


def suited_bundle(width: int, height: int) -> str:
    """The name of the bundle for a photo of so many pixels."""
    return LARGE_PHOTO if width * height > LARGE else SMALL_PHOTO


def chosen_bundle(width: int, height: int) -> str:
    """The same, and what it means is said.

    Warns:
        ChoiceNote: which bundle is chosen, and how to ask for the other.
    """
    bundle = suited_bundle(width, height)
    warnings.warn(CHOICES[bundle], ChoiceNote, stacklevel=2)
    return bundle


def advice(facts: PhotoFacts) -> str:
    """One sentence that names another task where a photo's state speaks for it; empty where it does not."""
    if facts.fineness and facts.fineness < _SOFT:
        return (
            "It is soft, with no detail as fine as its pixels: --task deblur is for photos whose camera or subject "
            "moved; one that was enlarged before is better reduced first."
        )
    clean = facts.noise < _CLEAN_NOISE and facts.blockiness < _CLEAN_BLOCKINESS and facts.fineness > _SHARP
    if clean and suited_bundle(facts.width, facts.height) == SMALL_PHOTO:
        return "It is clean and sharp, as after a reduction by a program: --task sr4, which is made for such, is finer."
    return ""


def findings(facts: PhotoFacts) -> dict[str, Any]:
    """What is told to programs of a photo: its facts by their names, the "task" that suits it, and the "advice"."""
    return {**asdict(facts), "task": suited_bundle(facts.width, facts.height), "advice": advice(facts)}


def told_findings(name: str, facts: PhotoFacts) -> dict[str, Any]:
    """The same, and the advice, if any, is said.

    Args:
        name: of the photo.
        facts: about it.

    Warns:
        AdviceNote: the advice.
    """
    found = findings(facts)
    if found["advice"]:
        warnings.warn(f"{name}: {found['advice']}", AdviceNote, stacklevel=2)
    return found
