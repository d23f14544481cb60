"""The training floor."""
