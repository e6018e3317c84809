"""Numbers that describe objects."""

from __future__ import annotations

import numpy as np
import pytest

from napari_unet.objects.description import describe_objects
from napari_unet.objects.measurements import measure_objects


def squares(*sides: int) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    labels = np.zeros((40, 40 * len(sides)), np.int32)
    for number, side in enumerate(sides, start=1):
        labels[10 : 10 + side, 40 * number - 30 : 40 * number - 30 + side] = number
    return labels


def test_rows_are_those_of_the_measurements() -> None:
    labels = np.stack([squares(4, 6), np.roll(squares(4, 6), 3, axis=0) * 7])
    described, measured = describe_objects(labels), measure_objects(labels)
    for name in ("index", "frame"):
        assert described[name].tolist() == measured[name].tolist()


def test_length_and_width_are_those_of_a_rectangle_s_ellipse() -> None:
    labels = np.zeros((40, 60), int)
    labels[5:15, 10:50] = 1
    described = describe_objects(labels)
    assert described["roundness"] == pytest.approx([0.25])
    assert described["length"] == pytest.approx([40 * 2 / np.sqrt(3)], rel=0.01)


def test_lengths_of_flat_voxels_are_in_pixels_along_x() -> None:
    labels = np.zeros((8, 24, 24), int)
    labels[2:6, 4:20, 4:20] = 1  # a cube, where slices lie four pixels apart
    described = describe_objects(labels, scale=(2.0, 0.5, 0.5), spatial_ndim=3)
    assert described["roundness"] == pytest.approx([1])
    assert described["size"] == pytest.approx([16**3])


def test_finer_grain_is_rougher_at_one_pixel() -> None:
    labels, image = squares(16, 16), np.zeros((40, 80))
    rows, columns = np.mgrid[:40, :80]
    image[:, :40] = (rows + columns)[:, :40] % 2
    image[:, 40:] = ((rows // 4 + columns // 4) % 2)[:, 40:]
    fine, coarse = describe_objects(labels, image)["roughness 1"]
    assert fine > 2 * coarse


def test_texture_does_not_depend_on_brightness_and_contrast() -> None:
    labels, image = squares(16), np.random.default_rng(0).normal(size=(40, 40))
    one, other = describe_objects(labels, image), describe_objects(labels, 300 + 7 * image)
    for name in ("roughness 1", "roughness 4", "stripes 2", "skewness", "peaks"):
        assert one[name] == pytest.approx(other[name])


def test_what_lies_outside_of_objects_is_no_texture() -> None:
    labels, image = squares(16), np.random.default_rng(0).normal(size=(40, 40))
    other = np.where(labels > 0, image, 1000.0)
    one, changed = describe_objects(labels, image), describe_objects(labels, other)
    assert changed["roughness 2"] == pytest.approx(one["roughness 2"])
    assert changed["contrast to outside"] < -900


def test_neighbours_are_counted_and_their_distance_is_measured() -> None:
    labels = np.zeros((60, 200), int)
    for number, left in enumerate((10, 25, 150), start=1):
        labels[20:30, left : left + 10] = number
    described = describe_objects(labels)
    assert described["neighbours"].tolist() == [1, 1, 0]
    assert described["neighbour distance"].tolist() == [15, 15, 125]


def test_each_channel_is_described() -> None:
    labels, image = squares(8, 8), np.zeros((40, 80, 3))
    image[..., 2] = labels
    described = describe_objects(labels, image, channel_axis=2)
    assert described["mean intensity 2"].tolist() == [1, 2]
    assert {"roughness 1 0", "roughness 1 1", "roughness 1 2"} <= set(described)


def test_every_image_is_described_by_the_same_columns() -> None:
    empty, one, many = np.zeros((40, 40), int), squares(5), squares(*[4] * 9)
    images = [np.zeros(each.shape) for each in (empty, one, many)]
    described = [describe_objects(*each) for each in zip((empty, one, many), images, strict=True)]
    assert list(described[0]) == list(described[1]) == list(described[2])
    assert len(described[0]["index"]) == 0


def test_pixels_that_are_no_numbers_make_their_object_unknown_and_no_other() -> None:
    labels, image = squares(8, 8), np.ones((40, 80))
    image[12, 12] = np.nan
    assert np.isnan(describe_objects(labels, image)["mean intensity"]).tolist() == [True, False]
