from __future__ import annotations

import numpy as np
import pytest

from napari_unet.data.axes import check_pixel_size, micrometres, size_along
from napari_unet.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (65, "nm", 0.065),
        (65, "nanometer", 0.065),
        (65, "nanometre", 0.065),
        (65, "nanometers", 0.065),
        (0.5, "µm", 0.5),
        (0.5, "\N{GREEK SMALL LETTER MU}m", 0.5),
        (0.5, r"\u00B5m", 0.5),
        (0.5, "um", 0.5),
        (0.5, "micron", 0.5),
        (0.5, "microns", 0.5),
        (0.5, " Micrometer ", 0.5),
        (0.002, "mm", 2.0),
        (1e-5, "cm", 0.1),
        (2e-6, "meter", 2.0),
        (1e-4, "inch", 2.54),
        (1e-4, "inches", 2.54),
        (20, "\N{ANGSTROM SIGN}", 0.002),
        (20, "angstrom", 0.002),
    ],
)
def test_a_length_becomes_micrometres(value: float, unit: str, expected: float) -> None:
    assert micrometres(value, unit) == expected


@pytest.mark.parametrize("unit", ["pixel", "pixels", "", None, "dimensionless", "Mm", "second"])
def test_what_is_no_length_is_unknown(unit: str | None) -> None:
    assert micrometres(1.0, unit) is None


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_length_that_cannot_be_is_unknown(value: float) -> None:
    assert micrometres(value, "µm") is None


def test_sizes_of_axes_that_are_not_there_are_left_out() -> None:
    assert size_along("TYX", {"Z": 1.0, "Y": 0.5}) == {"Y": 0.5}


@pytest.mark.parametrize(
    "pixel_size",
    [(1, 1), {"Y": 0}, {"Y": -1.0}, {"T": 1.0}, {"X": "a"}, {"X": float("nan")}],
    ids=str,
)
def test_what_is_no_pixel_size_is_refused_with_an_example(pixel_size: object) -> None:
    with pytest.raises(ConfigError, match="give micrometres by axis letter"):
        check_pixel_size(pixel_size)


def test_numpy_numbers_are_pixel_sizes() -> None:
    check_pixel_size({"Y": np.float32(0.5), "X": 1})
