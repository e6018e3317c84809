"""What patches cost: drawn and deformed, against the step; and joining a stroke to a training."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from case_training import trainer_of, waited_for
from figures import Figure, Options, fastest

from napari_unet.model.devices import choose_device
from napari_unet.training import targets
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage, TrainingData
from napari_unet.training.patches import BatchPrefetcher
from napari_unet.training.preparation import prepare_training

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_unet.training.patches import Batch

_STEPS = 4  # per timing


def measure(options: Options) -> Iterator[Figure]:
    """Measure drawing, what of it a training waits for, and new paint."""
    yield from _drawing(options)
    yield from _joining(options)


class _Ready:
    """One batch for all steps."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def take(self, step: int, draw: Callable[[int], Batch]) -> Batch:
        return self._batch


def _drawing(options: Options) -> Iterator[Figure]:
    device = choose_device("auto")
    small: dict[str, Any] = {"patch_size": 32, "batch_size": 1} if options.quick else {}
    trainer = trainer_of(TrainConfig(start="random", device=device.type, **small), device)
    number = iter(range(1, 10**9))

    def steps() -> None:
        for _ in range(_STEPS):
            trainer.train_step(0.5)

    def steps_with(batches: Any) -> Callable[[], object]:
        def make() -> None:
            trainer.batches = batches
            steps()

        return waited_for(make, device)

    draw = waited_for(lambda: trainer.sampler.of_step(next(number)), device)
    with BatchPrefetcher() as prefetcher:
        seconds = fastest(
            {
                "ready": steps_with(_Ready(trainer.sampler.of_step(1))),
                "ahead": steps_with(prefetcher),
                "in turn": steps_with(BatchPrefetcher()),
            },
            options.rounds,
        )
    cores = torch.get_num_threads()
    torch.set_num_threads(1)  # as the thread that draws ahead
    began = time.process_time()
    for _ in range(10):
        draw()
    drawing = (time.process_time() - began) / 10
    torch.set_num_threads(cores)
    step = seconds["ready"] / _STEPS
    where = "on the GPU" if device.type == "cuda" else "on the CPU"
    yield Figure(f"preset fast: drawing a batch, processor time ({where})", drawing * 1e3, "ms")
    goal = 20 if device.type == "cuda" else 10
    yield Figure.at_most(
        "preset fast: processor time of drawing over the step", 100 * drawing / step, "%", goal
    )
    for how, words in (("ahead", "ahead, as we do"), ("in turn", "in turn")):
        more = 100 * (seconds[how] / seconds["ready"] - 1)
        yield Figure(f"preset fast: what a step waits for patches drawn {words}", more, "%")


def _joining(options: Options) -> Iterator[Figure]:
    size, objects = (256, 30) if options.quick else (1024, 500)
    config = TrainConfig(start="random", device="cpu", validation_share=0.0)
    labels = discs(size, objects)
    image = np.random.default_rng(0).random(labels.shape, dtype=np.float32)
    previous = prepare_training([AnnotatedImage("discs", image, labels)], config)
    stroke = labels.copy()
    stroke[size // 2 : size // 2 + 5, size // 2 : size // 2 + 60] = objects + 5
    images = [AnnotatedImage("discs", image, stroke)]

    def join() -> TrainingData:
        return prepare_training(images, config, previous)

    def join_as_a_whole() -> TrainingData:
        kept, targets._MOST = targets._MOST, 0.0
        try:
            return join()
        finally:
            targets._MOST = kept

    seconds = fastest({"box": join, "whole": join_as_a_whole}, options.rounds)
    what = f"joining a stroke, {size}x{size}, {objects} objects"
    yield Figure(what, seconds["box"] * 1e3, "ms")
    yield Figure(f"{what}: all weights anew, over that", seconds["whole"] / seconds["box"], "x")
    apart = np.abs(join().frames[0].weights - join_as_a_whole().frames[0].weights).max()
    yield Figure.at_most(f"{what}: largest difference of the weights", float(apart), "", 1e-5)


def discs(size: int, objects: int) -> NDArray[np.int32]:
    """Paint discs at random places on painted background."""
    rng = np.random.default_rng(0)
    labels = np.ones((size, size), np.int32)
    row, column = np.mgrid[-12:13, -12:13]
    for number in range(2, objects + 2):
        radius = int(rng.integers(6, 13))
        at = rng.integers(13, size - 13, 2)
        box = tuple(slice(int(c) - 12, int(c) + 13) for c in at)
        labels[box][row**2 + column**2 <= radius**2] = number
    return labels
