"""Rand error and warping error."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import label

from napari_unet.errors import EvaluationError
from napari_unet.evaluation.classes import rand_error, warp_towards, warping_error
from napari_unet.evaluation.scores import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Binary = NDArray[np.bool_]

binary_images = hnp.arrays(
    bool, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.booleans()
)
image_pairs = st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)


def image_of(text: str) -> Binary:
    """Draw an image: ``#`` is inside a cell, ``.`` is membrane."""
    return np.array([[character == "#" for character in row] for row in text.split()])


def piece_counts(image: Binary) -> tuple[int, int]:
    """Return the numbers of 4-connected foreground and 8-connected background pieces."""
    padded = np.pad(image, 1)
    return (
        label(padded, connectivity=1, background=False).max(),
        label(~padded, connectivity=2, background=False).max(),
    )


def flipping_keeps_topology(image: Binary, row: int, column: int) -> bool:
    flipped = image.copy()
    flipped[row, column] ^= True
    return piece_counts(flipped) == piece_counts(image)


TWO_CELLS = image_of("###.### ###.### ###.###")
ONE_CELL = image_of("####### ####### #######")


@pytest.mark.parametrize(
    ("truth", "prediction", "n_errors"),
    [
        (TWO_CELLS, TWO_CELLS, 0),
        (TWO_CELLS, image_of("##.#### ##.#### ##.####"), 0),
        (TWO_CELLS, image_of("#...### ##..### ##...##"), 0),
        (TWO_CELLS, image_of("###.### ####### ###.###"), 1),
        (TWO_CELLS, ONE_CELL, 3),
        (image_of("##...## ##...## ##...##"), ONE_CELL, 3),
        (ONE_CELL, TWO_CELLS, 1),
        (ONE_CELL, image_of("####### ###..## #######"), 2),
        (image_of("....... ..###.. ......."), image_of("....... ....... ......."), 1),
        (image_of("....... ....... ......."), image_of("....... ..###.. ......."), 3),
    ],
    ids=[
        "equal",
        "membrane shifted",
        "membrane thicker",
        "gap of one pixel",
        "thin membrane missing",
        "thick membrane missing",
        "cell split",
        "hole",
        "object lost",
        "object added",
    ],
)
def test_warping_leaves_only_topological_errors(
    truth: Binary, prediction: Binary, n_errors: int
) -> None:
    assert warping_error(prediction, truth) == pytest.approx(n_errors / truth.size)


@pytest.mark.parametrize("middle", [False, True], ids=["background", "foreground"])
def test_of_all_256_neighbourhoods_exactly_those_that_keep_topology_flip(middle: bool) -> None:
    for code in range(256):
        bits = [bool(code >> k & 1) for k in range(8)]
        truth = np.array([*bits[:4], middle, *bits[4:]]).reshape(3, 3)
        prediction = truth.copy()
        prediction[1, 1] = not middle
        flipped = warp_towards(truth, prediction)[1, 1] != middle
        assert flipped == flipping_keeps_topology(truth, 1, 1), bits


@given(image_pairs)
def test_a_warp_keeps_the_number_of_pieces(pair: tuple[Binary, Binary]) -> None:
    truth, prediction = pair
    assert piece_counts(warp_towards(truth, prediction)) == piece_counts(truth)


@given(image_pairs)
def test_a_warp_never_touches_pixels_that_agree(pair: tuple[Binary, Binary]) -> None:
    truth, prediction = pair
    agree = truth == prediction
    assert (warp_towards(truth, prediction)[agree] == truth[agree]).all()


@given(image_pairs)
def test_after_a_warp_no_differing_pixel_could_still_flip(pair: tuple[Binary, Binary]) -> None:
    truth, prediction = pair
    warped = warp_towards(truth, prediction)
    for row, column in np.argwhere(warped != prediction):
        assert not flipping_keeps_topology(warped, row, column)


@given(image_pairs)
def test_a_warp_changes_neither_input(pair: tuple[Binary, Binary]) -> None:
    truth, prediction = pair
    copies = truth.copy(), prediction.copy()
    warp_towards(truth, prediction)
    assert (truth == copies[0]).all()
    assert (prediction == copies[1]).all()


def test_volumes_are_warped_slice_by_slice() -> None:
    truth = np.stack([TWO_CELLS, TWO_CELLS])
    prediction = np.stack([TWO_CELLS, ONE_CELL])
    assert warping_error(prediction, truth) == pytest.approx(3 / truth.size)


def test_a_single_warp_of_a_volume_is_refused() -> None:
    with pytest.raises(EvaluationError, match="3 axes"):
        warp_towards(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool))


def test_warping_an_image_of_512_by_512_pixels_takes_less_than_2_seconds() -> None:
    rng = np.random.default_rng(0)
    truth = np.ones((512, 512), bool)
    truth[::32] = truth[:, ::32] = False
    noise = rng.random(truth.shape) < 0.5
    start = time.perf_counter()
    warping_error(noise, truth)
    warping_error(np.zeros_like(truth), truth)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("truth", "prediction", "error"),
    [
        # Ordered pairs in one segment: 12 in the truth, 2 in the prediction, 2 in both
        ("####", "##.#", 1 - 2 / ((12 + 2) / 2)),
        # 2 + 2 in the truth; 12 in the prediction, whose pixel on the membrane is not counted
        ("##.##", "#####", 1 - 4 / ((4 + 12) / 2)),
        ("##.##", "##.##", 0),
        ("....", "####", 0),
        ("#.#.", "#.#.", 0),
    ],
    ids=["split", "merged", "equal", "no cell", "single pixels"],
)
def test_rand_error_is_that_computed_by_hand(truth: str, prediction: str, error: float) -> None:
    assert rand_error(image_of(prediction), image_of(truth)) == pytest.approx(error)


def test_cells_that_touch_at_a_corner_are_two_segments() -> None:
    corner = image_of("##.. ##.. ..## ..##")
    one_of_them = image_of("##.. ##.. .... ....")
    # 4 pixels each; both predicted segments are the same as in the truth, one as membrane
    assert rand_error(one_of_them, corner) == 0


def test_rand_segments_of_a_volume_reach_across_slices() -> None:
    truth = np.ones((2, 1, 2), bool)
    assert rand_error(truth, truth) == 0
    assert rand_error(np.array([[[True, True]], [[False, False]]]), truth) > 0


@given(image_pairs)
def test_both_errors_lie_between_0_and_1(pair: tuple[Binary, Binary]) -> None:
    prediction, truth = pair
    assert 0 <= rand_error(prediction, truth) <= 1
    assert 0 <= warping_error(prediction, truth) <= 1


@given(binary_images)
def test_a_perfect_prediction_has_no_error(truth: Binary) -> None:
    assert rand_error(truth, truth) == 0
    assert warping_error(truth, truth) == 0


@pytest.mark.parametrize("score", [rand_error, warping_error])
def test_different_shapes_are_refused_with_both_shapes_named(
    score: Callable[[Binary, Binary], float],
) -> None:
    with pytest.raises(EvaluationError, match=r"\(3, 6\).*\(3, 7\)"):
        score(TWO_CELLS[:, :6], TWO_CELLS)


def test_pooling_takes_the_mean_rand_error_and_the_warping_error_of_all_pixels() -> None:
    small, large = TWO_CELLS, np.tile(TWO_CELLS, (3, 1))
    joined = np.ones_like(small)
    scores = evaluate([~joined, ~large], [~small, ~large], "classes")
    assert scores["rand_error"] == pytest.approx(rand_error(joined, small) / 2)
    assert scores["warping_error"] == pytest.approx(3 / (small.size + large.size))
