from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.data.axes import (
    SPATIAL_AXES,
    axes_beside_labels,
    check_axes,
    check_image,
    frame_axes,
    guess_axes,
    is_axes,
    usable_axes,
)
from napari_unet.data.frames import Frame, frames_of
from napari_unet.errors import ImageError, LabelsError


@pytest.mark.parametrize(
    ("shape", "ndim", "channels", "expected"),
    [
        ((40, 50), 2, 1, "YX"),
        ((7, 40, 50), 2, 1, "TYX"),
        ((7, 6, 40, 50), 2, 1, "TZYX"),
        ((40, 50, 3), 2, 3, "YXC"),
        ((40, 50, 3), 2, 1, "YXC"),
        ((3, 40, 50), 2, 3, "CYX"),
        ((7, 3, 40, 50), 2, 3, "TCYX"),
        ((7, 40, 50, 3), 2, 3, "TYXC"),
        ((40, 50, 1), 2, 1, "YXC"),
        ((96, 96, 2), 2, 1, "YXC"),
        ((96, 96, 2), 2, 2, "YXC"),
        ((20, 40, 50), 3, 1, "ZYX"),
        ((5, 20, 40, 50), 3, 1, "TZYX"),
        ((2, 20, 40, 50), 3, 2, "CZYX"),
    ],
    ids=str,
)
def test_axes_are_guessed_as_a_person_would(
    shape: tuple[int, ...], ndim: int, channels: int, expected: str
) -> None:
    assert guess_axes(shape, ndim, channels) == expected


def test_too_few_axes_are_refused() -> None:
    with pytest.raises(ImageError, match=r"3D network .*\(40, 50\)"):
        guess_axes((40, 50), 3, 1)


def test_too_many_axes_need_names() -> None:
    with pytest.raises(ImageError, match="needs its axes named"):
        guess_axes((2, 2, 2, 40, 50), 2, 1)


@pytest.mark.parametrize(
    ("image", "labels", "expected"),
    [
        ((40, 50), (40, 50), "YX"),
        ((40, 50, 3), (40, 50), "YXC"),
        ((3, 40, 50), (40, 50), "CYX"),
        ((7, 40, 50), (7, 40, 50), "TYX"),
        ((7, 2, 40, 50), (7, 40, 50), "TCYX"),
    ],
    ids=str,
)
def test_the_channel_axis_is_what_the_labels_lack(
    image: tuple[int, ...], labels: tuple[int, ...], expected: str
) -> None:
    assert axes_beside_labels(image, labels, 2)[0] == expected


@pytest.mark.parametrize("colours", [3, 4])
def test_labels_that_are_colours_are_refused(colours: int) -> None:
    with pytest.raises(LabelsError, match="look like colours"):
        axes_beside_labels((40, 50, colours), (40, 50, colours), 2)


@pytest.mark.fault(25)
def test_labels_of_another_shape_are_refused_with_both_shapes() -> None:
    with pytest.raises(LabelsError, match=r"Labels \(512, 512\) do not match image \(512, 513\)"):
        axes_beside_labels((512, 513), (512, 512), 2)


@pytest.mark.parametrize("axes", ["YX", "XY"])
def test_a_frame_is_read_as_yx_whatever_its_order(axes: str) -> None:
    image = np.arange(12).reshape(3, 4)
    frame = Frame(image if axes == "YX" else image.T, axes, 2)
    np.testing.assert_array_equal(frame.read((slice(1, 3), slice(0, 2)))[0], image[1:3, 0:2])


def test_frames_are_read_one_by_one_with_channels_first() -> None:
    image = np.arange(2 * 3 * 4 * 5).reshape(2, 4, 5, 3)
    frames = frames_of(image, "TYXC", 2)
    everything = (slice(None), slice(None))
    np.testing.assert_array_equal(frames[1].read(everything), image[1].transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), ()], ids=str)
def test_an_empty_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="The image is empty"):
        check_image(np.zeros(shape))


@pytest.mark.fault(18)
@pytest.mark.parametrize("dtype", [np.complex64, object, "U3"])
def test_a_type_that_is_no_grey_value_is_refused(dtype: type) -> None:
    with pytest.raises(ImageError, match="dtype"):
        check_image(np.zeros((3, 3), dtype))


@pytest.mark.parametrize("axes", ["YXQ", "YYX", "TYC", "YX"])
def test_axes_that_do_not_describe_the_image_are_refused(axes: str) -> None:
    with pytest.raises(ImageError, match=axes):
        frames_of(np.zeros((3, 4, 5)), axes, 2)


@st.composite
def named_axes(draw: st.DrawFn, ndim: int) -> str:
    """Any order of the spatial axes, with or without each other axis."""
    others = [axis for axis in "TCZYX" if axis not in SPATIAL_AXES[ndim]]
    extra = draw(st.lists(st.sampled_from(others), unique=True))
    return "".join(draw(st.permutations([*SPATIAL_AXES[ndim], *extra])))


@pytest.mark.parametrize("ndim", [2, 3])
@given(data=st.data())
def test_any_order_of_the_axes_is_read_as_channels_then_space(
    ndim: int, data: st.DataObject
) -> None:
    axes = data.draw(named_axes(ndim))
    sizes = {"T": 2, "C": 3, "Z": 4, "Y": 5, "X": 6}
    image = np.arange(np.prod([sizes[a] for a in axes])).reshape([sizes[a] for a in axes])
    order = frame_axes(axes, ndim) + ("C" if "C" in axes else "") + SPATIAL_AXES[ndim]
    expected = image.transpose([axes.index(axis) for axis in order])
    expected = expected.reshape(-1, sizes["C"] if "C" in axes else 1, *expected.shape[-ndim:])
    region = (slice(1, 4), slice(2, 5), slice(0, 6))[-ndim:]

    frames = frames_of(image, axes, ndim)

    assert len(frames) == len(expected)
    for frame, pixels in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.read(region), pixels[(slice(None), *region)])


def test_what_is_read_is_contiguous_float32() -> None:
    pixels = Frame(np.zeros((4, 5, 3), np.uint16), "XYC", 2).read((slice(0, 4), slice(0, 3)))
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous


def test_a_frame_knows_its_sizes_in_spatial_order() -> None:
    frame = Frame(np.zeros((4, 3, 5, 6)), "XCZY", 3)
    assert (frame.spatial_shape, frame.channels) == ((5, 6, 4), 3)


def test_splitting_into_frames_reads_no_pixel() -> None:
    class Unreadable:
        shape = (3, 4, 5)
        dtype = np.dtype(np.uint8)

        def __getitem__(self, key: Any, /) -> Any:
            raise AssertionError("a pixel was read")

    assert len(frames_of(Unreadable(), "TYX", 2)) == 3


def test_frames_come_in_row_major_order() -> None:
    frames = frames_of(np.zeros((2, 3, 4, 5)), "TZYX", 2)
    assert [frame.index for frame in frames] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


@settings(max_examples=200, deadline=None)
@given(
    shape=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    ndim=st.sampled_from([2, 3]),
    channels=st.integers(1, 12),
)
def test_a_guess_is_always_valid_or_refused(shape: list[int], ndim: int, channels: int) -> None:
    try:
        axes = guess_axes(shape, ndim, channels)
    except ImageError:
        return
    check_axes(axes, len(shape), ndim)


@given(ndim=st.sampled_from([2, 3]), bands=st.integers(1, 12), at_end=st.booleans())
def test_bands_of_the_number_that_the_network_takes_are_found(
    ndim: int, bands: int, at_end: bool
) -> None:
    space = (40, 50, 60)[-ndim:]
    shape = (*space, bands) if at_end else (bands, *space)
    if bands == 1 and not at_end:
        return  # looks like a single time point, and reads the same
    assert guess_axes(shape, ndim, bands).index("C") == (ndim if at_end else 0)


@pytest.mark.parametrize(
    ("image", "labels", "expected"),
    [
        ((9, 40, 50), (9, 40, 50), ("ZYX", "ZYX")),
        ((2, 9, 40, 50), (9, 40, 50), ("CZYX", "ZYX")),
        ((9, 40, 50, 3), (9, 40, 50), ("ZYXC", "ZYX")),
        ((4, 9, 40, 50), (4, 9, 40, 50), ("TZYX", "TZYX")),
    ],
    ids=str,
)
def test_labels_of_a_volume_have_its_axes(
    image: tuple[int, ...], labels: tuple[int, ...], expected: tuple[str, str]
) -> None:
    assert axes_beside_labels(image, labels, 3) == expected


@pytest.mark.parametrize(("labels", "ndim"), [((40,), 2), ((40, 50), 3), ((1, 2, 3, 4, 5), 2)])
def test_labels_of_too_few_or_too_many_axes_are_refused(labels: tuple[int, ...], ndim: int) -> None:
    with pytest.raises(LabelsError, match=f"{ndim}D network cannot learn from labels"):
        axes_beside_labels(labels, labels, ndim)


@pytest.mark.parametrize(
    ("text", "valid"), [("TCZYX", True), ("", True), ("YY", False), ("yx", False), ("QYX", False)]
)
def test_axes_are_capital_letters_each_at_most_once(text: str, valid: bool) -> None:
    assert is_axes(text) is valid


def test_chosen_channels_are_read_in_their_order() -> None:
    image = np.arange(3)[:, np.newaxis, np.newaxis] * np.ones((1, 4, 5))
    (frame,) = frames_of(image, "CYX", 2, used_channels=(2, 0))
    pixels = frame.read((slice(0, 4), slice(0, 5)))
    assert pixels[:, 0, 0].tolist() == [2, 0]
    assert frame.channels == 2


def test_a_channel_that_is_not_there_is_named() -> None:
    with pytest.raises(ImageError, match=r"Channels \[3\].*has 3"):
        frames_of(np.zeros((3, 4, 5)), "CYX", 2, used_channels=(3,))


@pytest.mark.parametrize(
    ("time", "seen"), [(0, [1, 0, 1]), (2, [1, 2, 3]), (3, [2, 3, 2])], ids=["first", "mid", "last"]
)
def test_a_window_sees_the_neighbours_in_time_mirrored_at_the_ends(
    time: int, seen: list[int]
) -> None:
    image = np.arange(4)[:, np.newaxis, np.newaxis] * np.ones((1, 4, 5))
    frame = frames_of(image, "TYX", 2, window=3)[time]
    assert frame.read((slice(0, 4), slice(0, 5)))[:, 0, 0].tolist() == seen


def test_a_window_without_time_is_refused() -> None:
    with pytest.raises(ImageError, match="no T axis"):
        frames_of(np.zeros((3, 4, 5)), "ZYX", 2, window=3)


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("axes", "ndim", "usable"),
    [
        pytest.param("TYX", 3, None, id="T for Z"),
        pytest.param("ZYX", 3, "ZYX", id="as they are"),
        pytest.param("ZYX", 2, "ZYX", id="planes"),
        pytest.param(None, 3, None, id="unknown"),
    ],
)
def test_the_axes_of_a_file_are_trusted_but_for_t_and_z(
    axes: str | None, ndim: int, usable: str | None
) -> None:
    assert usable_axes(axes, 3, ndim) == usable


def test_channels_are_not_taken_for_slices() -> None:
    with pytest.raises(ImageError, match="3D network needs the axes ZYX, not 'CYX'"):
        usable_axes("CYX", 3, 3)
