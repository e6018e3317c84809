"""What lies where in a Zarr folder: the images of plates, wells and series, and their names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_unet.errors import FileProblemError
from napari_unet.io.limits import check_regular, is_inside
from napari_unet.io.zarr_files import is_zarr_node, split_zarr

if TYPE_CHECKING:
    from pathlib import Path

_SERIES = "bioformats2raw.layout"  # which has one image in a folder each: 0, 1, ...


def images_in(path: Path) -> list[Path]:
    """Return the images of an OME-Zarr: all of a plate, of a well or of a file; else itself.

    What leads out of the folder, or cannot be understood, is left to who reads it.
    """
    try:
        inside = _inside(path, _about(path))
    except (KeyError, TypeError, AttributeError):  # metadata that makes no sense
        return [path]
    return [image for each in inside for image in images_in(each)] or [path]


def _inside(path: Path, about: dict[str, Any]) -> list[Path]:
    """Return what a plate, a well or a folder of series names; nothing of what is an image."""
    if "multiscales" in about:
        return []
    if "plate" in about:
        return _named(path, about["plate"]["wells"])
    if "well" in about:
        return _named(path, about["well"]["images"])
    if _SERIES in about:
        series = [each for each in path.iterdir() if "multiscales" in _about(each)]
        return [each for each in series if is_inside(path, each.name)]
    return []


def _named(folder: Path, parts: list[dict[str, Any]]) -> list[Path]:
    names = [str(part["path"]) for part in parts]
    return [folder / name for name in names if is_inside(folder, name)]


def stem_in_zarr(path: Path) -> str:
    """Return what an image in a Zarr folder is called in names of files.

    The folder's own image, its levels and its labels have the name of the folder, a field of a
    plate those of its well and itself (``A1_0``), any other image both names (``series_0``).
    """
    whole, inside = split_zarr(path) or (path, "")
    is_ome = whole.stem.lower().endswith(".ome") and len(whole.stem) > len(".ome")
    name = whole.stem[: -len(".ome")] if is_ome else whole.stem
    image = _image_at(whole, inside.split("/") if inside else [])
    if not image:
        return name
    first = "".join(image[:-1]) if "plate" in _about(whole) else "_".join([name, *image[:-1]])
    return "_".join(filter(None, [first, image[-1]]))


def well_of(path: Path) -> tuple[str, Path] | None:
    """Return name and place of the well that a field of a plate is in, such as ``A1``."""
    whole, inside = split_zarr(path) or (path, "")
    well = _image_at(whole, inside.split("/") if inside else [])[:-1]
    return ("".join(well), whole.joinpath(*well)) if "plate" in _about(whole) else None


def _image_at(whole: Path, inside: list[str]) -> list[str]:
    """Return where in a Zarr folder the image lies of which something is a level, or labels."""
    of_image = inside[: inside.index("labels")] if "labels" in inside else inside
    for depth in range(len(of_image), -1, -1):
        if "multiscales" in _about(whole.joinpath(*of_image[:depth])):
            return of_image[:depth]
    return of_image if is_zarr_node(whole.joinpath(*of_image)) else []


def _about(group: Path) -> dict[str, Any]:
    """Return what the metadata of a group says about it as OME-Zarr; nothing if it is none."""
    for name in ("zarr.json", ".zattrs"):
        try:
            check_regular(group / name)
            found = json.loads((group / name).read_text(encoding="utf-8"))
            found = found.get("attributes", {}) if name == "zarr.json" else found
            inner = found.get("ome", found)
        except (OSError, ValueError, AttributeError, RecursionError, FileProblemError):
            continue
        if isinstance(inner, dict):
            return inner
    return {}
