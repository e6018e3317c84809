"""Reading ahead, storing behind: in order, bounded, and no thread stays."""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from device import DEVICE_NAME
from napari_unet.prediction import frame_objects, pipeline, tiles
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.pipeline import Writer, read_ahead, threads
from napari_unet.prediction.predictor import predict_image
from napari_unet.prediction.results import (
    BlockSeparated,
    FrameFinished,
    PredictionProgress,
    TilePredicted,
)

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
    begun, go = threading.Event(), threading.Event()

    def store() -> None:
        begun.set()
        assert go.wait(SECONDS)

    with threads("writer") as thread:
        writer = Writer(thread)
        writer.submit(store)
        assert begun.wait(SECONDS)  # and here the next one is made
        go.set()
        writer.wait()


def test_no_more_than_one_waits_to_be_stored() -> None:
    stored: list[int] = []
    with threads("writer") as thread:
        writer = Writer(thread)
        for number in range(9):
            writer.submit(partial(stored.append, number))
            assert len(stored) >= number
    assert stored == list(range(9))


def test_an_error_of_storing_is_raised_when_the_next_is_stored() -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    with threads("writer") as thread:
        writer = Writer(thread)
        writer.submit(full)
        with pytest.raises(OSError, match="No space left"):
            writer.submit(full)


# --- threads -----------------------------------------------------------------------------------


def in_a_file(folder: Path, image: Any) -> Any:
    config = PredictConfig(device=DEVICE_NAME, tile_size=16)
    return predict_image(a_model(), image, config, threading.Event(), folder / "out.zarr")


def in_memory_of(_: Path, image: Any) -> Any:
    config = PredictConfig(device=DEVICE_NAME, tile_size=16)
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


@pytest.mark.usefixtures("small_blocks")
def test_each_block_is_told_once_its_tiles_are_there() -> None:
    separated = threading.Event()

    def let_a_block_be_separated(event: object) -> None:
        if isinstance(event, TilePredicted) and event.number > 10:
            separated.wait(0.05)

    events, _ = predict(a_model(), noise(70, 90), tile_size=16, watch=let_a_block_be_separated)
    first = next(n for n, event in enumerate(events) if isinstance(event, BlockSeparated))
    assert any(isinstance(event, TilePredicted) for event in events[first:])
    assert len({str(event.region) for event in events if isinstance(event, BlockSeparated)}) > 1
    assert isinstance(events[-1], FrameFinished)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_of_a_file_are_told_in_their_order_when_all_tiles_are_there(tmp_path: Path) -> None:
    config = PredictConfig(device=DEVICE_NAME, tile_size=16)
    target = tmp_path / "out.zarr"
    events = list(predict_image(a_model(), noise(70, 90), config, threading.Event(), target))
    blocks = [event.block for event in events if isinstance(event, PredictionProgress)]
    assert len(blocks) > 1
    assert blocks == list(range(1, len(blocks) + 1))
    assert max(n for n, event in enumerate(events) if isinstance(event, TilePredicted)) == 30


@pytest.mark.usefixtures("small_blocks")
def test_after_a_stop_objects_are_found_quickly_where_separating_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frame_objects, "_SECONDS_AFTER_STOP", 0.0)
    separated: list[int] = []
    real = pipeline.separate_block

    def separate(foreground: Any, plan: Any, block: int) -> Any:
        separated.append(block)
        return real(foreground, plan, block)

    monkeypatch.setattr(pipeline, "separate_block", separate)
    stop = threading.Event()

    def stop_early(event: object) -> None:
        if isinstance(event, TilePredicted) and event.number == 8:
            before.extend(separated)
            stop.set()

    before: list[int] = []
    events, result = predict(a_model(), noise(70, 90), tile_size=16, stop=stop, watch=stop_early)
    assert not result.complete
    assert len(separated) <= len(before) + 1
    done = np.zeros(result.array.shape, bool)
    for event in events:
        if isinstance(event, TilePredicted):
            done[event.region] = True
    assert len(np.unique(result.array[done])) > 1
    assert not result.array[~done].any()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("last", [1, 3])
def test_the_tile_that_was_computed_when_it_was_stopped_keeps_its_objects(last: int) -> None:
    stop = threading.Event()

    def stop_at_last(event: object) -> None:
        if isinstance(event, TilePredicted) and event.number == last:
            stop.set()

    events, result = predict(a_model(), noise(70, 90), tile_size=16, stop=stop, watch=stop_at_last)
    tiles = [event for event in events if isinstance(event, TilePredicted)]
    assert len(tiles) == last
    assert result.array[tiles[-1].region].any()


@pytest.mark.usefixtures("small_blocks")
def test_who_closes_a_prediction_does_not_wait_for_blocks_that_are_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    goes_on, separated = threading.Event(), list[int]()

    def separate(foreground: Any, plan: Any, block: int) -> Any:
        separated.append(block)
        goes_on.wait(30)
        raise ValueError("nobody asks for it")

    monkeypatch.setattr(pipeline, "separate_block", separate)
    events = predict_image(
        a_model(),
        noise(70, 90),
        PredictConfig(device=DEVICE_NAME, tile_size=16),
        threading.Event(),
    )
    tiles = (event for event in events if isinstance(event, TilePredicted))
    assert any(tile.number == 25 for tile in tiles)
    threading.Timer(0.2, goes_on.set).start()
    events.close()
    assert len(separated) == 1


@pytest.mark.usefixtures("small_blocks")
def test_objects_have_the_same_numbers_however_many_threads_separate_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = []
    for threads_at_once in (1, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads_at_once: n)
        results.append(predict(a_model(), noise(2, 70, 90), tile_size=16)[1])
    assert results[0].objects == results[1].objects > 10
    np.testing.assert_array_equal(results[0].array, results[1].array)


def test_each_frame_is_finished_before_the_tiles_of_the_next() -> None:
    events, _ = predict(a_model(), noise(4, 20, 24))
    told = [event.frame for event in events if isinstance(event, TilePredicted | FrameFinished)]
    assert told == [(frame,) for frame in range(4) for _ in range(2)]


@pytest.mark.usefixtures("small_blocks")
def test_an_error_of_a_block_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def separate(*_: Any) -> Any:
        raise MemoryError("too many objects")

    monkeypatch.setattr(pipeline, "separate_block", separate)
    with pytest.raises(MemoryError, match="too many objects"):
        predict(a_model(), noise(70, 90), tile_size=16)
