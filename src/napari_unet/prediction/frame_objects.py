"""The objects of one frame: separated block by block, each as soon as its tiles are there."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_unet.objects.separation import no_objects, own_labels
from napari_unet.prediction import pipeline

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.prediction.plan import PredictionPlan
    from napari_unet.prediction.predictor import ResultStore
    from napari_unet.prediction.results import PredictionProgress

# Who cancels waits no longer: in blocks that take more, what touches stays one object.
_SECONDS_AFTER_STOP = 0.3


class FrameObjects:
    """Separates the objects of a frame.

    In memory each block is separated when all tiles that it sees are there: so there is little left
    to do at the end, and after a stop. In a file it is done at the end, where another process may
    go on.
    """

    def __init__(self, plan: PredictionPlan, store: ResultStore, frame: int) -> None:
        self._plan, self._store, self._frame = plan, store, frame
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

    def separate(self, block: int) -> NDArray[np.int32]:
        """Separate the objects of a block, and return them in the block's own numbers."""
        foreground = self._store.foreground(self._frame)
        labels, objects = pipeline.separate_block(foreground, self._plan, block)
        self._store.write_block(self._frame, block, labels, objects)
        return labels

    def finish(
        self, last: int, progress: PredictionProgress, stop: threading.Event
    ) -> Generator[PredictionProgress, None, tuple[int, bool]]:
        """Separate what is left, and give all objects numbers above `last`.

        Returns the last number given, and whether all blocks are separated.
        """
        total, complete = len(self._blocks), True
        for block in sorted(self._blocks, key=self._tiles_missing):
            if self._store.has_block(self._frame, block):
                continue
            if stop.is_set() and self._store.goes_on:
                return last, False
            if stop.is_set() and not self._in_time(block):
                complete = False
                self._find_quickly(block)
                continue
            self.separate(block)
            if total > 1:
                yield replace(progress, block=block + 1, blocks=total)
        return self._number(last), complete

    def _find_quickly(self, block: int) -> None:
        """Take what touches for one object; a block without a tile is left out."""
        if block not in self._seen:
            self._left_out.add(block)
            return
        plan = self._plan
        seen, own = plan.blocks.seen(block), plan.blocks[block]
        foreground = np.asarray(self._store.foreground(self._frame)[seen])
        labels = ndimage.label(plan.result.shown(foreground, plan))[0]
        large = np.bincount(labels.ravel()) >= plan.smallest
        found = own_labels(np.where(large[labels], labels, 0).astype(np.int32), seen, own)
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

    def _number(self, last: int) -> int:
        blocks = self._plan.blocks
        found = [
            no_objects(blocks.seen(block), blocks[block])
            if block in self._left_out
            else self._store.read_block(self._frame, block)
            for block in self._blocks
        ]
        tables, last = pipeline.number_objects(blocks, found, last)
        for block in set(self._blocks) - self._left_out:
            self._store.number_block(self._frame, block, tables[block])
        return last


def _overlap(one: Region, other: Region) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))
