"""Formats of objects in other programs, and what a conversion is told, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from napari_unet.data.axes import PixelSize, check_pixel_size
from napari_unet.data.labels import Kind, LabelKind, Unpainted
from napari_unet.errors import ConfigError, LabelsError
from napari_unet.settings import check_settings, setting

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ObjectFormat = Literal["labels", "roi", "geojson", "coco", "csv", "ctc", "geff"]
FORMATS: tuple[ObjectFormat, ...] = get_args(ObjectFormat)
# The first suffix of each is the one that is given to files that have none.
SUFFIXES: dict[ObjectFormat, tuple[str, ...]] = {
    "labels": (".tif", ".tiff"),
    "roi": (".zip",),
    "geojson": (".geojson",),
    "coco": (".json",),
    "csv": (".csv",),
    "ctc": ("",),
    "geff": (".geff",),
}
LABEL_AXES = ("YX", "ZYX", "TYX", "TZYX")
_AS_IT_IS = "It leaves numbers as the file has them; a training asks what 0 means."


@dataclass(frozen=True)
class ConvertConfig:
    """How objects are read from, and written for, other programs; each setting documents itself."""

    to: ObjectFormat | None = setting(
        None,
        "labels: image of numbers (TIFF); roi: ZIP for ImageJ's ROI Manager; geojson: QuPath; "
        "coco: COCO JSON; csv: table of measurements; ctc: folder of the Cell Tracking Challenge; "
        "geff: tracks as a graph (GEFF).",
        choices=FORMATS,
        kind=str,
        unset="by the ending of the file's name",
        words={
            "labels": "&Label image (TIFF)",
            "roi": "&ROIs for Fiji's ROI Manager (ZIP)",
            "geojson": "&QuPath (GeoJSON)",
            "coco": "C&OCO (JSON)",
            "csv": "&Table of measurements (CSV)",
            "ctc": "&Cell Tracking Challenge (folder)",
            "geff": "Trac&ks as a graph (GEFF)",
        },
        label="Save objects…",
    )
    kind: Kind = setting(
        "objects",
        "What the numbers of outlines stand for: objects, or the classes that the file names.",
        choices=get_args(LabelKind),
        label="Paint",
    )
    unpainted: Unpainted = setting(
        "background",
        "What 0 means in the file.",
        choices=("background", "unlabelled"),
        words={
            "background": "0 is background: everything is labelled",
            "unlabelled": "0 is ignored",
        },
        label="Import…",
        lacks={"Python": _AS_IT_IS, "command line": _AS_IT_IS},
    )
    axes: str | None = setting(
        None,
        "Axes of the labels: T is time, Z slices.",
        choices=LABEL_AXES,
        kind=str,
        unset="as the file says, or by their number",
        lacks={"window": "It takes those of the layer."},
    )
    pixel_size: PixelSize = setting(
        dict,
        "Micrometres per pixel by axis letter: written into TIFF, and the unit of measurements.",
        unset="the image's",
        lacks={"window": "It takes the scale and units of the layer."},
    )

    def __post_init__(self) -> None:
        """Refuse unknown choices and sizes."""
        check_settings(self)
        check_pixel_size(self.pixel_size)


def format_of(path: Path) -> ObjectFormat:
    """Return the format that a file name asks for; a name without suffix is a folder of frames.

    A suffix that is that of no format raises ConfigError.
    """
    for name, suffixes in SUFFIXES.items():
        if path.suffix.lower() in suffixes:
            return name
    known = ", ".join(suffixes[0] for suffixes in SUFFIXES.values() if suffixes[0])
    raise ConfigError(f"{path.name} tells no format; end it in {known}, or say which with 'to'.")


def axes_for(shape: Sequence[int], axes: str | None) -> str:
    """Return the letters of the axes of labels.

    Fewer than two or more than four axes, or letters that do not fit them, raise LabelsError.
    """
    axes = axes or {2: "YX", 3: "ZYX", 4: "TZYX"}.get(len(shape), "")
    if axes not in LABEL_AXES or len(axes) != len(shape):
        raise LabelsError(
            f"Objects cannot be drawn in labels of shape {tuple(shape)} and axes {axes!r}; use "
            "YX, ZYX, TYX or TZYX, without channels."
        )
    return axes
