"""Weight files that others wrote: what they wrap the weights in, and which network these are of."""
