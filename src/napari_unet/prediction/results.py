"""What predictions give: kinds of results, asked by name nowhere else, results, and events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import ModelMismatchError
from napari_unet.run import Notice
from napari_unet.tasks.object_classes import (
    foreground_and_class,
    one_object,
    parts_of_foreground,
)
from napari_unet.tasks.table import task_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.model.config import Precision
    from napari_unet.model.record import ModelRecord
    from napari_unet.prediction.config import ResultKind
    from napari_unet.prediction.plan import PredictionPlan

# Foreground probabilities are kept in steps of 1/255: a fourth of the memory, and more than
# enough for thresholds.
_STEPS = 255


@dataclass(frozen=True)
class ResultType:
    """One kind of result."""

    of_tile: Callable[[NDArray[np.float32], PredictionPlan], NDArray[Any]]
    """Turns the probabilities of a tile, C followed by its sizes, into its values."""
    shown: Callable[[NDArray[Any], PredictionPlan], NDArray[Any]]
    """Turns these values into those that a tile shows as soon as it is there."""
    tile_dtype: np.dtype[Any] | None = None
    """Of the values; None: the smallest that holds all classes."""
    is_labels: bool = False
    """Whether it is shown as labels and stored with lower resolutions; else it is float32, from 0
    to 1 unless it is grey.
    """
    is_separated: bool = False
    """Whether the tiles are a foreground, in which objects are then separated."""
    is_per_class: bool = False
    """Whether it has an axis C, one value for each class."""
    is_grey: bool = False
    """Whether it has the grey values of its image, any numbers."""
    is_packed: bool = False
    """Whether each class is in a layer of its own: values hold all of them, see `Task.unpacked`."""

    @property
    def shows_labels(self) -> bool:
        """Whether a tile shows labels when it comes: of probabilities, the likeliest class."""
        return self.is_labels or self.is_per_class


def _as_they_are(values: NDArray[Any], plan: PredictionPlan) -> NDArray[Any]:
    return values


def _classes(probabilities: NDArray[Any], plan: PredictionPlan) -> NDArray[Any]:
    return plan.classes.task.of_pixels(probabilities, plan.classes, plan.threshold)


def _uncertainty(probabilities: NDArray[np.float32], plan: PredictionPlan) -> NDArray[Any]:
    return plan.classes.task.uncertainty(probabilities)


def _foreground(probabilities: NDArray[np.float32], plan: PredictionPlan) -> NDArray[Any]:
    steps = np.multiply(probabilities[plan.foreground], np.float32(_STEPS))
    return np.asarray(np.rint(steps, out=steps).astype(np.uint8))


def _above_threshold(foreground: NDArray[Any], plan: PredictionPlan) -> NDArray[Any]:
    return np.asarray(foreground > plan.threshold * _STEPS).astype(np.uint8)


def _foreground_and_class(probabilities: NDArray[np.float32], plan: PredictionPlan) -> NDArray[Any]:
    return foreground_and_class(probabilities, _STEPS)


def _class_above_threshold(foreground: NDArray[Any], plan: PredictionPlan) -> NDArray[Any]:
    steps, classes = parts_of_foreground(foreground)
    assert classes is not None
    return one_object(_above_threshold(steps, plan), classes)


def _grey_values(values: NDArray[np.float32], plan: PredictionPlan) -> NDArray[Any]:
    return np.asarray(values[0])


_FLOAT, _BYTE, _WORD = map(np.dtype, (np.float32, np.uint8, np.uint16))
RESULT_TYPES: Mapping[ResultKind, ResultType] = {
    "objects": ResultType(_foreground, _above_threshold, _BYTE, is_labels=True, is_separated=True),
    "classes": ResultType(_classes, _as_they_are, is_labels=True),
    "overlapping": ResultType(_classes, _as_they_are, is_labels=True, is_packed=True),
    "object-classes": ResultType(
        _foreground_and_class,
        _class_above_threshold,
        _WORD,
        is_labels=True,
        is_separated=True,
        is_packed=True,
    ),
    "probabilities": ResultType(_as_they_are, _classes, _FLOAT, is_per_class=True),
    "uncertainty": ResultType(_uncertainty, _as_they_are, _FLOAT),
    "image": ResultType(_grey_values, _as_they_are, _FLOAT, is_grey=True),
}


def kind_of_result(asked: ResultKind | None, record: ModelRecord) -> ResultKind:
    """Return what a model gives; ModelMismatchError where it cannot give what is asked for."""
    learned = record.classes
    own = learned.task.result
    kind = asked or own
    if RESULT_TYPES[kind].is_grey != RESULT_TYPES[own].is_grey:
        makes = "an image" if RESULT_TYPES[own].is_grey else "labels"
        raise ModelMismatchError(
            f"This model was trained to make {makes}, and gives no {kind}; leave out what is asked "
            "for, or choose another model."
        )
    of_objects = RESULT_TYPES[own].is_separated or record.membrane is not None
    if RESULT_TYPES[kind].is_separated and not of_objects:
        raise ModelMismatchError(
            "This model was trained on classes and cannot separate objects; ask for classes "
            "or probabilities, or train with kind 'objects'."
        )
    if RESULT_TYPES[kind].is_labels and RESULT_TYPES[kind].is_packed != learned.task.in_layers:
        raise ModelMismatchError(
            f"This model was trained on {learned.task.things} and cannot give {kind!r}; ask for "
            f"{learned.kind!r}, probabilities or uncertainty."
        )
    return kind


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a finished or stopped prediction leaves."""

    kind: ResultKind
    """Objects, classes, probabilities, uncertainty or an image."""
    pixels: NDArray[Any] | Path
    """In memory those of the `box`; or the OME-Zarr that holds them, which is not there yet if the
    prediction was stopped.
    """
    axes: str
    """Their axes: of frames, C with probabilities, and space."""
    shape: tuple[int, ...]
    """Sizes of the whole image along `axes`."""
    box: tuple[slice, ...]
    """What of it was predicted, along `axes`."""
    complete: bool
    """Whether all of that is done. In memory the rest is 0; a file goes on where it was when the
    same is predicted again.
    """
    objects: int | None
    """Number of objects; None for other kinds of result."""
    plan: PredictionPlan | None = None
    """How it was predicted, where that is kept with the `foreground`."""
    foreground: Mapping[int, Any] | None = None
    """In which its objects were separated, of each frame: see `separate_again`."""
    names: tuple[str, ...] = ()
    """Of classes in layers."""

    @property
    def type(self) -> ResultType:
        """What the kind of result means."""
        return RESULT_TYPES[self.kind]

    @property
    def path(self) -> Path | None:
        """The OME-Zarr; None in memory."""
        return self.pixels if isinstance(self.pixels, Path) else None

    @property
    def array(self) -> ArrayLike:
        """Labels (integers: background 0), or float32, from 0 to 1 unless they are grey values.

        Of a file, read on demand.
        """
        if not isinstance(self.pixels, Path):
            return self.pixels
        from napari_unet.io.files import read_image

        return read_image(self.pixels).array

    @property
    def axes_of_whole(self) -> str:
        """Axes of what `whole` returns."""
        return f"C{self.axes}" if self.type.is_packed else self.axes

    def whole(self) -> NDArray[Any]:
        """Return an array of all of the image: 0 where nothing was predicted.

        Of overlapping classes the mask of each, 0 and 1, along a first axis; of objects of several
        classes the numbers of those of each class.
        """
        array = np.asarray(self.array)
        whole = array
        if array.shape != self.shape:
            whole = np.zeros(self.shape, array.dtype)
            whole[self.box] = array
        task = task_of(self.kind) if self.type.is_packed else None
        return whole if task is None else task.unpacked(whole, len(self.names))


# --- What a running prediction tells: frozen values, one per happening ---------------------------


@dataclass(frozen=True)
class PredictionStarted:
    """The work is planned."""

    device: str
    """Where it computes, for people."""
    tiles: int
    """Tiles of all frames together."""
    shape: tuple[int, ...]
    """Shape of the label result: frame axes, then ``[Z]YX``."""
    kind: ResultKind
    """Objects, classes, probabilities or uncertainty."""
    precision: Precision = "float32"
    """Of the convolutions."""


@dataclass(frozen=True)
class TilePredicted:
    """One tile is done."""

    number: int
    """Tiles done so far, of all frames."""
    frame: tuple[int, ...]
    """Index on the frame axes."""
    region: Region
    """The tile's box in ``[Z]YX``."""
    labels: NDArray[Any]
    """Result value per pixel: 0 background; with objects, 1 for all foreground; uncertainty as
    float32.
    """


@dataclass(frozen=True)
class BlockSeparated:
    """The objects of a block are separated; tiles of other blocks may still be to come."""

    frame: tuple[int, ...]
    """Index on the frame axes."""
    region: Region
    """The block's box in ``[Z]YX``."""
    labels: NDArray[Any]
    """Its objects, in numbers that are not final: those of each block begin at 1."""


@dataclass(frozen=True)
class FrameFinished:
    """All tiles of a frame are done, and its objects are separated."""

    frame: tuple[int, ...]
    """Index on the frame axes."""
    region: Region
    """The predicted box in ``[Z]YX``; the whole frame unless less was asked for."""
    labels: NDArray[Any]
    """The final values of that box."""


@dataclass(frozen=True)
class PredictionProgress:
    """How far the prediction of an image is: told where no tile comes that could be shown."""

    tile: int = 0
    tiles: int = 0
    """Tiles of all frames together."""
    block: int = 0
    """Blocks of the present frame that are separated; 0 while tiles come."""
    blocks: int = 0
    """Blocks of the present frame."""
    notices: str = ""
    """What the user should know."""

    def after(self, event: object) -> PredictionProgress:
        """Return how far it is after an event."""
        if isinstance(event, PredictionStarted):
            return PredictionProgress(tiles=event.tiles)
        if isinstance(event, TilePredicted):
            return replace(self, tile=event.number, block=0, blocks=0)
        if isinstance(event, PredictionProgress):
            return replace(event, notices=self.notices)
        if isinstance(event, Notice):
            return replace(self, notices=f"{self.notices} {event.text}".strip())
        return self

    @property
    def objects(self) -> str:
        """Which block's objects are separated, in words; empty while tiles come."""
        return f"objects: block {self.block} of {self.blocks}" if self.blocks else ""

    @property
    def text(self) -> str:
        """What is being done, in words."""
        tiles = f"tile {self.tile} of {self.tiles}" if self.tiles else "starting"
        return self.objects or tiles


PredictionEvent = (
    PredictionStarted | TilePredicted | BlockSeparated | PredictionProgress | FrameFinished | Notice
)
