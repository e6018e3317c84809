"""Adapted Rand error of objects: whether pixels of one true object lie in one predicted object.

Reference
---------
Arganda-Carreras et al. 2015, Crowdsourcing the creation of image segmentation algorithms for
connectomics, Frontiers in Neuroanatomy 9:142.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.evaluation.overlap import Overlap


@dataclass(frozen=True)
class RandCounts:
    """The Rand error of one image or, after adding, of several."""

    error_sum: float = 0.0
    n_images: int = 0
    """Images with a true object: without any there is nothing to compare."""

    def __add__(self, other: RandCounts) -> RandCounts:
        """Pool with other images."""
        return RandCounts(self.error_sum + other.error_sum, self.n_images + other.n_images)

    def scores(self) -> dict[str, float]:
        """Return the mean error of the images; 0 if nothing could be compared."""
        return {"rand_error": self.error_sum / max(self.n_images, 1)}


def count_rand(overlap: Overlap) -> RandCounts:
    """Return the Rand error of one image, if it has a true object."""
    return RandCounts(object_rand_error(overlap), 1) if overlap.n_truth else RandCounts()


def object_rand_error(overlap: Overlap) -> float:
    """Return the adapted Rand error: 1 - F-score over the pairs of pixels in one object.

    Pixels outside true objects are not counted; inside them, what is predicted as background is
    one more object, as in scikit-image. Among many small objects this one is by far the largest:
    it alone can bring the error near 1 where every tenth object is missed. Computed from the
    overlap, so that large and sparse numbers cost nothing.

    Parameters
    ----------
    overlap : Overlap
        From `overlap_of` or `overlap_within`.

    Returns
    -------
    float
        0 (same objects) to 1; 0 also where no true object has two pixels.
    """
    common = overlap.intersections
    found = np.bincount(overlap.truth_index, weights=common, minlength=overlap.n_truth)
    lost = overlap.truth_areas - found
    predicted = np.bincount(overlap.prediction_index, weights=common, minlength=overlap.n_predicted)
    in_both = _ordered_pairs(common) + _ordered_pairs(lost)
    in_truth = _ordered_pairs(overlap.truth_areas)
    in_prediction = _ordered_pairs(np.append(predicted, lost.sum()))
    n_pairs = in_truth + in_prediction
    return 1 - 2 * in_both / n_pairs if n_pairs else 0.0


def _ordered_pairs(pixels: NDArray[np.int64] | NDArray[np.float64]) -> float:
    """Return how many ordered pairs of different pixels groups of these sizes hold."""
    sizes = pixels.astype(np.float64)
    return float(sizes @ sizes - sizes.sum())
