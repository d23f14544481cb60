"""Photos as people have them, made four times larger."""

from dp_ir.tasks.photo.task import PHOTO

__all__ = ["PHOTO"]
