"""Keys of what this plugin keeps in the metadata of layers."""

from __future__ import annotations

# Marks what the plugin has made: predictions, uncertainty, weights. Not offered to paint in.
METADATA_KEY = "napari-unet-paint"
