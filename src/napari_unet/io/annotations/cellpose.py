"""Cellpose's ``_seg.npy``: the masks in it, without running the pickle that it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import FileProblemError
from napari_unet.io.annotations.pickled import array_in, items_in, look_into
from napari_unet.io.disk import megabytes, short_reason

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SEG_SUFFIX = "_seg.npy"
_LARGEST = 2**33  # bytes; images, masks and flows are all in it
_REMEDY = "In Cellpose save the masks as PNG/TIF (Ctrl+N or Ctrl+T), and open that"


def is_seg(path: Path) -> bool:
    """Return whether a file is named and begins like Cellpose's."""
    if not path.name.lower().endswith(SEG_SUFFIX):
        return False
    try:
        with path.open("rb") as file:
            return _is_one_object(file)
    except Exception:  # NumPy reads headers as Python's literals: damaged ones raise anything
        return False


def read_seg(path: Path) -> NDArray[np.integer[Any]]:
    """Read the masks of a ``_seg.npy``: ``YX`` or ``ZYX``, 0 background.

    A file that is damaged, or holds no masks of whole numbers, raises FileProblemError.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise ValueError(f"it has {megabytes(size)}")
        with path.open("rb") as file:
            if not _is_one_object(file):
                raise ValueError("it is an array, not what Cellpose writes")
            masks = _masks_in(look_into(file.read()))
    except Exception as error:  # see is_seg
        raise FileProblemError(
            f"Cannot read {path} as Cellpose's: {short_reason(error)}. {_REMEDY}."
        ) from error
    return masks


def _is_one_object(file: Any) -> bool:
    """Read the header of a NumPy file; return whether one pickled object follows."""
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        return False
    shape, _, dtype = read(file)
    return bool(dtype.hasobject and shape == ())


def _masks_in(found: Any) -> NDArray[np.integer[Any]]:
    items = items_in(found)
    content = items[0] if items and len(items) == 1 else None
    if not isinstance(content, dict) or "masks" not in content:
        raise ValueError("it holds no masks")
    masks = array_in(content["masks"])
    if masks is None:
        raise ValueError("its masks are no array of numbers")
    if masks.dtype.kind not in "biu" or masks.ndim not in (2, 3) or not masks.size:
        raise ValueError(f"its masks are {masks.dtype} of shape {masks.shape}")
    if masks.dtype.kind == "i" and masks.min() < 0:
        raise ValueError(f"a mask has the number {masks.min()}")
    return np.array(masks, masks.dtype.newbyteorder("=") if masks.dtype.kind != "b" else np.uint8)
