"""What a training reads: annotated images, and the frames made of them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.border_weights import DEFAULT_SIGMA
from napari_unet.data.frames import moved
from napari_unet.data.labels import paint_box
from napari_unet.data.rescaling import size_of_cell
from napari_unet.objects.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import IntensityRange
    from napari_unet.data.labels import Target
    from napari_unet.model.record import TrainingImageRecord
    from napari_unet.tasks import ClassTable
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.held_back import Block


@dataclass(frozen=True)
class AnnotatedImage:
    """One image with its labels, as the user has them."""

    name: str
    """File or layer name."""
    image: ArrayLike
    """Any axes that go with the labels."""
    labels: NDArray[Any]
    """The image's shape without its channel axis, which is found by comparing the shapes where
    `axes` is not given; any integer dtype.
    """
    regions: tuple[Region, ...] = ()
    """Fully annotated boxes of the labels: what is unpainted inside them is background."""
    corrected: NDArray[np.bool_] | None = None
    """Labels that the user corrected after a prediction: they count more. The shape of `labels`."""
    axes: str | None = None
    """One of the letters TCZYX per axis of the image; guessed beside the labels if None."""
    pixel_size: Mapping[str, float] = field(default_factory=dict)
    """Micrometres per pixel by axis letter, of the axes of which it is known."""
    notices: tuple[str, ...] = ()
    """What the user should know of how the image was read."""
    class_names: tuple[str, ...] = ()
    """Of overlapping classes, whose labels `packed_paint` has put together; else empty."""
    anisotropy: float | None = None
    """How many times as thick as wide a voxel is, where that is known although its size is not."""


@dataclass(frozen=True)
class TrainingFrame:
    """One painted frame, or of a large one the box around its paint."""

    image: int
    """Number of the annotated image that it is a frame of."""
    frame: Frame
    intensity: IntensityRange
    labels: NDArray[Any]
    """The paint, ``[Z]YX``."""
    target: Target
    """What follows from that alone: classes, objects and border weight of each pixel."""
    weights: NDArray[np.float32]
    """Weight of each pixel in the loss, ``[Z]YX`` float32; 0 where unlabelled."""
    held_back: NDArray[np.bool_]
    """Where the pixel is kept for validation, ``[Z]YX`` bool."""
    corrected: NDArray[np.bool_] | None = None
    """Where the user corrected a prediction, ``[Z]YX`` bool."""

    @property
    def trained_on(self) -> NDArray[np.bool_]:
        """Where a training learns from, ``[Z]YX`` bool."""
        return self.target.painted & ~self.held_back


@dataclass(frozen=True)
class TrainingData:
    """Everything a training reads."""

    frames: tuple[TrainingFrame, ...]
    """Frames without paint are left out."""
    classes: ClassTable
    """Meaning of the network's outputs."""
    blocks: tuple[Block, ...]
    """Held back for validation."""
    smallest_object: int
    """Objects of fewer pixels are dropped; 0 with classes."""
    images: tuple[TrainingImageRecord, ...]
    sources: tuple[AnnotatedImage, ...]
    """What the data were made from, fully annotated regions filled."""
    notices: tuple[str, ...]
    binning: float = 1
    """Pixels of the images per pixel of the frames, along Y and X: frames, blocks and
    `smallest_object` are binned, `sources` are not.
    """
    flat_levels: int = 0
    """Levels of a 3D network that neither pool nor convolve along Z."""
    pixel_size: dict[str, float] = field(default_factory=dict)
    """Micrometres per pixel of the images, along each of ``[Z]YX``; empty: not known."""
    border_sigma: float = DEFAULT_SIGMA
    """Width of the border weights in pixels of the frames."""
    cell_size: float = 0.0
    """Diameter of a typical painted object, in 3D of its sections, in image pixels; 0: not known.
    """
    membrane: int | None = None
    """Of two classes the one that is the membrane between cells; None: the classes are others."""
    balance: tuple[float, ...] = ()
    """Weight of each answer that the paint gives: see `Task.answers`."""
    starting_model: str = ""
    """The one that learns from them, and is soon sure; empty: random weights do."""

    @property
    def channels(self) -> int:
        """Number of channels of the images, of those that are used."""
        return self.frames[0].frame.channels

    @property
    def smallest_in_image(self) -> int:
        """Objects of fewer pixels of the images are dropped."""
        return round(self.smallest_object * self.binning**2)

    @property
    def limits(self) -> Limits:
        """What an object must be to count, in pixels of the frames."""
        return self._limits(self.smallest_object, self.typical_object)

    @property
    def limits_in_image(self) -> Limits:
        """The same in pixels of the images."""
        return self._limits(self.smallest_in_image, self.typical_object * self.binning**2)

    def _limits(self, smallest: int, typical: float) -> Limits:
        few = self.classes.unpainted == "unlabelled" and self.starting_model
        return Limits.of_few_cells(smallest, typical) if few else Limits(smallest)

    @property
    def typical_object(self) -> float:
        """Pixels of the frames that a typical cell covers; 0: unknown."""
        ndim = self.frames[0].frame.ndim
        in_image = size_of_cell(self.cell_size, ndim, self.pixel_size, self.flat_levels)
        return in_image / self.binning**2

    def settled(self, config: TrainConfig) -> TrainConfig:
        """Return settings in which what the images decide is filled in."""
        return config.changed(
            flat_levels=self.flat_levels,
            border_sigma=self.border_sigma,
            **self.classes.task.fixed,
        )

    def loss(self, config: TrainConfig) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Return the loss of the task, which depends on what it says it does."""
        task = self.classes.task
        known: dict[str, Any] = {"error": config.image_error, "balance": self.balance}
        return partial(task.loss, **{name: known[name] for name in task.loss_settings})

    @property
    def painted(self) -> int:
        """Number of painted pixels of the images, held-back ones included."""
        if self.classes.unpainted == "background":
            return sum(source.labels.size for source in self.sources)
        return sum(int(np.count_nonzero(source.labels)) for source in self.sources)

    def frame_of(self, image: int, frame: Frame) -> TrainingFrame | None:
        """Find what was made of a frame of an image; None where it is not painted."""
        for known in self.frames:
            if known.image == image and known.frame.index == frame.index:
                return known
        return None

    def asks_the_same_as(self, other: TrainingData) -> bool:
        """Return whether the same pixels are held back, with the same paint."""
        if self.blocks != other.blocks:
            return False
        return all(
            np.array_equal(mine.target.answer[here], its.target.answer[there])
            for (mine, here), (its, there) in zip(self.in_blocks(), other.in_blocks(), strict=True)
        )

    def cut_like(self, classes: ClassTable, membrane: int | None) -> bool:
        """Return whether a threshold chosen for such classes means the same for these."""
        return classes.task.by_threshold or (classes, membrane) == (self.classes, self.membrane)

    @property
    def paint(self) -> str:
        """Hash of all labels: other paint is scored anew."""
        return hashlib.sha256("".join(r.labels_sha256 for r in self.images).encode()).hexdigest()

    def renumbered(self, images: Sequence[ArrayLike]) -> TrainingData:
        """Give the images the numbers that they have in another list; others are left out.

        An image is the same if its pixels lie at the same place.
        """
        numbers: dict[int, int] = {}
        for number, image in enumerate(images):
            for previous, source in enumerate(self.sources):
                if same_array(source.image, image) and previous not in numbers:
                    numbers[previous] = number
                    break
        frames = [frame for frame in self.frames if frame.image in numbers]
        blocks = [
            replace(block, image=numbers[block.image])
            for block in self.blocks
            if block.image in numbers
        ]
        from napari_unet.model.record import TrainingImageRecord  # windows take snapshots first

        blank = TrainingImageRecord("", (), "", "")
        return replace(
            self,
            frames=tuple(replace(frame, image=numbers[frame.image]) for frame in frames),
            blocks=tuple(blocks),
            images=tuple(
                next((self.images[f] for f, n in numbers.items() if n == number), blank)
                for number in range(len(images))
            ),
        )

    def in_blocks(self) -> list[tuple[TrainingFrame, Region]]:
        """Return the frame that each block lies in, and the box in that frame."""
        frames = {(frame.image, frame.frame.index): frame for frame in self.frames}
        found = [(frames[block.image, block.frame], block.region) for block in self.blocks]
        return [
            (frame, moved(region, (0,) * len(region), frame.frame.origin))
            for frame, region in found
        ]


def same_array(one: Any, other: Any) -> bool:
    """Return whether two arrays are the same object, or views of the same memory."""
    if one is other:
        return True
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return False
    same: bool = one.__array_interface__ == other.__array_interface__
    return same


# --- Of a large frame, only what surrounds the paint is prepared and learned from ----------------
# Targets, weights and held-back pixels are arrays of the size of their frame: of a frame of
# gigapixels they would fill the memory, for a few strokes. A cropped frame is as large as the paint
# and so much around it that no patch, nor the network's view of a pixel, ends where it ends.

# Frames of so many pixels stay as they are.
_WHOLE_PIXELS = 2**22
# Boxes begin and end on multiples of this: a few strokes more seldom make another one.
_GRID = 64
# A patch is drawn off its painted centre by a fourth, and reads more where it zooms and turns.
_REACH = 1.5


def training_box(
    frame: Frame,
    labels: NDArray[Any],
    config: TrainConfig,
    binning: float,
    kept: Iterable[Region] = (),
) -> Region | None:
    """Choose the box of a frame, as the network sees it, to train on; None for all of it.

    The labels, ``[Z]YX``, are not binned; 0 is unlabelled. The boxes `kept` must lie in it.
    """
    shape = frame.spatial_shape
    painted = paint_box(labels) if math.prod(shape) > _WHOLE_PIXELS else None
    if painted is None:
        return None
    factors = (1,) * (frame.ndim - 2) + (binning, binning)
    low = np.floor([p.start / k for p, k in zip(painted, factors, strict=True)]) - _margin(config)
    high = np.ceil([p.stop / k for p, k in zip(painted, factors, strict=True)]) + _margin(config)
    for box in kept:
        low = np.minimum(low, [part.start for part in box])
        high = np.maximum(high, [part.stop for part in box])
    low = np.maximum(low // _GRID * _GRID, 0)
    high = np.minimum(-(-high // _GRID) * _GRID, shape)
    if np.prod(high - low, dtype=float) > math.prod(shape) / 2:
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _margin(config: TrainConfig) -> NDArray[np.int64]:
    halos = config.network(1, 2).halos
    sides = [p + 2 * h for p, h in zip(config.patch_shape(), halos, strict=True)]
    return np.ceil(np.array(sides) * _REACH).astype(np.int64)
