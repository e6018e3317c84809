"""Label images that may be no label images: one number for many pieces, or grey values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.labels import bands_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of so many pixels side by side that are labelled most differ in a grey image, few in labels.
_GREY_SHARE, _GREY_PAIRS, _LOOKED_AT = 0.3, 100, 2**20


def oddity_of(labels: NDArray[Any], one_by_one: bool) -> str:
    """Return in words why an image may be no label image; empty where it may well be one.

    `one_by_one`: each number is to be one object, and 0 the background.

    Examples
    --------
    >>> oddity_of(np.array([[255, 0, 255]], np.uint8), one_by_one=True)
    'one number, 255, covers 2 separate pieces: this is no instance mask'
    """
    if _looks_grey(labels):
        return "most pixels side by side hold different numbers: this looks like a grey image"
    number = _only_number(labels) if one_by_one else 0
    pieces = int(_pieces(labels).max()) if number else 0
    if pieces < 2:
        return ""
    return f"one number, {number}, covers {pieces} separate pieces: this is no instance mask"


def label_pieces(labels: NDArray[Any]) -> NDArray[Any]:
    """Give numbers to the connected pieces of a mask that has one number; leave others as they are.

    Examples
    --------
    >>> label_pieces(np.array([255, 0, 255], np.uint8)).tolist()
    [1, 0, 2]
    """
    return _pieces(labels) if _only_number(labels) else labels


def _pieces(labels: NDArray[Any]) -> NDArray[np.int32]:
    from scipy.ndimage import label

    pieces: NDArray[np.int32] = label(labels > 0)[0]
    return pieces


def _only_number(labels: NDArray[Any]) -> int:
    """Return the one number besides 0; 0 where there are several, or none."""
    largest = int(labels.max(initial=0))
    several = any(((band > 0) & (band != largest)).any() for _, band in bands_of(labels))
    return 0 if several else largest


def _looks_grey(labels: NDArray[Any]) -> bool:
    pairs = differing = looked_at = 0
    for _, band in bands_of(labels):
        here, after = band[..., :-1], band[..., 1:]
        labelled = (here > 0) & (after > 0)
        pairs += int(np.count_nonzero(labelled))
        differing += int(np.count_nonzero(labelled & (here != after)))
        looked_at += band.size
        if looked_at > _LOOKED_AT:
            break
    return pairs >= _GREY_PAIRS and differing > _GREY_SHARE * pairs
