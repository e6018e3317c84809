"""A prediction that is held in memory: of the part that is asked for, and of no more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import numpy as np

from napari_unet.errors import LabelsError, NotEnoughMemoryError
from napari_unet.io.disk import megabytes
from napari_unet.io.limits import free_memory
from napari_unet.prediction.results import RESULT_TYPES, Prediction

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.objects.blocks import BlockObjects
    from napari_unet.prediction.plan import PredictionPlan

Read = TypeVar("Read")

_LARGEST_KEPT = 2**27  # pixels of a foreground, a byte each


class _Part:
    """Pixels of a part of a frame, found by their positions in the frame."""

    def __init__(self, pixels: NDArray[Any], region: Region) -> None:
        self.pixels: Final = pixels
        self._region = region

    def __getitem__(self, key: Region, /) -> NDArray[Any]:
        inside: tuple[Any, ...] = tuple(
            slice(part.start - own.start, part.stop - own.start)
            for part, own in zip(key, self._region, strict=True)
        )
        return self.pixels[(..., *inside)]


def _check_memory(size: int) -> None:
    """Refuse a result before it is begun: what outgrows a container is killed without a word."""
    if size > (free := free_memory()):
        raise NotEnoughMemoryError(
            f"The result would take {megabytes(size)} of memory, {megabytes(free)} are free. "
            "Predict into an OME-Zarr (--format zarr, or To file…), or a part of the image."
        )


def _paint_for(plan: PredictionPlan, painted: ArrayLike | None) -> ArrayLike | None:
    """Return the paint if it is of objects, and so is the result."""
    learned = RESULT_TYPES[plan.classes.task.result]
    of_objects = learned.is_separated and plan.result.is_separated and not plan.result.is_packed
    if painted is None or not of_objects:
        return None
    if tuple(painted.shape) != plan.result_shape:
        raise LabelsError(
            f"painted has the shape {tuple(painted.shape)}, the result {plan.result_shape}; give "
            "the labels that were painted on this image."
        )
    return painted


class ResultInMemory:
    """Where the tiles of a prediction go, and its objects, in memory; a file is a `PartialResult`.

    Frames, tiles and blocks are named by their numbers in the plan.
    """

    goes_on: ClassVar[bool] = False
    """Whether what a stop leaves is gone on with later; else it is made the best of."""

    def __init__(self, plan: PredictionPlan, painted: ArrayLike | None = None) -> None:
        self._plan, self._box = plan, plan.box
        self.painted: Final = _paint_for(plan, painted)
        dtype = np.int32 if plan.result.is_separated else plan.tile_dtype
        shape = [part.stop - part.start for part in self._box]
        _check_memory(math.prod(shape) * np.dtype(dtype).itemsize)
        self._array = np.zeros(shape, dtype)
        self._foreground: dict[int, _Part] = {}
        self._kept: dict[int, _Part] | None = None
        self._blocks: dict[tuple[int, int], BlockObjects] = {}

    def keep_foreground(self, known: Mapping[int, _Part] | None = None) -> None:
        """Keep it to the end, unless that is too large; `known` is what is there already."""
        self._foreground.update(known or {})
        if self._array.size <= _LARGEST_KEPT:
            self._kept = dict(known or {})

    def attempt(self, read: Callable[[], Read]) -> Read:
        """Try it once: what cannot be read in memory cannot be read a second time either."""
        return read()

    def done(self) -> tuple[dict[int, set[int]], dict[int, int]]:
        """Return that nothing is done yet."""
        return {}, {}

    def begin_frame(self, frame: int) -> None:
        """Take memory for the foreground."""
        if self._plan.result.is_separated:
            sizes = [part.stop - part.start for part in self._plan.region]
            pixels = np.zeros(sizes, self._plan.tile_dtype)
            self._foreground[frame] = _Part(pixels, self._plan.region)

    def write_tile(self, frame: int, tile: int, values: NDArray[Any]) -> None:
        """Keep what a tile gives."""
        of_frame = self._foreground.get(frame) or self._part(frame)
        of_frame[self._plan.tiles[tile]][...] = values

    def note_tile(self, frame: int, tile: int) -> None:
        """Note nothing: it is not gone on with."""

    def foreground(self, frame: int) -> _Part:
        """Return what to separate objects in."""
        return self._foreground[frame]

    def has_block(self, frame: int, block: int) -> bool:
        """Return whether the objects of a block are separated."""
        return (frame, block) in self._blocks

    def write_block(
        self, frame: int, block: int, labels: NDArray[Any], objects: BlockObjects
    ) -> None:
        """Keep the labels of a block in its own numbers, and what joins it to its neighbours."""
        self._part(frame)[self._plan.blocks[block]][...] = labels
        self._blocks[frame, block] = objects

    def read_block(self, frame: int, block: int) -> BlockObjects:
        """Return what joins a block to its neighbours; it is needed once."""
        return self._blocks.pop((frame, block))

    def number_block(self, frame: int, block: int, table: NDArray[Any]) -> None:
        """Give the objects of a block their final numbers."""
        labels = self._part(frame)[self._plan.blocks[block]]
        labels[...] = table[labels]

    def note_frame(self, frame: int, last: int) -> None:
        """Let go of the foreground, unless it is kept."""
        foreground = self._foreground.pop(frame, None)
        if self._kept is not None and foreground is not None:
            self._kept[frame] = foreground

    def shown_frame(self, frame: int) -> NDArray[Any] | None:
        """Return the final labels, or the uncertainty."""
        return None if self._plan.result.is_per_class else self._part(frame).pixels

    def end(self, last: int, complete: bool, stop: threading.Event) -> Prediction:
        """Return it, labels in the smallest type that holds them."""
        plan = self._plan
        objects = last if plan.result.is_separated else None
        pixels, axes, shape = _compact(self._array), plan.result_axes, plan.result_shape
        kept = bool(complete and self._kept)
        return Prediction(
            plan.kind,
            pixels,
            axes,
            shape,
            self._box,
            complete,
            objects,
            plan if kept else None,
            self._kept if kept else None,
            names=plan.classes.names,
        )

    def _part(self, frame: int) -> _Part:
        index = self._plan.index_of(frame)
        inside = tuple(i - part.start for i, part in zip(index, self._box, strict=False))
        return _Part(self._array[inside], self._plan.region)


def _compact(result: NDArray[Any]) -> NDArray[Any]:
    """Store labels in the smallest unsigned type that holds them; it never wraps."""
    if result.dtype.kind == "f":
        return result
    return result.astype(np.min_scalar_type(int(result.max(initial=0))))
