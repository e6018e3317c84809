"""Floor 1: scores of predictions against truth; numpy, scipy and scikit-image only.

`evaluate` gives all scores at once. The other names count one image each; the counts of several
images are pooled by adding them.
"""

from __future__ import annotations

from napari_unet.evaluation.boundaries import rand_error, warp_towards, warping_error
from napari_unet.evaluation.classes import ClassCounts, count_classes
from napari_unet.evaluation.mistakes import (
    ERROR_VALUES,
    ErrorValue,
    Mistakes,
    class_error_map,
    error_map,
    find_mistakes,
)
from napari_unet.evaluation.objects import (
    THRESHOLDS,
    ObjectCounts,
    count_objects,
    object_rand_error,
    seg_ious,
)
from napari_unet.evaluation.overlap import (
    Overlap,
    matched_pairs,
    overlap_of,
    overlap_where,
    overlap_within,
)
from napari_unet.evaluation.scores import EvaluateConfig, errors_of, evaluate

__all__ = [
    "ERROR_VALUES",
    "THRESHOLDS",
    "ClassCounts",
    "ErrorValue",
    "EvaluateConfig",
    "Mistakes",
    "ObjectCounts",
    "Overlap",
    "class_error_map",
    "count_classes",
    "count_objects",
    "error_map",
    "errors_of",
    "evaluate",
    "find_mistakes",
    "matched_pairs",
    "object_rand_error",
    "overlap_of",
    "overlap_where",
    "overlap_within",
    "rand_error",
    "seg_ious",
    "warp_towards",
    "warping_error",
]
