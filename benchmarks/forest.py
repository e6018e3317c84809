"""The baseline: a random forest on local features, as ilastik and scikit-image offer it.

Features and settings are those of scikit-image's example "Trainable segmentation using local
features and random forests" (trees of depth 10, each of 5 % of the painted pixels), with edges
among the features and twice as many trees. What the forest learns from is what the U-Net learns
from: the same strokes with the same ridge of background between touching cells.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi
from skimage.feature import multiscale_basic_features

from napari_unet.data.labels import UNLABELLED
from napari_unet.errors import ConfigError
from napari_unet.evaluation.scores import evaluate
from napari_unet.objects.separation import separate_objects
from napari_unet.tasks import ClassTable, target_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TABLE = ClassTable("objects", "unlabelled")


@dataclass(frozen=True)
class Scores:
    """IoU of the foreground, and F1 of the objects at IoU 0.5, against the full truth."""

    iou: float
    f1: float


@dataclass(frozen=True)
class ForestScores:
    """Scores of two ways to make objects: components, and this package's separation."""

    components: Scores
    separated: Scores

    @property
    def best(self) -> Scores:
        """The better of the two, score by score: what the U-Net has to beat."""
        one, other = self.components, self.separated
        return Scores(max(one.iou, other.iou), max(one.f1, other.f1))


@dataclass(frozen=True)
class ForestAnswer:
    """What the forest says of an image.

    Parameters
    ----------
    foreground : ndarray
        Probability of foreground, ``YX`` float32.
    seconds : float
        That fitting and predicting took; the features are not counted.
    """

    foreground: NDArray[np.float32]
    seconds: float


def require_sklearn() -> Any:
    """Return scikit-learn's module of ensembles.

    Raises
    ------
    ConfigError
        It is not installed.
    """
    try:
        return import_module("sklearn.ensemble")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "The forest needs scikit-learn; install it with: pip install scikit-learn"
        ) from error


class Forest:
    """A forest for one image, whose features are computed once.

    Parameters
    ----------
    image : ndarray
        ``YX``, or ``YXC``.
    threads : int
        To fit and predict with.
    seed : int
        Of the forest.
    max_samples : float
        Share of the painted pixels that each tree is grown from.

    Attributes
    ----------
    feature_seconds : float
        That the features took.

    Raises
    ------
    ConfigError
        scikit-learn is not installed.
    """

    def __init__(
        self, image: NDArray[Any], threads: int, seed: int, max_samples: float = 0.05
    ) -> None:
        self._ensemble = require_sklearn()
        self._settings = {
            "n_estimators": 100,
            "max_depth": 10,
            "max_samples": max_samples,
            "n_jobs": threads,
            "random_state": seed,
        }
        begin = time.perf_counter()
        self._features = multiscale_basic_features(
            image,
            intensity=True,
            edges=True,
            texture=True,
            sigma_min=1,
            sigma_max=16,
            channel_axis=-1 if image.ndim == 3 else None,
        )
        self.feature_seconds = time.perf_counter() - begin

    def answer(self, labels: NDArray[Any]) -> ForestAnswer:
        """Learn from paint, from scratch, and predict the whole image.

        Parameters
        ----------
        labels : ndarray
            ``YX``: 0 unlabelled, 1 background, 2 and up cells; both classes are painted.
        """
        begin = time.perf_counter()
        classes = target_of(labels, _TABLE).classes
        painted = classes != UNLABELLED
        forest = self._ensemble.RandomForestClassifier(**self._settings)
        forest.fit(self._features[painted], classes[painted])
        probabilities = forest.predict_proba(self._features.reshape(classes.size, -1))
        foreground = probabilities[:, 1].reshape(classes.shape).astype(np.float32)
        return ForestAnswer(foreground, time.perf_counter() - begin)


def components_of(foreground: NDArray[np.float32], smallest: int) -> NDArray[np.int32]:
    """Label the 4-connected components of the foreground that are no debris.

    Parameters
    ----------
    foreground : ndarray
        Probability of foreground, ``YX``.
    smallest : int
        Components of fewer pixels are dropped.

    Returns
    -------
    ndarray
        ``YX`` int32, 0 background; numbers may have gaps.
    """
    components, _ = ndi.label(foreground > 0.5)
    debris = np.bincount(components.ravel()) < smallest
    kept: NDArray[np.int32] = np.where(debris[components], 0, components).astype(np.int32)
    return kept


def scores_of(objects: NDArray[Any], truth: NDArray[Any]) -> Scores:
    """Score label images ``YX``, background 0, against the full truth."""
    scores = evaluate(objects, truth)
    return Scores(scores["iou"], scores["f1_50"])


def score_forest(
    foreground: NDArray[np.float32], smallest: int, truth: NDArray[Any]
) -> ForestScores:
    """Score a foreground probability ``YX``, objects made in both ways, debris removed."""
    return ForestScores(
        scores_of(components_of(foreground, smallest), truth),
        scores_of(separate_objects(foreground, smallest), truth),
    )
