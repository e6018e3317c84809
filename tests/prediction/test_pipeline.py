"""Reading ahead, storing behind, objects beside: in order, bounded, and no thread stays."""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.errors import UnreadableError
from napari_unet.prediction import in_memory, tiles
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.events import BlockSeparated, FrameFinished, TilePredicted
from napari_unet.prediction.frame_work import blocks_that_see
from napari_unet.prediction.pipeline import TileJob, read_ahead, stored_behind
from napari_unet.prediction.predictor import predict_image
from napari_unet.prediction.stored import predict_to_zarr
from napari_unet.prediction.tiles import Blocks
from napari_unet.prediction.work import separate_block

from .builders import a_model, noise, predict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 20  # a test that waits longer has failed


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    yield
    assert [t.name for t in threading.enumerate() if t.name.startswith("napari-unet")] == []


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small images have many blocks."""
    monkeypatch.setattr(tiles, "DEFAULT_TILE_SIZE", {2: 16, 3: 8})
    monkeypatch.setattr(tiles, "BLOCK_SIZE", {2: 32, 3: 16})
    monkeypatch.setattr(tiles, "BLOCK_MARGIN", {2: 16, 3: 8})


def job(number: int, store: Callable[[Any], None] = lambda _: None) -> TileJob:
    where: Any = (slice(number, number + 1),)
    no_frame: Any = None
    return TileJob(no_frame, where, number, store)


def noting(notes: list[int], number: int, _: Any) -> None:
    notes.append(number)


# --- reading -----------------------------------------------------------------------------------


def test_the_next_is_read_while_one_is_worked_on() -> None:
    begun = [threading.Event() for _ in range(3)]

    def read(item: int) -> int:
        begun[item].set()
        return item

    for item, _ in read_ahead(range(3), read, threading.Event()):
        assert item == 2 or begun[item + 1].wait(SECONDS)


def test_no_more_than_one_is_read_ahead() -> None:
    read: list[int] = []
    for item, _ in read_ahead(range(9), read.append, threading.Event()):
        assert len(read) <= item + 2


def test_things_come_in_their_order() -> None:
    found = list(read_ahead(range(9), lambda item: -item, threading.Event()))
    assert found == [(item, -item) for item in range(9)]


def test_an_error_comes_in_its_turn() -> None:
    def read(item: int) -> int:
        return 1 // (item - 3)

    things = read_ahead(range(9), read, threading.Event())
    assert [next(things)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        next(things)


def test_after_a_stop_nothing_more_comes() -> None:
    stop, seen = threading.Event(), []
    for item, _ in read_ahead(range(9), str, stop):
        seen.append(item)
        if item == 4:
            stop.set()
    assert seen == [0, 1, 2, 3, 4]


def test_nothing_is_read_after_a_stop_before_the_first() -> None:
    stop, read = threading.Event(), list[int]()
    stop.set()
    assert list(read_ahead(range(3), read.append, stop)) == []
    assert read == []


# --- storing -----------------------------------------------------------------------------------


def test_one_is_stored_while_the_next_is_made() -> None:
    stored = threading.Event()

    def made() -> Iterator[tuple[TileJob, Any]]:
        yield job(0, lambda _: stored.set()), None
        assert stored.wait(SECONDS)  # nobody has asked for more yet
        yield job(1), None

    assert len(list(stored_behind(made()))) == 2  # type: ignore[arg-type]


def test_each_is_told_after_it_is_stored() -> None:
    stored: list[int] = []
    made: Any = ((job(n, partial(noting, stored, n)), None) for n in range(5))
    for done, _ in stored_behind(made):
        assert done.number in stored


def test_what_came_before_an_error_is_stored_and_told() -> None:
    stored: list[int] = []

    def made() -> Iterator[tuple[TileJob, Any]]:
        for n in range(3):
            yield job(n, partial(noting, stored, n)), None
        raise UnreadableError("no disk")

    done = stored_behind(made())  # type: ignore[arg-type]
    assert [next(done)[0].number for _ in range(3)] == stored == [0, 1, 2]
    with pytest.raises(UnreadableError, match="no disk"):
        next(done)


def test_an_error_of_storing_is_raised() -> None:
    def full(_: Any) -> None:
        raise OSError(28, "No space left on device")

    made: Any = ((job(n, full), None) for n in range(3))
    with pytest.raises(OSError, match="No space left"):
        list(stored_behind(made))


# --- threads -----------------------------------------------------------------------------------


def in_a_file(folder: Path, image: Any) -> Any:
    config = PredictConfig(device="cpu", tile_size=16)
    return predict_to_zarr(a_model(), image, config, folder / "out.zarr", threading.Event())


def in_memory_of(_: Path, image: Any) -> Any:
    config = PredictConfig(device="cpu", tile_size=16)
    return predict_image(a_model(), image, config, threading.Event())


@pytest.mark.parametrize("begin", [in_memory_of, in_a_file], ids=["memory", "file"])
@pytest.mark.parametrize("how", ["closed", "abandoned"])
def test_a_prediction_that_nobody_goes_on_with_leaves_no_thread(
    begin: Callable[[Path, Any], Any], how: str, tmp_path: Path
) -> None:
    events = begin(tmp_path, noise(70, 90))
    for _ in range(4):
        next(events)
    assert any(t.name.startswith("napari-unet") for t in threading.enumerate())
    if how == "closed":
        events.close()
    del events


@pytest.mark.skipif(sys.platform != "linux", reason="only there threads have a niceness")
def test_threads_are_as_polite_as_the_one_that_asks() -> None:
    found: list[int] = []

    def niceness(_: int) -> None:
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    def polite() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        list(read_ahead(range(1), niceness, threading.Event()))

    thread = threading.Thread(target=polite)
    thread.start()
    thread.join()
    assert found == [10]


# --- objects -----------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [0, 1, 5, 40])
def test_the_blocks_that_see_a_tile_are_those_whose_view_it_meets(margin: int) -> None:
    blocks = Blocks((slice(7, 90), slice(0, 61)), (16, 20), (margin, margin // 2))
    for top in range(7, 90, 11):
        tile = (slice(top, min(90, top + 11)), slice(13, 26))
        expected = [
            number
            for number in range(len(blocks))
            if all(
                t.start < s.stop and s.start < t.stop
                for t, s in zip(tile, blocks.seen(number), strict=True)
            )
        ]
        assert blocks_that_see(blocks, tile) == expected


@pytest.mark.usefixtures("small_blocks")
def test_a_block_is_told_apart_while_tiles_are_still_to_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = threading.Event()

    def separate(*arguments: Any) -> Any:
        begun.set()
        return separate_block(*arguments)

    def watch(event: object) -> None:
        if isinstance(event, TilePredicted) and event.number == 29:
            assert begun.wait(SECONDS)

    monkeypatch.setattr(in_memory, "separate_block", separate)
    events, _ = predict(a_model(), noise(70, 90), tile_size=16, watch=watch)
    assert sum(isinstance(event, TilePredicted) for event in events) == 30


@pytest.mark.usefixtures("small_blocks")
def test_a_block_sees_all_of_its_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told apart at once or at the very end: the objects are the same."""
    early = predict(a_model(), noise(2, 70, 90), tile_size=16)[1].array
    monkeypatch.setattr("napari_unet.prediction.frame_work.blocks_that_see", lambda *_: [])
    late = predict(a_model(), noise(2, 70, 90), tile_size=16)[1].array
    assert early.max() > 1
    np.testing.assert_array_equal(early, late)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_are_told_in_their_order_when_all_tiles_are_there() -> None:
    events, _ = predict(a_model(), noise(70, 90), tile_size=16)
    blocks = [event.number for event in events if isinstance(event, BlockSeparated)]
    assert blocks == list(range(1, len(blocks) + 1))
    assert isinstance(events[-1], FrameFinished)
    assert max(n for n, event in enumerate(events) if isinstance(event, TilePredicted)) == 30


def test_frames_are_finished_one_behind_the_tiles() -> None:
    events, _ = predict(a_model(), noise(4, 20, 24))
    tiles_seen, finished = 0, 0
    for event in events:
        tiles_seen += isinstance(event, TilePredicted)
        finished += isinstance(event, FrameFinished)
        assert finished <= tiles_seen <= finished + 2
    assert finished == 4


@pytest.mark.usefixtures("small_blocks")
def test_an_error_of_a_block_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def separate(*_: Any) -> Any:
        raise MemoryError("too many objects")

    monkeypatch.setattr(in_memory, "separate_block", separate)
    with pytest.raises(MemoryError, match="too many objects"):
        predict(a_model(), noise(70, 90), tile_size=16)
