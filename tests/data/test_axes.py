from __future__ import annotations

import numpy as np
import pytest

from napari_unet.data.axes import (
    Frame,
    axes_beside_labels,
    check_image,
    frames_of,
    guess_axes,
)
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


@pytest.mark.parametrize("dtype", [np.complex64, object, "U3"])
def test_a_type_that_is_no_grey_value_is_refused(dtype: type) -> None:
    with pytest.raises(ImageError, match="dtype"):
        check_image(np.zeros((3, 3), dtype))


@pytest.mark.parametrize("axes", ["YXQ", "YYX", "TYC", "YX"])
def test_axes_that_do_not_describe_the_image_are_refused(axes: str) -> None:
    with pytest.raises(ImageError, match=axes):
        frames_of(np.zeros((3, 4, 5)), axes, 2)
