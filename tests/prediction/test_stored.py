"""From any image to OME-Zarr: never as a whole, as in memory, gone on with after a stop."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import zarr

from data.counting import CountingArray
from device import DEVICE_NAME
from napari_unet.errors import ConfigError, FileProblemError, UnreadableError
from napari_unet.io.files import find_images, read_image
from napari_unet.io.locks import locked
from napari_unet.model import devices as precision
from napari_unet.model.trained import TrainedNetwork
from napari_unet.prediction import partial as partial_module
from napari_unet.prediction import tiles
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.files import identity_of
from napari_unet.prediction.journal import SCRATCH
from napari_unet.prediction.partial import PartialResult, partial_folder
from napari_unet.prediction.predictor import predict_image
from napari_unet.prediction.results import (
    Prediction,
    PredictionProgress,
    PredictionStarted,
    TilePredicted,
)
from napari_unet.run import Notice, Run
from napari_unet.tasks import ClassTable

from .builders import a_model, noise, predict, see_the_image

if TYPE_CHECKING:
    from collections.abc import Callable

Array = Any
MODEL = a_model()
CLASS_MODEL = a_model(ClassTable("classes", "unlabelled", (1, 4, 300)))
SMALL_TILES = 16


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small images have many blocks."""
    monkeypatch.setattr(tiles, "DEFAULT_TILE_SIZE", {2: SMALL_TILES, 3: 8})
    monkeypatch.setattr(tiles, "BLOCK_SIZE", {2: 32, 3: 16})
    monkeypatch.setattr(tiles, "BLOCK_MARGIN", {2: 16, 3: 8})


def store(
    image: Any,
    target: Path,
    *,
    model: Any = MODEL,
    stop: threading.Event | None = None,
    watch: Callable[[object], object] | None = None,
    **config: Any,
) -> tuple[list[Any], Prediction]:
    events = predict_image(
        model, image, PredictConfig(device=DEVICE_NAME, **config), stop or threading.Event(), target
    )
    run, seen = Run(events), list[Any]()
    for event in run:
        seen.append(event)
        if watch is not None:
            watch(event)
    return seen, run.result


def tiles_in(events: list[Any]) -> int:
    return sum(isinstance(event, TilePredicted) for event in events)


def stopping(after: int) -> dict[str, Any]:
    """Stop after so many tiles."""
    stop = threading.Event()
    count = iter(range(1, 10**9))

    def watch(event: object) -> None:
        if isinstance(event, TilePredicted) and next(count) == after:
            stop.set()

    return {"stop": stop, "watch": watch}


def cells(*shape: int) -> Array:
    """Bright spots that cross borders of blocks, as probabilities."""
    rng = np.random.default_rng(1)
    image = np.zeros(shape, np.float32)
    rows, columns = np.mgrid[: shape[-2], : shape[-1]]
    for _ in range(shape[-2] * shape[-1] // 150):
        y, x, radius = rng.integers(shape[-2]), rng.integers(shape[-1]), rng.uniform(2, 5)
        spot = np.clip(radius + 0.5 - np.hypot(rows - y, columns - x), 0, 1)
        image = np.maximum(image, spot.astype(np.float32))
    return image


def seeing(binning: float) -> TrainedNetwork:
    return TrainedNetwork(MODEL.network, replace(MODEL.record, binning=binning))


@pytest.mark.parametrize(
    ("model", "image", "config"),
    [
        pytest.param(MODEL, noise(70, 90), {}, id="objects"),
        pytest.param(seeing(1.5), noise(110, 90), {}, id="objects, binned by 1.5"),
        pytest.param(seeing(0.5), noise(40, 50), {}, id="objects, enlarged"),
        pytest.param(MODEL, noise(3, 40, 50), {}, id="objects of a time-lapse"),
        pytest.param(CLASS_MODEL, noise(70, 90), {}, id="classes"),
        pytest.param(
            CLASS_MODEL, noise(2, 40, 50), {"result": "probabilities"}, id="probabilities"
        ),
        pytest.param(MODEL, noise(40, 50), {"result": "uncertainty"}, id="uncertainty"),
        pytest.param(a_model(ndim=3, depth=1), noise(20, 30, 33), {}, id="a volume"),
        pytest.param(MODEL, noise(9, 7), {}, id="smaller than a tile"),
        pytest.param(a_model(in_channels=2), noise(2, 40, 50), {"axes": "CYX"}, id="channels"),
    ],
)
def test_what_is_stored_equals_what_is_predicted_in_memory(
    model: Any, image: Array, config: dict[str, Any], tmp_path: Path
) -> None:
    _, result = store(image, tmp_path / "out.zarr", model=model, **config)
    _, expected = predict(model, image, **config)
    found = read_image(tmp_path / "out.zarr")
    assert (result.complete, found.axes) == (True, expected.axes)
    np.testing.assert_array_equal(found.array[:], expected.array)


@pytest.mark.parametrize("tile_size", [16, 32, 64])
def test_objects_do_not_depend_on_the_size_of_the_tiles(
    tile_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    see_the_image(monkeypatch)
    image = cells(100, 120)
    _, result = store(image, tmp_path / "a.zarr", tile_size=tile_size)
    store(image, tmp_path / "b.zarr")
    found, expected = (read_image(tmp_path / name).array[:] for name in ("a.zarr", "b.zarr"))
    np.testing.assert_array_equal(found, expected)
    assert result.objects == expected.max() > 20


@pytest.mark.fault(21)
def test_objects_across_blocks_have_one_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    see_the_image(monkeypatch)
    image = np.zeros((80, 80), np.float32)
    image[10:14, 3:77] = image[3:77, 40:44] = 1
    _, result = store(image, tmp_path / "out.zarr")
    assert result.objects == 1
    assert np.unique(read_image(tmp_path / "out.zarr").array[:]).tolist() == [0, 1]


# --- interruptions -----------------------------------------------------------------------------


@pytest.mark.fault(34)
@pytest.mark.parametrize("after", [1, 5, 20, 41], ids=lambda n: f"after {n} tiles")
def test_an_interrupted_prediction_goes_on_where_it_was(after: int, tmp_path: Path) -> None:
    image = noise(2, 70, 90)
    whole, _ = store(image, tmp_path / "whole.zarr")
    told, first = store(image, tmp_path / "out.zarr", **stopping(after))
    rest, second = store(image, tmp_path / "out.zarr")
    assert (first.complete, second.complete) == (False, True)
    assert after <= tiles_in(told) <= after + 1  # the next one was under way
    assert tiles_in(rest) == tiles_in(whole) - tiles_in(told)
    found, expected = (read_image(tmp_path / n).array[:] for n in ("out.zarr", "whole.zarr"))
    np.testing.assert_array_equal(found, expected)


def _always(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    return dtype


def test_tiles_of_another_number_format_are_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = replace(MODEL.record, bfloat16_agreement=1.0)
    model = replace(MODEL, record=record)
    image = noise(40, 40)
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(precision, "fastest_precision", partial(_always, dtype))
        events = store(image, tmp_path / "out.zarr", model=model, **stopping(2))[0]
        assert events[0].precision == str(dtype).removeprefix("torch.")
        assert not any(isinstance(event, Notice) for event in events)


def test_it_is_told_that_it_goes_on(tmp_path: Path) -> None:
    store(noise(40, 40), tmp_path / "out.zarr", **stopping(2))
    started, notice, *_ = store(noise(40, 40), tmp_path / "out.zarr")[0]
    assert isinstance(started, PredictionStarted)
    assert "goes on" in notice.text


@pytest.mark.parametrize("when", ["write_tile", "write_block", "number_block", "finish"])
def test_what_was_done_survives_a_crash_anywhere(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = noise(70, 90)
    original = getattr(PartialResult, when)
    calls = iter(range(10**6))

    def crash(*arguments: Any) -> Any:
        if next(calls) == (0 if when == "finish" else 2):
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(PartialResult, when, crash)
        with pytest.raises(KeyboardInterrupt):
            store(image, tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()
    store(image, tmp_path / "out.zarr")
    expected = predict(MODEL, image)[1].array
    np.testing.assert_array_equal(read_image(tmp_path / "out.zarr").array[:], expected)


def test_a_journal_that_was_cut_off_in_a_line_is_no_trouble(tmp_path: Path) -> None:
    told, _ = store(noise(70, 90), tmp_path / "out.zarr", **stopping(4))
    journal = partial_folder(tmp_path / "out.zarr") / ".scratch" / "journal.txt"
    text = journal.read_text()
    journal.write_text(text[: text.rindex("\ntile") + 6])
    rest, result = store(noise(70, 90), tmp_path / "out.zarr")
    assert result.complete
    assert tiles_in(rest) == 30 - (tiles_in(told) - 1)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"model": a_model(seed=1)}, id="another model"),
        pytest.param({"threshold": 0.4}, id="another threshold"),
        pytest.param({"image": noise(70, 91)}, id="another image"),
    ],
)
def test_what_another_prediction_left_is_not_gone_on_with(
    other: dict[str, Any], tmp_path: Path
) -> None:
    store(noise(70, 90), tmp_path / "out.zarr", **stopping(4))
    image = other.pop("image", noise(70, 90))
    events, _ = store(image, tmp_path / "out.zarr", **other)
    assert tiles_in(events) == 30


def test_a_partial_result_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    store(noise(70, 90), tmp_path / "out.zarr", **stopping(4))
    assert not (tmp_path / "out.zarr").exists()
    with pytest.raises(FileProblemError, match="holds no image"):
        find_images([tmp_path])


def test_nothing_is_left_beside_the_result(tmp_path: Path) -> None:
    store(noise(40, 40), tmp_path / "out.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]
    assert not list((tmp_path / "out.zarr").rglob(".scratch"))


def test_a_journal_that_was_cut_off_is_mended_before_it_goes_on(tmp_path: Path) -> None:
    store(noise(3, 40, 40), tmp_path / "out.zarr", **stopping(4))
    journal = partial_folder(tmp_path / "out.zarr") / ".scratch" / "journal.txt"
    journal.write_text(journal.read_text() + "til")
    store(noise(3, 40, 40), tmp_path / "out.zarr", **stopping(2))
    store(noise(3, 40, 40), tmp_path / "out.zarr")
    expected = predict(MODEL, noise(3, 40, 40))[1].array
    np.testing.assert_array_equal(read_image(tmp_path / "out.zarr").array[:], expected)


def test_a_crash_while_the_pyramid_is_built_costs_no_tile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = noise(1100, 40)

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("napari_unet.io.ome_zarr._subsample", crash)
        with pytest.raises(KeyboardInterrupt):
            store(image, tmp_path / "out.zarr", tile_size=256)
    rest, result = store(image, tmp_path / "out.zarr", tile_size=256)
    assert (tiles_in(rest), result.complete) == (0, True)
    assert read_image(tmp_path / "out.zarr" / "1").array.shape == (550, 20)


def cut_the_power(target: Path) -> Path:
    """Leave an interrupted prediction as a power cut does that takes all that was not synced."""
    partial = partial_folder(target)
    journal = partial / ".scratch" / "journal.txt"
    text = journal.read_text().removesuffix("synced\n").replace("run ", "run before ")
    journal.write_text(text)
    return partial


@pytest.mark.fault(60)
@pytest.mark.parametrize("what", ["foreground", "labels", "blocks", "metadata"])
def test_after_a_power_cut_what_was_not_safe_is_predicted_again(tmp_path: Path, what: str) -> None:
    image, target = noise(70, 90), tmp_path / "out.zarr"
    expected = predict(MODEL, image)[1].array

    def end_at_a_block(event: object) -> None:
        if isinstance(event, PredictionProgress) and event.block == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store(image, target, watch=end_at_a_block)
    partial = cut_the_power(target)
    torn = {
        "foreground": [*partial.glob(".scratch/0/foreground/c/*/*")],
        "labels": [*partial.glob(".scratch/0/labels/c/*/*")],
        "blocks": [*partial.glob(".scratch/0/block*")],
        "metadata": [partial / "zarr.json"],
    }[what]
    assert torn
    for path in torn:
        path.write_bytes(path.read_bytes()[:5])
    rest, result = store(image, target)
    assert (tiles_in(rest), result.complete) == (30, True)
    np.testing.assert_array_equal(read_image(target).array[:], expected)


@pytest.mark.fault(60)
def test_after_a_power_cut_what_was_safe_is_kept(tmp_path: Path) -> None:
    image, target = noise(3, 40, 40), tmp_path / "out.zarr"
    told, _ = store(image, target, **stopping(12))
    journal = partial_folder(target) / ".scratch" / "journal.txt"
    journal.write_text(journal.read_text().replace("run ", "run before "))
    rest, _ = store(image, target)
    assert tiles_in(rest) == 27 - tiles_in(told)
    np.testing.assert_array_equal(read_image(target).array[:], predict(MODEL, image)[1].array)


def test_what_a_former_version_began_is_predicted_anew(tmp_path: Path) -> None:
    image, target = noise(40, 40), tmp_path / "out.zarr"
    store(image, target, **stopping(4))
    (partial_folder(target) / ".scratch" / "zarr.json").unlink()
    rest, result = store(image, target)
    assert (tiles_in(rest), result.complete) == (9, True)


@pytest.mark.fault(59)
def test_a_folder_that_somebody_amid_a_write_makes_once_more_is_thrown_away_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, target = noise(70, 90), tmp_path / "out.zarr"
    store(image, target, **stopping(2))
    created: list[Path] = []
    create = partial_module._create

    def made_again(result: PartialResult, pixel_size: Any) -> None:
        create(result, pixel_size)
        if not created:
            (result.folder / SCRATCH).mkdir()
        created.append(result.folder)

    monkeypatch.setattr(partial_module, "_create", made_again)
    _, result = store(image + 1, target)
    assert (result.complete, len(created)) == (True, 2)
    np.testing.assert_array_equal(read_image(target).array[:], predict(MODEL, image + 1)[1].array)


@pytest.mark.fault(59)
def test_who_is_taken_for_dead_and_lives_writes_nothing_more(tmp_path: Path) -> None:
    image, target = noise(70, 90), tmp_path / "out.zarr"

    def taken_over(event: object) -> None:
        if isinstance(event, TilePredicted) and event.number == 4:
            (target.parent / ".out.zarr.lock").unlink()
            store(image + 1, target, **stopping(2))

    with pytest.raises(FileProblemError, match=r"Another process goes on with .*out\.zarr since"):
        store(image, target, watch=taken_over)
    assert not target.exists()
    store(image + 1, target)
    np.testing.assert_array_equal(read_image(target).array[:], predict(MODEL, image + 1)[1].array)


@pytest.mark.fault(34)
@pytest.mark.parametrize("call", [1, 2], ids=["foreground", "labels"])
def test_a_crash_while_a_frame_is_begun_is_no_trouble(
    call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, calls = zarr.create_array, iter(range(1, 10))

    def crash(path: Path, **settings: Any) -> Any:
        if next(calls) == call:
            path.mkdir(parents=True)  # no metadata in it yet
            raise KeyboardInterrupt
        return create(path, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(zarr, "create_array", crash)
        with pytest.raises(KeyboardInterrupt):
            store(noise(40, 40), tmp_path / "out.zarr")
    assert store(noise(40, 40), tmp_path / "out.zarr")[1].complete


@pytest.mark.fault(34)
def test_a_crash_between_the_last_renames_brings_the_earlier_result_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.zarr"
    store(noise(40, 40), target)
    before = read_image(target).array[:]
    replace_name = os.replace

    def crash(source: Path, final: Path) -> None:
        if final == target:
            raise KeyboardInterrupt
        replace_name(source, final)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            store(1 - noise(40, 40), target)
    assert not target.exists()
    assert store(1 - noise(40, 40), target, threshold=0.4, **stopping(1))[1].complete is False
    np.testing.assert_array_equal(read_image(target).array[:], before)


@pytest.mark.fault(34)
def test_a_crash_after_the_last_tile_costs_no_tile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("napari_unet.prediction.partial.finish", crash)
        with pytest.raises(KeyboardInterrupt):
            store(noise(40, 40), tmp_path / "out.zarr")
    events, result = store(noise(40, 40), tmp_path / "out.zarr")
    assert result.complete
    assert tiles_in(events) == 0


@pytest.mark.fault(34)
def test_unfinished_chunks_of_killed_writers_are_not_part_of_the_result(tmp_path: Path) -> None:
    store(noise(70, 90), tmp_path / "out.zarr", **stopping(4))
    chunks = partial_folder(tmp_path / "out.zarr") / "0" / "c" / "0"
    chunks.mkdir(parents=True, exist_ok=True)
    (chunks / f"0.{'a' * 32}.partial").write_bytes(b"half")
    store(noise(70, 90), tmp_path / "out.zarr")
    assert not list((tmp_path / "out.zarr").rglob("*.partial"))


def test_another_image_of_the_same_shape_is_not_gone_on_with(tmp_path: Path) -> None:
    store(noise(70, 90), tmp_path / "out.zarr", **stopping(9))
    events, _ = store(np.zeros((70, 90), np.float32), tmp_path / "out.zarr")
    assert tiles_in(events) == 30


def test_a_file_whose_chunks_were_changed_is_another_image(tmp_path: Path) -> None:
    stored = zarr.create_array(tmp_path / "a.zarr", shape=(64, 64), chunks=(32, 32), dtype="u1")
    stored[:] = 1
    before = identity_of(tmp_path / "a.zarr")
    assert identity_of(tmp_path / "a.zarr") == before
    time.sleep(0.01)
    stored[40:, 40:] = 2
    assert identity_of(tmp_path / "a.zarr") != before


@pytest.mark.parametrize(
    "part", [{"frames": ((0,),)}, {"region": (slice(0, 8), slice(0, 8))}], ids=["frames", "region"]
)
def test_parts_of_an_image_are_refused(part: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="whole images"):
        store(noise(3, 40, 40), tmp_path / "out.zarr", **part)


def test_axes_are_stored_in_the_order_that_the_format_wants(tmp_path: Path) -> None:
    image = noise(2, 3, 40, 40)
    _, result = store(image, tmp_path / "out.zarr", axes="ZTYX")
    _, expected = predict(MODEL, image, axes="ZTYX")
    found = read_image(tmp_path / "out.zarr")
    assert result.axes == found.axes == "TZYX"
    np.testing.assert_array_equal(found.array[:], expected.array.swapaxes(0, 1))


def test_probabilities_of_planes_have_channels_before_z(tmp_path: Path) -> None:
    image = noise(3, 40, 40)
    store(image, tmp_path / "out.zarr", axes="ZYX", result="probabilities")
    _, expected = predict(MODEL, image, axes="ZYX", result="probabilities")
    found = read_image(tmp_path / "out.zarr")
    assert (found.axes, expected.axes) == ("CZYX", "ZCYX")
    np.testing.assert_array_equal(found.array[:], expected.array.swapaxes(0, 1))


# --- one at a time -----------------------------------------------------------------------------


def test_a_second_prediction_into_the_same_file_is_refused(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "out.zarr"),
        pytest.raises(FileProblemError, match=r"is being written by process \d+ on"),
    ):
        store(noise(40, 40), tmp_path / "out.zarr")


@pytest.mark.fault(29)
@pytest.mark.parametrize("n", [5, 17, 258])
def test_objects_in_a_file_never_wrap(
    n: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    see_the_image(monkeypatch)
    image = np.zeros((n * 3, n * 3), np.float32)
    for row, column in np.ndindex(2, 2):
        image[row::3, column::3] = 1
    monkeypatch.setattr(tiles, "DEFAULT_TILE_SIZE", {2: 256, 3: 8})
    monkeypatch.setattr(tiles, "BLOCK_SIZE", {2: 512, 3: 16})
    _, result = store(image, tmp_path / "out.zarr")
    labels = result.array[:]
    assert result.objects == labels.max() == n * n
    assert len(np.unique(labels)) == n * n + 1


# --- reading -----------------------------------------------------------------------------------


@pytest.mark.fault(31)
def test_a_lazy_image_is_never_read_as_a_whole(tmp_path: Path) -> None:
    image = CountingArray(noise(300, 300), chunks=(32, 32))
    store(image, tmp_path / "out.zarr", tile_size=64)
    # 300 pixels a side are also sampled for their intensities, in one read of strides
    n_tiles = 25
    halo = 2 * MODEL.record.network.halo + 4
    assert image.pixels <= 300 * 300 + n_tiles * (64 + halo) ** 2
    # a chunk is read for its own tile, the eight around it, and the sample
    assert image.chunk_reads <= 10 * image.n_chunks


@pytest.mark.fault(31)
def test_large_frames_are_sampled_in_boxes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("napari_unet.data.intensity._STRIDED_PIXELS", 1000)
    monkeypatch.setattr("napari_unet.data.intensity._SAMPLE_PIXELS", 2**10)
    image = CountingArray(noise(300, 300), chunks=(32, 32))
    store(image, tmp_path / "out.zarr", tile_size=64)
    assert image.largest <= (64 + 2 * MODEL.record.network.halo + 4) ** 2


class Flaky:
    """An image on a bad network: some reads fail."""

    chunks = (32, 32)

    def __init__(self, pixels: Array, failures: int) -> None:
        self.pixels, self.failures = pixels, failures
        self.shape, self.dtype = pixels.shape, pixels.dtype

    def __getitem__(self, key: Any, /) -> Any:
        part = self.pixels[key]
        if part.size < self.pixels.size and self.failures:
            self.failures -= 1
            raise OSError("connection reset")
        return part


@pytest.mark.fault(32)
def test_a_part_that_cannot_be_read_is_tried_again(tmp_path: Path) -> None:
    _, result = store(Flaky(noise(70, 90), 2), tmp_path / "out.zarr")
    assert result.complete


@pytest.mark.fault(32)
def test_a_part_that_stays_unreadable_is_named_and_what_is_done_is_kept(tmp_path: Path) -> None:
    image = Flaky(noise(70, 90), 0)
    told: list[object] = []

    def break_it(event: object) -> None:
        told.append(event)
        if tiles_in(told) == 7:
            image.failures = 10**6

    with pytest.raises(
        UnreadableError, match=r"at \[.*\], chunks? \(.*connection reset.*predict again"
    ):
        store(image, tmp_path / "out.zarr", watch=break_it)
    image.failures = 0
    rest, result = store(image, tmp_path / "out.zarr")
    assert result.complete
    assert 7 <= tiles_in(told) <= 9  # one was being computed, and one had been read
    assert tiles_in(rest) == 30 - tiles_in(told)


class Slow(CountingArray):
    """An image on a slow network: a read of a tile takes a while."""

    def __getitem__(self, key: Any, /) -> Any:
        time.sleep(0.05)
        return super().__getitem__(key)


@pytest.mark.fault(32)
def test_an_image_on_a_slow_network_is_given_up_within_one_read(tmp_path: Path) -> None:
    image = Slow(noise(70, 90), chunks=(16, 16))
    stop = threading.Event()
    read: list[int] = []

    def watch(event: object) -> None:
        if isinstance(event, TilePredicted) and not read:
            read.append(image.reads)
            stop.set()

    _, result = store(image, tmp_path / "out.zarr", stop=stop, watch=watch)
    assert not result.complete
    assert image.reads <= read[0] + 1  # the one that was under way


@pytest.mark.fault(32)
def test_in_memory_too_a_broken_chunk_is_named() -> None:
    class Broken(CountingArray):
        def __getitem__(self, key: Any, /) -> Any:
            if self.reads > 3:
                raise OSError("checksum mismatch")
            return super().__getitem__(key)

    told: list[object] = []
    image = Broken(noise(70, 90), chunks=(16, 16))
    with pytest.raises(UnreadableError, match=r"chunks? \(.*checksum mismatch"):
        predict(MODEL, image, watch=told.append)
    assert tiles_in(told) >= 2  # those before it were shown


# --- writing -----------------------------------------------------------------------------------


def test_a_full_disk_is_told_and_what_is_done_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    told: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", full)
        with pytest.raises(FileProblemError, match=r"Disk full: .*What is done is kept"):
            store(noise(70, 90), tmp_path / "out.zarr", watch=told.append)
    rest, result = store(noise(70, 90), tmp_path / "out.zarr")
    assert result.complete
    assert tiles_in(told) > 0
    assert tiles_in(rest) <= 30 - tiles_in(told)


def test_an_earlier_result_is_replaced_only_when_the_new_one_is_whole(tmp_path: Path) -> None:
    store(noise(40, 40), tmp_path / "out.zarr")
    before = read_image(tmp_path / "out.zarr").array[:]
    store(1 - noise(40, 40), tmp_path / "out.zarr", **stopping(2))
    np.testing.assert_array_equal(read_image(tmp_path / "out.zarr").array[:], before)
    store(1 - noise(40, 40), tmp_path / "out.zarr")
    after = read_image(tmp_path / "out.zarr").array[:]
    np.testing.assert_array_equal(after, predict(MODEL, 1 - noise(40, 40))[1].array)


def test_the_result_has_pixel_size_pyramid_and_whole_chunks(tmp_path: Path) -> None:
    size = {"Y": 0.5, "X": 0.25}
    store(noise(1100, 60), tmp_path / "out.zarr", pixel_size=size, tile_size=256)
    image = read_image(tmp_path / "out.zarr")
    assert image.pixel_size == size
    levels = [zarr.open_array(tmp_path / "out.zarr" / level).shape for level in ("0", "1")]
    assert levels == [(1100, 60), (550, 30)]


def test_a_stop_before_the_first_tile_predicts_nothing(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    events, result = store(noise(40, 40), tmp_path / "out.zarr", stop=stop)
    assert (tiles_in(events), result.complete) == (0, False)
