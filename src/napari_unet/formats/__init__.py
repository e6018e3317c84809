"""Annotations and objects in the files of other programs. Nothing that is read is run."""
