"""The image package: photographs in and out, with colour, orientation, transparency and bit depth kept."""

from dp_ir.image.files.headers import MAX_PIXELS
from dp_ir.image.files.reading import read_image
from dp_ir.image.files.writing import IMAGE_SUFFIXES, write_image
from dp_ir.image.picture.memory import from_array, from_pil, to_pil
from dp_ir.image.picture.picture import Picture, to_tensor, with_pixels
from dp_ir.image.picture.resize import resize_alpha

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "Picture",
    "from_array",
    "from_pil",
    "read_image",
    "resize_alpha",
    "to_pil",
    "to_tensor",
    "with_pixels",
    "write_image",
]
