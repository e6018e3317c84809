"""Predict what is on screen while a training runs, in small pieces between its steps."""

from __future__ import annotations

import math
import time
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.rescaling import plane_factors
from napari_unet.errors import NotEnoughMemoryError, UnreadableError, first_line
from napari_unet.model.devices import choose_precision
from napari_unet.model.execution import Runner
from napari_unet.model.memory import free_unused
from napari_unet.run import Notice
from napari_unet.tasks import Decision
from napari_unet.training.events import ViewPredicted
from napari_unet.training.pixel_classifier import Together
from napari_unet.training.sources import painted_in, source_frames

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import IntensityRange
    from napari_unet.model.unet import UNet
    from napari_unet.training.events import Inbox, View
    from napari_unet.training.trainer import Trainer
    from napari_unet.training.validation import Predictor

# A stop waits for a piece of this edge length at most: 0.1 to 0.3 s on one CPU core. In pixels of
# the image, or of the network where these are more.
_PIECE = {2: 448, 3: 128}
# Of a view that shows more, the middle is predicted.
_LARGEST_VIEW = {2: 1280, 3: 256}
_PAUSE_SECONDS = 2.0
# The predictions take at most about a fifth of the time.
_PAUSE_PER_SECOND = 4.0


class LiveView:
    """Predicts the visible region: with the newest weights, or the best where those score lower.

    So nobody sees worse than what the training would leave now.
    """

    def __init__(self, trainer: Trainer, inbox: Inbox) -> None:
        self._trainer = trainer
        self._inbox = inbox
        self._next = time.monotonic()
        self._best: tuple[dict[str, Tensor], UNet] | None = None
        self._ranges: dict[tuple[int, tuple[int, ...]], IntensityRange] = {}

    def update(self, stop: threading.Event) -> Iterator[ViewPredicted | Notice]:
        """Predict the view if it is time to; yields one event, or none."""
        view = self._inbox.view if self._trainer.data.classes.task.paints else None
        begin = time.monotonic()
        if view is None or begin < self._next:
            return
        predicted: tuple[NDArray[np.integer[Any]], Region] | Notice | None
        try:
            predicted = self._predict(view, stop)
        # a preview is not worth a training
        except (RuntimeError, MemoryError, UnreadableError, NotEnoughMemoryError) as error:
            predicted = Notice(f"The live prediction is off: {first_line(error)}")
        if isinstance(predicted, Notice):  # the error, and the tensors that it held, are gone
            free_unused(self._trainer.device)
            self._next = math.inf
            yield predicted
            return
        if predicted is None:  # stopped, or not an image of this training
            return
        labels, region = predicted
        seconds = time.monotonic() - begin
        self._next = time.monotonic() + max(_PAUSE_SECONDS, _PAUSE_PER_SECOND * seconds)
        yield ViewPredicted(
            self._trainer.step,
            view.image,
            view.frame,
            region,
            labels,
            seconds,
            share_of_network=self._trainer.share_of_network,
            by_best=self._trainer.best.is_ahead and self._trainer.classifier is None,
        )

    def _predict(
        self, view: View, stop: threading.Event
    ) -> tuple[NDArray[np.integer[Any]], Region] | None:
        trainer = self._trainer
        found = self._frame_of(view)
        if found is None:
            return None
        frame, intensity = found
        binning = trainer.data.binning
        region = part_on_screen(view, frame, binning)
        predictor = self._predictor(frame.ndim)
        shape = tuple(part.stop - part.start for part in region)
        classes = trainer.data.classes
        probabilities = np.zeros((classes.n_classes, *shape), np.float32)
        for piece in _pieces(region, int(min(1, binning) * _PIECE[frame.ndim])):
            if stop.is_set():
                return None
            into = tuple(
                slice(p.start - r.start, p.stop - r.start)
                for p, r in zip(piece, region, strict=True)
            )
            probabilities[(slice(None), *into)] = predictor.probabilities(frame, intensity, piece)
        labels = classes.task.decode(probabilities, classes, self._decision)
        source = trainer.data.sources[view.image]
        if classes.unpainted == "unlabelled":  # else all of it is painted
            painted = painted_in(source, trainer.config, view.frame, region)
            smallest = self._decision.limits.smallest
            labels = classes.task.keep_painted(labels, painted, smallest)
        return labels, region

    def _predictor(self, ndim: int) -> Predictor:
        """Return what is best at present: the network, or a pixel classifier and it together."""
        trainer = self._trainer
        factors = plane_factors(ndim, trainer.data.binning)
        precision = choose_precision(trainer.config.precision, trainer.device)
        classifier = trainer.classifier
        if classifier is None:
            return Runner.of(self._network(), trainer.device, precision, factors)
        if not trainer.share_of_network:
            return classifier
        newest = Runner.of(trainer.averaged_network, trainer.device, precision, factors)
        return Together(classifier, newest, trainer.share_of_network)

    def _network(self) -> UNet:
        """Return the newest version, or the best one where the newest was found to be worse."""
        best = self._trainer.best
        if not best.is_ahead:
            return self._trainer.averaged_network
        if self._best is None or self._best[0] is not best.weights:
            self._best = best.weights, self._trainer.best_network()
        return self._best[1]

    @property
    def _decision(self) -> Decision:
        """What decides about the pixels of the image."""
        data = self._trainer.data
        return Decision(
            self._trainer.best.threshold,
            data.limits_in_image,
            data.typical_object * data.binning**2,
            data.binning,
        )

    def _frame_of(self, view: View) -> tuple[Frame, IntensityRange] | None:
        source = self._trainer.data.sources[view.image]
        frames = source_frames(source, self._trainer.config)
        frame = next((frame for frame in frames if frame.index == view.frame), None)
        if frame is None:
            return None
        painted = self._trainer.data.frame_of(view.image, frame)
        if painted is not None:
            return frame, painted.intensity
        key = view.image, view.frame
        if key not in self._ranges:
            self._ranges[key] = self._trainer.data.classes.task.intensity.measure(frame)
        return frame, self._ranges[key]


def part_on_screen(view: View, frame: Frame, binning: float) -> Region:
    """Return the box of a frame, ``[Z]YX``, that is predicted for a view."""
    share = min(1, binning)  # an enlarged image is more work
    return _middle(view.region, frame.spatial_shape, int(share * _LARGEST_VIEW[frame.ndim]))


def _middle(region: Region, shape: tuple[int, ...], largest: int) -> Region:
    """Clip a box to the frame, and to its middle where it is too large."""
    parts = []
    for part, size in zip(region, shape, strict=True):
        start, stop = max(0, part.start), min(size, part.stop)
        if stop <= start:
            start, stop = 0, size
        surplus = max(0, stop - start - largest)
        parts.append(slice(start + surplus // 2, stop - (surplus - surplus // 2)))
    return tuple(parts)


def _pieces(region: Region, edge: int) -> list[Region]:
    per_axis = []
    for part in region:
        n = max(1, -(-(part.stop - part.start) // edge))
        bounds = np.linspace(part.start, part.stop, n + 1).round().astype(int).tolist()
        per_axis.append([slice(a, b) for a, b in pairwise(bounds)])
    return [tuple(piece) for piece in product(*per_axis)]
