"""Restorations of files: what to make of which input and where (plan), who makes it (worker), what is done (resume)."""
