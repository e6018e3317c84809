"""Tests of ``napari_unet.io``; a package of that name here would hide Python's own."""
