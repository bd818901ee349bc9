"""Doors to other programs: the command line, earlier import paths."""
