"""A prediction on its way to a file: what is done of it survives an interruption.

The result grows in a folder beside its final place, ``NAME.partial``, and is renamed when all of
it is there: a partial result is never taken for a whole one. In that folder a journal tells which
tiles and which frames are done, and a scratch folder holds the foreground and the blocks of the
frames that are not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import time
import uuid
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import zarr

from napari_unet.data.axes import SPATIAL_AXES, frame_axes
from napari_unet.data.finer import finer_size
from napari_unet.data.intensity import sample_boxes
from napari_unet.errors import FileProblemError, UnreadableError
from napari_unet.io.disk import replace_file, replacing, sync_folder, why_not_written
from napari_unet.io.ome_zarr import (
    LABELS,
    add_pyramid,
    create_groups,
    create_store,
    finish,
    groups_of,
    put_back_previous,
)
from napari_unet.model.trained import hash_of_weights
from napari_unet.objects.blocks import BlockObjects
from napari_unet.prediction.journal import METADATA, SCRATCH, Journal
from napari_unet.prediction.results import Prediction
from napari_unet.version import __version__

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, PixelSize, Region
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.plan import PredictionPlan

Result = TypeVar("Result")

# Pixels of a frame by which a changed image is known.
_LOOKED_AT = 2**14
_ATTEMPTS = 3
_PARTIAL = ".partial"
_PAUSES = (0.05, 0.2, 0.75)  # seconds between tries where two processes meet
_ORDER, _WRITER = "order.json", "writer.txt"
_UNFINISHED_CHUNK = re.compile(r".*\.[0-9a-f]{32}\.partial")  # as zarr-python 3.1 names it


@dataclass(frozen=True)
class PartialResult:
    """The folder of a prediction that is under way; workers on other machines open it as well."""

    folder: Path
    """Where the result grows."""
    plan: PredictionPlan
    token: str
    """Who writes there: it is made anew whenever the folder is opened to write."""
    journal: Journal = field(compare=False)
    goes_on: ClassVar[bool] = True
    painted: ClassVar[None] = None

    @property
    def target(self) -> Path:
        """Where the result lies when it is whole."""
        return self.folder.with_name(self.folder.name.removesuffix(_PARTIAL))

    def attempt(self, read: Callable[[], Result]) -> Result:
        """Read a part of the image; see `trying_again`."""
        return trying_again(read)

    def write_result(self, frame: int, box: Region, values: NDArray[Any]) -> None:
        """Write final values of a frame; `values` have a first axis C with probabilities."""
        plan = self.plan
        where: dict[str, Any] = dict(zip(SPATIAL_AXES[plan.ndim], box, strict=True))
        where |= dict(zip(frame_axes(plan.axes, plan.ndim), plan.index_of(frame), strict=True))
        key = tuple(where.get(axis, slice(None)) for axis in _stored_sizes(plan))
        if not plan.result.is_packed:
            _array(self.folder / "0")[key] = values
            return
        layers = plan.classes.task.unpacked(values, len(plan.classes.names))
        for group, labels in zip(self._groups, layers, strict=True):
            _array(group / "0")[key] = labels

    def write_tile(self, frame: int, tile: int, values: NDArray[Any]) -> None:
        """Write what a tile gives: foreground to the scratch folder, all else to the result."""
        region = self.plan.tiles[tile]
        with self._writing():
            if self.plan.result.is_separated:
                self.foreground(frame)[region] = values
            else:
                self.write_result(frame, region, values)

    def begin_frame(self, frame: int) -> None:
        """Make the scratch folder of a frame; what is there stays."""
        folder = self._scratch(frame)
        if self.plan.result.is_separated and not folder.exists():
            with self._writing():
                self._make_scratch(folder)

    def _make_scratch(self, folder: Path) -> None:
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed here
        unfinished.mkdir(parents=True)
        for name, dtype, chunks in (
            ("foreground", self.plan.tile_dtype.name, self.plan.tiles.stride),
            ("labels", "int32", self.plan.chunks),
        ):
            zarr.create_array(
                unfinished / name,
                shape=self.plan.shape,
                chunks=_clipped(chunks, self.plan.shape),
                dtype=dtype,
                fill_value=0,
            )
        unfinished.rename(folder)

    def foreground(self, frame: int) -> Any:
        """Open the foreground of a frame, ``[Z]YX``."""
        return _array(self._scratch(frame) / "foreground")

    def write_block(
        self, frame: int, block: int, labels: NDArray[np.int32], objects: BlockObjects
    ) -> None:
        """Write the labels of a block in its own numbers, then what joins it to its neighbours."""
        strips: dict[str, NDArray[Any]] = {"count": np.array(objects.count)}
        strips |= {"areas": objects.areas, "sums": objects.sums}
        strips |= {} if objects.votes is None else {"votes": objects.votes}
        strips |= {f"low{axis}": strip for axis, strip in objects.low.items()}
        strips |= {f"high{axis}": strip for axis, strip in objects.high.items()}
        path = self._block_file(frame, block)
        with self._writing():
            _array(self._scratch(frame) / "labels")[self.plan.blocks[block]] = labels
            with replacing(path) as file:  # only at its end the block is done
                np.savez_compressed(file, allow_pickle=False, **strips)

    def read_block(self, frame: int, block: int) -> BlockObjects:
        """Read what joins a block to its neighbours."""
        with np.load(self._block_file(frame, block)) as stored:
            axes = range(self.plan.ndim)
            low = {axis: stored[f"low{axis}"] for axis in axes if f"low{axis}" in stored}
            high = {axis: stored[f"high{axis}"] for axis in axes if f"high{axis}" in stored}
            count = int(stored["count"])
            votes = stored.get("votes")
            return BlockObjects(count, low, high, stored["areas"], stored["sums"], votes)

    def has_block(self, frame: int, block: int) -> bool:
        """Return whether a block is done."""
        return self._block_file(frame, block).exists()

    def number_block(self, frame: int, block: int, table: NDArray[np.uint32]) -> None:
        """Write a block's labels to the result, in their final numbers."""
        box = self.plan.blocks[block]
        with self._writing():
            labels = np.asarray(_array(self._scratch(frame) / "labels")[box])
            self.write_result(frame, box, table[labels])

    def done(self) -> tuple[dict[int, set[int]], dict[int, int]]:
        """Return the tiles that are done of each frame, and the last number of finished ones."""
        return self.journal.done()

    def note_tile(self, frame: int, tile: int) -> None:
        """Note that a tile is written."""
        with self._writing():
            self.journal.note_tile(frame, tile)

    def note_frame(self, frame: int, last: int) -> None:
        """Note that a frame is finished, with the last number of its objects; its scratch goes."""
        with self._writing():
            self.journal.note_frame(frame, last, self._scratch(frame))

    def shown_frame(self, frame: int) -> None:
        """Return nothing: what is stored is shown when it is whole."""

    def end(self, last: int, complete: bool, stop: threading.Event) -> Prediction:
        """Give the result its name, unless it was stopped, and return where it is."""
        plan, target = self.plan, self.target
        with self._writing():
            complete = complete and not stop.is_set() and self.finish(target, stop)
            if not complete:
                self.journal.sync()
        sizes = _stored_sizes(plan)
        box = tuple(slice(0, size) for size in sizes.values())
        objects = last if plan.result.is_separated and complete else None
        shape = tuple(sizes.values())
        told = (plan.kind, target, "".join(sizes), shape, box, complete, objects)
        return Prediction(*told, names=plan.classes.names)

    def finish(self, target: Path, stop: threading.Event) -> bool:
        """Add the lower resolutions and give the result its name; return whether it came to that.

        Raises FileProblemError if it cannot be renamed.
        """
        if self.plan.result.is_labels:
            for group in self._groups:
                if not add_pyramid(group, stop):
                    return False
        _sweep_chunks(self.folder)
        finish(self.folder, target)
        # Only now: until here it takes this to go on.
        shutil.rmtree(target / SCRATCH, ignore_errors=True)
        return True

    @property
    def _groups(self) -> list[Path]:
        """Where arrays with their lower resolutions lie: of classes in layers one for each."""
        return groups_of(self.folder, self.plan.classes.names if self.plan.result.is_packed else ())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Make sure that this is still whose turn it is to write here: see `open_partial`."""
        with writing_to(self.folder):
            self._check_turn()
            try:
                yield
            except OSError:
                self._check_turn()  # the other one may have thrown away what was being written to
                raise

    def _check_turn(self) -> None:
        writer = self.folder / SCRATCH / _WRITER
        for pause in _PAUSES:  # who throws away what is there names itself anew in a moment
            if writer.exists():
                break
            time.sleep(pause)
        if writer.read_text(encoding="ascii") != self.token:
            raise FileProblemError(
                f"Another process goes on with {self.target} since; this one has ended and writes "
                "nothing more there."
            )

    def _scratch(self, frame: int) -> Path:
        return self.folder / SCRATCH / str(frame)

    def _block_file(self, frame: int, block: int) -> Path:
        return self._scratch(frame) / f"block{block}.npz"


def partial_folder(target: Path) -> Path:
    """Return where a result grows until it is whole."""
    return target.with_name(f"{target.name}{_PARTIAL}")


def open_partial(
    target: Path, plan: PredictionPlan, order: str, pixel_size: PixelSize
) -> PartialResult:
    """Make the folder of a prediction, or go on with one of the same order: see `order_of`.

    What another order has left is thrown away, and what a power cut may have torn. Who has opened
    the folder before, and may be alive although its lock was free, writes nothing more there. The
    pixel size is in micrometres per pixel of the image. Raises FileProblemError if the folder
    cannot be written.
    """
    folder = partial_folder(target)
    result = PartialResult(folder, plan, uuid.uuid4().hex, Journal(folder))
    scratch = folder / SCRATCH
    note = scratch / _ORDER
    put_back_previous(target)
    try:
        begun = note.exists() and (scratch / METADATA).exists()  # earlier versions had no copy
        if not begun or note.read_text(encoding="utf-8") != order:
            _begin_anew(result, pixel_size)
        (scratch / _WRITER).write_text(result.token, encoding="ascii")
        result.journal.begin()
        if not note.exists():
            replace_file(note, order.encode())  # last: without it nothing counts
            sync_folder(folder.parent)
    except OSError as error:
        raise FileProblemError(
            f"{why_not_written(folder, error)} Choose another folder."
        ) from error
    return result


def _begin_anew(result: PartialResult, pixel_size: PixelSize) -> None:
    """Make the folder without what another order has left in it.

    Who is amid a write there makes a folder once more after it was thrown away.
    """
    folder, scratch = result.folder, result.folder / SCRATCH
    for pause in (*_PAUSES, None):
        _throw_away(folder)
        try:
            _create(result, pixel_size)
            scratch.mkdir()
        except FileExistsError:
            if pause is None:
                raise
            time.sleep(pause)
        else:
            break
    (scratch / METADATA).write_bytes((folder / METADATA).read_bytes())


def _throw_away(folder: Path) -> None:
    """Delete what another order has left; who is amid a write there may need a moment to end."""
    for pause in _PAUSES:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
        if not folder.exists():
            return
        time.sleep(pause)
    shutil.rmtree(folder)


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Raise errors of the file system as FileProblemError: where, and that what is done is kept."""
    try:
        yield
    except OSError as error:
        raise FileProblemError(
            f"{why_not_written(folder, error)} What is done is kept; make room and predict again "
            "to go on."
        ) from error


def order_of(trained: TrainedNetwork, plan: PredictionPlan, source: str, image: ArrayLike) -> str:
    """Describe image, model and settings, so that only the same prediction goes on with a result.

    The weights of the model are hashed, and some thousand pixels of the first and the last frame of
    the image. `source` says which image it is, for example its path and when it was changed. Raises
    UnreadableError if the image cannot be read.
    """
    record = trained.record
    settings = repr((plan, asdict(record.steps_of_others or record.intensity), record.external))
    return json.dumps(
        {
            "version": __version__,
            "model": hash_of_weights(trained.network.state_dict()),
            "source": source,
            "dtype": str(image.dtype),
            "pixels": _hash_of_some_pixels(plan, image),
            "plan": hashlib.sha256(settings.encode()).hexdigest(),
        }
    )


def _hash_of_some_pixels(plan: PredictionPlan, image: ArrayLike) -> str:
    digest = hashlib.sha256()
    for number in sorted({0, plan.n_frames - 1}):
        frame = plan.frame(image, number)
        for box in sample_boxes(plan.shape, _LOOKED_AT):
            digest.update(trying_again(partial(frame.read, box)).tobytes())
    return digest.hexdigest()


def trying_again(read: Callable[[], Result]) -> Result:
    """Read a part of an image; what cannot be read is tried again.

    Raises UnreadableError if it cannot be read a third time either.
    """
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(UnreadableError):
            return read()
    try:
        return read()
    except UnreadableError as error:
        raise UnreadableError(f"{error} What is done is kept; predict again to go on.") from error


def _stored_sizes(plan: PredictionPlan) -> dict[str, int]:
    """Return the sizes of a stored result by axis, in the order that NGFF wants."""
    sizes = dict(zip(plan.result_axes, plan.result_shape, strict=True))
    return {axis: sizes[axis] for axis in "TCZYX" if axis in sizes}


def _create(result: PartialResult, pixel_size: PixelSize) -> None:
    plan, sizes = result.plan, _stored_sizes(result.plan)
    pixel_size = finer_size(pixel_size, plan.classes.finer)
    chunks = dict(zip(SPATIAL_AXES[plan.ndim], _clipped(plan.chunks, plan.shape), strict=True))
    chunks["C"] = plan.classes.n_classes
    dtype = np.dtype(np.uint32) if plan.result.is_separated else plan.tile_dtype
    names = plan.classes.names if plan.result.is_packed else ()
    if names:
        create_groups(result.folder, names)
    for folder in groups_of(result.folder, names):
        create_store(
            folder,
            [*sizes.values()],
            dtype,
            [chunks.get(axis, 1) for axis in sizes],
            "".join(sizes),
            pixel_size,
            LABELS if plan.result.is_labels else {},
        )


def _sweep_chunks(folder: Path) -> None:
    """Delete the unfinished chunks that Zarr's writers leave where they are killed."""
    for unfinished in folder.rglob("*.partial"):
        if _UNFINISHED_CHUNK.fullmatch(unfinished.name):
            unfinished.unlink(missing_ok=True)


def _array(path: Path) -> Any:
    return zarr.open_array(path, mode="r+")


def _clipped(chunks: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(min(chunk, size) for chunk, size in zip(chunks, shape, strict=True))
