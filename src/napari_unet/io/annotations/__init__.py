"""Annotations and objects in files of other programs."""
