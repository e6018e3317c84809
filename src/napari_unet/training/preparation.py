"""From annotated images to training data: targets, weights, held-back blocks."""

from __future__ import annotations

import math
from dataclasses import replace
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
    Unpainted,
    check_labels,
    fill_regions,
    is_painted,
    paint_box,
)
from napari_unet.errors import ImageError, LabelsError, ModelMismatchError
from napari_unet.model.starting import is_starting_model
from napari_unet.tasks import ClassTable, check_classes_painted, class_table
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
    choose_flat_levels,
    common_pixel_size,
    notices_by_image,
    notices_of,
    record_of,
    source_frames,
)
from napari_unet.training.state import TrainingState
from napari_unet.training.targets import (
    class_balance,
    frame_target,
    pixel_weights,
    sigma_of,
    updated_target,
    with_short_ids,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.frames import Frame
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.held_back import Block

# Enlarged, what is painted may have so many pixels: each takes some 30 bytes of memory.
_MOST_ENLARGED = 2**26
# Dropped is what is smaller than this share of nearly the smallest object that was painted.
_SMALLEST_SHARE, _SMALLEST_PERCENTILE = 0.5, 5
# A ball of volume V has a largest section of area A: V = 4 / (3 sqrt(pi)) * A ** 1.5.
_BALL_OF_SECTION = 4 / (3 * np.sqrt(np.pi))


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
    check = _checked if len(images) == 1 else _named_where_wrong
    sources = tuple(check(image, config) for image in images)
    labels = [image.labels for image in sources]
    if isinstance(previous, TrainingData):
        previous = previous.renumbered([image.image for image in sources])
    before = previous if isinstance(previous, TrainingData) else None
    if isinstance(previous, TrainingState):
        held_back = previous.held_back
    elif before is not None:
        held_back = before.blocks
    known = before.classes.painted if before else ()
    table = class_table(labels, config.kind, config.unpainted, known)
    by_frames = [
        by_frame(image.labels, axes_of(image, config.ndim)[1], config.ndim) for image in sources
    ]
    cell_size = before.cell_size if before else 0.0
    cell_size = cell_size or table.task.diameter(by_frames, table.unpainted)
    binning, flat_levels, border_sigma = _kept_sizes(previous, config.ndim)
    if binning is None:
        binning = config.binning or _automatic_binning(cell_size, by_frames, table, config)
    notices: tuple[str, ...] = ()
    if flat_levels is None:
        flat_levels, notices = choose_flat_levels(sources, config, binning)
    if border_sigma is None:
        border_sigma = sigma_of(config, cell_size / binning)
    config = config.changed(flat_levels=flat_levels, border_sigma=border_sigma)
    pixel_size, differing = common_pixel_size(sources, config.ndim)
    anisotropies = [
        (anisotropy_of(image) or 2.0**flat_levels * binning) / binning for image in sources
    ]
    painted = [
        frame
        for number, image in enumerate(sources)
        for frame in _painted_frames(
            number, image, table, config, before, binning, anisotropies[number], held_back
        )
    ]
    check_classes_painted([_as_painted(frame, table) for frame in painted], table)
    _check_same_channels([frame.frame for frame in painted])
    membrane = membrane_class([frame.target for frame in painted], table)
    blocks = choose_blocks(painted, table, config, before, held_back, binning, membrane)
    frames = _weighted(painted, blocks, table, config, before, anisotropies)
    one_by_one = table.task.judged_singly and table.unpainted == "background"
    return TrainingData(
        frames,
        table,
        IntensityNormalization(),
        frames[0].frame.channels,
        blocks,
        smallest_painted_object(
            [(frame.target, anisotropies[frame.image]) for frame in frames], config.unpainted
        ),
        tuple(record_of(number, image, before) for number, image in enumerate(sources)),
        sources,
        (
            *notices_of(frames, blocks, binning, is_plenty(frames, table)),
            *notices,
            *differing,
            *notices_by_image(sources, frames, one_by_one),
        ),
        binning,
        flat_levels,
        pixel_size,
        border_sigma,
        cell_size,
        membrane,
    )


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


def _named_where_wrong(image: AnnotatedImage, config: TrainConfig) -> AnnotatedImage:
    """Check one of several images and its labels; an error begins with its name."""
    try:
        return _checked(image, config)
    except (ImageError, LabelsError) as error:
        raise type(error)(f"{image.name}: {error}") from error


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
    axes_of(image, config.ndim)
    return replace(image, labels=labels, regions=())


def _painted_frames(
    number: int,
    image: AnnotatedImage,
    table: ClassTable,
    config: TrainConfig,
    previous: TrainingData | None,
    binning: float,
    anisotropy: float,
    known: Sequence[Block],
) -> Iterator[TrainingFrame]:
    """Yield the frames of an image that are painted; nothing is held back or weighs as yet."""
    _, axes = axes_of(image, config.ndim)
    frames = source_frames(image, config)
    labels = by_frame(image.labels, axes, config.ndim)
    corrected_frames = None
    if image.corrected is not None:
        corrected_frames = by_frame(image.corrected, axes, config.ndim)
    for i, frame in enumerate(frames):
        if table.unpainted == "unlabelled" and not is_painted(labels[i]):
            continue
        before = None if previous is None else previous.frame_of(number, frame)
        seen = binned_frame(frame, binning)
        box = None
        if table.unpainted == "unlabelled":
            kept = [b.region for b in known if (b.image, b.frame) == (number, frame.index)]
            kept += [before.frame.bounds] if before else []
            box = training_box(seen, labels[i], config, binning, kept)
        painted = with_short_ids(binned_labels(labels[i], binning, table.unpainted, box))
        if before is not None and previous is not None and previous.classes == table:
            target = updated_target(
                before.target, before.labels, painted, table, config, anisotropy
            )
        else:
            target = frame_target(painted, table, config, anisotropy)
        if not target.painted.any():
            continue
        corrected = None
        if corrected_frames is not None and corrected_frames[i].any():
            corrected = binned_mask(corrected_frames[i], binning, box)
            corrected = corrected if corrected.any() else None
        # Predictions measure the image as it is, not as the network sees it
        intensity = before.intensity if before else IntensityNormalization().measure(frame)
        yield TrainingFrame(
            number,
            replace(seen, box=box),
            intensity,
            painted,
            target,
            np.zeros(painted.shape, np.float32),
            np.zeros(painted.shape, bool),
            corrected,
        )


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


def _weighted(
    frames: Sequence[TrainingFrame],
    blocks: Sequence[Block],
    table: ClassTable,
    config: TrainConfig,
    previous: TrainingData | None,
    anisotropies: Sequence[float],
) -> tuple[TrainingFrame, ...]:
    """Fill in what is held back, and the weights that follow from all frames together."""
    held_back = [held_back_of(frame, frames, blocks) for frame in frames]
    classes = [frame.target.classes for frame in frames]
    balance = class_balance(classes, held_back, table.n_classes, config)
    weighted = []
    for frame, held in zip(frames, held_back, strict=True):
        before = previous.frame_of(frame.image, frame.frame) if previous else None
        weights = _weights_of(frame, before, balance, config, anisotropies[frame.image])
        weighted.append(replace(frame, weights=weights, held_back=held))
    return tuple(weighted)


def _weights_of(
    frame: TrainingFrame,
    before: TrainingFrame | None,
    balance: NDArray[np.float32],
    config: TrainConfig,
    anisotropy: float,
) -> NDArray[np.float32]:
    uncorrected = frame.corrected is None and before is not None and before.corrected is None
    same_paint = before is not None and before.target is frame.target
    if before is not None and same_paint and uncorrected and not config.class_balance:
        return before.weights
    return pixel_weights(frame.target, balance, config, frame.corrected, anisotropy)


def smallest_painted_object(targets: Iterable[tuple[Target, float]], unpainted: Unpainted) -> int:
    """Return the number of pixels below which an object is dropped; 0 without objects.

    With each target comes how many times as long along Z as wide a voxel is. In volumes of which
    some slices are painted, an object that is seen in a single slice counts as the ball of which
    that is the section.
    """
    sizes: list[NDArray[Any]] = [np.zeros(0)]
    for target, anisotropy in targets:
        objects = target.objects
        if objects.ndim == 3 and unpainted == "unlabelled":
            sizes.append(_volumes(objects, target.painted, anisotropy))
        else:
            sizes.append(np.bincount(objects.ravel())[1:])
    painted = np.concatenate(sizes)
    painted = painted[painted > 0]
    if painted.size == 0:
        return 0
    return int(_SMALLEST_SHARE * np.percentile(painted, _SMALLEST_PERCENTILE))


def _volumes(
    objects: NDArray[np.int32], painted: NDArray[np.bool_], anisotropy: float
) -> NDArray[Any]:
    """Count the voxels of each object, and guess those of objects with one painted section."""
    sections = [np.bincount(plane.ravel(), minlength=objects.max() + 1) for plane in objects]
    areas = np.array(sections)[:, 1:]  # (Z, objects)
    volumes: NDArray[Any] = areas.sum(axis=0).astype(np.float64)
    for number in np.flatnonzero(np.count_nonzero(areas, axis=0) == 1):
        section = int(areas[:, number].argmax())
        inside = objects[section] == number + 1
        neighbours = [z for z in (section - 1, section + 1) if 0 <= z < len(objects)]
        if neighbours and not any(painted[z][inside].any() for z in neighbours):
            volumes[number] = _BALL_OF_SECTION * areas[section, number] ** 1.5 / anisotropy
    return volumes
