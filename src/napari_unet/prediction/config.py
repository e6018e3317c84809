"""What to predict, as one frozen value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from napari_unet.data.axes import is_axes
from napari_unet.data.physical import check_pixel_size
from napari_unet.errors import ConfigError
from napari_unet.model.config import PRECISIONS, SHORT_PRECISIONS, VIEWS

if TYPE_CHECKING:
    from napari_unet.data.axes import Region
    from napari_unet.data.physical import PixelSize
    from napari_unet.model.config import Precision

ResultKind = Literal["objects", "classes", "probabilities", "uncertainty"]
RESULT_KINDS: tuple[ResultKind, ...] = get_args(ResultKind)


@dataclass(frozen=True)
class ViewPoint:
    """The middle of what is on screen.

    Parameters
    ----------
    frame : tuple of int
        Index on the frame axes.
    centre : tuple of float
        Pixel in ``[Z]YX``.
    """

    frame: tuple[int, ...]
    centre: tuple[float, ...]


@dataclass(frozen=True)
class PredictConfig:
    """Say what to predict and how.

    Parameters
    ----------
    result : {"objects", "classes", "probabilities", "uncertainty"} or None
        What to return; None is what the model was trained for.
    axes : str or None
        Axes of the image; guessed from its shape where None.
    tile_size : int or None
        Largest edge length of a tile; None is the default of the network's dimensions.
    device : str
        "auto", "cpu", "cuda", "mps".
    threshold : float or None
        Probability above which a pixel is of an object, or of the second of two classes; None
        takes the model's own value.
    views : int or None
        1; 4: the average over all quarter turns; 8: and their mirror images, at so many times
        the work. None takes the model's own value.
    smallest : int or None
        Objects of fewer pixels are dropped; None takes the model's own value.
    frames : tuple of tuple of int or None
        Indices on the frame axes of what to predict; None is all.
    region : tuple of slice or None
        Box of ``[Z]YX`` to predict; None is all. Objects are separated inside it.
    near : ViewPoint or None
        What is on screen: predicted first.
    used_channels : tuple of int or None
        Channels of the image to use, in the order in which the model learned them; None takes
        the model's own choice.
    pixel_size : mapping of str to float
        Micrometres per pixel of the image by axis letter, as far as they are known.
    rescale : bool
        Whether an image of another pixel size than the model's is seen at the model's, where
        both are known. Results always lie on the image's own pixels.
    cell_size : float
        Diameter of a typical cell in pixels of the image: it is seen so that cells are as large
        as the model expects them, whatever the pixel sizes; 0: as the model was trained.
    precision : {"auto", "float32", "bfloat16"}
        Number format of the convolutions. "auto" is bfloat16 where that is faster and labels as
        good as all of the model's own pixels alike, else float32. "fp32" and "bf16" are
        understood.
    notices : tuple of str
        What the user should know of how the image was read.

    Raises
    ------
    ConfigError
        A value is out of its range.
    """

    result: ResultKind | None = None
    axes: str | None = None
    tile_size: int | None = None
    device: str = "auto"
    threshold: float | None = None
    views: int | None = None
    smallest: int | None = None
    frames: tuple[tuple[int, ...], ...] | None = None
    region: Region | None = None
    near: ViewPoint | None = None
    used_channels: tuple[int, ...] | None = None
    pixel_size: PixelSize = field(default_factory=dict)
    rescale: bool = True
    cell_size: float = 0.0
    precision: Precision = "auto"
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.result is not None and self.result not in RESULT_KINDS:
            raise ConfigError(
                f"result is {self.result!r}; choose one of {', '.join(RESULT_KINDS)}."
            )
        if self.axes is not None and not is_axes(self.axes):
            raise ConfigError(f"Axes {self.axes!r} are not valid: use each of TCZYX at most once.")
        if self.views is not None and self.views not in VIEWS:
            raise ConfigError(f"views is {self.views}; choose 1, 4 or 8.")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ConfigError(f"threshold is {self.threshold}; choose a value between 0 and 1.")
        precision = SHORT_PRECISIONS.get(self.precision, self.precision)
        if precision not in PRECISIONS:
            raise ConfigError(f"precision is {precision!r}; choose one of {', '.join(PRECISIONS)}.")
        object.__setattr__(self, "precision", precision)
        check_pixel_size(self.pixel_size)
        if not 0 <= self.cell_size < math.inf:
            raise ConfigError(
                f"cell_size is {self.cell_size}; choose the diameter of a typical cell in pixels, "
                "or 0."
            )
        if self.smallest is not None and self.smallest < 0:
            raise ConfigError(f"smallest is {self.smallest}; choose 0 or more pixels.")
