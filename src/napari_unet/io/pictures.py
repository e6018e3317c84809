"""PNG, JPEG, JPEG 2000 and BMP files.

PNGs by Pillow's reader of that format alone: others of its readers start programs. The others by
imagecodecs, once they have stated their size.
"""

from __future__ import annotations

import contextlib
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import WITHOUT_TRANSPARENCY
from napari_unet.errors import FileProblemError
from napari_unet.io.limits import check_fits_memory
from napari_unet.io.unpacking import jpeg_2000_size, jpeg_size

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.data.axes import PixelSize

# What Pillow calls the pixels of PNGs that it would cut to 8 bits.
_DEEP_COLOURS = ("RGB;16B", "RGBA;16B", "LA;16B")
_MOST_PACKED = 1100  # bytes into one: deflate packs 1,032 to 1
_DEPTH_AT = 24  # in the file: how many bits a number has
JPEG_SUFFIXES = (".jpg", ".jpeg")
PICTURE_SUFFIXES = (".png", *JPEG_SUFFIXES, ".jp2", ".j2k", ".bmp")
# Opacity, plain and premultiplied, among the types of a channel of JPEG 2000.
_OPACITY = (1, 2)


def read_picture(path: Path) -> tuple[NDArray[Any], str, PixelSize, tuple[str, ...]]:
    """Read a picture: pixels without transparency, their axes, no pixel size, and a notice of it.

    JPEG 2000 may have any number of channels; of 8 bits, or of more as uint16.
    """
    suffix = path.suffix.lower()
    if suffix == ".png":
        return _read_png(path)
    import imagecodecs  # on use: windows open without it

    data = path.read_bytes()
    if suffix in JPEG_SUFFIXES:
        check_fits_memory(path, jpeg_size(data), np.uint8)
        if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
            raise ValueError("its end is missing")  # decoded as far as it goes, the rest is grey
        array = imagecodecs.jpeg8_decode(data)
        if array.shape[2:] == (4,):
            raise ValueError("its colours are those of a printer, CMYK; save it as RGB")
    elif suffix == ".bmp":
        check_fits_memory(path, (*_bmp_size(data), 3), np.uint8)
        array = imagecodecs.bmp_decode(data)
    else:
        check_fits_memory(path, jpeg_2000_size(data), np.uint16)
        array = imagecodecs.jpeg2k_decode(data)
    notices: tuple[str, ...] = ()
    if suffix not in (*JPEG_SUFFIXES, ".bmp") and _ends_in_opacity(data):
        array, notices = array[..., :-1], (WITHOUT_TRANSPARENCY,)
    array = array[..., 0] if array.shape[2:] == (1,) else array
    return array, "YXC" if array.ndim == 3 else "YX", {}, notices


def check_keeps_numbers(path: Path) -> None:
    """Refuse, by FileProblemError, labels in a file that cannot hold them."""
    if path.suffix.lower() in JPEG_SUFFIXES:
        raise FileProblemError(
            f"{path} is a JPEG, which changes numbers a little when it packs them: labels are lost "
            "in it. Save them as PNG or TIFF."
        )


def _bmp_size(data: bytes) -> tuple[int, int]:
    if data[:2] != b"BM":
        raise ValueError("it is no BMP")
    sizes = struct.unpack_from("<HH" if data[14] == 12 else "<ii", data, 18)
    return abs(sizes[0]), abs(sizes[1])


def _ends_in_opacity(data: bytes) -> bool:
    """Return whether JPEG 2000 says, ahead of its pixels, that the last channel is transparency."""
    at = data.find(b"cdef", 0, data.find(b"\xff\x4f\xff\x51"))
    if at < 0:
        return False
    (count,) = struct.unpack_from(">H", data, at + 4)
    kinds = dict(struct.unpack_from(">HH", data, at + 6 + 6 * n) for n in range(count))
    return kinds.get(count - 1) in _OPACITY


def _read_png(path: Path) -> tuple[NDArray[Any], str, PixelSize, tuple[str, ...]]:
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
