"""The frames of a prediction in turn: tiles as they come, objects separated behind them.

A block of objects is separated in a thread of its own as soon as the tiles that it sees are
there, while the network goes on; what is left of a frame is done beside the tiles of the next one.
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from itertools import islice, product
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_unet.prediction.events import BlockSeparated, TilePredicted
from napari_unet.prediction.pipeline import one_thread
from napari_unet.prediction.work import import_separation

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.prediction.events import PredictionEvent
    from napari_unet.prediction.pipeline import TileJob
    from napari_unet.prediction.plan import PredictionPlan
    from napari_unet.prediction.tiles import Blocks


class FrameWork(Protocol):
    """What a prediction does with one frame, in memory or in a file."""

    @property
    def index(self) -> tuple[int, ...]:
        """Position on the frame axes."""
        ...

    @property
    def present(self) -> Iterable[Region]:
        """Tiles that an earlier prediction has left."""
        ...

    @property
    def n_todo(self) -> int:
        """How many tiles are to be predicted."""
        ...

    def jobs(self) -> Iterator[TileJob]:
        """Return these tiles in their order."""
        ...

    def separate(self, block: int) -> bool:
        """Tell the objects of a block apart, in another thread; return whether it was done."""
        ...

    def number(self, first: int) -> int:
        """Give all objects numbers above `first`, in another thread; return the last."""
        ...

    def end(self, last: int) -> Iterable[PredictionEvent]:
        """Do what comes when all of the frame is done; return what is to be told."""
        ...


class _Objects:
    """The objects of one frame, separated behind its tiles."""

    def __init__(self, work: FrameWork, plan: PredictionPlan, numbers: _Numbers) -> None:
        self.work = work
        self._plan, self._numbers = plan, numbers
        self._waited_for = [
            len(plan.tiles.within(plan.blocks.seen(block))) for block in range(len(plan.blocks))
        ]
        self._blocks: dict[int, Future[bool]] = {}
        self._last: Future[int] | None = None
        self._unchecked: deque[Future[bool]] = deque()
        for region in work.present:
            self.add(region)

    def add(self, region: Region) -> None:
        """Note that a tile is there: blocks that waited for it alone are separated."""
        for block in blocks_that_see(self._plan.blocks, region):
            self._waited_for[block] -= 1
            if self._waited_for[block] == 0:
                self._separate(block)

    def add_rest(self) -> None:
        """Tell all other blocks apart, whatever is missing of them, and number the objects."""
        for block in range(len(self._plan.blocks)):
            if block not in self._blocks:
                self._separate(block)
        self._last = self._numbers.submit(self.work, list(self._blocks.values()))

    def check(self) -> None:
        """Raise what has gone wrong so far."""
        while self._unchecked and self._unchecked[0].done():
            self._unchecked.popleft().result()

    @property
    def is_done(self) -> bool:
        """Whether all of the frame is done, or has failed."""
        return self._last is not None and self._last.done()

    def told(self) -> Generator[PredictionEvent, None, int]:
        """Tell the blocks as they are done, in their order; return the last number given."""
        total = len(self._plan.blocks)
        for block in range(total):
            if self._blocks[block].result() and total > 1:
                yield BlockSeparated(block + 1, total, self.work.index)
        assert self._last is not None
        return self._last.result()

    def _separate(self, block: int) -> None:
        self._blocks[block] = self._numbers.thread.submit(self.work.separate, block)
        self._unchecked.append(self._blocks[block])


class _Numbers:
    """Numbers the objects of frames one after the other, so that no two have the same."""

    def __init__(self, thread: Executor) -> None:
        self.thread = thread
        self._last = 0  # for that thread alone

    def submit(self, work: FrameWork, blocks: Sequence[Future[bool]]) -> Future[int]:
        """Let the objects of a frame be numbered when its blocks are done."""
        return self.thread.submit(self._number, work, blocks)

    def _number(self, work: FrameWork, blocks: Sequence[Future[bool]]) -> int:
        for block in blocks:
            block.result()  # one that has failed has no objects to number
        self._last = work.number(self._last)
        return self._last


def blocks_that_see(blocks: Blocks, region: Region) -> list[int]:
    """Return the numbers of the blocks that see something of a box."""
    along = []
    for part, whole, stride, margin, count in zip(
        region, blocks.region, blocks.stride, blocks.margin, blocks.counts, strict=True
    ):
        first = (part.start - whole.start - margin) // stride
        last = (part.stop - 1 - whole.start + margin) // stride
        along.append(range(max(0, first), min(count - 1, last) + 1))
    return [int(np.ravel_multi_index(position, blocks.counts)) for position in product(*along)]


def predict_frames(
    works: Iterable[FrameWork],
    tiles: Generator[tuple[TileJob, NDArray[Any]], None, None],
    plan: PredictionPlan,
) -> Generator[PredictionEvent, None, bool]:
    """Tell the tiles of frames as they come, and finish each frame.

    Parameters
    ----------
    works : iterable of FrameWork
        The frames in their order.
    tiles : generator
        All tiles that they have to do, frame by frame, each after it is stored; after a stop it
        ends early. It is closed at the end.
    plan : PredictionPlan
        What is predicted.

    Returns
    -------
    bool
        Whether all tiles came. Of a frame that lacks some, the objects are separated all the
        same: what is there of them may be of use.
    """
    with closing(tiles), one_thread("objects") as thread:
        if plan.result.is_separated:
            thread.submit(import_separation)
        numbers, before, missing = _Numbers(thread), None, 0
        for work in works:
            objects = _Objects(work, plan, numbers) if plan.result.is_separated else None
            missing = work.n_todo
            for job, values in islice(tiles, missing):
                missing -= 1
                labels = plan.result.shown(values, plan)
                yield TilePredicted(job.number, work.index, job.region, labels)
                if objects is not None:
                    objects.add(job.region)
                    objects.check()
                if before is not None and before.is_done:
                    yield from _ended(before)
                    before = None
            if before is not None:
                yield from _ended(before)
            before = objects
            if objects is not None:
                objects.add_rest()
            if missing:
                break
            if objects is None:
                yield from work.end(0)
        if before is not None:
            yield from _ended(before, missing)
    return missing == 0


def _ended(objects: _Objects, missing: int = 0) -> Generator[PredictionEvent, None, None]:
    """Wait for the objects of a frame and tell them."""
    last = yield from objects.told()
    if not missing:
        yield from objects.work.end(last)
