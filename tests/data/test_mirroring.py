from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.data.frames import Frame, mirrored_positions, read_mirrored


@given(size=st.integers(1, 12), before=st.integers(0, 60), after=st.integers(0, 60))
def test_positions_are_those_of_numpy_reflection(size: int, before: int, after: int) -> None:
    expected = np.pad(np.arange(size), (before, after), mode="reflect")
    np.testing.assert_array_equal(mirrored_positions(-before, size + after, size), expected)


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    start=st.tuples(st.integers(-20, 20), st.integers(-20, 20)),
    length=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_any_box_is_a_cut_of_the_mirrored_image(
    shape: tuple[int, int], start: tuple[int, int], length: tuple[int, int]
) -> None:
    image = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    stop = tuple(a + n for a, n in zip(start, length, strict=True))

    box = read_mirrored(Frame(image, "YX", 2), start, stop)[0]

    wide = np.pad(image, 50, mode="reflect")
    cut = tuple(slice(a + 50, b + 50) for a, b in zip(start, stop, strict=True))
    np.testing.assert_array_equal(box, wide[cut])


class Counting:
    """An image that notes how many pixels were asked for."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype, self.read = shape, np.dtype(np.uint8), 0

    def __getitem__(self, key: Any) -> Any:
        part = np.broadcast_to(np.uint8(1), self.shape)[key]
        self.read += part.size
        return part


def test_only_the_pixels_that_are_needed_are_read() -> None:
    image = Counting((10_000, 10_000))
    read_mirrored(Frame(image, "YX", 2), (-10, 5000), (20, 5030))
    assert image.read == 20 * 30


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("reach", [0, 1, 5, 1000], ids=lambda reach: f"reach {reach}")
def test_a_reach_of_many_periods_goes_on_mirroring(size: int, reach: int) -> None:
    expected = np.pad(np.arange(size), reach, mode="reflect")
    np.testing.assert_array_equal(mirrored_positions(-reach, size + reach, size), expected)


def test_a_single_pixel_is_its_own_mirror_image() -> None:
    frame = Frame(np.array([[7]]), "YX", 2)
    assert (read_mirrored(frame, (-3, 5), (4, 9)) == 7).all()


@pytest.mark.parametrize("axes", ["CZYX", "XZCY", "ZYXC"])
def test_a_volume_with_channels_is_mirrored_along_space_only(axes: str) -> None:
    image = np.random.default_rng(0).random((2, 3, 4, 5), dtype=np.float32)  # CZYX
    stored = image.transpose(["CZYX".index(axis) for axis in axes])

    box = read_mirrored(Frame(stored, axes, 3), (-7, -2, -9), (10, 6, 14))

    expected = np.pad(image, ((0, 0), (7, 7), (2, 2), (9, 9)), mode="reflect")
    np.testing.assert_array_equal(box, expected)


class Marking:
    """An image that marks which pixels were asked for."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype = shape, np.dtype(np.uint8)
        self.asked = np.zeros(shape, bool)

    def __getitem__(self, key: Any) -> Any:
        self.asked[key] = True
        return np.zeros(self.shape, np.uint8)[key]


@given(
    size=st.integers(1, 30),
    start=st.integers(-60, 60),
    length=st.integers(1, 40),
)
def test_exactly_the_span_of_the_mirrored_pixels_is_asked_for(
    size: int, start: int, length: int
) -> None:
    image = Marking((size, 1))
    read_mirrored(Frame(image, "YX", 2), (start, 0), (start + length, 1))
    needed = mirrored_positions(start, start + length, size)
    assert image.asked.sum() == needed.max() - needed.min() + 1
    assert image.asked[needed].all()
