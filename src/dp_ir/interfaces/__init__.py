"""The interfaces floor."""
