from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_unet.objects.limits import Limits
from napari_unet.objects.separation import separate_objects, without_unsure
from napari_unet.tasks import ClassTable, target_of


def two_squares(bridge: float) -> NDArray[np.float32]:
    """Two squares with a ridge of one pixel between them, of the given probability."""
    foreground = np.zeros((20, 31), np.float32)
    foreground[4:16, 4:27] = 1.0
    foreground[4:16, 15] = bridge
    return foreground


def test_objects_parted_by_a_ridge_come_back_apart() -> None:
    assert separate_objects(two_squares(0.0)).max() == 2


def test_they_grow_back_over_the_ridge() -> None:
    assert (separate_objects(two_squares(0.0))[5:15, 4:27] > 0).all()


def test_outer_borders_do_not_grow() -> None:
    labels = separate_objects(two_squares(0.0))
    labels[4:16, 4:27] = 0
    assert not labels.any()


def test_a_weak_ridge_still_splits_at_a_higher_threshold() -> None:
    assert separate_objects(two_squares(0.6)).max() == 2


def test_a_dent_of_little_depth_does_not_split() -> None:
    assert separate_objects(two_squares(0.97)).max() == 1


def test_a_crumb_does_not_split_the_whole() -> None:
    foreground = two_squares(1.0)
    foreground[4:16, 22:27] = 0.7  # leaves a crumb of certainty beyond a doubtful stripe
    foreground[8:10, 25:27] = 1.0
    assert separate_objects(foreground).max() == 1


def test_debris_is_dropped() -> None:
    foreground = two_squares(0.0)
    foreground[0, 0:3] = 1.0
    assert separate_objects(foreground, smallest=4).max() == 2


def test_objects_are_numbered_without_gaps() -> None:
    foreground = two_squares(0.0)
    foreground[0, 0] = 1.0
    numbers = np.unique(separate_objects(foreground, smallest=4))
    assert numbers.tolist() == [0, 1, 2]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 5), (4, 5, 6)], ids=str)
def test_an_empty_image_has_no_object(shape: tuple[int, ...]) -> None:
    labels = separate_objects(np.zeros(shape, np.float32))
    assert labels.shape == shape
    assert not labels.any()


def test_an_image_full_of_foreground_is_one_object() -> None:
    assert (separate_objects(np.ones((9, 9), np.float32)) == 1).all()


def test_diagonal_neighbours_are_not_joined() -> None:
    foreground = np.zeros((8, 8), np.float32)
    foreground[:4, :4] = foreground[4:, 4:] = 1.0
    assert separate_objects(foreground).max() == 2


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_perfect_answer_gives_back_touching_objects(ndim: int) -> None:
    labels = np.zeros((12,) * ndim, np.uint8)
    labels[2:6] = 2
    labels[6:10] = 3
    target = target_of(labels, ClassTable("objects", "unlabelled"))

    found = separate_objects((target.classes == 1).astype(np.float32))

    assert found.max() == 2
    np.testing.assert_array_equal(found > 0, labels > 0)


def two_boxes(ridge: float) -> NDArray[np.float32]:
    """Two boxes in 3D with a sheet of one pixel between them, of the given probability."""
    foreground = np.zeros((10, 12, 21), np.float32)
    foreground[2:8, 2:10, 2:19] = 1.0
    foreground[2:8, 2:10, 10] = ridge
    return foreground


@pytest.mark.parametrize(
    "ridge", [pytest.param(0.0, id="clear ridge"), pytest.param(0.6, id="weak ridge")]
)
def test_boxes_in_3d_come_back_apart_and_grown_over_the_ridge(ridge: float) -> None:
    found = separate_objects(two_boxes(ridge))
    assert len(np.unique(found[2:8, 2:10, 2:10])) == len(np.unique(found[2:8, 2:10, 11:19])) == 1
    assert found[5, 5, 5] != found[5, 5, 15]
    assert (found[3:7, 3:9, 10] > 0).all()


def test_a_bridge_over_an_edge_does_not_join_boxes_in_3d() -> None:
    foreground = np.zeros((8, 8, 8), np.float32)
    foreground[:4, :4] = foreground[4:, 4:] = 1.0  # they meet along a line
    assert separate_objects(foreground).max() == 2


def sheet(cells: int, ndim: int) -> NDArray[np.float32]:
    """Cells of 6 pixels along each axis, in rows, all joined by weak ridges."""
    joined = np.full((7 * cells,) * ndim, 1.0, np.float32)
    for axis in range(ndim):
        np.moveaxis(joined, axis, 0)[6::7] = 0.6
    return joined


@pytest.mark.parametrize(("cells", "ndim"), [(6, 2), (3, 3)])
def test_a_whole_sheet_of_merged_cells_comes_apart_where_their_size_is_known(
    cells: int, ndim: int
) -> None:
    joined = sheet(cells, ndim)
    assert separate_objects(joined).max() == 1  # each is a small part of it
    assert separate_objects(joined, typical=6.0**ndim).max() == cells**ndim


def test_what_is_a_crumb_to_a_typical_cell_does_not_split_the_whole() -> None:
    assert separate_objects(sheet(6, 2), typical=40 * 6.0**2).max() == 1


def test_a_single_cell_splits_no_sooner_where_its_size_is_known() -> None:
    foreground = two_squares(0.97)
    assert separate_objects(foreground, typical=float((foreground > 0).sum())).max() == 1


def test_two_cores_that_are_debris_do_not_split() -> None:
    foreground = np.zeros((9, 13), np.float32)
    foreground[2:7, 1:12] = 0.55
    foreground[3:6, 1:5] = foreground[3:6, 8:12] = 1.0
    assert separate_objects(foreground, smallest=12).max() == 2  # they are no debris yet
    assert separate_objects(foreground, smallest=13).max() == 1


def test_an_object_that_splits_leaves_the_others_whole() -> None:
    foreground = np.zeros((20, 60), np.float32)
    foreground[:, :31] = two_squares(0.6)
    foreground[4:16, 40:55] = 1.0
    found = separate_objects(foreground)
    assert np.unique(found).tolist() == [0, 1, 2, 3]
    assert len(np.unique(found[4:16, 40:55])) == 1


def test_an_object_of_as_many_pixels_as_the_smallest_is_kept() -> None:
    foreground = np.zeros((9, 9), np.float32)
    foreground[4, 2:6] = 1.0
    assert separate_objects(foreground, smallest=4).max() == 1
    assert separate_objects(foreground, smallest=5).max() == 0


def test_a_pixel_at_the_threshold_is_background() -> None:
    assert not separate_objects(np.full((4, 4), 0.5, np.float32)).any()


@pytest.mark.parametrize(("threshold", "count"), [(0.3, 1), (0.5, 0)])
def test_the_threshold_decides_what_is_foreground(threshold: float, count: int) -> None:
    foreground = np.full((6, 6), 0.4, np.float32)
    assert separate_objects(foreground, threshold=threshold).max() == count


def test_a_real_gap_of_five_pixels_stays_background() -> None:
    foreground = np.zeros((20, 40), np.float32)
    foreground[4:16, 4:16] = foreground[4:16, 21:33] = 1.0
    assert not separate_objects(foreground)[:, 16:21].any()


def test_a_single_pixel_image_of_foreground_is_one_object() -> None:
    assert separate_objects(np.ones((1, 1), np.float32)).tolist() == [[1]]


def test_the_probabilities_are_left_alone() -> None:
    foreground = two_squares(0.6)
    foreground.setflags(write=False)
    separate_objects(foreground)
    np.testing.assert_array_equal(foreground, two_squares(0.6))


@given(
    seed=st.integers(0, 10**6),
    ndim=st.sampled_from([2, 3]),
    smoothness=st.floats(0.5, 3),
    smallest=st.integers(0, 20),
    threshold=st.floats(0.2, 0.8),
)
def test_any_answer_gives_numbered_objects_that_are_no_debris(
    seed: int, ndim: int, smoothness: float, smallest: int, threshold: float
) -> None:
    noise = np.random.default_rng(seed).random((24, 26) if ndim == 2 else (9, 10, 11))
    smooth = ndi.gaussian_filter(noise, smoothness)
    foreground = ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)

    found = separate_objects(foreground, smallest, threshold)

    sizes = np.bincount(found.ravel())
    assert found.dtype == np.int32
    assert (sizes[1:] >= max(smallest, 1)).all()
    components, _ = ndi.label(foreground > threshold)
    large = np.bincount(components.ravel()) >= max(smallest, 1)
    assert (found > 0)[(components > 0) & large[components]].all()


@given(
    seed=st.integers(0, 10**6),
    ndim=st.sampled_from([2, 3]),
    smallest=st.integers(0, 20),
    threshold=st.one_of(st.floats(0.2, 0.8), st.sampled_from([i / 255 for i in range(60, 200)])),
)
def test_probabilities_in_steps_give_the_same_objects_as_the_floats_they_stand_for(
    seed: int, ndim: int, smallest: int, threshold: float
) -> None:
    noise = np.random.default_rng(seed).random((24, 26) if ndim == 2 else (9, 10, 11))
    smooth = ndi.gaussian_filter(noise, 1.5)
    steps = np.round((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)

    np.testing.assert_array_equal(
        separate_objects(steps, smallest, threshold),
        separate_objects(steps.astype(np.float32) / np.float32(255), smallest, threshold),
    )


def test_faint_diagonal_neighbours_are_not_joined() -> None:
    foreground = np.zeros((8, 8), np.float32)
    foreground[:4, :4] = foreground[4:, 4:] = 0.6  # below every level at which objects split
    assert separate_objects(foreground).max() == 2


@pytest.mark.parametrize("binning", [1, 2, 3])
def test_gaps_along_z_are_not_filled_however_much_planes_are_binned(binning: int) -> None:
    slabs = np.zeros((20, 30, 30), np.float32)
    slabs[3:7] = slabs[13:17] = 1
    found = separate_objects(slabs, binning=binning)
    assert not found[8:12].any()


def test_the_ridges_of_binned_planes_are_filled() -> None:
    cells = np.ones((40, 60), np.float32)
    cells[:, 28:35] = 0  # seven pixels: two of a network that sees them binned by three
    assert (separate_objects(cells, binning=3) > 0).all()
    assert not (separate_objects(cells, binning=1) > 0).all()


@pytest.mark.parametrize("binning", [0.25, 0.5, 0.67])
def test_wide_gaps_are_not_filled_where_the_network_sees_ridges_narrower(binning: float) -> None:
    cells = np.ones((20, 23), np.float32)
    cells[:, 10:13] = 0
    assert not (separate_objects(cells, binning=binning)[:, 10:13] > 0).any()


def test_ridges_are_as_wide_as_any_binning_makes_them() -> None:
    cells = np.ones((20, 25), np.float32)
    cells[:, 10:15] = 0
    assert (separate_objects(cells, binning=1.5) > 0).all()
    assert not (separate_objects(cells, binning=1.25) > 0).all()


def test_of_few_painted_cells_a_small_object_must_be_surer_than_a_large_one() -> None:
    foreground = np.zeros((40, 40), np.float32)
    foreground[2:14, 2:14] = 0.75  # as large as a cell
    foreground[2:8, 20:26] = 0.75  # smaller than any
    foreground[20:26, 2:8] = 0.95  # the same, and sure
    foreground[20:32, 20:32] = 0.65  # a cell that is not sure
    foreground[36:38, 36:38] = 1.0  # a crumb
    limits = Limits.of_few_cells(smallest=70, typical=140)
    found = without_unsure(separate_objects(foreground, limits.smallest), foreground, 0.5, limits)
    assert found[5, 5] == 1
    assert found[22, 5] == 2
    assert found.max() == 2


def test_sure_is_the_same_for_probabilities_in_steps() -> None:
    foreground = np.zeros((20, 40), np.uint8)
    foreground[2:14, 2:14], foreground[2:14, 20:32] = 180, 170
    found = without_unsure(separate_objects(foreground), foreground, 0.5, Limits(sure=0.4))
    assert found[5, 5] == 1
    assert found.max() == 1


def test_a_cell_is_not_split_into_parts_that_are_smaller_than_any_cell() -> None:
    foreground = np.zeros((24, 40), np.float32)
    foreground[4:20, 4:36] = 0.95
    foreground[4:20, 19:21] = 0.6
    assert separate_objects(foreground, smallest=10).max() == 2
    assert separate_objects(foreground, smallest=10, part=300).max() == 1
