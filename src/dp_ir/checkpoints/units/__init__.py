"""Measuring of the units, range and noise levels that a network expects, where nothing says them."""
