"""Images of which next to nothing is painted: only what surrounds the paint is read and kept."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from data.counting import CountingArray
from napari_unet.data import frames, intensity
from napari_unet.training import dataset
from napari_unet.training.dataset import AnnotatedImage, TrainingData
from napari_unet.training.patches import PatchSampler
from napari_unet.training.preparation import prepare_training

from .builders import painted_cells, run, tiny_config

SIZE, PAINTED = 4096, 128
AT = 2000  # where the paint begins


@pytest.fixture(autouse=True)
def large_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the intensity as that of images with some four times as many pixels a side."""
    monkeypatch.setattr(intensity, "_STRIDED_PIXELS", PAINTED**2)


def huge(at: int = AT, axes: str = "CYX") -> tuple[AnnotatedImage, CountingArray]:
    """An image of 3 channels on disk, with a few painted cells."""
    cells, strokes = painted_cells(PAINTED)
    pixels = np.zeros((SIZE, SIZE), np.float32)
    pixels[at : at + PAINTED, at : at + PAINTED] = cells
    on_disk = CountingArray(np.broadcast_to(pixels, (3, SIZE, SIZE)), (1, 256, 256))
    labels = np.zeros((SIZE, SIZE), np.uint16)
    labels[at : at + PAINTED, at : at + PAINTED] = strokes
    return AnnotatedImage("huge", on_disk, labels, axes=axes), on_disk


def with_more_paint(image: AnnotatedImage, row: int, column: int) -> AnnotatedImage:
    labels = image.labels.copy()
    labels[row : row + 8, column : column + 8] = 1
    return AnnotatedImage(image.name, image.image, labels, axes=image.axes)


def held_back_pixels(data: TrainingData) -> set[tuple[int, ...]]:
    """Positions in the whole frame of what is held back of the paint."""
    return _positions(data, [f.held_back & f.target.painted for f in data.frames])


def trained_pixels(data: TrainingData) -> set[tuple[int, ...]]:
    """Positions in the whole frame of what is learned from."""
    return _positions(data, [frame.trained_on for frame in data.frames])


def _positions(data: TrainingData, masks: list[Any]) -> set[tuple[int, ...]]:
    return {
        tuple(int(p) for p in position)
        for frame, mask in zip(data.frames, masks, strict=True)
        for position in np.argwhere(mask) + np.array(frame.frame.origin)
    }


def test_targets_are_as_large_as_the_paint_and_its_surroundings() -> None:
    image, _ = huge()

    data = prepare_training([image], tiny_config())

    assert max(data.frames[0].target.classes.shape) <= 4 * PAINTED


@pytest.mark.fault(31)
def test_patches_are_read_from_the_chunks_around_the_paint_alone() -> None:
    image, on_disk = huge()
    sampler = PatchSampler(prepare_training([image], tiny_config()), tiny_config())
    on_disk.chunks_touched.clear()

    for seed in range(20):
        sampler.draw([seed])

    rows = {position[1] for position in on_disk.chunks_touched}
    columns = {position[2] for position in on_disk.chunks_touched}
    assert rows | columns <= set(range((AT - 64) // 256, (AT + PAINTED + 64) // 256 + 1))


@pytest.mark.fault(31)
def test_a_whole_lazy_image_is_never_read_at_once() -> None:
    image, on_disk = huge()
    config = tiny_config(steps=2)

    run(prepare_training([image], config), config)

    assert on_disk.largest < 3 * SIZE * SIZE / 2


def test_the_paint_of_a_cropped_frame_teaches_what_that_of_the_whole_teaches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image, _ = huge()
    config = tiny_config(validation_share=0.0)
    cropped = prepare_training([image], config).frames[0]
    monkeypatch.setattr(dataset, "_WHOLE_PIXELS", SIZE**2)

    whole = prepare_training([image], config).frames[0]

    box = cropped.frame.bounds
    np.testing.assert_array_equal(cropped.target.classes, whole.target.classes[box])
    np.testing.assert_array_equal(cropped.weights, whole.weights[box])
    some = (slice(70, 90), slice(80, 95))
    there = frames.moved(some, cropped.frame.origin, (0, 0))
    np.testing.assert_array_equal(cropped.frame.read(some), whole.frame.read(there))


@pytest.mark.slow
@pytest.mark.parametrize("binning", [1, 2], ids=["as it is", "binned"])
@pytest.mark.parametrize(
    ("row", "column"), [(AT + 40, AT + 40), (300, 3000)], ids=["inside the box", "far outside"]
)
def test_what_was_held_back_stays_so_when_more_is_painted(
    binning: int, row: int, column: int
) -> None:
    image, _ = huge()
    config = tiny_config(binning=binning)
    previous = prepare_training([image], config)

    now = prepare_training([with_more_paint(image, row, column)], config, previous)

    assert held_back_pixels(previous)
    assert held_back_pixels(previous) <= held_back_pixels(now)
    assert not held_back_pixels(now) & trained_pixels(previous)


def test_what_an_earlier_session_held_back_is_held_back_again() -> None:
    image, _ = huge()
    previous = prepare_training([image], tiny_config())

    now = prepare_training([image], tiny_config(), None, previous.blocks)

    assert held_back_pixels(now) == held_back_pixels(previous)
    assert now.blocks == previous.blocks


def test_of_a_stack_only_painted_planes_are_read_and_prepared() -> None:
    cells, strokes = painted_cells(PAINTED)
    on_disk = CountingArray(np.broadcast_to(cells, (200, PAINTED, PAINTED)), (1, 128, 128))
    labels = np.zeros((200, PAINTED, PAINTED), np.uint16)
    labels[[30, 150]] = strokes
    hashed = 200 * PAINTED**2
    begin = time.perf_counter()

    data = prepare_training([AnnotatedImage("stack", on_disk, labels)], tiny_config())

    assert time.perf_counter() - begin < 2
    assert [frame.frame.index for frame in data.frames] == [(30,), (150,)]
    assert on_disk.pixels <= hashed + 4 * PAINTED**2
