"""Frames that are predicted into memory, whole or in part."""

from __future__ import annotations

from functools import partial
from itertools import chain, tee
from typing import TYPE_CHECKING, Any

from napari_unet.prediction.events import FrameFinished
from napari_unet.prediction.frame_work import predict_frames
from napari_unet.prediction.pipeline import (
    TileJob,
    TileReader,
    at_once,
    computed_tiles,
    stored_at_once,
)
from napari_unet.prediction.work import number_objects, separate_block, told

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import IntensityMeasure
    from napari_unet.model.execution import Runner
    from napari_unet.objects.stitching import BlockObjects
    from napari_unet.prediction.events import PredictionEvent
    from napari_unet.prediction.plan import PredictionPlan


class FrameInMemory:
    """A frame whose values are held in memory.

    Parameters
    ----------
    plan : PredictionPlan
        What is predicted.
    frame : Frame
        Which frame.
    before : int
        Tiles of the frames before it.
    values : ArrayLike
        Where the tiles are written.
    target : ArrayLike
        Where the result will be: int32 labels with objects, `values` itself with all else.
    """

    present: Sequence[Region] = ()

    def __init__(
        self, plan: PredictionPlan, frame: Frame, before: int, values: Any, target: Any
    ) -> None:
        self.index, self.n_todo = frame.index, len(plan.tiles)
        self._plan, self._frame, self._before = plan, frame, before
        self._values, self._target = values, target
        self._objects: dict[int, BlockObjects] = {}

    def jobs(self) -> Iterator[TileJob]:
        """Return the tiles, those on screen first."""
        tiles = self._plan.tiles.nearest_first(self._plan.near)
        for number, region in enumerate(tiles, self._before + 1):
            yield TileJob(self._frame, region, number, partial(self._store, region))

    def separate(self, block: int) -> bool:
        """Tell the objects of a block apart, in numbers of its own."""
        labels, self._objects[block] = separate_block(self._values, self._plan, block)
        self._target[self._plan.blocks.box(block)] = labels
        return True

    def number(self, first: int) -> int:
        """Give all objects their final numbers."""
        blocks = self._plan.blocks
        found = [self._objects[block] for block in range(len(blocks))]
        tables, last = number_objects(blocks, found, first)
        for block, table in enumerate(tables):
            box = blocks.box(block)
            self._target[box] = table[self._target[box]]
        return last

    def end(self, last: int) -> Iterable[PredictionEvent]:
        """Tell the final values."""
        if self._plan.result.is_per_class:
            return ()
        region = self._plan.region
        return (FrameFinished(self.index, region, self._target[region]),)

    def _store(self, region: Region, values: NDArray[Any]) -> None:
        self._values[(..., *region)] = values


def predict_in_memory(
    works: Iterable[FrameInMemory],
    runner: Runner,
    plan: PredictionPlan,
    normalization: IntensityMeasure,
    stop: threading.Event,
) -> Generator[PredictionEvent, None, bool]:
    """Predict frames one after the other.

    Parameters
    ----------
    works : iterable of FrameInMemory
        The frames; each is asked for when its first tile is about to be read.
    runner : Runner
        The network.
    plan : PredictionPlan
        What is predicted.
    normalization : IntensityMeasure
        Of the model.
    stop : threading.Event
        Set it to end after the current tile.

    Returns
    -------
    bool
        Whether all tiles were predicted.
    """
    works, ahead = tee(works)
    jobs = chain.from_iterable(work.jobs() for work in ahead)
    reader = TileReader(runner, normalization, at_once)
    tiles = stored_at_once(computed_tiles(runner, plan, jobs, reader, stop))
    complete = yield from told(predict_frames(works, tiles, plan), runner)
    yield from reader.notices()
    return complete
