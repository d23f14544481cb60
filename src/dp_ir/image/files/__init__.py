"""Reading and writing of files, whatever their format: which it is, what it announces, and whole or streamed."""
