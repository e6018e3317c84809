"""Random training patches, drawn around the paint and deformed, and batches of them in advance."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from napari_unet.data.frames import read_mirrored
from napari_unet.data.labels import UNLABELLED
from napari_unet.training.augmentation import (
    Deformation,
    jitter_intensity,
    positions_of,
    sample_nearest,
    sample_smooth,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from types import TracebackType

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.data.axes import Region
    from napari_unet.tasks import ClassTable
    from napari_unet.tasks.base import Answer
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import TrainingData, TrainingFrame


class Guess(Protocol):
    """Guesses what nobody painted."""

    def __call__(self, frame: TrainingFrame, region: Region) -> NDArray[np.float32] | None:
        """Return classes, and weights below 0, of a region of a frame: (2, *)."""


def unknown(frame: TrainingFrame, region: Region) -> None:
    """Guess nothing."""


# So often a patch is drawn anew in which no painted pixel was hit.
_TRIES = 8
# Of densely labelled data this many pixels per class are enough to choose centres from.
_CENTRES_PER_CLASS = 2_000_000
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Batch:
    """Patches for one step."""

    images: Tensor
    """(B, C, *) float32, normalised."""
    classes: Tensor
    """(B, *') int64, -1 where unlabelled, or float32 values of an image; smaller than the images
    for unpadded networks."""
    weights: Tensor
    """(B, *') float32; below 0 where a pixel classifier, not the user, said the class."""

    def to(self, device: torch.device) -> Batch:
        """Return the patches on a device; themselves where they are there."""
        if self.images.device == device:
            return self
        return Batch(self.images.to(device), self.classes.to(device), self.weights.to(device))

    @cached_property
    def counted(self) -> Tensor:
        """How many pixels (2,) are painted, and how many can be taught; on their device."""
        known: Tensor = self.classes >= 0
        if self.classes.is_floating_point():  # grey values, of which none is unknown
            known = torch.ones_like(known)
        painted, untaught = known & (self.weights > 0), known & (self.weights >= 0)
        return torch.stack([painted.sum(), untaught.logical_not_().sum()])


class PatchSampler:
    """Draw batches of deformed patches whose surroundings are painted.

    `first` is the number of the first patch in a larger batch of which this sampler draws a part.
    Pixels are deformed on `device`, and the batches lie there.

    Each patch is a function of the seed of its batch and its number alone, so that a resumed
    training draws what the uninterrupted one would have drawn, and several processes draw the parts
    of what one of them would have drawn.
    """

    def __init__(
        self,
        data: TrainingData,
        config: TrainConfig,
        first: int = 0,
        device: torch.device = _CPU,
        guess: Guess = unknown,
    ) -> None:
        self._guess = guess
        self._numbers = range(first, first + config.batch_size)
        self._frames, self._table, self._task = data.frames, data.classes, data.classes.task
        self._device = device
        self._config = config = data.settled(config)
        network = config.network(data.channels, data.classes.n_classes)
        self._margins = network.halos if config.padding == "valid" else (0,) * config.ndim
        self._patch = tuple(map(min, config.patch_shape(), _covering(data.frames, config)))
        self._centres = _paint_by_class(
            data.frames, data.classes, np.random.default_rng([config.seed, 2])
        )

    @property
    def edge(self) -> int:
        """Pixels of a patch along each axis of the plane."""
        return self._patch[-1]

    def of_step(self, step: int) -> Batch:
        """Draw the batch of a step of the training; see `draw`."""
        return self.draw([self._config.seed, 3, step])

    def draw(self, seed: Sequence[int]) -> Batch:
        """Draw the batch that belongs to `seed`.

        Raises UnreadableError if an image cannot be read where a patch is to be.
        """
        chances = [np.random.default_rng([*seed, number]) for number in self._numbers]
        images, targets = self._draw_painted(chances)
        answers = self._task.for_loss(targets[:, 0])
        return Batch(images, answers, targets[:, 1].contiguous())

    def _draw_painted(self, chances: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
        """Draw patches anew until each shows paint, and in the end those without deformation.

        Where little is painted a deformation may leave all of it out: it bends it over the edge,
        or its pixels fall between those of the patch. A GPU is not asked, since it would stand
        still until it had answered: a patch without paint has no loss there.
        """
        config = self._config
        images, targets = self._draw_patches(chances, config)
        for tries in range(1, _TRIES + 1):
            missed = [] if self._device.type == "cuda" else _without_paint(targets)
            if not missed:
                break
            if tries == _TRIES:
                config = config.changed(flip=False, rotate=False, zoom=0.0, elastic_sigma=0.0)
            images[missed], targets[missed] = self._draw_patches(
                [chances[number] for number in missed], config
            )
        return images, targets

    def _draw_patches(
        self, chances: Sequence[np.random.Generator], config: TrainConfig
    ) -> tuple[Tensor, Tensor]:
        """Draw images (B, C, *) and their answers with weights (B, 2, *'), all float32.

        Each is a function of its own chance; what is done to pixels is done to all at once.
        """
        shape = tuple(
            patch + 2 * margin for patch, margin in zip(self._patch, self._margins, strict=True)
        )
        centres = [self._draw_centre(chance) for chance in chances]
        deformations = [Deformation.drawn(config, chance) for chance in chances]
        where = positions_of(deformations, shape, self._device)
        inner = where
        for axis, (margin, size) in enumerate(zip(self._margins, self._patch, strict=True), 2):
            inner = inner.narrow(axis, margin, size)
        drawn = list(zip(centres, deformations, strict=True))
        pixels = [_read_pixels(*centre, bend.reach(shape)) for centre, bend in drawn]
        images = sample_smooth([self._placed(region) for region in pixels], where)
        jitter_intensity(images, config.intensity_jitter, chances, config.window)
        targets = [
            _read_target(*centre, bend.reach(self._patch), self._guess) for centre, bend in drawn
        ]
        asked = sample_nearest([self._placed(target) for target in targets], inner)
        return self._task.asked(images, asked, chances, self._table)

    def _placed(self, region: NDArray[np.float32]) -> Tensor:
        """Bring a region (C, *) to the device, as (1, C, *); a GPU fetches it while it computes."""
        tensor = torch.from_numpy(region[np.newaxis])
        if self._device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def _draw_centre(self, rng: np.random.Generator) -> tuple[TrainingFrame, NDArray[np.int64]]:
        """Choose a class, then one of its pixels, then a patch that holds it somewhere."""
        centres = self._centres[rng.integers(len(self._centres))]
        frame_number, *pixel = centres[rng.integers(len(centres))]
        # A patch that zooms in sees less of its surroundings.
        reach = (np.array(self._patch) / 4 * (1 - self._config.zoom)).astype(np.int64)
        shift = rng.integers(-reach, reach + 1)
        return self._frames[frame_number], np.array(pixel) + shift


def _without_paint(targets: Tensor) -> list[int]:
    """Return the numbers of targets (B, 2, *) in which no pixel counts."""
    largest = targets[:, 1].flatten(1).amax(dim=1)
    return [number for number, weight in enumerate(largest.tolist()) if weight <= 0]


def _covering(frames: Sequence[TrainingFrame], config: TrainConfig) -> tuple[int, ...]:
    """Return the smallest patch that holds every frame: more would be mirror images.

    In the plane it is a square, since patches are turned.
    """
    longest = np.max([frame.frame.spatial_shape for frame in frames], axis=0)
    longest[-2:] = longest[-2:].max()
    network = config.network(1, 2)
    return tuple(
        network.fitting_output(int(size), factor)
        for size, factor in zip(longest, network.pooling_factors, strict=True)
    )


def _paint_by_class(
    frames: Sequence[TrainingFrame], table: ClassTable, rng: np.random.Generator
) -> list[NDArray[np.int32]]:
    """List (frame, *pixel) of the painted training pixels, per class, and of corrected ones."""
    answers = table.task.answers(table)
    found = [_listed(frames, partial(_trained_paint, given=given), rng) for given in answers]
    found.append(_listed(frames, _corrected, rng))  # met as often as a class of their own
    return [pixels for pixels in found if len(pixels)]


def _trained_paint(frame: TrainingFrame, given: Answer) -> NDArray[np.bool_]:
    return given(frame.target.classes) & ~frame.held_back


def _corrected(frame: TrainingFrame) -> NDArray[np.bool_]:
    if frame.corrected is None:
        return np.zeros((1,) * frame.held_back.ndim, bool)
    return frame.corrected & frame.trained_on


def _listed(
    frames: Sequence[TrainingFrame],
    marked: Callable[[TrainingFrame], NDArray[np.bool_]],
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """List (frame, *pixel) of what is marked in the frames; of very much a choice by chance."""
    total = sum(int(np.count_nonzero(marked(frame))) for frame in frames)
    share = _CENTRES_PER_CLASS / max(total, _CENTRES_PER_CLASS)
    found = []
    for number, frame in enumerate(frames):
        here = marked(frame)
        pixels = np.flatnonzero(here)
        if share < 1:
            pixels = rng.choice(pixels, round(share * len(pixels)), replace=False)
        at = np.unravel_index(pixels, here.shape)
        found.append(np.stack([np.full(len(pixels), number), *at], axis=1).astype(np.int32))
    return np.concatenate(found)


def _read_pixels(
    frame: TrainingFrame, centre: NDArray[np.int64], reach: Sequence[int]
) -> NDArray[np.float32]:
    """Read an image (C, *) around a pixel, normalised, and mirrored beyond the border."""
    start = [int(c) - pixels for c, pixels in zip(centre, reach, strict=True)]
    stop = [int(c) + pixels + 1 for c, pixels in zip(centre, reach, strict=True)]
    return frame.intensity.normalise(read_mirrored(frame.frame, start, stop))


def _read_target(
    frame: TrainingFrame, centre: NDArray[np.int64], reach: Sequence[int], guess: Guess
) -> NDArray[np.float32]:
    """Read answers and weights (2, *) around a pixel; nothing is labelled beyond the border."""
    start = [int(c) - pixels for c, pixels in zip(centre, reach, strict=True)]
    target = np.zeros((2, *(2 * pixels + 1 for pixels in reach)), np.float32)
    target[0] = UNLABELLED
    whole = frame.frame.spatial_shape
    inside = tuple(
        slice(max(0, a), min(a + size, n))
        for a, size, n in zip(start, target.shape[1:], whole, strict=True)
    )
    into = tuple(slice(s.start - a, s.stop - a) for s, a in zip(inside, start, strict=True))
    used = ~frame.held_back[inside]
    np.copyto(target[0][into], frame.target.answer[inside], where=used)
    np.copyto(target[1][into], frame.weights[inside], where=used)
    guessed = guess(frame, inside)
    if guessed is not None:
        unlabelled = used & ~frame.target.within(inside).painted
        np.copyto(target[(slice(None), *into)], guessed, where=unlabelled)
    return target


# --- Prefetching: the batches of the next steps are drawn while a step computes ------------------
#
# A batch is a function of its step alone, so that training goes on exactly as if each were drawn
# when it is needed.

# One more than is needed at once: a slow read now and then makes no step wait.
_PREFETCHED = 2


class BatchPrefetcher:
    """Draws the batches of the next steps in a thread of its own, which lives in a `with` block.

    Outside of it each batch is drawn at its step.

    The thread is as polite as the one that trains (a thread on Linux begins with the niceness of
    the one that starts it), and its torch takes one core: a team of cores of its own would only
    hinder the one that computes the step.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._number = 0
        self._drawn: dict[int, Future[Batch]] = {}
        self._draw: Callable[[int], Batch] | None = None

    def __enter__(self) -> BatchPrefetcher:
        """Start the thread."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="napari-unet-patches")
        cores = torch.get_num_threads()
        self._number = self._thread.submit(_compute_on_one_core).result()
        # torch lets threads that begin later follow whoever set this last
        torch.set_num_threads(cores)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the thread, and forget what it has drawn."""
        self.forget()
        # an abandoned generator is closed in whatever thread collects the garbage
        elsewhere = threading.get_ident() != self._number
        if self._thread is not None:
            self._thread.shutdown(wait=elsewhere, cancel_futures=True)
        self._thread = None

    def take(self, step: int, draw: Callable[[int], Batch]) -> Batch:
        """Return what `draw` returns for a step, and begin with those of the next ones.

        What another function has prefetched is forgotten: give the same one (or an equal one)
        while nothing changes. What `draw` raises is raised here, at the step that needs it.
        """
        if self._thread is None:
            return draw(step)
        if draw != self._draw:
            self.forget()
            self._draw = draw
        wanted = range(step, step + 1 + _PREFETCHED)
        kept = {number: self._drawn[number] for number in wanted if number in self._drawn}
        for number in wanted:
            if number not in kept:
                kept[number] = self._thread.submit(draw, number)
        self._drawn = kept
        return kept.pop(step).result()

    def forget(self) -> None:
        """Let go of what was prefetched, and of the errors met there: they hold memory."""
        for batch in self._drawn.values():
            batch.cancel()
        self._drawn = {}
        self._draw = None


def _compute_on_one_core() -> int:
    """Let torch take one core in this thread; return the thread's number."""
    torch.set_num_threads(1)
    torch.get_num_threads()  # the first use in a thread takes over what was set last, anywhere
    return threading.get_ident()
