"""Tiled prediction, as a generator of events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import SPATIAL_AXES, frame_axes, frames_of, guess_axes
from napari_unet.data.intensity import measure_intensity
from napari_unet.data.separation import separate_objects
from napari_unet.data.uncertainty import uncertainty_of
from napari_unet.errors import ImageError, ModelMismatchError
from napari_unet.model.devices import choose_device, describe
from napari_unet.model.execution import Runner
from napari_unet.prediction.events import (
    FrameFinished,
    PredictionEvent,
    PredictionStarted,
    TilePredicted,
)
from napari_unet.prediction.tiles import plan_tiles

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, Frame, Region
    from napari_unet.data.labels import ClassTable
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig, ResultKind


@dataclass(frozen=True)
class PredictionResult:
    """What a finished or stopped prediction leaves.

    Parameters
    ----------
    kind : {"objects", "classes", "probabilities", "uncertainty"}
        What it is.
    array : ndarray
        Labels, or uncertainty (float32, 0 to 1): frame axes then ``[Z]YX``. Probabilities: frame
        axes, C, then ``[Z]YX``, float32.
    axes : str
        Axes of `array`.
    complete : bool
        Whether all tiles were predicted; elsewhere `array` is 0.
    """

    kind: ResultKind
    array: NDArray[np.integer] | NDArray[np.float32]
    axes: str
    complete: bool


def predict_image(
    trained: TrainedNetwork, image: ArrayLike, config: PredictConfig, stop: threading.Event
) -> Generator[PredictionEvent, None, PredictionResult]:
    """Predict all frames of an image, tile by tile.

    Parameters
    ----------
    trained : TrainedNetwork
        The model.
    image : ArrayLike
        Any size from 1x1 up; read tile by tile.
    config : PredictConfig
        What to predict.
    stop : threading.Event
        Set it from any thread to end after the current tile; finished tiles are kept.

    Yields
    ------
    PredictionEvent
        `TilePredicted` per tile and `FrameFinished` per frame.

    Returns
    -------
    PredictionResult
        Also after a stop.

    Raises
    ------
    ModelMismatchError
        Model and image do not fit, or the model cannot give this kind of result.
    ImageError
        The image is empty or of an unusable dtype.
    """
    record = trained.record
    kind = _result_kind(config, record.classes)
    network = record.network
    axes = config.axes or guess_axes(image.shape, network.ndim, network.in_channels)
    every_frame = frames_of(image, axes, network.ndim)
    _check_channels(every_frame[0], network.in_channels)
    frames = _chosen(every_frame, config)
    shape = every_frame[0].spatial_shape
    region = _clipped(config.region, shape)
    device = choose_device(config.device)
    views = config.views or record.views
    threshold = config.threshold or record.threshold
    runner = Runner.of(trained.network, device, binning=record.binning, views=views)
    plan = plan_tiles(shape, network, config.tile_size, record.binning)
    plan = plan.within(region, config.near)
    result = _empty_result(image, axes, every_frame[0], kind, record.classes)
    label_shape = tuple(image.shape[axes.index(a)] for a in frame_axes(axes, network.ndim))
    yield PredictionStarted(describe(device), len(plan) * len(frames), (*label_shape, *shape), kind)
    smallest = record.smallest_object if config.smallest is None else config.smallest
    number, n_objects = 0, 0  # objects of different frames have different numbers
    for frame in frames:
        intensity = measure_intensity(frame, record.intensity)
        foreground = np.zeros(shape if kind == "objects" else (0,), np.float32)
        for tile in plan:
            if stop.is_set():
                break
            probabilities = runner.probabilities(frame, intensity, tile)  # (C, *)
            values = _values_of(probabilities, kind, record.classes, threshold)
            if kind == "probabilities":
                result[frame.index][(slice(None), *tile)] = probabilities
            elif kind == "objects":
                foreground[tile] = probabilities[1]
            else:
                result[frame.index][tile] = values
            number += 1
            yield TilePredicted(number, frame.index, tile, values)
        if kind == "objects":
            objects = separate_objects(foreground[region], smallest, threshold, record.binning)
            result[frame.index][region] = np.where(objects > 0, objects + n_objects, 0)
            n_objects += int(objects.max())
        if stop.is_set():
            break
        if kind != "probabilities":
            yield FrameFinished(frame.index, region, result[frame.index][region])
    complete = number == len(plan) * len(frames)
    channel = "C" if kind == "probabilities" else ""
    result_axes = frame_axes(axes, network.ndim) + channel + SPATIAL_AXES[network.ndim]
    return PredictionResult(kind, _compact(result), result_axes, complete)


def _chosen(frames: list[Frame], config: PredictConfig) -> list[Frame]:
    """Take the frames that are asked for, those nearest to what is on screen first."""
    if config.frames is not None:
        frames = [frame for frame in frames if frame.index in config.frames]
    if config.near is None:
        return frames
    at = np.array(config.near.frame)
    return sorted(frames, key=lambda frame: float(np.abs(np.array(frame.index) - at).sum()))


def _clipped(region: Region | None, shape: tuple[int, ...]) -> Region:
    if region is None:
        return tuple(slice(0, size) for size in shape)
    clipped = tuple(
        slice(max(0, part.start), min(size, part.stop))
        for part, size in zip(region, shape, strict=True)
    )
    if any(part.stop <= part.start for part in clipped):
        raise ImageError("The region to predict lies outside the image; move the image into view.")
    return clipped


def _result_kind(config: PredictConfig, classes: ClassTable) -> ResultKind:
    kind = config.result or classes.kind
    if kind == "objects" and classes.kind != "objects":
        raise ModelMismatchError(
            "This model was trained on classes and cannot tell objects apart; ask for classes "
            "or probabilities, or train with kind 'objects'."
        )
    return kind


def _check_channels(frame: Frame, expected: int) -> None:
    if frame.channels != expected:
        raise ModelMismatchError(
            f"Model expects {expected} channel(s), image has {frame.channels} "
            f"(axes {frame.axes}, shape {tuple(frame.array.shape)}). Give as many channels, or "
            "train on images like this one."
        )


def _empty_result(
    image: ArrayLike, axes: str, frame: Frame, kind: ResultKind, classes: ClassTable
) -> NDArray[np.integer] | NDArray[np.float32]:
    shape = tuple(image.shape[axes.index(a)] for a in frame_axes(axes, frame.ndim))
    if kind == "probabilities":
        return np.zeros((*shape, classes.n_classes, *frame.spatial_shape), np.float32)
    if kind == "uncertainty":
        return np.zeros((*shape, *frame.spatial_shape), np.float32)
    dtype = np.int32 if kind == "objects" else np.min_scalar_type(max(classes.results))
    return np.zeros((*shape, *frame.spatial_shape), dtype)


def _values_of(
    probabilities: NDArray[np.float32], kind: ResultKind, classes: ClassTable, threshold: float
) -> NDArray[Any]:
    """Return what a tile shows: uncertainty, foreground of the objects, or classes."""
    if kind == "uncertainty":
        return uncertainty_of(probabilities)
    if classes.kind == "objects":
        foreground: NDArray[np.integer] = (probabilities[1] > threshold).astype(np.uint8)
        return foreground
    values = np.array(classes.results, np.min_scalar_type(max(classes.results)))
    labels: NDArray[np.integer] = values[probabilities.argmax(axis=0)]
    return labels


def _compact(
    result: NDArray[np.integer] | NDArray[np.float32],
) -> NDArray[np.integer] | NDArray[np.float32]:
    """Store labels in the smallest unsigned type that holds them; it never wraps."""
    if result.dtype.kind == "f":
        return result
    smallest = np.min_scalar_type(int(result.max()))
    return result.astype(max(smallest, np.dtype(np.uint8), key=lambda dtype: dtype.itemsize))
