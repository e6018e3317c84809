"""Physical pixel sizes: micrometres per axis, whatever unit a file or a layer speaks of."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from napari_unet.errors import ConfigError

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
