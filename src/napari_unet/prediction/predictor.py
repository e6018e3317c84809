"""Tiled prediction, as a generator of events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_unet.data.axes import SPATIAL_AXES, frame_axes, frames_of, guess_axes, is_axes
from napari_unet.data.intensity import measure_intensity
from napari_unet.data.separation import separate_objects
from napari_unet.errors import ConfigError, ModelMismatchError
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

    from napari_unet.data.axes import ArrayLike, Frame
    from napari_unet.data.labels import ClassTable
    from napari_unet.model.trained import TrainedNetwork

ResultKind = Literal["objects", "classes", "probabilities"]


@dataclass(frozen=True)
class PredictConfig:
    """Say what to predict and how.

    Parameters
    ----------
    result : {"objects", "classes", "probabilities"} or None
        What to return; None is what the model was trained for.
    axes : str or None
        Axes of the image; guessed from its shape where None.
    tile_size : int or None
        Largest edge length of a tile; None is the default of the network's dimensions.
    device : str
        "auto", "cpu", "cuda", "mps".
    threshold : float
        Foreground probability above which a pixel belongs to an object.
    smallest : int or None
        Objects of fewer pixels are dropped; None takes the model's own value.

    Raises
    ------
    ConfigError
        A value is out of its range.
    """

    result: ResultKind | None = None
    axes: str | None = None
    tile_size: int | None = None
    device: str = "auto"
    threshold: float = 0.5
    smallest: int | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.result not in (None, "objects", "classes", "probabilities"):
            raise ConfigError(
                f"result is {self.result!r}; choose objects, classes or probabilities."
            )
        if self.axes is not None and not is_axes(self.axes):
            raise ConfigError(f"Axes {self.axes!r} are not valid: use each of TCZYX at most once.")
        if not 0 < self.threshold < 1:
            raise ConfigError(f"threshold is {self.threshold}; choose a value between 0 and 1.")
        if self.smallest is not None and self.smallest < 0:
            raise ConfigError(f"smallest is {self.smallest}; choose 0 or more pixels.")


@dataclass(frozen=True)
class PredictionResult:
    """What a finished or stopped prediction leaves.

    Parameters
    ----------
    kind : {"objects", "classes", "probabilities"}
        What it is.
    array : ndarray
        Labels: frame axes then ``[Z]YX``. Probabilities: frame axes, C, then ``[Z]YX``, float32.
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
    frames = frames_of(image, axes, network.ndim)
    _check_channels(frames[0], network.in_channels)
    device = choose_device(config.device)
    runner = Runner.of(trained.network, device)
    plan = plan_tiles(frames[0].spatial_shape, network, config.tile_size)
    result = _empty_result(image, axes, frames[0], kind, record.classes)
    label_shape = tuple(image.shape[axes.index(a)] for a in frame_axes(axes, network.ndim))
    yield PredictionStarted(
        describe(device), len(plan) * len(frames), (*label_shape, *frames[0].spatial_shape)
    )
    smallest = record.smallest_object if config.smallest is None else config.smallest
    number, n_objects = 0, 0  # objects of different frames have different numbers
    for frame in frames:
        intensity = measure_intensity(frame, record.intensity)
        foreground = np.zeros(frame.spatial_shape if kind == "objects" else (0,), np.float32)
        for region in plan:
            if stop.is_set():
                break
            probabilities = runner.probabilities(frame, intensity, region)  # (C, *)
            labels = _labels_of(probabilities, record.classes, config.threshold)
            if kind == "probabilities":
                result[frame.index][(slice(None), *region)] = probabilities
            elif kind == "classes":
                result[frame.index][region] = labels
            else:
                foreground[region] = probabilities[1]
            number += 1
            yield TilePredicted(number, frame.index, region, labels)
        if kind == "objects":
            objects = separate_objects(foreground, smallest, config.threshold)
            result[frame.index] = np.where(objects > 0, objects + n_objects, 0)
            n_objects += int(objects.max())
        if stop.is_set():
            break
        if kind != "probabilities":
            yield FrameFinished(frame.index, result[frame.index])
    complete = number == len(plan) * len(frames)
    channel = "C" if kind == "probabilities" else ""
    result_axes = frame_axes(axes, network.ndim) + channel + SPATIAL_AXES[network.ndim]
    return PredictionResult(kind, _compact(result), result_axes, complete)


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
            f"(axes {frame.axes}, shape {tuple(frame.array.shape)})."
        )


def _empty_result(
    image: ArrayLike, axes: str, frame: Frame, kind: ResultKind, classes: ClassTable
) -> NDArray[np.integer] | NDArray[np.float32]:
    shape = tuple(image.shape[axes.index(a)] for a in frame_axes(axes, frame.ndim))
    if kind == "probabilities":
        return np.zeros((*shape, classes.n_classes, *frame.spatial_shape), np.float32)
    dtype = np.int32 if kind == "objects" else np.min_scalar_type(max(classes.results))
    return np.zeros((*shape, *frame.spatial_shape), dtype)


def _labels_of(
    probabilities: NDArray[np.float32], classes: ClassTable, threshold: float
) -> NDArray[np.integer]:
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
