"""Which models there are: an index of ids over folders of files. Imports no torch."""
