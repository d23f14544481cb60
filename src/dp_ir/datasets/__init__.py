"""Folders of images as pairs of an observation and its true image: published layouts, pairing, opening.

Here belongs what finds and reads the images that training and evaluation use. How an image file is decoded belongs to
`dp_ir.image`, how an observation is made to `dp_ir.degradation`.
"""

from dp_ir.datasets.layouts import load_rgb
from dp_ir.datasets.opening import open_dataset, open_datasets
from dp_ir.datasets.pairing import find_images
from dp_ir.datasets.pairs import ImageFiles, ImagePair, PairedImages

__all__ = ["ImageFiles", "ImagePair", "PairedImages", "find_images", "load_rgb", "open_dataset", "open_datasets"]
