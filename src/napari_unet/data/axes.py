"""Axes of images: any layout outside, ``C[Z]YX`` inside; and how long a pixel is along them.

Axis letters: T time, C channel, Z, Y, X. Axes that are neither the channel nor spatial for the
network (T always, Z for a 2D network) are *frames*: they are looped over, lazily.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_unet.errors import ConfigError, ImageError, LabelsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPATIAL_AXES = {2: "YX", 3: "ZYX"}
_ALL_AXES = "TCZYX"
_NAMED = {"time": "T", "channel": "C", **{letter.lower(): letter for letter in _ALL_AXES}}
_FEW_CHANNELS = (2, 3, 4)  # as a last axis they are colours or channels: no image is so narrow
WITHOUT_TRANSPARENCY = "Transparency is left out: red, green and blue are used."

_PLANES = {"Z": "slices", "T": "timepoints"}
_MOST_COMMON = 5  # channels of a microscope; satellites have more, and so have misnamed stacks

Region = tuple[slice, ...]


class ArrayLike(Protocol):
    """What is asked of an image: NumPy, dask and Zarr arrays all have it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along the axes."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of the pixels."""
        ...

    def __getitem__(self, key: Any, /) -> Any: ...


def labels_beside(labels: NDArray[Any], shape: Sequence[int], axes: str) -> NDArray[Any]:
    """Bring labels to the shape of an image of these axes without its channels, where they fit.

    Axes of length 1 do not count: some programs write them, others leave them out.
    """
    wanted = without_channels(shape, axes)
    is_same = without_ones(labels.shape) == without_ones(wanted)
    return labels.reshape(wanted) if is_same else labels


def without_channels(shape: Sequence[int], axes: str) -> tuple[int, ...]:
    """Return the shape of the labels of an image of these axes."""
    return tuple(size for size, axis in zip(shape, axes, strict=False) if axis != "C")


def without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    """Leave out the axes of length 1."""
    return tuple(size for size in shape if size != 1)


def channels_of(shape: Sequence[int], axes: str) -> int:
    """Return the number of channels of an image; 1 where it has no channel axis."""
    return shape[axes.index("C")] if "C" in axes else 1


def check_image(array: ArrayLike) -> None:
    """Raise ImageError for what no network can read: no array, an empty one, or no real numbers."""
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        raise ImageError(
            f"A {type(array).__name__} is no image; give an array (NumPy, dask, Zarr), for example "
            "np.asarray of it."
        )
    if 0 in array.shape or not array.shape:
        raise ImageError(f"The image is empty: its shape is {tuple(array.shape)}.")
    kind = np.dtype(array.dtype).kind
    if kind not in "uifb":
        raise ImageError(
            f"Images of dtype {array.dtype} cannot be used; convert to integers or real numbers."
        )


def frame_axes(axes: str, ndim: int) -> str:
    """Return the letters of `axes` that are looped over: neither channel nor spatial."""
    return "".join(axis for axis in axes if axis not in "C" + SPATIAL_AXES[ndim])


def is_axes(text: str) -> bool:
    """Return whether a text names axes: letters of TCZYX, each at most once."""
    return len(set(text)) == len(text) and set(text) <= set(_ALL_AXES)


def axes_of_names(names: Iterable[object], ndim: int) -> str | None:
    """Return the letters of axes called "t" or "time", "z" and so on; None where one has none."""
    letters = "".join(_NAMED.get(str(name).lower(), "?") for name in names)
    usable = is_axes(letters) and len(letters) == ndim and {"Y", "X"} <= set(letters)
    return letters if usable else None


def parse_channels(text: str | None) -> tuple[int, ...]:
    """Read which channels to use: numbers from 0, as in ``0,2``; empty: all; else ConfigError."""
    parts = [part.strip() for part in text.split(",")] if text and text.strip() else []
    good = all(part.isascii() and part.isdigit() for part in parts)
    if not good or len(set(map(int, parts))) < len(parts):
        raise ConfigError(
            f"channels is {text!r}; give each channel's number once, counted from 0, as in 0,2."
        )
    return tuple(map(int, parts))


def usable_axes(axes: str | None, n_axes: int, ndim: int) -> str | None:
    """Return the axes that a file names where a network can read them, else None.

    Instruments often mistake Z for T, and call a stack a movie. Other axes that the network cannot
    read raise ImageError.
    """
    if axes is None:
        return None
    try:
        check_axes(axes, n_axes, ndim)
    except ImageError:
        if len(axes) == n_axes and "T" in axes and "Z" not in axes:
            return None
        raise
    return axes


def unusable_axes(axes: str | None, usable: str | None, ndim: int) -> tuple[str, ...]:
    """Return the notice that a file's axes were not trusted; nothing where `usable` has them."""
    if axes is None or usable is not None:
        return ()
    return (
        f"The file calls its axes {axes}; for a {ndim}D network T is taken for Z. If it is a "
        "movie, train in 2D.",
    )


def check_axes(axes: str, n_axes: int, ndim: int) -> None:
    """Raise ImageError for axes that do not describe `n_axes` axes for an `ndim` network."""
    if len(axes) != n_axes:
        raise ImageError(f"Axes {axes!r} name {len(axes)} axes, but the image has {n_axes}.")
    if not is_axes(axes):
        raise ImageError(f"Axes {axes!r} are not valid: use each of {_ALL_AXES} at most once.")
    missing = [axis for axis in SPATIAL_AXES[ndim] if axis not in axes]
    if missing:
        raise ImageError(f"A {ndim}D network needs the axes {SPATIAL_AXES[ndim]}, not {axes!r}.")


def guess_axes(shape: Sequence[int], ndim: int, channels: int) -> str:
    """Guess the axes of an image for a network of `ndim` spatial axes and `channels` channels.

    A colour image keeps its C axis even where `channels` is 1, so that the caller finds and names
    the mismatch. Too few or too many axes raise ImageError.
    """
    extra = len(shape) - ndim
    spatial = SPATIAL_AXES[ndim]
    frames = "TZYX"[: 4 - ndim]  # what may stand before the spatial axes
    if extra < 0:
        raise ImageError(
            f"A {ndim}D network cannot read an image with {len(shape)} axes of sizes "
            f"{tuple(shape)}."
        )
    has_channels = extra > 0 and (
        channels > 1
        or shape[-1] == 1
        or (shape[-1] in _FEW_CHANNELS and min(shape[-1 - ndim : -1]) > 4)
    )
    lead = extra - has_channels
    if lead > len(frames):
        raise ImageError(f"An image with {len(shape)} axes {tuple(shape)} needs its axes named.")
    prefix = frames[:lead]
    if not has_channels:
        return prefix + spatial
    for position in (len(shape) - 1, lead, 0):
        if shape[position] == channels:
            break
    else:
        position = len(shape) - 1 if shape[-1] in _FEW_CHANNELS else lead
    rest = prefix + spatial
    return rest[:position] + "C" + rest[position:]


def axes_in_doubt(axes: str, shape: Sequence[int], known: bool) -> str:
    """Return in words what painting on an image of these axes comes to, where that may be wrong.

    `known` says that somebody, or the file, has named them; colours, and a few channels that are
    named, are not doubted.
    """
    extra = [(letter, size) for letter, size in zip(axes, shape, strict=True) if letter in _PLANES]
    if not known and len(extra) == 1 and axes[-1] != "C":
        ((letter, size),) = extra
        return (
            f"{size} planes, taken for {_PLANES[letter]} because nothing names them: a new "
            f"annotation has {size} planes too. If they are channels or bands, choose CYX as Axes "
            "first, and one plane is painted for all."
        )
    channels = channels_of(shape, axes)
    if channels <= _MOST_COMMON or not axes.startswith("C"):
        return ""
    others = " or ".join(axes.replace("C", letter) for letter in _PLANES if letter not in axes)
    return (
        f"{channels} channels, so they are named: one plane is painted for all of them."
        + f" If they are slices or timepoints, choose {others} as Axes first." * bool(others)
    )


def axes_beside_labels(
    image_shape: Sequence[int], labels_shape: Sequence[int], ndim: int
) -> tuple[str, str]:
    """Return the axes of an image and of its labels, which have all but the channel axis.

    Shapes that do not belong together raise LabelsError.
    """
    image_shape, labels_shape = tuple(image_shape), tuple(labels_shape)
    labels_axes = {
        (2, 2): "YX",
        (3, 2): "TYX",
        (4, 2): "TZYX",
        (3, 3): "ZYX",
        (4, 3): "TZYX",
    }.get((len(labels_shape), ndim))
    if labels_axes is None:
        raise LabelsError(
            f"A {ndim}D network cannot learn from labels with {len(labels_shape)} axes "
            f"{labels_shape}."
        )
    if image_shape == labels_shape:
        if labels_shape[-1] in _FEW_CHANNELS and len(labels_shape) > ndim:
            raise LabelsError(
                f"Labels {labels_shape} look like colours; give one label number per pixel."
            )
        return labels_axes, labels_axes
    for position in reversed(range(len(image_shape))):
        if image_shape[:position] + image_shape[position + 1 :] == labels_shape:
            return labels_axes[:position] + "C" + labels_axes[position:], labels_axes
    raise LabelsError(
        f"Labels {labels_shape} do not match image {image_shape}; they must have the image's "
        "shape, without its channel axis."
    )


# --- Pixel sizes: micrometres per axis, whatever unit a file or a layer speaks of ----------------

PixelSize = Mapping[str, float]
"""Micrometres per axis letter of ``ZYX``; an axis of unknown size is left out."""

UNKNOWN_SIZE: PixelSize = MappingProxyType({})

_PREFIXES = {
    "": 1e6,
    "kilo": 1e9,
    "deci": 1e5,
    "centi": 1e4,
    "milli": 1e3,
    "micro": 1.0,
    "nano": 1e-3,
    "pico": 1e-6,
    "femto": 1e-9,
}
_WORDS = {
    **{f"{prefix}meter": factor for prefix, factor in _PREFIXES.items()},
    "micron": 1.0,
    "angstrom": 1e-4,
    "ångström": 1e-4,
    "inch": 25_400.0,
    "inche": 25_400.0,  # inches without its s
}
# Case counts: Mm would be a megametre.
_SYMBOLS = {
    "m": 1e6,
    "dm": 1e5,
    "cm": 1e4,
    "mm": 1e3,
    "µm": 1.0,
    "um": 1.0,
    "nm": 1e-3,
    "pm": 1e-6,
    "Å": 1e-4,
    "in": 25_400.0,
}


def micrometres(value: float, unit: str | None) -> float | None:
    r"""Convert a length to micrometres; None if the unit is no length or the value not positive.

    Units are spelled as OME, ImageJ, NGFF or pint write them: ``nm``, ``µm``, ``\u00B5m`` with the
    backslash, ``micron``, ``micrometre``, ``inch`` and so on.

    Examples
    --------
    >>> micrometres(65.0, "nm")
    0.065
    >>> micrometres(1.0, "pixel")
    """
    factor = _micrometres_of(unit or "")
    if factor is None or not (math.isfinite(value) and value > 0):
        return None
    return float(f"{value * factor:.12g}")  # 65 nm are 0.065, not 0.06500000000000002


def known_sizes(lengths: Mapping[str, tuple[float, str | None]]) -> dict[str, float]:
    """Return the micrometres of each axis whose length, value and unit, is one."""
    sizes = {axis: micrometres(value, unit) for axis, (value, unit) in lengths.items()}
    return {axis: size for axis, size in sizes.items() if size is not None}


def _micrometres_of(unit: str) -> float | None:
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), unit).strip()
    text = text.replace("\N{GREEK SMALL LETTER MU}", "µ").replace("\N{ANGSTROM SIGN}", "Å")
    if text in _SYMBOLS:
        return _SYMBOLS[text]
    word = text.lower().replace("metre", "meter")
    return _WORDS.get(word, _WORDS.get(word.removesuffix("s")))


def check_pixel_size(pixel_size: object) -> None:
    """Raise ConfigError for anything but a mapping of Z, Y and X to positive numbers."""
    good = isinstance(pixel_size, Mapping) and all(
        letter in ("Z", "Y", "X")
        and isinstance(size, int | float | np.floating)
        and 0 < size < math.inf
        for letter, size in pixel_size.items()
    )
    if not good:
        raise ConfigError(
            f"pixel_size is {pixel_size!r}; give micrometres by axis letter, for example "
            '{"Y": 0.5, "X": 0.5}.'
        )


def size_along(axes: str, pixel_size: PixelSize) -> dict[str, float]:
    """Leave out the sizes of axes that an image does not have.

    Examples
    --------
    >>> size_along("TYX", {"Z": 1.0, "Y": 0.5, "X": 0.5})
    {'Y': 0.5, 'X': 0.5}
    """
    return {axis: pixel_size[axis] for axis in "ZYX" if axis in axes and axis in pixel_size}


def layer_placement(axes: str | None, pixel_size: PixelSize) -> dict[str, Any]:
    """Return scale, units and axis labels of a layer of napari; nothing of unknown axes."""
    if not axes:
        return {}
    return {
        "scale": [pixel_size.get(axis, 1.0) for axis in axes],
        "units": ["um" if axis in pixel_size else "pixel" for axis in axes],
        "axis_labels": [axis.lower() for axis in axes],
    }
