"""What is painted, and on screen, here while a training goes on there: only what is new goes over.

An inbox is emptied here and filled there. Of the paint the boxes in which it has changed are sent,
of the images what the training will read there and was not read before.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_unet.data.labels import bands_of, marked_boxes
from napari_unet.errors import NapariUNetError
from napari_unet.remote.parcels import here_again, read_painted
from napari_unet.training.live import part_on_screen
from napari_unet.training.preparation import prepare_training
from napari_unet.training.sources import source_frames

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.remote.jobs import Told
    from napari_unet.remote.parcels import Box, SentPixels
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import AnnotatedImage, TrainingData
    from napari_unet.training.events import Inbox, View

# Frames of so many pixels are sent whole once they are on screen; of others what is on screen, and
# so many pixels around it, per pixel of the image in one of the network.
_WHOLE_PIXELS = 2**22
_AROUND = 256


@dataclass(frozen=True)
class Change:
    """What is new of one image."""

    image: int
    pixels: tuple[Box, ...]
    labels: tuple[Box, ...] = ()
    corrected: tuple[Box, ...] = ()
    regions: tuple[Region, ...] | None = None
    """All that are there now; None: the paint is as it was."""


class Sender:
    """Empties the inbox of a training; `data` are those that were sent."""

    def __init__(
        self,
        inbox: Inbox,
        images: Sequence[AnnotatedImage],
        data: TrainingData,
        config: TrainConfig,
    ) -> None:
        self._inbox, self._data, self._config = inbox, data, config
        self._pixels: list[SentPixels] = [source.image for source in data.sources]  # type: ignore[misc]
        self.images: Final = [
            replace(image, image=pixels)
            for image, pixels in zip(images, self._pixels, strict=bool(images))
        ]
        """As they are painted over there, with what was read of them."""
        self._sent = [len(pixels.boxes) for pixels in self._pixels]

    def send_all(self) -> None:
        """Send all paint and all that was read: it is not known what is there."""
        painted = tuple(self.images)
        self._sent = [0] * len(self._pixels)
        self.images[:] = [
            replace(each, labels=np.zeros(each.labels.shape, bool), corrected=None)
            for each in painted
        ]
        self._inbox.annotate(painted)

    @property
    def data(self) -> TrainingData:
        """What is learned from now."""
        return here_again(self._data)

    @property
    def left(self) -> bool:
        """Whether nobody listens any more."""
        return self._inbox.left.is_set()

    def news(self) -> tuple[list[Change], View | None]:
        """Return what is new since it was asked last, and what is on screen."""
        if self._inbox.checkpoint_wanted.is_set():
            self._inbox.checkpoint_wanted.clear()
            self._inbox.checkpoint_saved.set()  # over there they are now and then
        painted, view = self._inbox.take_annotations(), self._inbox.view
        changes = [] if painted is None else list(self._changes(painted))
        if view is not None:
            with suppress(NapariUNetError):  # which the training comes upon as well, and tells
                self._read_around(view)
        return changes + list(self._read_since()), view

    def _changes(self, painted: Sequence[AnnotatedImage]) -> Iterator[Change]:
        before = list(self.images)
        self.images[:] = [
            replace(new, image=old.image) for new, old in zip(painted, before, strict=True)
        ]
        with suppress(NapariUNetError):  # as well
            self._data = prepare_training(self.images, self._config, self._data)
            read_painted(self._data)
        yield from self._read_since()  # before it is needed
        for number, (old, new) in enumerate(zip(before, self.images, strict=True)):
            labels = tuple(_difference(old.labels, new.labels))
            corrected = tuple(_difference(_mask(old), _mask(new)))
            if labels or corrected or new.regions != old.regions:
                yield Change(number, (), labels, corrected, new.regions)

    def _read_around(self, view: View) -> None:
        """Read what a live prediction of the view will read."""
        data, source = self._data, self._data.sources[view.image]
        frames = source_frames(source, self._config)
        frame = next((each for each in frames if each.index == view.frame), None)
        if frame is None:
            return
        if data.frame_of(view.image, frame) is None:
            data.classes.task.intensity.measure(frame)
        shape, around = frame.spatial_shape, math.ceil(_AROUND * max(1, data.binning))
        region = tuple(slice(0, size) for size in shape)
        if math.prod(shape) > _WHOLE_PIXELS:
            region = tuple(
                slice(
                    max(0, part.start // around - 1) * around,
                    min(size, (-(-part.stop // around) + 1) * around),
                )
                for part, size in zip(part_on_screen(view, frame, data.binning), shape, strict=True)
            )
        frame.read(region)

    def _read_since(self) -> Iterator[Change]:
        for number, pixels in enumerate(self._pixels):
            new = tuple(pixels.boxes[self._sent[number] :])
            if new:
                self._sent[number] = len(pixels.boxes)
                yield Change(number, new)


def fill(inbox: Inbox, told: Told, images: list[AnnotatedImage]) -> None:
    """Put into an inbox what was told; the images are changed to what is painted now."""
    painted = False
    while told.letters:
        change: Change = told.letters.popleft()
        image = images[change.image]
        image.image.boxes.extend(change.pixels)  # type: ignore[attr-defined]
        if change.regions is not None:
            painted = True
            corrected = image.corrected
            if change.corrected:
                corrected = _changed(_mask(image), change.corrected)
            images[change.image] = replace(
                image,
                labels=_changed(image.labels, change.labels),
                corrected=corrected,
                regions=change.regions,
            )
    if painted:
        inbox.annotate(tuple(images))
    inbox.view = told.glance


def _mask(image: AnnotatedImage) -> NDArray[Any]:
    """Return what was corrected of an image; zeros take no memory."""
    return np.zeros(image.labels.shape, bool) if image.corrected is None else image.corrected


def _difference(old: NDArray[Any], new: NDArray[Any]) -> Iterator[Box]:
    """Find the boxes in which labels are others."""
    if old.dtype != new.dtype:
        yield (0,) * new.ndim, new
        return
    for band, part in bands_of(new):
        for box in marked_boxes(old[band] != part):
            low = (box[0].start + band.start, *(side.start for side in box[1:]))
            yield low, np.ascontiguousarray(part[box])


def _changed(labels: NDArray[Any], boxes: Sequence[Box]) -> NDArray[Any]:
    """Return labels with other boxes; the training knows the former ones still."""
    changed = labels.astype(boxes[0][1].dtype if boxes else labels.dtype)
    for low, values in boxes:
        where = zip(low, values.shape, strict=True)
        changed[tuple(slice(start, start + size) for start, size in where)] = values
    return changed
