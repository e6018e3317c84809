"""The command line ``napari-unet``: the same core as the widgets and the Python interface."""

from napari_unet.cli.main import main

__all__ = ["main"]
