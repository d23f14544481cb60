"""Restorations from disk to disk, for images that do not fit into memory."""
