"""Annotations of other programs, whichever format they are in, and whose image each is of."""

from __future__ import annotations

import glob
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.data.axes import UNKNOWN_SIZE, without_ones
from napari_unet.data.labels import check_labels
from napari_unet.errors import (
    NUMBER,
    PATH,
    TEXT,
    FileProblemError,
    LabelsError,
    accepting,
    list_of,
)
from napari_unet.io.annotations.cellpose import is_seg, read_seg
from napari_unet.io.annotations.coco import read_coco
from napari_unet.io.annotations.ctc import is_ctc, read_ctc
from napari_unet.io.annotations.drawn import Annotations, check_extent, paint
from napari_unet.io.annotations.formats import ConvertConfig
from napari_unet.io.annotations.geojson import read_geojson
from napari_unet.io.annotations.rois import read_rois
from napari_unet.io.files import (
    IMAGE_SUFFIXES,
    find_images,
    in_natural_order,
    is_run_card,
    open_labels,
    read_labels,
    stem_of,
    without_run_cards,
)
from napari_unet.io.tiff_sets import file_of, once_per_set
from napari_unet.io.zarr_files import split_zarr

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from napari_unet.data.axes import PixelSize
    from napari_unet.data.labels import Kind

OUTLINE_SUFFIXES = (".zip", ".roi", ".geojson", ".json")
ANNOTATION_SUFFIXES = (*IMAGE_SUFFIXES, *OUTLINE_SUFFIXES)
_ENDINGS = ("_seg", "_cp_masks")  # what Cellpose adds to the name of an image
_COCO_MARK = b'"annotations"'
_GEOJSON_MARK = b'"Feature'


def is_external_annotation(path: Path) -> bool:
    """Return whether a path is an annotation of another program, rather than a label image."""
    if split_zarr(path) is not None:
        return False
    has_outlines = path.suffix.lower() in OUTLINE_SUFFIXES and not is_run_card(path)
    return has_outlines or is_seg(path) or is_ctc(path)


@accepting(path=PATH, shape=list_of(NUMBER), axes=TEXT, image_name=TEXT)
def read_annotations(
    path: str | os.PathLike[str],
    shape: Sequence[int] | None = None,
    axes: str | None = None,
    kind: Kind = "objects",
    image_name: str | None = None,
) -> Annotations:
    """Read annotations or masks that another program has written.

    ==============================  =========================================================
    Cellpose                        ``*_seg.npy`` (the pickle in it is not run), ``*_cp_masks``
    StarDist                        label TIFF, ROI zip, GeoJSON of QuPath
    ImageJ, Fiji                    ``.roi``, ``.zip`` of the ROI Manager
    QuPath                          ``.geojson``
    COCO                            ``.json``: polygons, run lengths
    Cell Tracking Challenge         folders: ``01_GT/SEG``, ``01_GT/TRA``, ``01_ST``, ``01_RES``
    any                             label images: TIFF, PNG, NumPy, OME-Zarr
    ==============================  =========================================================

    Parameters
    ----------
    path : path
        The file or folder.
    shape : sequence of int, optional
        Of the image without channels; needed for outlines of other programs, which know no size:
        without it the labels reach as far as the objects.
    axes : str, optional
        Letters of `shape`: YX, ZYX, TYX or TZYX; by their number by default.
    kind : {"objects", "classes"}
        Whether objects are numbered, or the classes that they belong to: QuPath's classifications,
        COCO's categories, ImageJ's names of ROIs (``nucleus-1``) or else their groups. Label
        images are taken as they are.
    image_name : str, optional
        File name of the image: which one of a COCO file.

    Returns
    -------
    Annotations
        Labels, the names of classes, and what the user should know.

    Raises
    ------
    FileProblemError
        The file is missing, damaged, or of an unknown format.
    LabelsError
        It does not fit the image, or holds no objects.
    ConfigError
        There is no such kind.

    Notes
    -----
    A pixel belongs to an outline if its centre is inside; (0, 0) is the outer corner of the first
    pixel. What is written by `write_objects` and read again is exactly the same.

    Examples
    --------
    >>> nu.read_annotations("cells.zip", shape=(512, 512)).labels  # doctest: +SKIP
    """
    ConvertConfig(kind=kind)
    path = Path(path).expanduser()
    if not file_of(path).exists():
        raise FileProblemError(f"There is no file or folder {path}.")
    if path.is_dir() and split_zarr(path) is None:
        return read_ctc(path, shape)
    if not is_external_annotation(path):
        return _of_image(path, shape, kind, axes)
    if is_seg(path):
        return _fitting(Annotations(read_seg(path), kind), shape, path)
    return _of_outlines(path, shape, axes, kind, image_name)


def _of_outlines(
    path: Path,
    shape: Sequence[int] | None,
    axes: str | None,
    kind: Kind,
    image_name: str | None,
) -> Annotations:
    if path.suffix.lower() in (".zip", ".roi"):
        drawn, told, notices = read_rois(path)
    elif _is_coco(path):
        drawn, told, notices = read_coco(path, image_name, shape)
    else:
        drawn, told, notices = read_geojson(path)
    try:
        if shape is None and told is not None:
            check_extent(told)
        found = paint(drawn, told if shape is None else shape, axes, kind)
    except LabelsError as error:
        raise LabelsError(f"{path.name}: {error}") from error
    except MemoryError as error:
        raise LabelsError(
            f"{path.name}: its objects need more memory than is free; crop the image."
        ) from error
    return replace(found, notices=(*notices, *found.notices))


def _is_coco(path: Path) -> bool:
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            start = file.read(2**20)
    except OSError:
        return False
    return _COCO_MARK in start or _GEOJSON_MARK not in start


def _of_image(path: Path, shape: Sequence[int] | None, kind: Kind, axes: str | None) -> Annotations:
    if path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES:
        raise FileProblemError(
            f"{path} has an unknown format; use one of {', '.join(ANNOTATION_SUFFIXES)}, or a "
            "folder of the Cell Tracking Challenge."
        )
    return _fitting(Annotations(check_labels(read_labels(path, axes)), kind), shape, path)


def _fitting(found: Annotations, shape: Sequence[int] | None, path: Path) -> Annotations:
    """Refuse labels of another shape than the image's; axes of length 1 do not count."""
    if shape is None or found.labels.shape == tuple(shape):
        return found
    if without_ones(found.labels.shape) == without_ones(shape):
        return replace(found, labels=found.labels.reshape(tuple(shape)))
    raise LabelsError(
        f"{path.name} has shape {found.labels.shape}, the image {tuple(shape)}; choose the file "
        "of this image."
    )


def told_by(path: Path, axes: str | None = None) -> tuple[str | None, PixelSize]:
    """Return the axes, without channels, and the pixel size of a label image, as far as told."""
    if is_external_annotation(path) or (path.is_dir() and split_zarr(path) is None):
        return None, UNKNOWN_SIZE
    image = open_labels(path, axes)
    return image.axes and image.axes.replace("C", ""), image.pixel_size


def find_annotations(paths: Sequence[str | Path]) -> list[Path]:
    """Expand files, folders and globs to annotations and label images, in natural order.

    A folder of frames of the Cell Tracking Challenge is one annotation. Of other folders Cellpose's
    ``_seg.npy`` files are taken where there are any, else the images, else outlines. A path that
    does not exist, or where nothing readable is found, raises FileProblemError.
    """
    found: set[Path] = set()
    for entry in map(str, paths):
        path = Path(entry).expanduser()
        matches = [path] if path.exists() else [Path(each) for each in glob.glob(str(path))]
        external = {each for match in matches for each in _external_in(match)}
        found |= external or set(find_images([entry]))
        if not any(map(is_seg, external)):  # the images beside Cellpose's files are no labels
            found |= {each for each in matches if each.suffix.lower() in IMAGE_SUFFIXES}
    return once_per_set(in_natural_order(without_run_cards(found)))


def _external_in(path: Path) -> list[Path]:
    """Return the annotations of other programs that a path names or holds."""
    if path.is_file():
        return [path] if is_external_annotation(path) else []
    if not path.is_dir() or split_zarr(path) is not None:
        return []
    if is_ctc(path):
        return [path]
    inside = [each for each in path.iterdir() if each.is_file() and each.name[0] != "."]
    of_cellpose = [each for each in inside if is_seg(each)]
    has_images = any(each.suffix.lower() in IMAGE_SUFFIXES for each in path.iterdir())
    outlines = [each for each in inside if is_external_annotation(each)]
    return of_cellpose or ([] if has_images else outlines)


def annotation_stem(path: Path) -> str:
    """Return the name of the image that an annotation belongs to, without suffixes.

    Examples
    --------
    >>> [annotation_stem(Path(name)) for name in ("a_seg.npy", "a_cp_masks.png", "a.ome.tif")]
    ['a', 'a', 'a']
    """
    stem = stem_of(path) if not is_ctc(path) else path.name
    return next((stem.removesuffix(end) for end in _ENDINGS if stem.endswith(end)), stem)
