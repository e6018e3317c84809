"""Scores of classes: of their pixels, and of what two classes separate.

IoU, Dice, precision and recall per class are of confusion counts; those of several images are
pooled by adding them.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_unet.errors import EvaluationError
from napari_unet.evaluation.overlap import check_one_shape, counts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.labels import IntArray


# Pixels of each pair ``(true class, predicted class)`` that occurs. A class that occurs in neither
# image has no entry; a class that occurs in only one of them scores 0.
ClassCounts: TypeAlias = Counter[tuple[int, int]]


def classes_in(counts: ClassCounts) -> tuple[int, ...]:
    """Return the classes of the truth and of the prediction, ascending."""
    return tuple(sorted({value for pair in counts for value in pair}))


def scores_of_class(counts: ClassCounts, value: int) -> dict[str, float]:
    """Return the four scores of one class; all are 1 if it occurs nowhere.

    Of its true positives TP, false positives FP and false negatives FN, ``iou`` is
    TP / (TP + FP + FN), ``dice`` 2 TP / (2 TP + FP + FN), ``precision`` TP / (TP + FP) and
    ``recall`` TP / (TP + FN).
    """
    both = counts[value, value]
    predicted = sum(n for pair, n in counts.items() if pair[1] == value)
    true = sum(n for pair, n in counts.items() if pair[0] == value)
    return {
        "iou": ratio(both, predicted + true - both, empty=1.0),
        "dice": ratio(2 * both, predicted + true, empty=1.0),
        "precision": ratio(both, predicted, empty=0.0 if true else 1.0),
        "recall": ratio(both, true, empty=0.0 if predicted else 1.0),
    }


def scores_of_classes(counts: ClassCounts) -> dict[str, Any]:
    """Return mean and single scores of all classes, and the share of pixels of the wrong class.

    ``{"iou": mean over classes, "iou_per_class": {"0": ..., "2": ...}, ...}``, the same for
    ``dice``, ``precision`` and ``recall``, then ``pixel_error``. The mean weighs all classes alike,
    the background included.
    """
    single = {str(value): scores_of_class(counts, value) for value in classes_in(counts)}
    return {**_mean_and_single(single), "pixel_error": _pixel_error(counts)}


def scores_of_masks(counts: Sequence[ClassCounts]) -> dict[str, Any]:
    """Return the same of overlapping classes, each by itself: they are counted from 1."""
    single = {str(k): scores_of_class(of_class, 1) for k, of_class in enumerate(counts, start=1)}
    wrong = sum(map(_pixel_error, counts)) / len(counts)
    return {**_mean_and_single(single), "pixel_error": wrong}


def _mean_and_single(single: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    for name in ("iou", "dice", "precision", "recall"):
        per_class = {value: of_class[name] for value, of_class in single.items()}
        scores[name] = ratio(sum(per_class.values()), len(per_class), empty=1.0)
        scores[f"{name}_per_class"] = per_class
    return scores


def _pixel_error(counts: ClassCounts) -> float:
    wrong = sum(n for (true, predicted), n in counts.items() if true != predicted)
    return ratio(wrong, counts.total(), empty=0.0)


def count_classes(
    prediction: IntArray, truth: IntArray, counted: NDArray[np.bool_] | None = None
) -> ClassCounts:
    """Count true against predicted classes of one image, where `counted`; everywhere by default.

    Images are of one shape (else EvaluationError) and any integer dtype; 0 is a class like any
    other.
    """
    if counted is None or prediction.shape != truth.shape:  # counts_of names both shapes
        joint = counts_of(prediction, truth)
    else:
        joint = counts_of(prediction[counted], truth[counted])
    true_classes = joint.first_values[joint.first_index].tolist()
    predicted_classes = joint.second_values[joint.second_index].tolist()
    pairs = zip(true_classes, predicted_classes, strict=True)
    return Counter(dict(zip(pairs, joint.pixels.tolist(), strict=True)))


def ratio(part: float, whole: float, *, empty: float) -> float:
    """Return a part of a whole; `empty` where there is none of the whole."""
    return part / whole if whole else empty


# --- Scores of boundary images as in the ISBI 2012 challenge: Rand error and warping error -------
#
# Both look at connectivity: a gap of one pixel in a membrane merges two cells and costs much, a
# membrane that is one pixel off costs nothing or little.
#
# References
# ----------
# Arganda-Carreras et al. 2015, Crowdsourcing the creation of image segmentation algorithms for
# connectomics, Frontiers in Neuroanatomy 9:142.
# Jain et al. 2010, Boundary learning by optimization with topological constraints, CVPR.

# The eight neighbours in a circle from the upper left one. Neighbours at odd positions share a
# side with the pixel, and each is next to its successor in the circle.
_CIRCLE = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


def rand_error(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the adapted Rand error: 1 - F-score over the pairs of pixels in one segment.

    Segments are the 4-connected components of the cell interior (6-connected in 3D). Pixels
    that are membrane in the truth are not counted ("foreground-restricted"); what is predicted
    as membrane elsewhere is one more segment, as in scikit-image.

    Images are ``[Z]YX`` of one shape (else EvaluationError): True inside cells, False on membranes.
    0 (same segments) to 1; 0 also if the truth holds no two pixels to compare.
    """
    from scipy import ndimage  # on use: the command line lists its options without them
    from skimage.metrics import adapted_rand_error

    check_one_shape(prediction, truth)
    true_segments, n_true = ndimage.label(truth)
    predicted_segments, _ = ndimage.label(prediction)
    if n_true == 0:
        return 0.0
    # Segments of single pixels hold no pair: scikit-image then divides 0 by 0
    with np.errstate(invalid="ignore", divide="ignore"):
        error = float(adapted_rand_error(true_segments, predicted_segments)[0])
    return 0.0 if np.isnan(error) else error


def warping_error(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the share of pixels that differ after the truth was warped to the prediction.

    What a warp can undo (shifted membranes, thinner or thicker ones) costs nothing, only
    splits, mergers, holes and lost or added objects do. Volumes are warped slice by slice. Images
    as of `rand_error`; 0 (same topology) to 1.
    """
    return n_differing_after_warp(prediction, truth) / max(truth.size, 1)


def warp_towards(truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Warp one image until no allowed change brings it closer to the other.

    A pixel where they differ may flip if it is a *simple point*: the flip neither creates nor
    removes, merges nor splits any 4-connected piece of foreground or 8-connected piece of
    background. Outside the image is background. Pixels flip in the order in which they became
    simple, so the warp moves in from all sides alike; another order may leave slightly
    different pixels (Jain et al. leave the order open).

    `truth` is warped. Other images than ``YX`` of one shape raise EvaluationError.
    """
    check_one_shape(prediction, truth)
    if truth.ndim != 2:
        raise EvaluationError(
            f"A warp needs 2D images, this one has {truth.ndim} axes; warp slice by slice."
        )
    warped = np.pad(truth, 1)
    differing = warped != np.pad(prediction, 1)
    codes = _neighbour_codes(warped)
    _flip_simple_points(warped, differing, codes)
    return warped[1:-1, 1:-1]


def _flip_simple_points(
    warped: NDArray[np.bool_], differing: NDArray[np.bool_], codes: NDArray[np.uint8]
) -> None:
    """Flip differing simple points in place until none is left.

    Visits only pixels whose own neighbourhood changed. Plain byte arrays, as reading single
    items of numpy arrays takes ten times as long.
    """
    is_simple = _simple_points()
    width = warped.shape[1]
    # Seen from neighbour k the flipped pixel is its neighbour k + 4, on the circle's far side
    neighbours = [
        (row * width + column, 1 << (k + 4) % 8) for k, (row, column) in enumerate(_CIRCLE)
    ]
    simple_now = differing & np.frombuffer(is_simple, np.uint8)[codes].astype(bool)
    to_visit = np.flatnonzero(simple_now).tolist()
    code_at, differs_at = bytearray(codes), bytearray(differing)
    flipped: list[int] = []
    for pixel in to_visit:  # grows while it is read
        if not (differs_at[pixel] and is_simple[code_at[pixel]]):
            continue
        differs_at[pixel] = 0
        flipped.append(pixel)
        for offset, bit in neighbours:
            neighbour = pixel + offset
            code_at[neighbour] ^= bit
            if differs_at[neighbour] and is_simple[code_at[neighbour]]:
                to_visit.append(neighbour)
    flipped_at = np.asarray(flipped, np.intp)
    warped.flat[flipped_at] = ~warped.flat[flipped_at]


def _neighbour_codes(padded: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return each pixel's eight neighbours as the bits of one byte, in the order of the circle."""
    height, width = padded.shape
    codes = np.zeros(padded.shape, np.uint8)
    inner = codes[1:-1, 1:-1]
    for k, (row, column) in enumerate(_CIRCLE):
        shifted = padded[1 + row : height - 1 + row, 1 + column : width - 1 + column]
        inner |= shifted.astype(np.uint8) << k
    return codes


@cache
def _simple_points() -> bytes:
    """Return for each neighbourhood code whether the pixel in the middle is a simple point.

    It is, if exactly one 4-connected piece of foreground shares a side with the pixel and
    exactly one 8-connected piece of background touches it, both seen within the neighbourhood.
    """
    return bytes(_is_simple([bool(code >> k & 1) for k in range(8)]) for code in range(256))


def _is_simple(circle: list[bool]) -> bool:
    sides, corners = circle[1::2], circle[0::2]
    # Around the circle, a piece of foreground starts at each side pixel that is not joined to
    # the side before it by the corner between them. Pieces of background alternate with pieces
    # of foreground, so a piece of foreground means a piece of background.
    starts = sum(sides[k] and not (corners[k] and sides[k - 1]) for k in range(4))
    return starts == 1


def n_differing_after_warp(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> int:
    """Return the pixels that `warping_error` is the share of."""
    check_one_shape(prediction, truth)
    if truth.ndim == 2:
        return int(np.count_nonzero(warp_towards(truth, prediction) != prediction))
    return sum(
        n_differing_after_warp(predicted_slice, true_slice)
        for predicted_slice, true_slice in zip(prediction, truth, strict=True)
    )


def boundary_counts(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> tuple[float, int, int]:
    """Return the Rand error, the pixels that differ after warping, and all pixels."""
    differing = n_differing_after_warp(prediction, truth)
    return rand_error(prediction, truth), differing, truth.size


def boundary_scores(counts: Sequence[tuple[float, int, int]]) -> dict[str, float]:
    """Return the mean Rand error of the images, and the warping error of all pixels."""
    errors, differing, pixels = zip(*counts, strict=True)
    return {
        "rand_error": sum(errors) / len(counts),
        "warping_error": sum(differing) / sum(pixels),
    }
