"""One module a file format, with the parts that it is made of."""
