"""The objects of one frame: separated block by block, each as soon as its tiles are there."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_unet.objects.blocks import no_objects
from napari_unet.objects.painted import keep_painted
from napari_unet.prediction import pipeline
from napari_unet.prediction.results import BlockSeparated
from napari_unet.tasks.object_classes import numbered

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.objects.blocks import BlockObjects
    from napari_unet.prediction.plan import PredictionPlan
    from napari_unet.prediction.predictor import ResultStore
    from napari_unet.prediction.results import PredictionProgress

# Who cancels waits no longer: in blocks that take more, what touches stays one object.
_SECONDS_AFTER_STOP = 0.3


class FrameObjects:
    """Separates the objects of a frame, as many blocks at once as there are threads.

    (SciPy and scikit-image let other threads run meanwhile.) In memory each block is separated when
    all tiles that it sees are there: so there is little left to do at the end, and after a stop. In
    a file it is done at the end, where another process may go on. What was painted comes out as it
    was painted, where the store knows it.
    """

    def __init__(
        self,
        plan: PredictionPlan,
        store: ResultStore,
        frame: int,
        threads: ThreadPoolExecutor,
        at_once: int,
    ) -> None:
        self._plan, self._store, self._frame = plan, store, frame
        self._threads, self._at_once = threads, at_once
        self._running: dict[Future[tuple[NDArray[np.int32], BlockObjects]], int] = {}
        self._blocks = range(len(plan.blocks)) if plan.result.is_separated else range(0)
        self._missing: dict[int, set[int]] = {}  # tiles that each block waits for
        self._seen: set[int] = set()  # blocks in which there is a tile
        self._left_out: set[int] = set()
        self._until = 0.0
        if not store.goes_on and len(self._blocks) > 1:
            seen = [plan.blocks.seen(block) for block in self._blocks]
            tiles = list(enumerate(plan.tiles))
            self._missing = {
                block: {number for number, tile in tiles if _overlap(tile, seen[block])}
                for block in self._blocks
            }

    def ready_after(self, tile: int) -> list[int]:
        """Return the blocks that can be separated once this tile is written."""
        ready = []
        for block, missing in self._missing.items():
            if tile in missing:
                missing.remove(tile)
                if _overlap(self._plan.tiles[tile], self._plan.blocks[block]):
                    self._seen.add(block)
                if not missing:
                    ready.append(block)
        return ready

    def begin(self, block: int) -> None:
        """Let a thread separate the objects of a block."""
        foreground = self._store.foreground(self._frame)
        future = self._threads.submit(pipeline.separate_block, foreground, self._plan, block)
        self._running[future] = block

    def ended(self) -> Iterator[BlockSeparated]:
        """Keep the objects of the blocks that are separated by now."""
        index = self._plan.index_of(self._frame)
        for future in [future for future in self._running if future.done()]:
            block = self._running.pop(future)
            labels, objects = future.result()
            self._store.write_block(self._frame, block, labels, objects)
            shown = labels if objects.votes is None else numbered(labels, objects.votes)
            yield BlockSeparated(index, self._plan.blocks[block], shown)

    def finish(
        self, last: int, progress: PredictionProgress, stop: threading.Event
    ) -> Generator[BlockSeparated | PredictionProgress, None, tuple[int, bool]]:
        """Separate what is left, and give all objects numbers above `last`.

        Returns the last number given, and whether all blocks are separated.
        """
        left = deque(sorted(self._blocks_left(), key=self._tiles_missing))
        n_done = len(self._blocks) - len(left) - len(self._running)
        while self._keep_busy(left, stop):
            wait(self._running, return_when=FIRST_COMPLETED)
            for block in self.ended():
                n_done += 1
                if len(self._blocks) > 1:
                    if not self._store.goes_on:
                        yield block
                    yield replace(progress, block=n_done, blocks=len(self._blocks))
        if left and self._store.goes_on:
            return last, False
        in_time = [self._separate_in_time(block) for block in left]
        return self._number(last), all(in_time)

    def _blocks_left(self) -> list[int]:
        begun = self._running.values()
        return [
            block
            for block in self._blocks
            if block not in begun and not self._store.has_block(self._frame, block)
        ]

    def _keep_busy(self, left: deque[int], stop: threading.Event) -> bool:
        """Keep all threads busy, and no more: results take memory. After a stop begin none.

        Returns whether any is running.
        """
        while left and not stop.is_set() and len(self._running) < self._at_once:
            self.begin(left.popleft())
        if stop.is_set():
            left.extend(
                self._running.pop(future) for future in list(self._running) if future.cancel()
            )
        return bool(self._running)

    def _separate_in_time(self, block: int) -> bool:
        """Separate a block after a stop, or only find its objects where that would take long."""
        if not self._in_time(block):
            self._find_quickly(block)
            return False
        foreground = self._store.foreground(self._frame)
        separated = pipeline.separate_block(foreground, self._plan, block)
        self._store.write_block(self._frame, block, *separated)
        return True

    def _find_quickly(self, block: int) -> None:
        """Take what touches for one object; a block without a tile is left out."""
        if block not in self._seen:
            self._left_out.add(block)
            return
        plan = self._plan
        seen, own = plan.blocks.seen(block), plan.blocks[block]
        foreground = np.asarray(self._store.foreground(self._frame)[seen])
        labels = ndimage.label(plan.result.shown(foreground, plan))[0]
        large = np.bincount(labels.ravel()) >= plan.limits.smallest
        labels = np.where(large[labels], labels, 0).astype(np.int32)
        found = pipeline.owned(labels, foreground, seen, own, plan)
        self._store.write_block(self._frame, block, *found)

    def _tiles_missing(self, block: int) -> int:
        return len(self._missing.get(block, ()))

    def _in_time(self, block: int) -> bool:
        """Return whether a block is still separated after a stop: the first that has a tile is."""
        if len(self._blocks) == 1:
            return True
        if block not in self._seen:
            return False
        now = time.monotonic()
        self._until = self._until or now + _SECONDS_AFTER_STOP
        return now < self._until

    def _number(self, before: int) -> int:
        blocks = self._plan.blocks
        found = [
            no_objects(blocks.seen(block), blocks[block])
            if block in self._left_out
            else self._store.read_block(self._frame, block)
            for block in self._blocks
        ]
        tables, last = pipeline.number_objects(self._plan, found, before)
        number = partial(self._store.number_block, self._frame)
        kept = sorted(set(self._blocks) - self._left_out)
        for _ in self._threads.map(number, kept, [tables[block] for block in kept]):
            pass  # what went wrong is raised
        painted, shown = self._store.painted, self._store.shown_frame(self._frame)
        if painted is None or shown is None:
            return last
        paint = np.asarray(painted[(*self._plan.index_of(self._frame), *self._plan.region)])
        shown[...], last = keep_painted(shown, paint, self._plan.limits.smallest, before)
        return last


def _overlap(one: Region, other: Region) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))
