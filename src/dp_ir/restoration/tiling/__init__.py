"""Networks that run in overlapping tiles inside of the diffusion: windows, their size, and what runs in them."""
