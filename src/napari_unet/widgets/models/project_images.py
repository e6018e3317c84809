"""The images of a project as layers: their paths and placement may come from anybody."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.errors import MultipleReaderError
from napari.layers import Image

from napari_unet.errors import FileProblemError
from napari_unet.io.disk import short_reason
from napari_unet.io.files import IMAGE_SUFFIXES
from napari_unet.io.zarr_files import split_zarr
from napari_unet.widgets.common.layers import plain_layers, unwrapped

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

    from napari_unet.project.contents import LayerT, ProjectImage, ProjectLayer

# What a project opens without being asked: formats of pixels and nothing else.
_MICROSCOPES = ("czi", "dv", "ims", "lif", "lsm", "mrc", "nd2", "oib", "oif", "oir", "vsi")
_SLIDES = ("ndpi", "qptiff", "scn", "stk", "svs")
_OTHERS = ("bmp", "dcm", "gif", "gz", "h5", "hdf5", "jpeg", "jpg", "mha", "mhd", "nii", "nrrd")
_IMAGE_SUFFIXES = {*IMAGE_SUFFIXES, *(f".{each}" for each in _MICROSCOPES + _SLIDES + _OTHERS)}
_POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")  # by any name, some readers start Ghostscript for it
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:.*", re.DOTALL)  # a drive has one letter

# Beyond, the sliders and the canvas of napari overflow, at times only when the layer is removed.
_SMALLEST_SIZE, _LARGEST_SIZE, _FARTHEST = 1e-9, 1e6, 1e8  # the last in pixels
_UNIT = re.compile(r"([^\W\d]\w{0,39})?")  # napari computes what it takes for a formula
_PLACEMENT = ("scale", "translate", "units", "axis_labels")


def open_image(viewer: Viewer, entry: ProjectImage, folder: Path | None = None) -> Image | None:
    """Add the image of a project to a viewer, or find it there; `folder` is that of the project.

    The entry comes from `without_odd_placement`. None means that its file is missing, or is of a
    kind that no project opens. FileProblemError if it cannot be read, or napari cannot show it; the
    text is its name and the reason.
    """
    for layer in plain_layers(viewer):
        same_file = entry.image_path and str(layer.source.path or "") == entry.image_path
        if isinstance(layer, Image) and (same_file or _same_pixels(layer, entry)):
            found: Image = layer
            return found
    try:
        made = _image_in_memory(viewer, entry) or _image_from_file(viewer, entry, folder)
        if made is not None:
            for name, value in saved_placement(entry, made.ndim).items():
                setattr(made, name, value)
    except Exception as error:  # readers are plugins, of anybody: they may raise anything
        name = entry.image_path or entry.name
        raise FileProblemError(f"{name} ({short_reason(error)})") from error
    return made


def saved_placement(entry: ProjectLayer, ndim: int) -> dict[str, Any]:
    """Return what was saved of where an image lies, as far as it has so many axes."""
    values = {name: getattr(entry, name) for name in _PLACEMENT}
    return {name: value for name, value in values.items() if len(value) == ndim}


def plain_placement(layer: Layer) -> dict[str, Any]:
    """Return where a layer lies, as a project remembers it."""
    return {
        "scale": tuple(float(size) for size in layer.scale),
        "translate": tuple(float(start) for start in layer.translate),
        "units": tuple(str(unit) for unit in layer.units),
        "axis_labels": tuple(str(label) for label in layer.axis_labels),
    }


def without_odd_placement(entry: LayerT) -> tuple[LayerT, str]:
    """Leave out what napari refuses of a layer's placement, and of an image's colours.

    Returned with a sentence on what was left out and why, which is empty if nothing was.
    """
    found = {
        "scale": _why_no_scale(entry.scale),
        "translate": _why_no_position(entry.translate, entry.scale),
        "units": _why_no_units(entry.units),
    }
    odd: dict[str, Any] = {name: () for name, reason in found.items() if reason}
    reasons = [reason for reason in found.values() if reason]
    shape = np.shape(getattr(entry, "image", ()))
    if getattr(entry, "rgb", False) and shape and shape[2:][-1:] not in ((3,), (4,)):
        odd["rgb"] = False
        reasons.append(f"an image of shape {shape} has no colours")
    if not odd:
        return entry, ""
    return replace(entry, **odd), (
        f"{entry.name} is shown without its {', '.join(odd)}, which cannot be used: "
        f"{'; '.join(reasons)}."
    )


def _why_no_scale(scale: tuple[float, ...]) -> str:
    fits = all(_SMALLEST_SIZE <= abs(size) <= _LARGEST_SIZE for size in scale)
    return "" if fits else f"a pixel of {' by '.join(f'{size:g}' for size in scale)}"


def _why_no_position(translate: tuple[float, ...], scale: tuple[float, ...]) -> str:
    sizes = scale if len(scale) == len(translate) else (1.0,) * len(translate)
    places = zip(translate, sizes, strict=True)
    fits = all(abs(start) <= _FARTHEST * min(1, abs(size)) for start, size in places)
    return "" if fits else f"a position of {', '.join(f'{start:g}' for start in translate)}"


def _why_no_units(units: tuple[str, ...]) -> str:
    odd = [unit for unit in units if not _UNIT.fullmatch(unit)]
    if odd:
        return f"{odd[0][:40]!r} is no unit"
    if len(units) < 2:  # no image has so few axes
        return ""
    try:
        Image(np.zeros((1,) * len(units)), units=units)
    except Exception as error:  # of napari, of numpy or of its library of units
        return short_reason(error)
    return ""


def _same_pixels(layer: Image, entry: ProjectImage) -> bool:
    if entry.image is None or layer.multiscale or layer.name != entry.name:
        return False
    return bool(np.array_equal(layer.data, np.asarray(entry.image)))


def _image_in_memory(viewer: Viewer, entry: ProjectImage) -> Image | None:
    if entry.image is None:
        return None
    made = Image(np.asarray(entry.image), name=entry.name, rgb=entry.rgb)
    viewer.add_layer(made)
    return made


def _image_from_file(viewer: Viewer, entry: ProjectImage, folder: Path | None) -> Image | None:
    if not is_opened_unasked(entry.image_path, folder):
        return None
    try:
        opened = viewer.open(entry.image_path, plugin=None)
    except MultipleReaderError:  # any will do: scale and axes are the project's own
        opened = viewer.open(entry.image_path, plugin="napari")
    images = [unwrapped(each) for each in opened]
    images = [each for each in images if isinstance(each, Image)]
    if not images:
        return None
    images[0].name = entry.name
    return images[0]


def is_opened_unasked(image_path: str, folder: Path | None = None) -> bool:
    """Return whether a path out of a project is there and holds pixels, by its ending.

    The path comes from whoever made the project, and napari runs ``.py`` files that it opens.
    Windows logs in to a machine that a path names, even to see whether a file is there; so no
    other machine is asked than that of the project's folder.
    """
    if not image_path or _ADDRESS.fullmatch(image_path) or _is_on_other_machine(image_path, folder):
        return False
    path = Path(image_path)
    try:
        if path.is_dir():  # all files in it are read
            return split_zarr(path) is not None or all(map(_is_harmless, path.iterdir()))
        return path.suffix.lower() in _IMAGE_SUFFIXES and path.is_file() and _is_harmless(path)
    except (OSError, ValueError):  # a name that no file can have
        return False


def _is_on_other_machine(image_path: str, folder: Path | None) -> bool:
    share = PureWindowsPath(image_path).drive  # takes both kinds of slashes
    own = "" if folder is None else PureWindowsPath(folder).drive
    # Where the share is not whole, as in \\host, there is no drive.
    leads_out = image_path[:2].replace("/", "\\") == "\\\\"
    return leads_out and (not share or share.lower() != own.lower())


def _is_harmless(path: Path) -> bool:
    if path.is_dir():
        return True
    if not path.is_file():  # a pipe
        return False
    with path.open("rb") as file:
        return not file.read(4).startswith(_POSTSCRIPT)
