"""A prediction that is held in memory: of the part that is asked for, and of no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from napari_unet.prediction.results import Prediction

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.objects.stitching import BlockObjects
    from napari_unet.prediction.plan import PredictionPlan

Read = TypeVar("Read")


class _Part:
    """Pixels of a part of a frame, found by their positions in the frame."""

    def __init__(self, pixels: NDArray[Any], region: Region) -> None:
        self.pixels, self._region = pixels, region

    def __getitem__(self, key: Region, /) -> NDArray[Any]:
        inside: tuple[Any, ...] = tuple(
            slice(part.start - own.start, part.stop - own.start)
            for part, own in zip(key, self._region, strict=True)
        )
        return self.pixels[(..., *inside)]


class ResultInMemory:
    """A `ResultStore` in memory."""

    goes_on: ClassVar[bool] = False

    def __init__(self, plan: PredictionPlan) -> None:
        self._plan, self._box = plan, plan.box
        dtype = np.int32 if plan.result.is_separated else plan.tile_dtype
        self._array = np.zeros([part.stop - part.start for part in self._box], dtype)
        self._foreground: dict[int, _Part] = {}
        self._blocks: dict[tuple[int, int], BlockObjects] = {}

    def attempt(self, read: Callable[[], Read]) -> Read:
        """Try it once: what cannot be read in memory cannot be read a second time either."""
        return read()

    def done(self) -> tuple[dict[int, set[int]], dict[int, int]]:
        """Return that nothing is done yet."""
        return {}, {}

    def begin_frame(self, frame: int) -> None:
        """Take memory for the foreground."""
        if self._plan.result.is_separated:
            pixels = np.zeros([part.stop - part.start for part in self._plan.region], np.uint8)
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
        self._part(frame)[self._plan.blocks.box(block)][...] = labels
        self._blocks[frame, block] = objects

    def read_block(self, frame: int, block: int) -> BlockObjects:
        """Return what joins a block to its neighbours; it is needed once."""
        return self._blocks.pop((frame, block))

    def number_block(self, frame: int, block: int, table: NDArray[Any]) -> None:
        """Give the objects of a block their final numbers."""
        labels = self._part(frame)[self._plan.blocks.box(block)]
        labels[...] = table[labels]

    def note_frame(self, frame: int, last: int) -> None:
        """Let go of the foreground."""
        self._foreground.pop(frame, None)

    def shown_frame(self, frame: int) -> NDArray[Any] | None:
        """Return the final labels, or the uncertainty."""
        return None if self._plan.result.is_per_class else self._part(frame).pixels

    def end(self, last: int, complete: bool, stop: threading.Event) -> Prediction:
        """Return it, labels in the smallest type that holds them."""
        plan = self._plan
        objects = last if plan.result.is_separated else None
        pixels, axes, shape = _compact(self._array), plan.result_axes, plan.result_shape
        return Prediction(plan.kind, pixels, axes, shape, self._box, complete, objects)

    def _part(self, frame: int) -> _Part:
        index = self._plan.index_of(frame)
        inside = tuple(i - part.start for i, part in zip(index, self._box, strict=False))
        return _Part(self._array[inside], self._plan.region)


def _compact(result: NDArray[Any]) -> NDArray[Any]:
    """Store labels in the smallest unsigned type that holds them; it never wraps."""
    if result.dtype.kind == "f":
        return result
    smallest = np.min_scalar_type(int(result.max(initial=0)))
    return result.astype(max(smallest, np.dtype(np.uint8), key=lambda dtype: dtype.itemsize))
