"""How observations come about from clean images."""

from dp_ir.degradation.bicubic import imresize

__all__ = ["imresize"]
