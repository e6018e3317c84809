"""Memory of a prediction beside the loaded process, for images of two sizes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import subject
import tifffile
from figures import Figure, Options
from scale import PeakMemory

from napari_unet.io.files import read_image

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEGABYTE = 2**20


def measure(options: Options) -> Iterator[Figure]:
    """Predict from file to file, after a first prediction has loaded all code."""
    model = subject.trained_model()
    model.predict(subject.image_of(256))
    sizes = (512, 1024) if options.quick else (2048, 4096)
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            path = Path(folder) / f"{size}.tif"
            tifffile.imwrite(path, subject.image_of(size), tile=(512, 512))
            with PeakMemory() as memory:
                pixels = read_image(path).array
                model.predict_to_zarr(pixels, Path(folder) / f"{size}.zarr")
            added = memory.added / _MEGABYTE
            what = f"objects of {size} x {size}, from file to file: added memory"
            yield Figure.at_most(what, added, "MB", 600)
        image = subject.image_of(sizes[-1])
        with PeakMemory() as memory:
            model.predict(image)
        what = f"objects of {sizes[-1]} x {sizes[-1]}, in memory with the result: added memory"
        yield Figure.at_most(what, memory.added / _MEGABYTE, "MB", 600)
