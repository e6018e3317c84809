"""From annotated images to training data: targets, weights, held-back blocks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.binning import (
    LARGEST_AUTOMATIC,
    REDUCING_STEP,
    binned_frame,
    binned_labels,
    binned_mask,
    choose_binning,
)
from napari_unet.data.labels import (
    UNLABELLED,
    Target,
    is_painted,
    paint_box,
)
from napari_unet.errors import LabelsError, ModelMismatchError
from napari_unet.model.starting import is_starting_model
from napari_unet.tasks import ClassTable, check_classes_painted, class_table, task_of
from napari_unet.tasks.validation import membrane_class
from napari_unet.training.dataset import (
    AnnotatedImage,
    TrainingData,
    TrainingFrame,
    training_box,
)
from napari_unet.training.held_back import choose_blocks, held_back_of, is_plenty
from napari_unet.training.sources import (
    anisotropy_of,
    axes_of,
    by_frame,
    checked_sources,
    choose_flat_levels,
    class_names_of,
    common_pixel_size,
    finer_of,
    notices_by_image,
    notices_of,
    notices_of_bicubic,
    record_of,
    source_frames,
)
from napari_unet.training.state import TrainingState
from napari_unet.training.targets import (
    class_balance,
    frame_target,
    pixel_weights,
    sigma_of,
    smallest_painted_object,
    updated_target,
    with_short_ids,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import IntensityRange
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.held_back import Block

# Enlarged, what is painted may have so many pixels: each takes some 30 bytes of memory.
_MOST_ENLARGED = 2**26


def prepare_training(
    images: Sequence[AnnotatedImage],
    config: TrainConfig,
    previous: TrainingData | TrainingState | TrainedNetwork | None = None,
    held_back: Sequence[Block] = (),
) -> TrainingData:
    """Turn annotated images, all of the same number of channels, into training data.

    `previous` is what the training goes on with: its binning and the like stay. Of data of the same
    training, before more was painted, what has not changed is taken over, and what was learned from
    or held back stays so; of a state, what was held back. Where only the model of a previous
    training is there, `held_back` are the blocks that this has held back.

    Raises LabelsError if labels do not match their image, or hold too little to train on,
    ImageError if an image is empty or of an unusable dtype, and ModelMismatchError if the images
    have different numbers of channels.
    """
    if not images:
        raise LabelsError("There is no image to train on; choose at least one with labels.")
    return _Preparation(images, config, previous, held_back).data()


class _Preparation:
    """What is decided about annotated images, and then the frames that are made of them."""

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        config: TrainConfig,
        previous: TrainingData | TrainingState | TrainedNetwork | None,
        held_back: Sequence[Block],
    ) -> None:
        config = config.changed(**task_of(config.kind).fixed)
        self.sources = checked_sources(images, config)
        if isinstance(previous, TrainingData):
            previous = previous.renumbered([image.image for image in self.sources])
        self.before = before = previous if isinstance(previous, TrainingData) else None
        self.known = before.blocks if before else held_back
        if isinstance(previous, TrainingState):
            self.known = previous.held_back
        known = before.classes.painted if before else ()
        labels = [image.labels for image in self.sources]
        self.table = class_table(
            labels, config.kind, config.unpainted, known, class_names_of(self.sources, config)
        )
        self.labels = [
            by_frame(image.labels, axes_of(image, config.ndim)[1], config.ndim)
            for image in self.sources
        ]
        known_size = before.cell_size if before else 0.0
        self.cell_size = known_size or self.table.task.diameter(self.labels, self.table.unpainted)
        self.notices: tuple[str, ...] = ()
        self._choose_sizes(previous, config)
        self.table = replace(self.table, finer=finer_of(self.sources))
        self.table = self.table.task.measured(self.table, self._measured_frames())
        self.pixel_size, differing = common_pixel_size(self.sources, config.ndim)
        self.notices += differing

    def _choose_sizes(
        self, previous: TrainingData | TrainingState | TrainedNetwork | None, config: TrainConfig
    ) -> None:
        """Choose binning, flat levels and border width, unless what goes on has them."""
        binning, flat_levels, border_sigma = _kept_sizes(previous, config.ndim)
        if binning is None:
            binning = config.binning or self._automatic_binning(config)
        if flat_levels is None:
            flat_levels, self.notices = choose_flat_levels(self.sources, config, binning)
        if border_sigma is None:
            border_sigma = sigma_of(config, self.cell_size / binning)
        self.binning = binning
        self.config = config.changed(flat_levels=flat_levels, border_sigma=border_sigma)
        self.anisotropies = [
            (anisotropy_of(image) or 2.0**flat_levels * binning) / binning for image in self.sources
        ]

    def _automatic_binning(self, config: TrainConfig) -> float:
        """Bring cells to the best size, as far as the images bear it.

        None becomes smaller than two blocks that can be held back, and enlarged they fit the
        memory.
        """
        if config.ndim == 3:
            return 1.0
        shortest = min(min(image.shape[-2:]) for image in self.labels)
        steps = np.arange(1, LARGEST_AUTOMATIC + REDUCING_STEP / 2, REDUCING_STEP).tolist()
        possible = [k for k in steps if shortest // k >= 2 * config.validation_block(k)]
        binning = choose_binning(self.cell_size, max(possible, default=1.0))
        if binning >= 1 or self._painted_size() <= _MOST_ENLARGED * binning**2:
            return binning
        return 1.0

    def _painted_size(self) -> int:
        """Count the pixels that are learned from, or lie between those that are."""
        if self.table.unpainted == "background":
            return sum(image.size for image in self.labels)
        boxes = [paint_box(frame) for image in self.labels for frame in image]
        return sum(math.prod(p.stop - p.start for p in box) for box in boxes if box is not None)

    def _measured_frames(self) -> Iterator[tuple[NDArray[Any], IntensityRange]]:
        for image, labels in enumerate(self.labels):
            for i, frame in self._frames(image):
                yield labels[i], self.table.task.intensity.measure(frame)

    def _frames(self, image: int) -> Iterator[tuple[int, Frame]]:
        """Yield the frames of an image with their numbers: as many as are enough, evenly spaced."""
        frames, enough = source_frames(self.sources[image], self.config), len(self.labels[image])
        if self._enough:
            enough = min(enough, max(1, self._enough // math.prod(frames[0].spatial_shape)))
        for i in np.unique(np.linspace(0, len(frames) - 1, enough).round().astype(int)).tolist():
            yield i, frames[i]

    @property
    def _enough(self) -> int:
        """Pixels of an image that are enough; 0: none are."""
        return self.table.task.enough_pixels // len(self.sources)

    def data(self) -> TrainingData:
        """Make the frames, and hold some of their paint back."""
        table, config, before = self.table, self.config, self.before
        painted = [frame for i in range(len(self.sources)) for frame in self._painted_frames(i)]
        check_classes_painted([_as_painted(frame, table) for frame in painted], table)
        _check_same_channels([frame.frame for frame in painted])
        membrane = membrane_class([frame.target for frame in painted], table)
        blocks = choose_blocks(painted, table, config, before, self.known, self.binning, membrane)
        frames = self._weighted(painted, blocks)
        targets = [(frame.target, self.anisotropies[frame.image]) for frame in frames]
        one_by_one = table.task.judged_singly and table.unpainted == "background"
        return TrainingData(
            frames,
            table,
            blocks,
            smallest_painted_object(targets, config.unpainted),
            tuple(record_of(number, image, before) for number, image in enumerate(self.sources)),
            self.sources,
            (
                *notices_of(frames, blocks, self.binning, is_plenty(frames, table)),
                *notices_of_bicubic(frames, blocks, table),
                *self.notices,
                *notices_by_image(self.sources, frames, one_by_one),
            ),
            self.binning,
            config.flat_levels,
            self.pixel_size,
            config.border_sigma,
            self.cell_size,
            membrane,
            tuple(map(float, self.balance)),
            before.starting_model if before else "",
        )

    def _painted_frames(self, image: int) -> Iterator[TrainingFrame]:
        """Yield the frames of an image that are painted; nothing is held back or weighs as yet."""
        corrected = self.sources[image].corrected
        if corrected is not None:
            axes = axes_of(self.sources[image], self.config.ndim)[1]
            corrected = by_frame(corrected, axes, self.config.ndim)
        for i, frame in self._frames(image):
            labels = self.labels[image][i]
            if self.table.unpainted == "unlabelled" and not is_painted(labels):
                continue
            before = None if self.before is None else self.before.frame_of(image, frame)
            seen = self._seen(image, frame, labels, before)
            painted = binned_labels(labels, self.binning, self.table.unpainted, seen.box)
            painted = with_short_ids(self.table.task.paint_of(painted, seen))
            target = self._target(image, painted, before)
            if not target.painted.any():
                continue
            # Predictions measure the image as it is, not as the network sees it
            intensity = before.intensity if before else self.table.task.intensity.measure(frame)
            target = self.table.task.scaled(target, intensity, self.table)
            yield TrainingFrame(
                image,
                seen,
                intensity,
                painted,
                target,
                np.zeros(painted.shape, np.float32),
                np.zeros(painted.shape, bool),
                None if corrected is None else self._binned_mask(corrected[i], seen.box),
            )

    def _seen(
        self, image: int, frame: Frame, labels: NDArray[Any], before: TrainingFrame | None
    ) -> Frame:
        """Return what the network sees of a frame: the box around its paint."""
        seen = binned_frame(frame, self.binning)
        if self._enough:
            return replace(seen, box=_middle_of(seen.spatial_shape, self._enough))
        if self.table.unpainted == "background":
            return seen
        kept = [b.region for b in self.known if (b.image, b.frame) == (image, frame.index)]
        kept += [before.frame.bounds] if before else []
        return replace(seen, box=training_box(seen, labels, self.config, self.binning, kept))

    def _target(self, image: int, painted: NDArray[Any], before: TrainingFrame | None) -> Target:
        table, anisotropy = self.table, self.anisotropies[image]
        same = self.before is not None and self.before.classes == table
        if before is None or not same or not table.task.paints:
            return frame_target(painted, table, self.config, anisotropy)
        known, labels = before.target, before.labels
        return updated_target(known, labels, painted, table, self.config, anisotropy)

    def _binned_mask(
        self, corrected: NDArray[np.bool_], box: Region | None
    ) -> NDArray[np.bool_] | None:
        """Bring what was corrected to the frame; None where nothing was."""
        if not corrected.any():
            return None
        binned = binned_mask(corrected, self.binning, box)
        return binned if binned.any() else None

    def _weighted(
        self, frames: Sequence[TrainingFrame], blocks: Sequence[Block]
    ) -> tuple[TrainingFrame, ...]:
        """Fill in what is held back, and the weights that follow from all frames together."""
        held_back = [held_back_of(frame, frames, blocks) for frame in frames]
        classes = [frame.target.classes for frame in frames]
        self.balance = class_balance(classes, held_back, self.table, self.config)
        return tuple(
            replace(frame, weights=self._weights_of(frame, self.balance), held_back=held)
            for frame, held in zip(frames, held_back, strict=True)
        )

    def _weights_of(
        self, frame: TrainingFrame, balance: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        before = self.before.frame_of(frame.image, frame.frame) if self.before else None
        if before is not None and not self.config.class_balance:
            uncorrected = frame.corrected is None and before.corrected is None
            if uncorrected and before.target is frame.target:
                return before.weights
        anisotropy = self.anisotropies[frame.image]
        return pixel_weights(frame.target, balance, self.config, frame.corrected, anisotropy)


def _middle_of(shape: tuple[int, ...], pixels: int) -> Region | None:
    """Return a box of at most so many pixels in the middle of a frame; None: it is no larger."""
    share = (pixels / math.prod(shape)) ** (1 / len(shape))
    if share >= 1:
        return None
    sizes = [max(1, int(size * share)) for size in shape]
    return tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(shape, sizes, strict=True))


def _kept_sizes(
    previous: TrainingData | TrainingState | TrainedNetwork | None, ndim: int
) -> tuple[float | None, int | None, float | None]:
    """Return binning, flat levels and border width of what goes on; None: they are chosen anew."""
    if previous is None:
        return None, None, None
    if isinstance(previous, (TrainingData, TrainingState)):
        return previous.binning, previous.flat_levels, previous.border_sigma
    record = previous.record  # a starting model takes any binning
    binning = None if is_starting_model(record) else record.binning
    return binning, record.network.flat_levels if record.network.ndim == ndim else None, None


def _as_painted(frame: TrainingFrame, table: ClassTable) -> Target:
    """Leave out the borders that slivers imply: background was not painted there."""
    if table.unpainted == "background":
        return frame.target
    classes = np.where(frame.labels == 0, np.int16(UNLABELLED), frame.target.classes)
    return Target(classes, frame.target.objects)


def _check_same_channels(frames: Sequence[Frame]) -> None:
    counts = sorted({frame.channels for frame in frames})
    if len(counts) > 1:
        raise ModelMismatchError(
            f"The images have different numbers of channels ({counts}); train on images of one "
            "kind."
        )
