from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_unet.objects.clicking import Clickable
from napari_unet.objects.separation import confidences


def two_discs(bridge: float = 0.0) -> NDArray[np.uint8]:
    """Two discs of 24 pixels that touch, with a ridge of two pixels between them."""
    y, x = np.mgrid[:48, :80]
    foreground = np.zeros((48, 80))
    for centre in (24, 48):
        foreground[(y - 24) ** 2 + (x - centre) ** 2 <= 144] = 0.95
    foreground[:, 35:37] = np.minimum(foreground[:, 35:37], bridge)
    steps: NDArray[np.uint8] = np.rint(foreground * 255).astype(np.uint8)
    return steps


def soft_disc() -> NDArray[np.uint8]:
    """A disc whose probability falls from 1 in the middle to 0 at 20 pixels from it."""
    y, x = np.mgrid[:60, :60]
    steps: NDArray[np.uint8] = np.rint(
        255 * np.clip(1 - np.hypot(y - 30, x - 30) / 20, 0, 1)
    ).astype(np.uint8)
    return steps


def test_a_click_selects_the_whole_object_and_no_other() -> None:
    mask = Clickable(two_discs(), 24).at((24, 20)).mask
    assert mask[24, 13:34].all()
    assert not mask[:, 38:].any()


def test_a_click_on_background_selects_nothing() -> None:
    assert not Clickable(two_discs(), 24).at((2, 75)).mask.any()


def test_a_click_beyond_the_view_selects_nothing() -> None:
    assert not Clickable(two_discs(), 24).at((24, 400)).mask.any()


def test_a_click_beside_an_object_by_a_pixel_still_selects_it() -> None:
    assert Clickable(two_discs(), 24).at((10.0, 24.0)).mask[24, 24]


def test_an_object_below_the_threshold_is_found_by_a_click() -> None:
    faint = (soft_disc() * 0.4).astype(np.uint8)
    assert Clickable(faint, 20).at((30, 30)).mask.sum() > 50


def test_a_second_click_adds() -> None:
    mask = Clickable(two_discs(), 24).at((24, 20)).add((24, 50)).mask
    assert mask[24, 20]
    assert mask[24, 50]


def test_removing_takes_away_the_part_beyond_the_ridge() -> None:
    merged = Clickable(two_discs(0.9), 120).at((24, 20))
    assert merged.mask[24, 50]
    mask = merged.remove((24, 50)).mask
    assert mask[24, 20:34].all()
    assert not mask[24, 39:].any()


def test_removing_what_was_not_selected_changes_nothing() -> None:
    selection = Clickable(two_discs(), 24).at((24, 20))
    np.testing.assert_array_equal(selection.remove((2, 75)).mask, selection.mask)


@pytest.mark.parametrize("steps", [1, 2])
def test_the_wheel_lets_objects_grow_and_shrink(steps: int) -> None:
    selection = Clickable(soft_disc(), 20).at((30, 30))
    area = selection.mask.sum()
    assert selection.turned(steps).mask.sum() > area
    assert selection.turned(-steps).mask.sum() < area


def test_a_step_back_undoes_a_step() -> None:
    selection = Clickable(soft_disc(), 20, 0.4).at((30, 30))
    back = selection.turned(1).turned(-1)
    np.testing.assert_array_equal(back.mask, selection.mask)


def in_two(gap: int) -> NDArray[np.uint8]:
    """A bar that a network has taken for two cells, so far apart."""
    foreground = np.zeros((40, 80), np.uint8)
    foreground[12:28, 10:70] = 240
    foreground[:, 40 : 40 + gap] = 10
    return foreground


@pytest.mark.parametrize("gap", [1, 2, 6])
def test_a_line_through_two_parts_selects_them_as_one(gap: int) -> None:
    mask = Clickable(in_two(gap), 24).along([(20, 20), (18, 60)]).mask
    assert mask[19, 12:68].all()
    assert ndi.label(mask)[1] == 1


def test_a_line_through_one_of_two_touching_cells_selects_that_one() -> None:
    mask = Clickable(two_discs(), 24).along([(18, 18), (30, 28)]).mask
    np.testing.assert_array_equal(mask, Clickable(two_discs(), 24).at((24, 20)).mask)


def test_a_line_through_a_long_cell_selects_all_of_it() -> None:
    long = np.zeros((40, 300), np.uint8)
    long[12:28, 10:290] = 240
    assert Clickable(long, 20).along([(20, 20), (20, 40)]).mask[20, 280]


def test_what_the_end_of_a_line_only_grazes_is_not_selected() -> None:
    mask = Clickable(two_discs(), 24).along([(24, 13), (24, 37)]).mask
    assert mask[24, 20]
    assert not mask[:, 41:].any()


def test_a_line_over_a_faint_cell_selects_it() -> None:
    faint = (soft_disc() * 0.4).astype(np.uint8)
    mask = Clickable(faint, 20).along([(25, 25), (35, 35)]).mask
    assert mask.sum() > 100


def test_a_line_over_background_selects_nothing() -> None:
    assert not Clickable(two_discs(), 24).along([(2, 70), (40, 75)]).mask.any()


def test_a_line_goes_beyond_the_view_without_harm() -> None:
    mask = Clickable(two_discs(), 24).along([(24, 14), (24, 30), (-50, 30), (300, 400)]).mask
    assert mask[24, 20]


def test_the_wheel_lets_what_is_under_a_line_grow() -> None:
    selection = Clickable(soft_disc(), 20).along([(25, 30), (35, 30)])
    assert selection.turned(1).mask.sum() > selection.mask.sum() > selection.turned(-1).mask.sum()


def test_a_line_takes_a_part_away() -> None:
    merged = Clickable(two_discs(0.9), 120).along([(24, 16), (24, 30)])
    assert merged.mask[24, 50]
    mask = merged.remove((18, 46), (30, 50)).mask
    assert mask[24, 20:34].all()
    assert not mask[24, 39:].any()


@pytest.mark.parametrize("steps", [0, 1])
def test_a_line_across_a_large_view_takes_less_than_100_ms(steps: int) -> None:
    view = Clickable(np.tile(two_discs(), (21, 12))[:1000, :960], 24)
    assert view.objects.any()
    taken = []
    for _ in range(3):
        begin = time.process_time()
        selection = view.along([(60, 60), (300, 300), (120, 340)]).turned(steps)
        assert selection.mask.any()
        assert selection.remove((60, 60), (200, 200)).mask is not None
        taken.append(time.process_time() - begin)
    assert min(taken) < 0.1


def test_a_box_selects_the_object_that_lies_in_it() -> None:
    mask = Clickable(two_discs(), 24).in_box((9, 10), (40, 39)).mask
    assert mask[24, 20]
    assert not mask[:, 40:].any()


def test_holes_of_an_object_are_part_of_it() -> None:
    foreground = two_discs()
    foreground[22:26, 22:26] = 0
    assert Clickable(foreground, 24).at((24, 17)).mask[23, 23]


def test_confidence_is_the_mean_probability_of_an_object() -> None:
    labels = np.array([[1, 1, 2, 0]])
    foreground = np.array([[255, 0, 204, 255]], np.uint8)
    np.testing.assert_allclose(confidences(foreground, labels), [0, 0.5, 0.8])
