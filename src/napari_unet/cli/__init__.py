"""Floor 5: the command line ``napari-unet``; the same core as widgets and Python interface."""

from napari_unet.cli.main import main

__all__ = ["main"]
