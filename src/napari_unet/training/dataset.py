"""Images and painted labels, made ready for training: targets, weights, held-back blocks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import find_objects

from napari_unet.data.axes import axes_beside_labels, frames_of
from napari_unet.data.border_weights import border_weight_map
from napari_unet.data.intensity import (
    IntensityNormalization,
    IntensityRange,
    measure_intensity,
)
from napari_unet.data.labels import (
    UNLABELLED,
    ClassTable,
    Target,
    check_classes_painted,
    check_labels,
    class_table,
    target_of,
)
from napari_unet.data.splitting import Block, validation_blocks
from napari_unet.errors import LabelsError, ModelMismatchError
from napari_unet.model.trained import TrainingImageRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, Frame, Region
    from napari_unet.training.config import TrainConfig

# No class counts more than this many times its share.
_LARGEST_BALANCE = 20.0
# Debris is what is smaller than this share of nearly the smallest object that was painted.
_HASHED_AT_ONCE = 2**26
_DEBRIS_SHARE, _DEBRIS_PERCENTILE = 0.5, 5


@dataclass(frozen=True)
class AnnotatedImage:
    """One image with its labels, as the user has them.

    Parameters
    ----------
    name : str
        File or layer name.
    image : ArrayLike
        Any axes that go with the labels.
    labels : ndarray
        The image's shape without its channel axis, which is found by comparing the shapes; any
        integer dtype.
    """

    name: str
    image: ArrayLike
    labels: NDArray[Any]


@dataclass(frozen=True)
class TrainingFrame:
    """One painted frame.

    Parameters
    ----------
    frame : Frame
        The image.
    intensity : IntensityRange
        Its normalisation.
    target : Target
        Classes and objects of each pixel.
    weights : ndarray
        Weight of each pixel in the loss, ``[Z]YX`` float32; 0 where unlabelled.
    held_back : ndarray
        Where the pixel is kept for validation, ``[Z]YX`` bool.
    """

    frame: Frame
    intensity: IntensityRange
    target: Target
    weights: NDArray[np.float32]
    held_back: NDArray[np.bool_]


@dataclass(frozen=True)
class TrainingData:
    """Everything a training reads.

    Parameters
    ----------
    frames : tuple of TrainingFrame
        The painted frames; frames without paint are left out.
    classes : ClassTable
        Meaning of the network's outputs.
    intensity : IntensityNormalization
        How images are normalised.
    channels : int
        Channels of the images.
    blocks : tuple of Block
        Held back for validation.
    smallest_object : int
        Objects of fewer pixels are debris; 0 with classes.
    images : tuple of TrainingImageRecord
        Names and hashes.
    notices : tuple of str
        What the user should know.
    """

    frames: tuple[TrainingFrame, ...]
    classes: ClassTable
    intensity: IntensityNormalization
    channels: int
    blocks: tuple[Block, ...]
    smallest_object: int
    images: tuple[TrainingImageRecord, ...]
    notices: tuple[str, ...]

    @property
    def painted(self) -> int:
        """Number of painted pixels, held-back ones included."""
        return sum(int(frame.target.painted.sum()) for frame in self.frames)


def prepare_training(images: Sequence[AnnotatedImage], config: TrainConfig) -> TrainingData:
    """Turn annotated images into training data.

    Parameters
    ----------
    images : sequence of AnnotatedImage
        At least one; all of the same number of channels.
    config : TrainConfig
        The settings.

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
    table = class_table([image.labels for image in images], config.kind, config.unpainted)
    frames: list[Frame] = []
    targets: list[Target] = []
    for image in images:
        for frame, target in _painted_frames(image, table, config):
            frames.append(frame)
            targets.append(target)
    check_classes_painted(targets, table)
    _check_same_channels(frames)
    rng = np.random.default_rng([config.seed, 1])
    classes = [target.classes for target in targets]
    blocks = validation_blocks(
        classes, table.n_classes, config.validation_share, config.validation_block, rng
    )
    intensity = IntensityNormalization()
    held_back = [_held_back(i, c.shape, blocks) for i, c in enumerate(classes)]
    balance = _class_balance(classes, held_back, table.n_classes, config)
    training_frames = tuple(
        TrainingFrame(
            frame,
            measure_intensity(frame, intensity),
            target,
            pixel_weights(target, balance, config),
            held,
        )
        for frame, target, held in zip(frames, targets, held_back, strict=True)
    )
    return TrainingData(
        training_frames,
        table,
        intensity,
        frames[0].channels,
        blocks,
        _smallest_object(targets),
        tuple(_record_of(image) for image in images),
        _notices(training_frames, blocks),
    )


def pixel_weights(
    target: Target, balance: NDArray[np.float32], config: TrainConfig
) -> NDArray[np.float32]:
    """Compute the paper's weight map (equation 2), times what is painted.

    Parameters
    ----------
    target : Target
        Classes and objects.
    balance : ndarray
        Weight per class, shape (n_classes,).
    config : TrainConfig
        Height and width of the border weight.
    """
    weights = balance[target.classes.clip(min=0)]
    if config.kind == "objects":
        # The ridge between touching objects is background, where the weight is highest.
        separated = np.where(target.classes == 0, 0, target.objects)
        paint = _bounding_box(target.painted)  # a few strokes on a huge image cost little
        weights[paint] += border_weight_map(
            separated[paint], config.border_weight, config.border_sigma
        )
    return np.where(target.painted, weights, np.float32(0)).astype(np.float32)


def _bounding_box(painted: NDArray[np.bool_]) -> Region:
    box = find_objects(painted.astype(np.uint8))
    return box[0] if box else (slice(0, 0),) * painted.ndim


def _painted_frames(
    image: AnnotatedImage, table: ClassTable, config: TrainConfig
) -> list[tuple[Frame, Target]]:
    labels = check_labels(image.labels)
    axes, labels_axes = axes_beside_labels(image.image.shape, labels.shape, config.ndim)
    frames = frames_of(image.image, axes, config.ndim)
    frame_shape = labels.shape[len(labels_axes) - config.ndim :]
    painted = []
    for frame, frame_labels in zip(frames, labels.reshape(-1, *frame_shape), strict=True):
        target = target_of(frame_labels, table)
        if target.painted.any():
            painted.append((frame, target))
    return painted


def _check_same_channels(frames: Sequence[Frame]) -> None:
    counts = sorted({frame.channels for frame in frames})
    if len(counts) > 1:
        raise ModelMismatchError(
            f"The images have different numbers of channels ({counts}); train on images of one "
            "kind."
        )


def _held_back(frame: int, shape: tuple[int, ...], blocks: Sequence[Block]) -> NDArray[np.bool_]:
    held_back = np.zeros(shape, bool)
    for block in blocks:
        if block.frame == frame:
            held_back[block.region] = True
    return held_back


def _class_balance(
    classes: Sequence[NDArray[np.int16]],
    held_back: Sequence[NDArray[np.bool_]],
    n_classes: int,
    config: TrainConfig,
) -> NDArray[np.float32]:
    """Weight per class: its inverse frequency to the power of the balance.

    Full balance, as in the paper, lets rare classes win at every doubtful pixel: cells come out
    too large. Patches are drawn from all classes alike, so that rare ones are met without it.
    """
    counts = np.zeros(n_classes, np.int64)
    for frame_classes, held in zip(classes, held_back, strict=True):
        used = frame_classes[(frame_classes != UNLABELLED) & ~held]
        counts += np.bincount(used, minlength=n_classes)
    present = np.count_nonzero(counts)
    balance = (counts.sum() / (present * np.maximum(counts, 1))) ** config.class_balance
    limited: NDArray[np.float32] = np.minimum(balance, _LARGEST_BALANCE).astype(np.float32)
    return limited


def _smallest_object(targets: Sequence[Target]) -> int:
    areas = [np.bincount(target.objects.ravel())[1:] for target in targets]
    painted = np.concatenate(areas) if areas else np.zeros(0)
    painted = painted[painted > 0]
    if painted.size == 0:
        return 0
    return int(_DEBRIS_SHARE * np.percentile(painted, _DEBRIS_PERCENTILE))


def _record_of(image: AnnotatedImage) -> TrainingImageRecord:
    return TrainingImageRecord(
        image.name, tuple(image.image.shape), _hash_of(image.image), _hash_of(image.labels)
    )


def _hash_of(array: ArrayLike) -> str:
    """Hash an array block by block, so that lazy ones are read once and never as a whole."""
    digest = hashlib.sha256(f"{array.dtype}{tuple(array.shape)}".encode())
    row_bytes = max(1, int(np.prod(array.shape[1:])) * np.dtype(array.dtype).itemsize)
    rows = max(1, _HASHED_AT_ONCE // row_bytes)
    for start in range(0, array.shape[0], rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).tobytes())
    return digest.hexdigest()


def _notices(frames: Sequence[TrainingFrame], blocks: Sequence[Block]) -> tuple[str, ...]:
    bad = sum(_count_not_finite(frame.frame) for frame in frames)
    constant = sum(frame.intensity.is_constant for frame in frames)
    notices = []
    if bad:
        notices.append(f"{bad} pixels that are not finite were replaced by the median.")
    if constant:
        notices.append(f"{constant} image(s) have the same value everywhere: nothing can be seen.")
    if not blocks:
        notices.append(
            "The paint is too little, or too much in one place, to hold some back: "
            "no validation score is shown."
        )
    return tuple(notices)


def _count_not_finite(frame: Frame) -> int:
    if np.dtype(frame.array.dtype).kind != "f":
        return 0
    pixels = frame.read(tuple(slice(None) for _ in frame.spatial_shape))
    return int(np.count_nonzero(~np.isfinite(pixels)))
