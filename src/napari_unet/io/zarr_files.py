"""Zarr folders as images: arrays of version 2 and 3, levels and labels of OME-Zarr.

What is opened is the Zarr array itself: no pixel is read. The metadata of OME-Zarr is NGFF 0.4
(in Zarr 2) or 0.5 (in Zarr 3); https://ngff.openmicroscopy.org.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import UNKNOWN_SIZE, PixelSize, axes_of_names, known_sizes
from napari_unet.errors import FileProblemError
from napari_unet.io.disk import short_reason
from napari_unet.io.limits import check_regular, is_inside
from napari_unet.io.pictures import PICTURE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import zarr

ZARR_SUFFIX = ".zarr"

_FILES = (".tif", ".tiff", ".npy", ".npz", *PICTURE_SUFFIXES)
_METADATA_FILES = ("zarr.json", ".zarray", ".zgroup")
_CODECS = ("filters", "compressor", "codecs", "storage_transformers")
_LONGEST_TYPE = 100
_PICKLE = re.compile(r"\bpickle\b", re.IGNORECASE)


def split_zarr(path: Path) -> tuple[Path, str] | None:
    """Split the path of something in a Zarr folder: the outermost ``*.zarr``, and what follows.

    None for a path without such a folder, and for a TIFF, PNG or NumPy file that lies in one.

    Examples
    --------
    >>> root, inside = split_zarr(Path("cells.zarr/labels/nuclei"))
    >>> root.name, inside
    ('cells.zarr', 'labels/nuclei')
    """
    if path.suffix.lower() in _FILES:
        return None
    for depth, part in enumerate(path.parts, start=1):
        if part.lower().endswith(ZARR_SUFFIX) and part.lower() != ZARR_SUFFIX:
            return Path(*path.parts[:depth]), "/".join(path.parts[depth:])
    return None


def is_zarr_node(folder: Path) -> bool:
    """Return whether a folder is a Zarr array or group."""
    return any((folder / name).is_file() for name in _METADATA_FILES)


def open_zarr(path: Path) -> tuple[zarr.Array[Any], str | None, PixelSize]:
    """Open a Zarr array, or an image of an OME-Zarr at its finest level, without reading pixels.

    The path is ``image.zarr``, a level ``image.zarr/1``, or labels ``image.zarr/labels/NAME``. Axes
    and pixel size are those that the metadata has, at this level. Raises FileProblemError if there
    is no Zarr, or it is a group that is no single image (the text lists what is in it); or it would
    run a program, holds no numbers, or leads out of its folder.
    """
    import zarr

    node = _open_node(path)
    if isinstance(node, zarr.Array):
        return _with_metadata(node, path)
    about = _ome(node)
    if about.get("multiscales"):
        level = str(about["multiscales"][0]["datasets"][0]["path"])
        array = _open_node(_level(path, level))
        if isinstance(array, zarr.Array):
            return _with_metadata(array, path / level)
    raise FileProblemError(_why_no_image(path, about))


def levels_of(path: Path) -> list[Any]:
    """Open all levels of an OME-Zarr, the finest first; nothing is read. Errors: `open_zarr`'s."""
    finest = open_zarr(path)[0]
    multiscales = _multiscales(path)
    if not multiscales:
        return [finest]
    others = [_level(path, str(level["path"])) for level in multiscales[0]["datasets"][1:]]
    return [finest, *(open_zarr(level)[0] for level in others)]


def _level(path: Path, level: str) -> Path:
    if not is_inside(path, level):
        raise FileProblemError(
            f"{path} names {level!r} as its pixels, which lies outside of it. Open that itself "
            "if you trust it."
        )
    return path / level


def holds_labels(path: Path) -> bool:
    """Return whether an OME-Zarr, or the one that a level is of, says that it holds labels."""
    import zarr

    for folder in (path, path.parent):
        node = _open_node(folder) if is_zarr_node(folder) else None
        if isinstance(node, zarr.Group) and "image-label" in _ome(node):
            return True
    return False


def _open_node(path: Path) -> zarr.Array[Any] | zarr.Group:
    import zarr

    from napari_unet.io.zarr_chunks import PlainStore, with_bounded_chunks

    if path.is_file():
        raise FileProblemError(f"{path} is a file; Zarr images are read from folders.")
    if not path.is_dir():
        above = next((p for p in path.parents if p.exists()), Path())
        if split_zarr(above) is None or not above.is_dir():
            raise FileProblemError(f"There is no Zarr folder {path}.")
        raise FileProblemError(f"There is no {path}; {above} holds {_listed(above)}.")
    if not is_zarr_node(path):
        raise FileProblemError(
            f"{path} is no Zarr image: it lacks {', '.join(_METADATA_FILES)}. Copy it again "
            "whole, hidden files included."
        )
    _check_harmless(path)
    node: Any = zarr.open(store=PlainStore(path, read_only=True), mode="r")
    return with_bounded_chunks(node, path) if isinstance(node, zarr.Array) else node


def _check_harmless(node: Path) -> None:
    """Refuse, before anything else reads it, an array whose decoding may run what it holds."""
    for name, key_of_type in (("zarr.json", "data_type"), (".zarray", "dtype")):
        if not (node / name).is_file():
            continue
        try:  # bytes, as zarr reads them: what we understand must be what it understands
            about = json.loads((node / name).read_bytes())
        except (ValueError, RecursionError) as error:
            raise FileProblemError(
                f"{node} has damaged metadata ({name}): {short_reason(error)}. Copy it again whole."
            ) from error
        about = about if isinstance(about, dict) else {}
        if any(_PICKLE.search(text) for key in _CODECS for text in _texts(about.get(key))):
            raise FileProblemError(
                f"{node} is packed with pickle, which may run a program, and is not opened. Save "
                "it with another codec, such as zstd."
            )
        kind = about.get(key_of_type, "uint8")  # a group has none
        if not _is_numeric(kind):
            raise FileProblemError(
                f"{node} holds {str(kind)[:_LONGEST_TYPE]}, not numbers, and is not opened. Save "
                "it as whole or floating-point numbers."
            )


def _texts(content: object) -> Iterator[str]:
    """Yield every text in a value of JSON, however deep."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict | list):
        for each in content.values() if isinstance(content, dict) else content:
            yield from _texts(each)


def _is_numeric(kind: object) -> bool:
    try:
        return isinstance(kind, str) and np.dtype(kind).kind in "biufc"
    except (TypeError, ValueError, SyntaxError):  # a type that NumPy has not
        return False


def _ome(group: zarr.Group) -> dict[str, Any]:
    attributes = group.attrs.asdict()
    inner = attributes.get("ome")  # where NGFF 0.5 has it
    return dict(inner) if isinstance(inner, dict) else attributes


def _why_no_image(path: Path, about: dict[str, Any]) -> str:
    if "plate" in about:
        wells = [str(well["path"]) for well in about["plate"].get("wells", [])]
        example = path / (wells[0] if wells else "A/1") / "0"
        return f"{path} is a plate of {len(wells)} wells; name a field of one, such as {example}."
    if "well" in about:
        fields = [str(field["path"]) for field in about["well"].get("images", [])]
        example = path / (fields[0] if fields else "0")
        return f"{path} is a well of {len(fields)} fields; name one, such as {example}."
    members = _members(path)
    remedy = f"; name one of them, such as {path / members[0]}" if members else ""
    return f"{path} is a Zarr group, not an image: it holds {_listed(path)}{remedy}."


def _members(group: Path) -> list[str]:
    return sorted(p.name for p in group.iterdir() if p.is_dir() and is_zarr_node(p))


def _listed(group: Path) -> str:
    members = _members(group)
    return ", ".join(members[:10]) + (" ..." if len(members) > 10 else "") or "nothing"


def _with_metadata(
    array: zarr.Array[Any], path: Path
) -> tuple[zarr.Array[Any], str | None, PixelSize]:
    """Find what the groups above an array, or else it itself, say about its axes."""
    _, inside = split_zarr(path) or (path, "")
    names = inside.split("/") if inside else []
    for above in range(1, len(names) + 1):
        group = path.parents[above - 1]
        level = "/".join(names[len(names) - above :])
        for multiscale in _multiscales(group):
            for dataset in multiscale["datasets"]:
                if str(dataset["path"]) == level:
                    return array, *_described(multiscale, dataset, array.ndim)
    return array, axes_of_names(_dimension_names(array), array.ndim), UNKNOWN_SIZE


def _multiscales(group: Path) -> list[dict[str, Any]]:
    import zarr

    node = _open_node(group) if is_zarr_node(group) else None
    return list(_ome(node).get("multiscales", [])) if isinstance(node, zarr.Group) else []


def _described(
    multiscale: dict[str, Any], dataset: dict[str, Any], ndim: int
) -> tuple[str | None, PixelSize]:
    # Before NGFF 0.4 axes were bare names, before 0.3 always these five.
    described = [
        axis if isinstance(axis, dict) else {"name": axis}
        for axis in multiscale.get("axes", "tczyx")
    ]
    axes = axes_of_names((axis["name"] for axis in described), ndim)
    if axes is None:
        return None, UNKNOWN_SIZE
    scale = [1.0] * ndim
    for transform in [
        *dataset.get("coordinateTransformations", []),
        *multiscale.get("coordinateTransformations", []),
    ]:
        factors = transform.get("scale")
        if transform.get("type") == "scale" and factors and len(factors) == ndim:
            scale = [length * float(factor) for length, factor in zip(scale, factors, strict=True)]
    lengths = {
        letter: (length, axis.get("unit"))
        for letter, length, axis in zip(axes, scale, described, strict=True)
        if letter in "ZYX"
    }
    return axes, known_sizes(lengths)


def _dimension_names(array: zarr.Array[Any]) -> list[Any]:
    """Return the names that Zarr 3 has for axes, or those that xarray writes into Zarr 2."""
    names = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.asdict().get("_ARRAY_DIMENSIONS")
    return list(names) if isinstance(names, list | tuple) else []


# --- What lies where: the images of plates, wells and series, and their names ---------------------


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
