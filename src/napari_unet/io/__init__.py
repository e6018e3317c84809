"""Floor 2: images on disk (TIFF, Zarr, OME-Zarr) and annotations of other programs; no torch."""
