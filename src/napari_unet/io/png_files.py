"""PNG files, by Pillow's reader of that format alone: others of its readers start programs."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import WITHOUT_TRANSPARENCY
from napari_unet.io.limits import check_fits_memory

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.data.axes import PixelSize

# What Pillow calls the pixels of PNGs that it would cut to 8 bits.
_DEEP_COLOURS = ("RGB;16B", "RGBA;16B", "LA;16B")
_MOST_PACKED = 1100  # bytes into one: deflate packs 1,032 to 1
_DEPTH_AT = 24  # in the file: how many bits a number has


def read_png(path: Path) -> tuple[NDArray[Any], str, PixelSize, tuple[str, ...]]:
    """Read a PNG: pixels without transparency, their axes, no pixel size, and a notice of it."""
    # Not by Image.open, which takes large images for an attack and calls them damaged.
    from PIL.PngImagePlugin import PngImageFile  # on use: windows open without it

    with PngImageFile(path) as picture:
        _check_claim(path, picture)
        deep_colours = str(picture.tile[0][3]) in _DEEP_COLOURS
        array = _deep(path) if deep_colours else np.asarray(_opaque(picture))
        notices = (WITHOUT_TRANSPARENCY,) if picture.mode in ("RGBA", "LA") else ()
    return array, "YXC" if array.ndim == 3 else "YX", {}, notices


def indices_of_palette(path: Path) -> NDArray[Any] | None:
    """Return the numbers of a PNG that has a palette, not the colours; None of others."""
    from PIL.PngImagePlugin import PngImageFile

    with contextlib.suppress(OSError, SyntaxError, ValueError), PngImageFile(path) as picture:
        if picture.mode == "P":
            _check_claim(path, picture)
            return np.asarray(picture)
    return None


def _check_claim(path: Path, picture: Any) -> None:
    """Refuse what claims more pixels than compression packs into its file, or than memory holds."""
    pixels, size, bands = math.prod(picture.size), path.stat().st_size, len(picture.getbands())
    with path.open("rb") as file:
        depth = file.read(_DEPTH_AT + 1)[_DEPTH_AT]
    if pixels * bands * depth > 8 * _MOST_PACKED * size:
        raise ValueError(f"its {size} bytes claim {pixels} pixels")
    bands = 3 if picture.mode == "P" else bands  # read as colours
    check_fits_memory(path, (*picture.size, bands), np.uint16 if depth == 16 else np.uint8)


def _opaque(picture: Any) -> Any:
    if picture.mode in ("P", "RGBA"):
        return picture.convert("RGB")
    return picture.convert("L") if picture.mode == "LA" else picture


def _deep(path: Path) -> NDArray[Any]:
    """Read a PNG of 16 bits a colour, of which Pillow keeps 8; without transparency."""
    import imagecodecs

    array: NDArray[Any] = imagecodecs.png_decode(path.read_bytes())
    return array[..., 0] if array.shape[-1] == 2 else array[..., :3]
