"""Floor 3: scores of predictions against truth; numpy, scipy and scikit-image only.

`evaluate` gives all scores at once. The other names count one image each; the counts of several
images are pooled by adding them.
"""

from __future__ import annotations

from napari_unet.evaluation.boundaries import (
    BoundaryCounts,
    count_boundaries,
    rand_error,
    warp_towards,
    warping_error,
)
from napari_unet.evaluation.classes import ClassCounts, count_classes
from napari_unet.evaluation.objects import (
    THRESHOLDS,
    ObjectCounts,
    ObjectMatch,
    count_objects,
    match_objects,
    seg_ious,
)
from napari_unet.evaluation.overlap import Overlap, overlap_of, overlap_within
from napari_unet.evaluation.scores import evaluate

__all__ = [
    "THRESHOLDS",
    "BoundaryCounts",
    "ClassCounts",
    "ObjectCounts",
    "ObjectMatch",
    "Overlap",
    "count_boundaries",
    "count_classes",
    "count_objects",
    "evaluate",
    "match_objects",
    "overlap_of",
    "overlap_within",
    "rand_error",
    "seg_ious",
    "warp_towards",
    "warping_error",
]
