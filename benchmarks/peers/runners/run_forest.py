"""A random forest on local features, from strokes or from finished masks of several images.

The features, the trees and the separation of touching objects are those of `benchmarks/forest.py`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from exchange import given
from skimage.feature import multiscale_basic_features

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from forest import require_sklearn

from napari_unet.data.labels import UNLABELLED
from napari_unet.objects.separation import separate_objects
from napari_unet.tasks import ClassTable, target_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PIXELS_PER_IMAGE = 40_000
_SMALLEST_SHARE = 0.25


def main() -> None:
    """Answer one job."""
    job = given()
    seed = job.settings["seed"]
    images, labels = job.training()
    began = time.process_time()
    table = ClassTable("objects", job.settings["unpainted"])
    drawn = np.random.default_rng(seed)
    pairs = zip(images, labels, strict=True)
    chosen = [_chosen(i, target_of(m, table).classes, drawn) for i, m in pairs]
    forest = require_sklearn().RandomForestClassifier(
        n_estimators=100, max_depth=10, max_samples=0.05, n_jobs=1, random_state=seed
    )
    features, classes = (np.concatenate(part) for part in zip(*chosen, strict=True))
    forest.fit(features, classes)
    seconds = time.process_time() - began
    background = 1 if job.settings["unpainted"] == "unlabelled" else 0
    areas = np.concatenate([np.bincount(m.ravel())[background + 1 :] for m in labels])
    smallest = int(_SMALLEST_SHARE * np.median(areas[areas > 0]))

    def predict(image: NDArray[Any]) -> NDArray[Any]:
        probabilities = forest.predict_proba(_features(image).reshape(-1, forest.n_features_in_))
        foreground = probabilities[:, 1].reshape(image.shape[:2]).astype(np.float32)
        return separate_objects(foreground, smallest)

    job.answer(predict, {"seconds": seconds, "steps": len(classes)}, ["scikit-learn"])


def _features(image: NDArray[Any]) -> NDArray[Any]:
    features: NDArray[Any] = multiscale_basic_features(
        image, sigma_min=1, sigma_max=16, channel_axis=-1 if image.ndim == 3 else None
    )
    return features


def _chosen(
    image: NDArray[Any], classes: NDArray[Any], drawn: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Choose labelled pixels of an image: their features, and their classes."""
    places = np.flatnonzero(classes != UNLABELLED)
    if len(places) > _PIXELS_PER_IMAGE:
        places = drawn.choice(places, _PIXELS_PER_IMAGE, replace=False)
    features = _features(image)
    return features.reshape(-1, features.shape[-1])[places], classes.ravel()[places]


if __name__ == "__main__":
    main()
