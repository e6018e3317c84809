"""From annotated images to training data: targets, weights, held-back blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import check_image
from napari_unet.data.binning import (
    LARGEST_AUTOMATIC,
    REDUCING_STEP,
    binned_frame,
    binned_labels,
    binned_mask,
    choose_binning,
)
from napari_unet.data.intensity import (
    IntensityNormalization,
)
from napari_unet.data.labels import (
    UNLABELLED,
    Target,
    check_labels,
    fill_regions,
    is_painted,
    paint_box,
)
from napari_unet.data.validation_blocks import Block, BlockPlace, validation_blocks
from napari_unet.errors import LabelsError, ModelMismatchError
from napari_unet.tasks import ClassTable, check_classes_painted, class_table
from napari_unet.training.cropping import (
    box_of,
    cropped_frame,
    moved,
    origin_of,
    training_box,
)
from napari_unet.training.dataset import (
    AnnotatedImage,
    TrainingData,
    TrainingFrame,
    same_array,
)
from napari_unet.training.membranes import membrane_class
from napari_unet.training.notices import notices_by_image, notices_of
from napari_unet.training.object_sizes import smallest_painted_object
from napari_unet.training.pixel_weights import class_balance, pixel_weights, sigma_of
from napari_unet.training.sources import (
    anisotropy_of,
    axes_of,
    by_frame,
    choose_flat_levels,
    common_pixel_size,
    record_of,
    source_frames,
)
from napari_unet.training.targets import FrameTarget

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import IntensityRange
    from napari_unet.training.config import TrainConfig

# From so many painted cells on some are held back.
CELLS_TO_SPARE_SOME = 20
# Enlarged, what is painted may have so many pixels: each takes some 30 bytes of memory.
_MOST_ENLARGED = 2**26
# Blocks of membranes are so many times as long, while there are at least so many of them.
_LARGER_BLOCKS, _SOME_BLOCKS = (4, 3, 2, 1), 4


def prepare_training(
    images: Sequence[AnnotatedImage],
    config: TrainConfig,
    previous: TrainingData | None = None,
    held_back: Sequence[BlockPlace] = (),
    binning: float | None = None,
    flat_levels: int | None = None,
    border_sigma: float | None = None,
) -> TrainingData:
    """Turn annotated images into training data.

    Parameters
    ----------
    images : sequence of AnnotatedImage
        At least one; all of the same number of channels.
    previous : TrainingData, optional
        Data of the same training, before more was painted: what has not changed is taken from
        there, and what was learned from or held back stays so.
    held_back : sequence of BlockPlace
        Blocks that a previous training held back, where its data are gone.
    binning : float, optional
        Of the model to go on with, where its data are gone; else the settings decide.
    flat_levels : int, optional
        Likewise; else the settings or the voxel size decide.
    border_sigma : float, optional
        Likewise; else the settings or the size of the painted cells decide.

    Raises
    ------
    LabelsError
        Labels do not match their image, or hold too little to train on.
    ImageError
        An image is empty or of an unusable dtype.
    ModelMismatchError
        The images have different numbers of channels.
    """
    if not images:
        raise LabelsError("There is no image to train on; choose at least one with labels.")
    sources = tuple(_checked(image, config) for image in images)
    known = previous.classes.painted if previous else ()
    labels = [image.labels for image in sources]
    table = class_table(labels, config.kind, config.unpainted, known)
    if previous is not None:
        previous = previous.renumbered([image.image for image in sources])
        binning, flat_levels = previous.binning, previous.flat_levels
    by_frames = [
        by_frame(image.labels, axes_of(image, config.ndim)[1], config.ndim) for image in sources
    ]
    cell_size = previous.cell_size if previous else 0.0
    cell_size = cell_size or table.task.diameter(by_frames, table.unpainted)
    if binning is None:
        binning = config.binning or _automatic_binning(cell_size, by_frames, table, config)
    notices: tuple[str, ...] = ()
    if flat_levels is None:
        flat_levels, notices = choose_flat_levels(sources, config, binning)
    if previous is not None:
        border_sigma = previous.border_sigma
    if border_sigma is None:
        border_sigma = sigma_of(config, cell_size / binning)
    config = config.changed(flat_levels=flat_levels, border_sigma=border_sigma)
    pixel_size, differing = common_pixel_size(sources, config.ndim)
    places = tuple(held_back) if previous is None else previous.held_back
    painted = [
        frame
        for number, image in enumerate(sources)
        for frame in _painted_frames(number, image, table, config, previous, binning, places)
    ]
    check_classes_painted([_as_painted(frame, table) for frame in painted], table)
    _check_same_channels([frame.frame for frame in painted])
    membrane = membrane_class([frame.target for frame in painted], table)
    blocks = _choose_blocks(painted, table, config, places, binning, membrane)
    frames = _training_frames(painted, blocks, table, config)
    return TrainingData(
        frames,
        table,
        IntensityNormalization(),
        frames[0].frame.channels,
        blocks,
        smallest_painted_object(
            [(frame.target, frame.anisotropy) for frame in painted], config.unpainted
        ),
        tuple(record_of(number, image, previous) for number, image in enumerate(sources)),
        sources,
        (
            *notices_of(frames, blocks, binning, _is_plenty(painted, table)),
            *notices,
            *differing,
            *notices_by_image(sources, {frame.image for frame in frames}),
        ),
        binning,
        flat_levels,
        pixel_size,
        border_sigma,
        cell_size,
        membrane,
    )


def _automatic_binning(
    cell_size: float, labels: Sequence[NDArray[Any]], table: ClassTable, config: TrainConfig
) -> float:
    """Bring cells to the best size, as far as the images bear it.

    None becomes smaller than two blocks that can be held back, and enlarged they fit the memory.
    """
    if config.ndim == 3:
        return 1.0
    shortest = min(min(image.shape[-2:]) for image in labels)
    possible = [
        binning
        for binning in np.arange(1, LARGEST_AUTOMATIC + REDUCING_STEP / 2, REDUCING_STEP).tolist()
        if shortest // binning >= 2 * config.validation_block(binning)
    ]
    binning = choose_binning(cell_size, max(possible, default=1.0))
    if binning >= 1 or _painted_size(labels, table) <= _MOST_ENLARGED * binning**2:
        return binning
    return 1.0


def _painted_size(labels: Sequence[NDArray[Any]], table: ClassTable) -> int:
    """Count the pixels that are learned from, or lie between those that are."""
    if table.unpainted == "background":
        return sum(image.size for image in labels)
    boxes = [paint_box(frame) for image in labels for frame in image]
    return sum(math.prod(p.stop - p.start for p in box) for box in boxes if box is not None)


@dataclass(frozen=True)
class _PaintedFrame:
    """A painted frame on its way to become a training frame; `previous` is what it was before."""

    image: int
    frame: Frame
    intensity: IntensityRange
    frame_target: FrameTarget
    corrected: NDArray[np.bool_] | None
    previous: TrainingFrame | None
    anisotropy: float

    @property
    def target(self) -> Target:
        """Classes and objects of each pixel."""
        return self.frame_target.target


def _checked(image: AnnotatedImage, config: TrainConfig) -> AnnotatedImage:
    """Check the labels, and fill what is fully annotated."""
    check_image(image.image)
    labels = check_labels(image.labels)
    if config.unpainted == "unlabelled":
        labels = fill_regions(labels, image.regions)
    if image.corrected is not None and image.corrected.shape != labels.shape:
        raise LabelsError(
            f"Corrections {image.corrected.shape} do not match labels {labels.shape}."
        )
    return replace(image, labels=labels, regions=())


def _painted_frames(
    number: int,
    image: AnnotatedImage,
    table: ClassTable,
    config: TrainConfig,
    previous: TrainingData | None,
    binning: float,
    places: Sequence[BlockPlace],
) -> Iterator[_PaintedFrame]:
    _, axes = axes_of(image, config.ndim)
    frames = source_frames(image, config)
    labels = by_frame(image.labels, axes, config.ndim)
    corrected_frames = None
    if image.corrected is not None:
        corrected_frames = by_frame(image.corrected, axes, config.ndim)
    anisotropy = (anisotropy_of(image) or 2.0**config.flat_levels * binning) / binning
    for i, frame in enumerate(frames):
        if table.unpainted == "unlabelled" and not is_painted(labels[i]):
            continue
        before = None if previous is None else previous.frame_of(number, frame)
        seen = binned_frame(frame, binning)
        box = None
        if table.unpainted == "unlabelled":
            kept = [p.as_region() for p in places if (p.image, p.frame) == (number, frame.index)]
            kept += [box_of(before.frame)] if before else []
            box = training_box(seen, labels[i], config, binning, kept)
        painted = binned_labels(labels[i], binning, table.unpainted, box)
        if before is not None and previous is not None and previous.classes == table:
            known = FrameTarget(before.labels, before.target, before.border)
            frame_target = known.updated(painted, table, config, anisotropy)
        else:
            frame_target = FrameTarget.of(painted, table, config, anisotropy)
        if not frame_target.target.painted.any():
            continue
        corrected = None
        if corrected_frames is not None and corrected_frames[i].any():
            corrected = binned_mask(corrected_frames[i], binning, box)
            corrected = corrected if corrected.any() else None
        # Predictions measure the image as it is, not as the network sees it
        intensity = before.intensity if before else IntensityNormalization().measure(frame)
        yield _PaintedFrame(
            number,
            cropped_frame(seen, box),
            intensity,
            frame_target,
            corrected,
            before,
            anisotropy,
        )


def _choose_blocks(
    painted: Sequence[_PaintedFrame],
    table: ClassTable,
    config: TrainConfig,
    places: Sequence[BlockPlace],
    binning: float,
    membrane: int | None,
) -> tuple[Block, ...]:
    """Hold back blocks; those of a previous training stay, and none is taken that taught it.

    Where there are membranes they are larger: a gap joins the more cells, the more one sees of
    them, so that on small blocks too thin membranes score best (docs/accuracy.md).
    """
    position = {(frame.image, frame.frame.index): i for i, frame in enumerate(painted)}
    kept = []
    for place in places:
        i = position.get((place.image, place.frame))
        if i is not None:
            origin = origin_of(painted[i].frame)
            kept.append(Block(i, moved(place.as_region(), (0,) * len(origin), origin)))
    share = config.validation_share if _is_plenty(painted, table) else 0.0
    classes = [frame.target.classes for frame in painted]
    trained_on = [_trained_on(frame) for frame in painted]
    *slices, height, width = config.validation_block_shape(binning)
    for larger in (1,) if membrane is None else _LARGER_BLOCKS:
        blocks = validation_blocks(
            classes,
            table.n_classes,
            share,
            (*slices, larger * height, larger * width),
            np.random.default_rng([config.seed, 1]),
            kept,
            trained_on,
        )
        if len(blocks) >= _SOME_BLOCKS:
            break
    return blocks


def _as_painted(frame: _PaintedFrame, table: ClassTable) -> Target:
    """Leave out the borders that slivers imply: background was not painted there."""
    if table.unpainted == "background":
        return frame.target
    classes = np.where(frame.frame_target.labels == 0, np.int16(UNLABELLED), frame.target.classes)
    return Target(classes, frame.target.objects)


def _is_plenty(painted: Sequence[_PaintedFrame], table: ClassTable) -> bool:
    """Return whether so much is painted that some of it can be spared.

    Of ten painted cells each one is needed to learn from: they are judged all the same, and what
    is painted later is judged before it is learned.
    """
    if not table.judged_singly:
        return True
    cells = sum(len(np.unique(frame.target.objects)) - 1 for frame in painted)
    return cells >= CELLS_TO_SPARE_SOME


def _trained_on(frame: _PaintedFrame) -> NDArray[np.bool_] | None:
    """Return where a previous training learned from a frame, which may have been a smaller box."""
    if frame.previous is None:
        return None
    previous_box, origin = box_of(frame.previous.frame), origin_of(frame.frame)
    trained_on = np.zeros(frame.target.classes.shape, bool)
    trained_on[moved(previous_box, (0,) * len(origin), origin)] = frame.previous.trained_on
    return trained_on


def _training_frames(
    painted: Sequence[_PaintedFrame],
    blocks: Sequence[Block],
    table: ClassTable,
    config: TrainConfig,
) -> tuple[TrainingFrame, ...]:
    classes = [frame.target.classes for frame in painted]
    held_back = [_held_back(i, painted, blocks) for i in range(len(painted))]
    balance = class_balance(classes, held_back, table.n_classes, config)
    return tuple(
        TrainingFrame(
            frame.image,
            frame.frame,
            frame.intensity,
            frame.frame_target.labels,
            frame.target,
            _weights_of(frame, balance, config),
            held,
            frame.corrected,
            frame.frame_target.border,
        )
        for frame, held in zip(painted, held_back, strict=True)
    )


def _weights_of(
    frame: _PaintedFrame, balance: NDArray[np.float32], config: TrainConfig
) -> NDArray[np.float32]:
    previous = frame.previous
    same_paint = previous is not None and previous.target is frame.target
    uncorrected = frame.corrected is None and previous is not None and previous.corrected is None
    if previous is not None and same_paint and uncorrected and not config.class_balance:
        return previous.weights
    return pixel_weights(
        frame.target, balance, config, frame.corrected, frame.anisotropy, frame.frame_target.border
    )


def _check_same_channels(frames: Sequence[Frame]) -> None:
    counts = sorted({frame.channels for frame in frames})
    if len(counts) > 1:
        raise ModelMismatchError(
            f"The images have different numbers of channels ({counts}); train on images of one "
            "kind."
        )


def _twins(number: int, painted: Sequence[_PaintedFrame]) -> set[int]:
    """Find all annotations of the same pixels: what one holds back, no other may teach."""
    this = painted[number].frame
    return {
        i
        for i, other in enumerate(painted)
        if other.frame.index == this.index and same_array(other.frame.array, this.array)
    }


def _held_back(
    number: int, painted: Sequence[_PaintedFrame], blocks: Sequence[Block]
) -> NDArray[np.bool_]:
    twins, origin = _twins(number, painted), origin_of(painted[number].frame)
    held_back = np.zeros(painted[number].target.classes.shape, bool)
    for block in blocks:
        if block.frame in twins:
            region = moved(block.region, origin_of(painted[block.frame].frame), origin)
            held_back[tuple(slice(max(0, p.start), max(0, p.stop)) for p in region)] = True
    return held_back
