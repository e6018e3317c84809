from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from napari_unet.data.uncertainty import find_spots, uncertainty_of


def unsure_at(*places: tuple[int, int], size: int = 128) -> np.ndarray:
    uncertainty = np.zeros((size, size), np.float32)
    for y, x in places:
        uncertainty[y - 8 : y + 8, x - 8 : x + 8] = 1
    return uncertainty


def test_a_coin_toss_is_fully_uncertain() -> None:
    probabilities = np.full((2, 3, 3), 0.5, np.float32)
    np.testing.assert_allclose(uncertainty_of(probabilities), 1)


def test_certainty_is_exactly_zero() -> None:
    probabilities = np.zeros((3, 2, 2), np.float32)
    probabilities[1] = 1
    assert (uncertainty_of(probabilities) == 0).all()


@given(npst.arrays(np.float32, (3, 4, 4), elements=st.floats(0, 1, width=32)))
def test_uncertainty_lies_between_zero_and_one(scores: np.ndarray) -> None:
    total = scores.sum(axis=0, keepdims=True)
    uncertainty = uncertainty_of(np.where(total > 0, scores / np.maximum(total, 1e-6), 1 / 3))
    assert ((uncertainty >= 0) & (uncertainty <= 1)).all()


def test_the_most_uncertain_spot_comes_first() -> None:
    uncertainty = unsure_at((30, 30), (90, 90))
    uncertainty[:64] *= 0.5
    spots = find_spots(uncertainty, None)
    assert spots[0].position == pytest.approx((90, 90), abs=16)
    assert spots[0].score > spots[-1].score


def test_painted_pixels_need_no_more_paint() -> None:
    uncertainty = unsure_at((30, 30), (90, 90))
    spots = find_spots(uncertainty, unsure_at((90, 90)) > 0)
    assert len(spots) == 1
    assert spots[0].position == pytest.approx((30, 30), abs=16)


def test_spots_do_not_crowd() -> None:
    noise = np.random.default_rng(0).random((200, 200), np.float32)
    positions = [np.array(spot.position) for spot in find_spots(noise, None, size=32)]
    for i, one in enumerate(positions):
        for other in positions[:i]:
            assert np.abs(one - other).max() >= 32


def test_there_are_no_more_spots_than_asked_for() -> None:
    assert len(find_spots(np.ones((300, 300), np.float32), None, most=5)) == 5


def test_where_it_is_sure_there_are_no_spots() -> None:
    assert find_spots(np.zeros((50, 50), np.float32), None) == ()


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (3, 40, 40)])
def test_small_and_flat_images_work(shape: tuple[int, ...]) -> None:
    spots = find_spots(np.ones(shape, np.float32), None)
    assert all(0 <= p < n for spot in spots for p, n in zip(spot.position, shape, strict=True))


def test_a_spot_knows_its_frame() -> None:
    assert find_spots(unsure_at((30, 30)), None, frame=(4,))[0].frame == (4,)
