from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import napari_unet as nu
from napari_unet.errors import FileProblemError, ImageError, LabelsError
from napari_unet.io.disk import write_csv
from napari_unet.objects.measurements import measure_objects

LABELS = np.zeros((20, 30), np.uint16)
LABELS[2:6, 3:13] = 4
LABELS[10:20, 20:25] = 9


def test_each_object_has_a_row_in_ascending_order() -> None:
    np.testing.assert_array_equal(measure_objects(LABELS)["index"], [4, 9])


def test_area_counts_pixels() -> None:
    np.testing.assert_array_equal(measure_objects(LABELS)["area"], [40, 50])


def test_the_centroid_is_the_middle() -> None:
    columns = measure_objects(LABELS)
    np.testing.assert_allclose(columns["centroid y"], [3.5, 14.5])
    np.testing.assert_allclose(columns["centroid x"], [7.5, 22])


def test_objects_at_the_border_are_marked() -> None:
    np.testing.assert_array_equal(measure_objects(LABELS)["border"], [False, True])


def test_a_scale_adds_physical_columns() -> None:
    columns = measure_objects(LABELS, scale=(0.5, 0.2), units=("micrometer", "micrometer"))
    np.testing.assert_allclose(columns["area (µm²)"], [4, 5])


def test_without_a_scale_there_are_no_physical_columns() -> None:
    columns = measure_objects(LABELS, scale=(1, 1), units=("pixel", "pixel"))
    assert not any("(" in name for name in columns)


def test_intensities_are_those_inside_the_object() -> None:
    image = np.zeros(LABELS.shape)
    image[LABELS == 4] = 7
    image[2, 3] = 47
    columns = measure_objects(LABELS, image)
    np.testing.assert_allclose(columns["mean intensity"], [8, 0])
    np.testing.assert_allclose(columns["max intensity"], [47, 0])
    np.testing.assert_allclose(columns["min intensity"], [7, 0])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_channel_has_columns_of_its_own(axis: int) -> None:
    image = np.stack([np.full(LABELS.shape, 1), np.full(LABELS.shape, 5)], axis=axis)
    columns = measure_objects(LABELS, image, axis)
    np.testing.assert_allclose(columns["mean intensity 0"], [1, 1])
    np.testing.assert_allclose(columns["mean intensity 1"], [5, 5])


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_channels_are_found_among_frames(axis: int) -> None:
    stack = np.stack([LABELS, np.where(LABELS > 0, LABELS + 10, 0)])
    image = np.stack([np.full(stack.shape, 1), np.full(stack.shape, 5)], axis=axis)
    columns = measure_objects(stack, image, axis)
    np.testing.assert_allclose(columns["mean intensity 1"], [5, 5, 5, 5])


def test_the_frame_of_each_object_is_told() -> None:
    stack = np.stack([LABELS, np.where(LABELS > 0, LABELS + 10, 0)])
    columns = measure_objects(stack)
    np.testing.assert_array_equal(columns["frame"], [0, 0, 1, 1])


def test_volumes_are_measured_in_three_dimensions() -> None:
    columns = measure_objects(
        np.stack([LABELS] * 3), scale=(2, 1, 1), units=("um",) * 3, spatial_ndim=3
    )
    np.testing.assert_array_equal(columns["volume"], [120, 150])
    np.testing.assert_allclose(columns["volume (µm³)"], [240, 300])
    np.testing.assert_allclose(columns["centroid z"], [1, 1])


def test_an_elongated_object_is_eccentric() -> None:
    columns = measure_objects(LABELS)
    assert columns["eccentricity"][0] > 0.8
    np.testing.assert_allclose(columns["solidity"], [1, 1])


def test_nothing_gives_empty_columns() -> None:
    columns = measure_objects(np.zeros((5, 5), np.uint8))
    assert {len(column) for column in columns.values()} == {0}


def test_a_mirrored_layer_has_no_negative_areas() -> None:
    columns = measure_objects(LABELS, scale=(-0.5, 0.2), units=("um", "um"))
    np.testing.assert_allclose(columns["area (µm²)"], [4, 5])


@pytest.mark.parametrize(
    ("scale", "units"),
    [
        ((0.5, 200), ("um", "nm")),
        ((5e-4, 2e-4), ("millimeter", "mm")),
        ((0.5, 0.2), ("micron",) * 2),
    ],
)
def test_whatever_unit_lengths_have_sizes_are_in_micrometres(
    scale: tuple[float, ...], units: tuple[str, ...]
) -> None:
    columns = measure_objects(LABELS, scale=scale, units=units)
    np.testing.assert_allclose(columns["area (µm²)"], [4, 5])
    assert [name for name in columns if "(" in name] == ["area (µm²)", "equivalent diameter (µm)"]


def test_a_length_beside_pixels_gives_no_physical_sizes() -> None:
    columns = measure_objects(LABELS, scale=(0.5, 2), units=("um", "pixel"))
    assert not any("(" in name for name in columns)


def test_a_linked_object_has_a_row_in_each_frame() -> None:
    frames = np.zeros((3, 20, 30), np.uint16)
    for frame, width in enumerate([4, 5, 6]):
        frames[frame, 2:6, 3 : 3 + width] = 7
    frames[1, 10:12, 10:12] = 3
    columns = measure_objects(frames, frames * 10)
    assert columns["index"].tolist() == [3, 7, 7, 7]
    assert columns["frame"].tolist() == [1, 0, 1, 2]
    assert columns["area"].tolist() == [4, 16, 20, 24]
    assert columns["centroid x"].tolist() == [10.5, 4.5, 5, 5.5]
    assert columns["mean intensity"].tolist() == [30, 70, 70, 70]
    assert len(columns["solidity"]) == 4


@pytest.mark.parametrize("axes", ["ZYX", "TYX", None])
def test_axes_say_what_is_a_frame(axes: str | None) -> None:
    columns = nu.measure(np.stack([LABELS] * 3), axes=axes)
    is_movie = axes == "TYX"
    assert ("frame" in columns, "volume" in columns) == (is_movie, not is_movie)
    assert len(columns["index"]) == (6 if is_movie else 2)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_channels_of_an_image_are_found(axis: int) -> None:
    image = np.stack([LABELS, LABELS * 2], axis=axis)
    assert nu.measure(LABELS, image)["mean intensity 1"].tolist() == [8, 18]


@pytest.mark.parametrize("axes", ["CYX", "YX", "XYZ"])
def test_axes_that_do_not_fit_are_refused(axes: str) -> None:
    with pytest.raises(LabelsError, match="cannot be measured; use YX, ZYX, TYX, TZYX"):
        nu.measure(np.stack([LABELS] * 3), axes=axes)


def test_huge_numbers_cost_nothing() -> None:
    columns = measure_objects(np.where(LABELS > 0, LABELS.astype(np.uint32) + 2**31, 0))
    np.testing.assert_array_equal(columns["area"], [40, 50])


def test_an_image_of_another_shape_is_refused_with_both_shapes() -> None:
    with pytest.raises(ImageError, match=r"\(3, 3\) does not match labels \(20, 30\)"):
        measure_objects(LABELS, np.zeros((3, 3)))


def test_too_few_axes_are_refused() -> None:
    with pytest.raises(LabelsError, match="too few axes"):
        measure_objects(LABELS, spatial_ndim=3)


@given(npst.arrays(np.uint8, npst.array_shapes(min_dims=2, max_dims=3), elements=st.integers(0, 4)))
def test_areas_add_up_to_the_labelled_pixels(labels: np.ndarray) -> None:
    columns = measure_objects(labels, labels)
    assert columns["area"].sum() == np.count_nonzero(labels)
    np.testing.assert_allclose(columns["mean intensity"], columns["index"])


def test_a_table_is_written_and_read(tmp_path: Path) -> None:
    write_csv(measure_objects(LABELS), tmp_path / "objects.csv")
    with (tmp_path / "objects.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["area"] for row in rows] == ["40", "50"]


def test_a_table_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match="Cannot write"):
        write_csv(measure_objects(LABELS), tmp_path / "missing" / "objects.csv")
    assert list(tmp_path.iterdir()) == []
