"""Scores of objects by another hand than the package's: IoU matrix, best assignment, counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    from numpy.typing import NDArray

_THRESHOLDS = np.arange(50, 100, 5) / 100


def iou_matrix(predicted: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
    """Return the IoU of each true object (rows) with each predicted one (columns)."""
    _, p = np.unique(predicted, return_inverse=True)
    _, t = np.unique(truth, return_inverse=True)
    p, t = (x.ravel() + (labels.min() > 0) for x, labels in ((p, predicted), (t, truth)))
    both = np.zeros((t.max() + 1, p.max() + 1))
    np.add.at(both, (t, p), 1)
    either = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
    ious: NDArray[np.float64] = (both / either)[1:, 1:]
    return ious


def scores(pairs: list[tuple[NDArray[Any], NDArray[Any]]]) -> dict[str, float]:
    """Score pairs of predicted and true labels ``YX``, counts pooled over all of them.

    Returns
    -------
    dict
        F1 at 0.5 and 0.75; ``map``, TP / (TP + FP + FN) averaged over IoU 0.50, 0.55 .. 0.95.
    """
    matrices = [iou_matrix(*pair) for pair in pairs]
    n_truth, n_predicted = (sum(m.shape[axis] for m in matrices) for axis in (0, 1))
    hits = np.array([sum(_hits(m, at) for m in matrices) for at in _THRESHOLDS])
    f1 = 2 * hits / max(1, n_truth + n_predicted)
    precision = hits / np.maximum(1, n_truth + n_predicted - hits)
    return {"f1_50": float(f1[0]), "f1_75": float(f1[5]), "map": float(precision.mean())}


def _hits(ious: NDArray[np.float64], at: float) -> int:
    """Count the pairs of one true and one predicted object that reach an IoU."""
    rows, columns = linear_sum_assignment(
        -(ious >= at).astype(float) - ious / 10 / max(1, ious.size)
    )
    return int(np.count_nonzero(ious[rows, columns] >= at))
