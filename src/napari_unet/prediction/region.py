"""Prediction of a part of one frame: memory for that part alone, however large the image is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.model.devices import choose_device, describe, unused_gpu
from napari_unet.prediction.in_memory import FrameInMemory, predict_in_memory
from napari_unet.prediction.plan import plan_prediction
from napari_unet.prediction.predictor import compact
from napari_unet.prediction.work import device_for, make_runner, settled, starting_events

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig, ResultKind
    from napari_unet.prediction.events import PredictionEvent


@dataclass(frozen=True, eq=False)
class RegionResult:
    """What a finished or stopped prediction of a region leaves.

    Parameters
    ----------
    kind : {"objects", "classes", "probabilities", "uncertainty"}
        What it is.
    array : ndarray
        Of the region, ``[Z]YX``; probabilities have a first axis C.
    frame : tuple of int
        Index on the frame axes.
    region : Region
        Where it lies in the frame.
    complete : bool
        Whether all tiles were predicted; elsewhere `array` is 0.
    """

    kind: ResultKind
    array: NDArray[np.integer] | NDArray[np.float32]
    frame: tuple[int, ...]
    region: Region
    complete: bool


class _Part:
    """A part of a large array, read and written by positions in the whole."""

    def __init__(self, region: Region, whole: tuple[int, ...], dtype: Any, bands: int = 0) -> None:
        sizes = tuple(part.stop - part.start for part in region)
        self.pixels: NDArray[Any] = np.zeros((bands, *sizes) if bands else sizes, dtype)
        self.shape, self.dtype = whole, self.pixels.dtype
        self._region = region

    def __getitem__(self, key: Any, /) -> Any:
        return self.pixels[self._inside(key)]

    def __setitem__(self, key: Any, values: Any) -> None:
        self.pixels[self._inside(key)] = values

    def _inside(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        moved = (
            slice(part.start - own.start, part.stop - own.start)
            for part, own in zip(key[-len(self._region) :], self._region, strict=True)
        )
        return (..., *moved)


def predict_region(
    trained: TrainedNetwork, image: ArrayLike, config: PredictConfig, stop: threading.Event
) -> Generator[PredictionEvent, None, RegionResult]:
    """Predict a region of one frame, tile by tile; memory is taken for the region alone.

    Parameters
    ----------
    trained : TrainedNetwork
        The model.
    image : ArrayLike
        Only the tiles of the region, with what the network sees around them, are read; and a
        sample, for the range of its intensities.
    config : PredictConfig
        Its `frames` and `region` say where.
    stop : threading.Event
        Set it from any thread to end after the current tile.

    Yields
    ------
    PredictionEvent
        As `predict_image`; positions are those of the whole image.

    Returns
    -------
    RegionResult
        Also after a stop.

    Raises
    ------
    ModelMismatchError, ImageError
        As `predict_image`.
    """
    plan = plan_prediction(trained.record, image, config)
    frame = plan.frames_of(image)[0]
    device = choose_device(config.device)
    plan = settled(plan, device)
    runner = make_runner(trained, plan, device)
    shown_device = describe(device_for(trained.network, device))
    yield from starting_events(plan, shown_device, 1, unused_gpu(config.device, device))
    bands = plan.classes.n_classes if plan.result.is_per_class else 0
    values = _Part(plan.region, plan.shape, plan.tile_dtype, bands)
    with_objects = plan.result.is_separated
    found = _Part(plan.region, plan.shape, np.int32) if with_objects else values
    work = FrameInMemory(plan, frame, 0, values, found)
    normalization = trained.record.normalization
    complete = yield from predict_in_memory([work], runner, plan, normalization, stop)
    return RegionResult(plan.kind, compact(found.pixels), frame.index, plan.region, complete)
