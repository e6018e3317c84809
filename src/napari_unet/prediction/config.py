"""What to predict, as one frozen value: it drives keywords, flags, form, run card and script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from napari_unet.data.axes import PixelSize, Region, check_pixel_size, is_axes, parse_channels
from napari_unet.data.rescaling import LARGEST_RATIO
from napari_unet.errors import ConfigError, ModelMismatchError
from napari_unet.model.config import (
    DEVICE_WORDS,
    PRECISIONS,
    SHORT_PRECISIONS,
    VIEW_WORDS,
    VIEWS,
    Precision,
)
from napari_unet.model.starting import expected_cell_size
from napari_unet.settings import check_settings, setting

if TYPE_CHECKING:
    from napari_unet.model.record import ModelRecord

ResultKind = Literal[
    "objects",
    "classes",
    "overlapping",
    "object-classes",
    "probabilities",
    "uncertainty",
    "image",
]
RESULT_KINDS: tuple[ResultKind, ...] = get_args(ResultKind)


def _channels(text: str) -> tuple[int, ...] | None:
    return parse_channels(text) or None


def _cell_size(text: str) -> float | Literal["auto"]:
    try:
        return "auto" if text == "auto" else float(text)
    except ValueError:
        raise ConfigError(f"cell_size is {text!r}; give a number of pixels, or auto.") from None


def _precision(text: Any) -> Any:
    return SHORT_PRECISIONS.get(text, text) if isinstance(text, str) else text


@dataclass(frozen=True)
class PredictConfig:
    """What to predict and how; ConfigError if a value is out of its range.

    Each setting documents itself, as those of `TrainConfig` do.
    """

    result: ResultKind | None = setting(
        None,
        "Labels as painted (objects, classes, overlapping classes or objects of several classes), "
        "the probability of each class, how unsure the model is, or the image that it was trained "
        "to make.",
        choices=RESULT_KINDS,
        kind=str,
        unset="what it was trained for",
        label="Result",
    )
    axes: str | None = setting(
        None,
        "Axes of the image, one letter each, as in TCYX: T is time, C channels, Z slices.",
        kind=str,
        unset="as the file says, or guessed",
        label="Axes",
    )
    tile_size: int | None = setting(
        None,
        "Largest edge length of a tile: smaller ones need less memory. The result does not depend "
        "on it.",
        1,
        kind=int,
        unset="automatic",
        unit="pixels",
        label="Tile size",
    )
    device: str = setting(
        "auto",
        "Where to compute: auto (a GPU that works, else the CPU), cpu, cuda, cuda:1, mps.",
        words=DEVICE_WORDS,
        label="Device",
    )
    threshold: float | None = setting(
        None,
        "Probability, between 0 and 1, above which a pixel is of an object, or of the second of "
        "two classes: higher finds less.",
        0,
        1,
        kind=float,
        between=True,
        unset="as trained",
        label="Threshold",
    )
    views: int | None = setting(
        None,
        "Average the predictions of the image turned (4), or turned and mirrored (8): better, at 4 "
        "or 8 times the work (test-time augmentation).",
        choices=VIEWS,
        kind=int,
        unset="as trained",
        words=VIEW_WORDS,
        label="Smoother",
    )
    smallest: int | None = setting(
        None,
        "Objects of fewer pixels are dropped; 0 keeps all. As trained: by the painted cells, of "
        "which a smaller one counts where the network is very sure.",
        0,
        kind=int,
        unset="as trained",
        unit="pixels",
        label="Smallest object",
    )
    frames: tuple[tuple[int, ...], ...] | None = setting(
        None,
        "Which frames to predict (timepoints; slices, if the model is 2D), by numbers from 0; "
        "elsewhere the result is 0.",
        kind=tuple,
        unset="all",
        label="Segment this view, This slice",
        lacks={"command line": "It predicts whole files."},
    )
    region: Region | None = setting(
        None,
        "The part of each frame to predict, a range of pixels along Y and X (in 3D Z, Y and X); "
        "elsewhere the result is 0.",
        kind=tuple,
        unset="all",
        label="Segment this view, This slice",
        lacks={"command line": "It predicts whole files."},
    )
    near: tuple[float, ...] | None = None
    """The middle of what is on screen, on the frame axes, then ``[Z]YX``: predicted first."""
    used_channels: tuple[int, ...] | None = setting(
        None,
        "Channels of the image to use, in the order of the training: numbers from 0, as in 0,2.",
        kind=str,
        unset="the model's",
        label="Channels",
        flag="--channels",
        parse=_channels,
    )
    pixel_size: PixelSize = setting(
        dict,
        "Micrometres per pixel of the image by axis letter, as far as they are known.",
        unset="the file's",
        lacks={"window": "It takes the scale and units of the layer."},
    )
    rescale: bool = setting(
        True,
        "The image is looked at as if its pixels were as large as those of the training images, "
        "where both sizes are known, so that cells look as large as they did there. The result "
        "lies on the image's own pixels.",
        label="Same scale as in training",
    )
    cell_size: float | Literal["auto"] = setting(
        0.0,
        "Diameter of a typical cell in pixels of the image; in scripts also auto: the one of eight "
        "sizes at which the model finds cells best in the middle of the image. The model then sees "
        "the image enlarged or reduced, with cells as large as those that it learned from, "
        "whatever the pixel sizes. A starting model then also drops what has less than 15 % of the "
        "area of such a cell.",
        0,
        unset="as trained",
        words={"auto": "the one that fits best"},
        unit="pixels",
        label="Cell size",
        parse=_cell_size,
    )
    precision: Precision = setting(
        "auto",
        "How exactly to compute: auto computes with fewer digits (bfloat16) where that is "
        "faster and changes the labels of fewer than 1 pixel in 1000; float32 is exact and takes "
        "about twice as long there.",
        choices=PRECISIONS,
        words={"auto": "automatic", "float32": "exact (float32)", "bfloat16": "bfloat16"},
        label="Precision",
        parse=_precision,
    )
    notices: tuple[str, ...] = ()
    """What the user should know of how the image was read."""

    @property
    def diameter(self) -> float:
        """Of a typical cell in pixels; 0: as trained, or still to be found."""
        return 0.0 if self.cell_size == "auto" else float(self.cell_size)

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        object.__setattr__(self, "precision", _precision(self.precision))
        check_settings(self)
        check_pixel_size(self.pixel_size)
        if self.axes is not None and not is_axes(self.axes):
            raise ConfigError(f"Axes {self.axes!r} are not valid: use each of TCZYX at most once.")

    def check_whole(self) -> None:
        """Raise ConfigError where a part of an image is named, which is not stored."""
        if self.region is not None or self.frames is not None:
            raise ConfigError(
                "Predictions into files are of whole images; leave out region and frames, or "
                "predict into memory."
            )


def cell_size_known(record: ModelRecord, asked: float | str) -> float:
    """Return how large the cells are that a model expects, if cells of a size can be shown to it.

    Raises ModelMismatchError if the model does not know; ConfigError if the size is far from what
    it knows.
    """
    expected = expected_cell_size(record)
    if not expected or record.network.ndim == 3:
        raise ModelMismatchError(
            f"cell_size is {_as_asked(asked)}, but the model does not know how large the cells are "
            "that it learned from. Leave the cell size out, or train on painted cells in 2D."
        )
    smallest, largest = expected / LARGEST_RATIO, expected * LARGEST_RATIO
    if not isinstance(asked, str) and not smallest <= asked <= largest:
        raise ConfigError(
            f"cell_size is {_as_asked(asked)}, the model learned from cells of {expected:.3g} "
            f"pixels; choose {smallest:.3g} to {largest:.3g}."
        )
    return expected


def _as_asked(cell_size: float | str) -> str:
    return cell_size if isinstance(cell_size, str) else f"{cell_size:g}"
