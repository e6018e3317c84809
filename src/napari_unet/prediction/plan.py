"""Everything that is decided before the first tile: one frozen value that a worker can be sent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import (
    SPATIAL_AXES,
    channels_of,
    check_axes,
    check_image,
    frame_axes,
    guess_axes,
)
from napari_unet.data.finer import on_finer_grid
from napari_unet.data.frames import Frame
from napari_unet.data.rescaling import LARGEST_RATIO, plane_factors, size_of_cell
from napari_unet.errors import ConfigError, ImageError, ModelMismatchError
from napari_unet.model.starting import is_starting_model
from napari_unet.objects.limits import SURE_UNTAUGHT, Limits
from napari_unet.prediction.config import cell_size_known
from napari_unet.prediction.results import RESULT_TYPES, kind_of_result
from napari_unet.prediction.tiles import plan_blocks, plan_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.data.rescaling import Factors
    from napari_unet.model.config import Precision
    from napari_unet.model.record import ModelRecord
    from napari_unet.prediction.config import PredictConfig, ResultKind
    from napari_unet.prediction.results import ResultType
    from napari_unet.prediction.tiles import TilePlan
    from napari_unet.tasks import ClassTable

# Sizes of pixels and cells that differ by less than this are taken as equal.
_SAME_SIZE = 0.02
# With a cell size, a starting model's objects of less than this share of such a cell are dropped:
# of 0, 0.05 to 0.3 the best on eleven sets together (docs/results/starting_models.md).
_SMALLEST_SHARE = 0.15
# Where fewer of a model's pixels keep their label in bfloat16 it predicts in float32.
_LEAST_AGREEMENT = 0.999


@dataclass(frozen=True)
class PredictionPlan:
    """What is predicted, from which pixels, in which tiles."""

    kind: ResultKind
    axes: str
    """Of the image."""
    ndim: int
    """Spatial dimensions of the network."""
    shape: tuple[int, ...]
    """``[Z]YX`` of a frame, on the grid of the result."""
    frames_shape: tuple[int, ...]
    """Sizes along the frame axes."""
    used_channels: tuple[int, ...]
    """Channels of the image that are read; empty: all."""
    window: int
    """Frames that the network sees at once."""
    factors: Factors
    """Pixels of the image per pixel of the network, along ``[Z]YX``."""
    region: Region
    """The box of each frame that is predicted."""
    tiles: TilePlan
    """Those of the region."""
    blocks: TilePlan
    """Where its objects are separated."""
    chunks: tuple[int, ...]
    """Chunks along ``[Z]YX`` of a file that holds the result: no two tiles, or blocks, write to the
    same one.
    """
    frames: Sequence[int]
    """Numbers of the frames to predict, those nearest to what is on screen first."""
    near: tuple[float, ...] | None
    """What is on screen: see `PredictConfig`."""
    classes: ClassTable
    """What the outputs of the network mean."""
    threshold: float
    """Above it a pixel is of an object; with classes, of the second of two."""
    views: int
    """Views to average."""
    limits: Limits
    """What an object must be to count."""
    typical: float = 0.0
    """Pixels that a typical object covers; 0: unknown."""
    notices: tuple[str, ...] = ()
    precision: Precision = "auto"
    """Of the convolutions; "auto" is the fastest where it is computed."""
    foreground: int = 1
    """With objects: the class that they are made of."""

    @property
    def result(self) -> ResultType:
        """What the kind of result means."""
        return RESULT_TYPES[self.kind]

    @property
    def result_axes(self) -> str:
        """Axes of the result: those of the frames, C with probabilities, then ``[Z]YX``."""
        channel = "C" if self.result.is_per_class else ""
        return frame_axes(self.axes, self.ndim) + channel + SPATIAL_AXES[self.ndim]

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Sizes along `result_axes`."""
        channels = (self.classes.n_classes,) if self.result.is_per_class else ()
        return (*self.frames_shape, *channels, *self.shape)

    @property
    def tile_dtype(self) -> np.dtype[Any]:
        """Type of what a tile gives: with objects the foreground probability in steps of 1/255."""
        return self.result.tile_dtype or np.min_scalar_type(max(self.classes.results))

    @property
    def n_frames(self) -> int:
        """How many frames the image has."""
        return int(np.prod(self.frames_shape, dtype=np.int64))

    @property
    def box(self) -> tuple[slice, ...]:
        """What is predicted, along `result_axes`: the smallest box that holds it."""
        along = zip(*map(self.index_of, self.frames), strict=True)
        frames = [slice(min(at), max(at) + 1) for at in along]
        channels = [slice(0, self.classes.n_classes)] if self.result.is_per_class else []
        return (*frames, *channels, *self.region)

    def index_of(self, frame: int) -> tuple[int, ...]:
        """Return where a frame lies on the frame axes; they are counted in row-major order."""
        index = np.unravel_index(frame, self.frames_shape) if self.frames_shape else ()
        return tuple(map(int, index))

    def frame(self, image: ArrayLike, number: int) -> Frame:
        """Return one frame of the image, on the grid of the result."""
        index = self.index_of(number)
        seen = on_finer_grid(image, self.axes, self.classes.finer)
        return Frame(seen, self.axes, self.ndim, index, self.used_channels, self.window)


def plan_prediction(record: ModelRecord, image: ArrayLike, config: PredictConfig) -> PredictionPlan:
    """Decide how an image is predicted from its shape and dtype; not a pixel is read.

    Raises ConfigError if the cell size is far from what the model knows; ModelMismatchError if
    model and image do not fit, or the model cannot give this kind of result; ImageError if the
    image is empty or of an unusable dtype, or its axes are wrong.
    """
    network = record.network
    kind = kind_of_result(config.result, record)
    foreground = 1 if record.membrane is None else 1 - record.membrane
    axes = _checked_axes(record, image, config)
    used_channels = _used_channels(record, image, axes, config)
    image = on_finer_grid(image, axes, record.classes.finer)
    sizes = dict(zip(axes, image.shape, strict=True))
    shape = tuple(sizes[axis] for axis in SPATIAL_AXES[network.ndim])
    frames_shape = tuple(sizes[axis] for axis in frame_axes(axes, network.ndim))
    ratios, notices = (_by_cell_size if config.diameter else _by_pixel_size)(record, config)
    factors = tuple(np.multiply(plane_factors(network.ndim, record.binning), ratios).tolist())
    region = _clipped(config.region, shape)
    tiles = plan_tiles(shape, record.geometry, config.tile_size, factors)
    of_blocks = plan_tiles(shape, record.geometry, None, factors)
    return PredictionPlan(
        kind,
        axes,
        network.ndim,
        shape,
        frames_shape,
        used_channels,
        network.window,
        factors,
        region,
        replace(tiles, region=region),
        plan_blocks(region, of_blocks.stride, network.ndim, factors),
        (of_blocks if RESULT_TYPES[kind].is_separated else tiles).stride,
        _frames(config, frames_shape),
        config.near,
        record.classes,
        config.threshold or _own_threshold(record, kind, foreground),
        config.views or record.views,
        _limits(record, config, ratios) if RESULT_TYPES[kind].is_separated else Limits(),
        _typical(record, config, ratios),
        (*config.notices, *notices),
        _precision(config, record),
        foreground,
    )


def _frames(config: PredictConfig, shape: tuple[int, ...]) -> Sequence[int]:
    """Choose the frames to predict; ConfigError where the image has none of those asked for."""
    indices = list(np.ndindex(shape))
    frames: Sequence[int] = range(len(indices))
    if config.frames is not None:
        frames = tuple(n for n in frames if indices[n] in config.frames)
    if not frames:
        raise ConfigError(
            f"frames is {config.frames}, of which the image has none; choose among {indices[0]} to "
            f"{indices[-1]}."
        )
    if config.near is None:
        return frames
    at = config.near[: len(shape)]
    return sorted(frames, key=lambda n: float(np.abs(np.subtract(indices[n], at)).sum()))


def guessed_axes(record: ModelRecord, image: ArrayLike) -> str:
    """Guess the axes of an image from its shape and a model; ImageError where none fit.

    A model of chosen channels has learned from images with more of them.
    """
    network = record.network
    axes = guess_axes(image.shape, network.ndim, network.in_channels)
    if not record.used_channels or "C" in axes or len(axes) == network.ndim:
        return axes
    with_channels = guess_axes(image.shape, network.ndim, max(record.used_channels) + 1)
    return with_channels if "C" in with_channels else axes


def _checked_axes(record: ModelRecord, image: ArrayLike, config: PredictConfig) -> str:
    """Return the axes of an image, as they are given or guessed, if a model can read them."""
    check_image(image)
    network, axes = record.network, config.axes or guessed_axes(record, image)
    check_axes(axes, len(image.shape), network.ndim)
    if network.window > 1 and "T" not in frame_axes(axes, network.ndim):
        raise ModelMismatchError(
            f"Model sees {network.window} frames of a time-lapse at once, image has no time "
            f"(axes {axes}, shape {tuple(image.shape)}). Give a time-lapse, or say which axis is "
            "time."
        )
    return axes


def _used_channels(
    record: ModelRecord, image: ArrayLike, axes: str, config: PredictConfig
) -> tuple[int, ...]:
    """Choose the channels that the model expects: those it learned from, where there are more.

    A starting model sees the mean of any number.
    """
    expected, found = record.network.in_channels, channels_of(image.shape, axes)
    chosen = config.used_channels
    if chosen is None and found != expected and len(record.used_channels) == expected:
        chosen = record.used_channels
    if chosen is None and found == expected:
        return ()
    if chosen is not None and len(chosen) == expected and max(chosen, default=0) < found:
        return chosen
    if max(chosen or (), default=0) < found and is_starting_model(record):
        return chosen or ()
    asked = max(config.used_channels or (), default=0)
    if asked >= found:
        raise ModelMismatchError(
            f"Channel {asked} was chosen, but the image has {found}, counted from 0 "
            f"(axes {axes}, shape {tuple(image.shape)}). Choose others, or correct the axes."
        )
    of_model = f"{expected} channel(s)"
    if record.used_channels:
        of_model += f" (numbers {', '.join(map(str, record.used_channels))})"
    of_image = f"image has {found}"
    if config.used_channels is not None:
        of_image += f", of which {list(config.used_channels)} were chosen"
    raise ModelMismatchError(
        f"Model expects {of_model}, {of_image} (axes {axes}, shape {tuple(image.shape)}). Choose "
        "as many channels, correct the axes, or train on images like this one."
    )


def _limits(record: ModelRecord, config: PredictConfig, ratios: tuple[float, ...]) -> Limits:
    """Return what an object must be to count: who names the smallest one is taken at his word."""
    smallest = _smallest(record, config, ratios)
    if is_starting_model(record):
        return Limits(smallest, SURE_UNTAUGHT)
    if record.classes.unpainted == "background" or not record.starting_model:
        return Limits(smallest)  # random weights are long unsure where they are right
    limits = Limits.of_few_cells(smallest, _typical(record, config, ratios))
    named = config.smallest is not None
    return limits._replace(smallest=smallest, doubtful=0) if named else limits


def _smallest(record: ModelRecord, config: PredictConfig, ratios: tuple[float, ...]) -> int:
    """Return the number of pixels below which an object is dropped."""
    if config.smallest is not None:
        return config.smallest
    scaled = record.smallest_object * float(np.prod(ratios))
    if config.diameter and record.network.ndim == 2 and is_starting_model(record):
        # Of cells of all sizes it knows no smallest; who says how large they are here does.
        scaled = max(scaled, _SMALLEST_SHARE * size_of_cell(config.diameter, 2))
    return round(scaled)


def _typical(record: ModelRecord, config: PredictConfig, ratios: tuple[float, ...]) -> float:
    """Return how many pixels of the image a typical object covers; 0: unknown."""
    if config.diameter:
        return size_of_cell(config.diameter, record.network.ndim)
    if not record.cell_size or is_starting_model(record):  # which has seen cells of all sizes
        return 0.0
    return record.typical_object * float(np.prod(ratios))


def _by_pixel_size(
    record: ModelRecord, config: PredictConfig
) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Return how many image pixels a training pixel is long, along ``[Z]YX``, and notices."""
    letters = SPATIAL_AXES[record.network.ndim]
    equal = (1.0,) * len(letters)
    model, image = record.pixel_size, config.pixel_size
    if not record.classes.task.bends or not all(
        axis in model and axis in image for axis in letters
    ):
        return equal, ()
    ratios = tuple(model[axis] / image[axis] for axis in letters)
    if all(abs(ratio - 1) < _SAME_SIZE for ratio in ratios):
        return equal, ()
    sizes = (
        f"the model learned from pixels of {_in_words(model, letters)}, the image has "
        f"{_in_words(image, letters)}"
    )
    if not config.rescale:
        return equal, (f"The pixel sizes differ, and rescaling is off: {sizes}.",)
    if not all(1 / LARGEST_RATIO <= ratio <= LARGEST_RATIO for ratio in ratios):
        raise ModelMismatchError(
            f"The pixel sizes differ too much: {sizes}. Correct the image's pixel size, or "
            "predict without rescaling."
        )
    ratios = tuple(1.0 if abs(ratio - 1) < _SAME_SIZE else ratio for ratio in ratios)
    return ratios, (f"The image is seen at the model's pixel size: {sizes}.",)


def _by_cell_size(
    record: ModelRecord, config: PredictConfig
) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Return the same for cells of a size that the user names, whatever the pixel sizes are."""
    expected = cell_size_known(record, config.diameter)
    ratio, ndim = config.diameter / expected, record.network.ndim
    if abs(ratio - 1) < _SAME_SIZE:
        return (1.0,) * ndim, ()
    resized = f"reduced {ratio:.2g} times" if ratio > 1 else f"enlarged {1 / ratio:.2g} times"
    return plane_factors(ndim, ratio), (
        f"Cells of {config.diameter:.3g} pixels are seen as large as the model expects them "
        f"({expected:.3g} pixels): the image is {resized}.",
    )


def _precision(config: PredictConfig, record: ModelRecord) -> Precision:
    """Leave the choice open only where a model was seen to bear the rounding."""
    agreement = record.bfloat16_agreement
    if config.precision == "auto" and (agreement is None or agreement < _LEAST_AGREEMENT):
        return "float32"
    return config.precision


def _in_words(pixel_size: Any, letters: str) -> str:
    return " x ".join(f"{pixel_size[axis]:.4g}" for axis in letters) + " µm"


def _clipped(region: Region | None, shape: tuple[int, ...]) -> Region:
    if region is None:
        return tuple(slice(0, size) for size in shape)
    if len(region) != len(shape):
        raise ConfigError(f"region is {region!r}; give a slice for each of {len(shape)} axes.")
    clipped = tuple(
        slice(max(0, part.start), min(size, part.stop))
        for part, size in zip(region, shape, strict=True)
    )
    if any(part.stop <= part.start for part in clipped):
        raise ImageError("The region to predict lies outside the image; move the image into view.")
    return clipped


def _own_threshold(record: ModelRecord, kind: ResultKind, foreground: int) -> float:
    """Return the model's threshold, which is one of class 1; objects may be made of class 0."""
    turned = RESULT_TYPES[kind].is_separated and foreground == 0
    return 1 - record.threshold if turned else record.threshold
