"""Restorations and denoisers for other libraries, and theirs for this one: diffusers and deepinv."""
