"""Floor 1: scores of predictions against truth; numpy, scipy and scikit-image only.

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
from napari_unet.evaluation.errors import (
    ERROR_VALUES,
    ErrorValue,
    class_error_map,
    error_map,
)
from napari_unet.evaluation.mistakes import (
    MistakeCounts,
    Mistakes,
    count_mistakes,
    find_mistakes,
)
from napari_unet.evaluation.objects import (
    THRESHOLDS,
    ObjectCounts,
    ObjectMatch,
    count_matches,
    count_objects,
    match_objects,
    seg_ious,
)
from napari_unet.evaluation.overlap import Overlap, overlap_of, overlap_where, overlap_within
from napari_unet.evaluation.rand import RandCounts, count_rand, object_rand_error
from napari_unet.evaluation.scores import errors_of, evaluate

__all__ = [
    "ERROR_VALUES",
    "THRESHOLDS",
    "BoundaryCounts",
    "ClassCounts",
    "ErrorValue",
    "MistakeCounts",
    "Mistakes",
    "ObjectCounts",
    "ObjectMatch",
    "Overlap",
    "RandCounts",
    "class_error_map",
    "count_boundaries",
    "count_classes",
    "count_matches",
    "count_mistakes",
    "count_objects",
    "count_rand",
    "error_map",
    "errors_of",
    "evaluate",
    "find_mistakes",
    "match_objects",
    "object_rand_error",
    "overlap_of",
    "overlap_where",
    "overlap_within",
    "rand_error",
    "seg_ious",
    "warp_towards",
    "warping_error",
]
