"""Objects of an image that nothing is painted on: a model tried at several sizes of cells.

A model finds cells that have the size it expects. On an image of which nothing is known it is run
as if cells were small, larger, up to very large. The size at which most of what it finds is sure,
as large as it should be, and found again at a neighbouring size, is chosen; the foreground at every
size is kept, so that another size, another threshold or another smallest object needs no network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.data.rescaling import size_of_cell
from napari_unet.errors import ConfigError, ModelMismatchError
from napari_unet.evaluation.overlap import overlap_of
from napari_unet.model.starting import expected_cell_size
from napari_unet.objects.clicking import Clickable
from napari_unet.objects.limits import SURE_UNTAUGHT, Limits
from napari_unet.objects.separation import confidences, separate_objects, without_unsure
from napari_unet.prediction.plan import plan_prediction
from napari_unet.prediction.predictor import predict_image
from napari_unet.run import Notice, PartsDone, Run

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.results import PredictionEvent

    Foreground = NDArray[np.uint8]

# Diameters in pixels, in steps of half an octave around what the starting models know best: a true
# cell is found at two of them, a piece of one or a speck is not (docs/results/proposals.md).
SIZES = (15.0, 21.2, 30.0, 42.4, 60.0, 84.8, 120.0, 170.0)
# Sizes are tried in the middle of a view: so many pixels along each axis show cells enough.
LARGEST_VIEW = 1024
_STEPS = 255
_COMMON_SIZE = 30.0  # of a cell, where nothing is known of it
# Smaller than this share of a cell of the size tried: dropped.
_SMALLEST_SHARE = 0.15
# Below this quality no size fits: of 72 images 6 have F1 0.40 in the mean, the others 0.66.
_FITS = 0.12

# Of the quality, see `quality_of`: all chosen on eleven sets together.
_SURE, _SURE_STEEP = 0.75, 10.0
_SIZE_WINDOW, _SIZE_STEEP = (-1.3, 0.8), 1 / 0.15
_AGREEMENT_POWER = 3.0
_UNSURE = (51, 204)
_UNSURE_POWER = 0.25


@dataclass(frozen=True, eq=False)
class Proposals:
    """What a model finds in a view at several sizes of cells."""

    foreground: Mapping[float, Foreground]
    """By diameter of a cell in pixels: probability in steps of 1/255, ``YX`` of the view."""
    qualities: Mapping[float, float]
    """How well what was found fits each size, 0 to 1."""
    frame: tuple[int, ...]
    """Index of the view on the frame axes."""
    region: Region
    """Box of the view in the frame, ``YX``."""
    expected: float
    """Diameter of the cells that the model expects, in pixels of the network."""
    threshold: float
    """The model's."""
    complete: bool
    """Whether all sizes were tried."""

    @property
    def cell_size(self) -> float:
        """The size that fits best; 0 if none was tried to the end."""
        return max(self.qualities, key=lambda size: self.qualities[size], default=0.0)

    @property
    def fits(self) -> bool:
        """Whether what was found looks like cells at all."""
        return self.qualities.get(self.cell_size, 0.0) >= _FITS

    def threshold_at(self, sensitivity: float) -> float:
        """Return the threshold at a sensitivity: at 0 it is 1, at 0.5 the model's, at 1 it is 0."""
        if sensitivity <= 0.5:
            return 1 - (1 - self.threshold) * sensitivity * 2
        return self.threshold * (1 - sensitivity) * 2

    def objects(
        self,
        cell_size: float | None = None,
        smallest: int | None = None,
        sensitivity: float = 0.5,
    ) -> NDArray[np.int32]:
        """Label the objects of the view, without running the network.

        Of the sizes that were tried the nearest to `cell_size`, a diameter in pixels, is taken, and
        cells of this size are expected in it; the best one by default. Objects of fewer pixels than
        `smallest` are dropped, by default of 15 % of a cell. A higher sensitivity, from 0 to 1,
        finds more; 0.5 takes the model's threshold. ConfigError if one is out of its range, or no
        size was tried to the end.
        """
        if not 0 < sensitivity < 1:
            raise ConfigError(f"sensitivity is {sensitivity:g}; choose a value between 0 and 1.")
        wanted, size = self._nearest(cell_size)
        threshold = self.threshold_at(sensitivity)
        foreground = self.foreground[size]
        found = _separated(foreground, wanted, size / self.expected, threshold, smallest)
        return without_unsure(found, foreground, threshold, Limits(sure=SURE_UNTAUGHT))

    def clickable(self, cell_size: float | None = None) -> Clickable:
        """Return the view for clicks on cells of a diameter in pixels; by default of the best.

        Raises ConfigError as `objects`.
        """
        wanted, size = self._nearest(cell_size)
        return Clickable(self.foreground[size], wanted, self.threshold, size / self.expected)

    def _nearest(self, cell_size: float | None) -> tuple[float, float]:
        """Return the size that is wanted, and the nearest that was tried."""
        if not self.foreground:
            raise ConfigError("The search was stopped before anything was found; search again.")
        wanted = self.cell_size if cell_size is None else cell_size
        if wanted <= 0:
            raise ConfigError(f"cell_size is {wanted:g}; choose a value above 0.")
        return wanted, min(self.foreground, key=lambda tried: abs(np.log(tried / wanted)))


def propose(
    trained: TrainedNetwork,
    image: ArrayLike,
    config: PredictConfig,
    stop: threading.Event,
    sizes: Sequence[float] = SIZES,
) -> Generator[PredictionEvent | PartsDone, None, Proposals]:
    """Find objects in a view of which nothing is known, at several sizes of cells.

    The model is a starting model, or another one in 2D that knows how large its cells are. `config`
    names the view by one of its `frames` (the first by default) and its `region`; the result, the
    cell size and the smallest object that it names do not count. `sizes` are diameters of cells in
    pixels; after a stop those that are finished are kept.

    It yields the events of the predictions, large cells (the quickest) first, and after each size
    `PartsDone`. Errors are those of `predict_image`.
    """
    expected = expected_cell_size(trained.record) / trained.record.binning
    if not expected or trained.record.network.ndim != 2:
        raise ModelMismatchError(
            "Only a model in 2D that knows how large its cells are can be tried at several sizes; "
            "take a starting model."
        )
    foreground: dict[float, Foreground] = {}
    objects: dict[float, NDArray[np.int32]] = {}
    threshold = config.threshold or trained.record.threshold
    view = _view_of(trained, image, config)
    for number, size in enumerate(sorted(sizes, reverse=True), 1):
        events = predict_image(trained, image, replace(view, cell_size=size), stop)
        run = Run(events)
        yield from run
        if not run.result.complete:
            break
        pixels = run.result.pixels
        assert isinstance(pixels, np.ndarray)
        found = np.rint(pixels.reshape(pixels.shape[-3:])[1] * np.float32(_STEPS))
        foreground[size] = found.astype(np.uint8)
        objects[size] = _separated(foreground[size], size, size / expected, threshold)
        yield PartsDone(number, len(sizes))
    assert view.frames is not None
    assert view.region is not None
    complete = len(foreground) == len(sizes)
    qualities = {
        size: quality_of(foreground[size], found, size, threshold, _neighbours(objects, size))
        for size, found in objects.items()
    }
    return Proposals(
        foreground, qualities, view.frames[0], view.region, expected, threshold, complete
    )


def find_cell_size(
    trained: TrainedNetwork, image: ArrayLike, config: PredictConfig, stop: threading.Event
) -> Generator[PredictionEvent | PartsDone, None, float]:
    """Return the diameter in pixels at which a model finds cells best; 0 after an early stop."""
    run = Run(propose(trained, image, config, stop))
    yield from run
    return run.result.cell_size


def with_cell_size(
    trained: TrainedNetwork, image: ArrayLike, config: PredictConfig, stop: threading.Event
) -> Generator[Notice, None, PredictConfig]:
    """Return settings with the size of cells that fits best, where they ask for it by "auto".

    Raises as `propose`.
    """
    if config.cell_size != "auto":
        return config
    found = Run(propose(trained, image, config, stop)).finish()
    size = found.cell_size if found.fits else 0.0
    yield Notice(
        f"Cells are about {size:.3g} pixels wide (cell_size)."
        if size
        else "Cells of no size fit: the image is seen as in training. Give a cell_size in pixels."
    )
    return replace(config, cell_size=size)


def quality_of(
    foreground: Foreground,
    objects: NDArray[np.int32],
    cell_size: float,
    threshold: float,
    others: Sequence[NDArray[np.int32]] = (),
) -> float:
    """Return how well objects fit the size of cells at which they were looked for, 0 to 1.

    It is the share of them, by their diameter, that are sure (a mean probability above 0.75), of
    about that size (0.4 to 1.7 times it), and much the same as in one of the `others`, what was
    found at neighbouring sizes. It is lower where much of the foreground is in no object, and where
    much of the view is unsure.
    """
    count = int(objects.max(initial=0))
    if count == 0:
        return 0.0
    areas = np.bincount(objects.ravel(), minlength=count + 1)[1:]
    sizes = np.log2(2 * np.sqrt(areas / np.pi) / cell_size)
    low, high = _SIZE_WINDOW
    fits = _rises((sizes - low) * _SIZE_STEEP) * _rises((high - sizes) * _SIZE_STEEP)
    sure = _rises((confidences(foreground, objects)[1:] - _SURE) * _SURE_STEEP)
    agreed = np.max([_agreement(objects, each) for each in others], axis=0) if others else 1.0
    lengths = np.sqrt(areas)
    good = (lengths * fits * sure * agreed**_AGREEMENT_POWER).sum()
    share = good / (lengths.sum() + np.median(lengths))  # few prove less
    inside = max(1, int(np.count_nonzero(foreground > threshold * _STEPS)))
    unsure = np.count_nonzero((foreground > _UNSURE[0]) & (foreground < _UNSURE[1])) / inside
    kept = min(1.0, areas.sum() / inside)
    return float(share * kept * (1 + unsure) ** -_UNSURE_POWER)


def _neighbours(objects: Mapping[float, NDArray[np.int32]], size: float) -> list[NDArray[np.int32]]:
    """Return what was found at the next smaller and the next larger size."""
    tried = sorted(objects)
    at = tried.index(size)
    return [objects[other] for other in (*tried[max(0, at - 1) : at], *tried[at + 1 : at + 2])]


def _agreement(objects: NDArray[np.int32], others: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return how much alike the most similar of the others is, for each object 1..N: its IoU."""
    overlap = overlap_of(objects, others)
    best = np.zeros(int(objects.max()) + 1)
    np.maximum.at(best, overlap.prediction_ids[overlap.prediction_index], overlap.iou)
    return best[1:]


def _view_of(trained: TrainedNetwork, image: ArrayLike, config: PredictConfig) -> PredictConfig:
    """Name one frame and the middle of its region, of which probabilities are wanted."""
    plain = replace(config, result="probabilities", cell_size=0.0, smallest=None)
    plan = plan_prediction(trained.record, image, plain)
    first = config.frames[:1] if config.frames else (plan.index_of(0),)
    return replace(plain, frames=first, region=tuple(map(_middle, plan.region)))


def _middle(part: slice) -> slice:
    length = int(part.stop - part.start)
    size = min(length, LARGEST_VIEW)
    start = part.start + (length - size) // 2
    return slice(start, start + size)


def _separated(
    foreground: Foreground,
    cell_size: float,
    binning: float,
    threshold: float,
    smallest: int | None = None,
) -> NDArray[np.int32]:
    typical = size_of_cell(cell_size, 2)
    least = round(_SMALLEST_SHARE * typical) if smallest is None else smallest
    return separate_objects(foreground, least, threshold, binning, typical)


def _rises(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rise smoothly from 0 to 1."""
    return 1 / (1 + np.exp(-values))


def clickable_view(
    trained: TrainedNetwork, image: ArrayLike, config: PredictConfig, stop: threading.Event
) -> Generator[PredictionEvent, None, tuple[tuple[int, ...], Region, Clickable]]:
    """Find the foreground of a view, for clicks on its objects.

    Returns the frame, the box of the view in it, and what can be clicked there.
    """
    view = replace(_view_of(trained, image, config), cell_size=config.cell_size)
    plan = plan_prediction(trained.record, image, view)
    run = Run(predict_image(trained, image, view, stop))
    yield from run
    pixels = np.asarray(run.result.pixels)
    foreground = pixels.reshape(pixels.shape[-3:])[plan.foreground]
    area = plan.typical or size_of_cell(_COMMON_SIZE, 2)
    clickable = Clickable(
        np.rint(foreground * np.float32(_STEPS)).astype(np.uint8),
        float(2 * np.sqrt(area / np.pi)),
        plan.threshold,
        plan.factors[-1],
    )
    assert clickable.objects is not None  # found here, not at the first click
    assert view.frames is not None
    assert view.region is not None
    return view.frames[0], view.region, clickable
