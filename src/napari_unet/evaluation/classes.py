"""Scores that count pixels: IoU, Dice, precision and recall per class, from confusion counts.

`ClassCounts` of several images are pooled by adding them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_unet.evaluation.overlap import counts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassCounts:
    """How often each true class was predicted as which class, of one image or of several.

    A class that occurs in neither image has no entry; a class that occurs in only one of them
    scores 0.
    """

    confusion: Mapping[tuple[int, int], int] = field(default_factory=dict)
    """Pixels of each pair ``(true class, predicted class)`` that occurs."""

    def __add__(self, other: ClassCounts) -> ClassCounts:
        """Pool with the counts of other images."""
        pooled = dict(self.confusion)
        for pair, pixels in other.confusion.items():
            pooled[pair] = pooled.get(pair, 0) + pixels
        return ClassCounts(pooled)

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes of the truth and of the prediction, ascending."""
        return tuple(sorted({value for pair in self.confusion for value in pair}))

    @property
    def n_pixels(self) -> int:
        """Number of counted pixels."""
        return sum(self.confusion.values())

    @property
    def pixel_error(self) -> float:
        """Share of counted pixels with the wrong class; 0 if none is counted."""
        wrong = sum(n for (true, predicted), n in self.confusion.items() if true != predicted)
        return ratio(wrong, self.n_pixels, empty=0.0)

    def scores_of(self, value: int) -> dict[str, float]:
        """Return the four scores of one class; all are 1 if it occurs nowhere.

        Of its true positives TP, false positives FP and false negatives FN, ``iou`` is
        TP / (TP + FP + FN), ``dice`` 2 TP / (2 TP + FP + FN), ``precision`` TP / (TP + FP) and
        ``recall`` TP / (TP + FN).
        """
        both = self.confusion.get((value, value), 0)
        predicted = sum(n for pair, n in self.confusion.items() if pair[1] == value)
        true = sum(n for pair, n in self.confusion.items() if pair[0] == value)
        return {
            "iou": ratio(both, predicted + true - both, empty=1.0),
            "dice": ratio(2 * both, predicted + true, empty=1.0),
            "precision": ratio(both, predicted, empty=0.0 if true else 1.0),
            "recall": ratio(both, true, empty=0.0 if predicted else 1.0),
        }

    def scores(self) -> dict[str, Any]:
        """Return mean and single scores of all classes, and the pixel error.

        Returns
        -------
        dict
            ``{"iou": mean over classes, "iou_per_class": {"0": ..., "2": ...}, ...}``, the same
            for ``dice``, ``precision`` and ``recall``, then ``pixel_error``. The mean weighs
            all classes alike, the background included.
        """
        single = {str(value): self.scores_of(value) for value in self.classes}
        scores: dict[str, Any] = {}
        for name in ("iou", "dice", "precision", "recall"):
            per_class = {value: of_class[name] for value, of_class in single.items()}
            scores[name] = ratio(sum(per_class.values()), len(per_class), empty=1.0)
            scores[f"{name}_per_class"] = per_class
        scores["pixel_error"] = self.pixel_error
        return scores


def count_classes(
    prediction: NDArray[np.integer[Any]],
    truth: NDArray[np.integer[Any]],
    counted: NDArray[np.bool_] | None = None,
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
    return ClassCounts(dict(zip(pairs, joint.pixels.tolist(), strict=True)))


def ratio(part: float, whole: float, *, empty: float) -> float:
    """Return a part of a whole; `empty` where there is none of the whole."""
    return part / whole if whole else empty
