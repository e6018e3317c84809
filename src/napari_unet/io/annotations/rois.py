"""ROIs of ImageJ and Fiji: ``.roi`` files, and ``.zip`` files of the ROI Manager."""

from __future__ import annotations

import io
import logging
import re
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import FileProblemError, LabelsError
from napari_unet.io.annotations.drawn import Drawn
from napari_unet.io.annotations.outlines import trace
from napari_unet.io.disk import megabytes, short_reason
from napari_unet.io.limits import check_regular

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from roifile import ImagejRoi

    Ring = NDArray[np.floating[Any]]

_LARGEST_ROI = 2**28  # bytes of a .roi file
_LARGEST_PLANE = 60_535  # pixels: coordinates of ImageJ's files go no further
# 0007, 0007-z0003, 0007-nucleus: the names that `roi_zip` gives; plain numbers (7) are read too.
_OUR_NAME = re.compile(
    r"(?P<number>\d{4,18}|\d{1,18}(?!-))(?:-[zt]\d{4,})*(?:-(?P<name>.+))?", re.DOTALL
)
# 0003-0123-0456: plane, y and x, as ImageJ names a ROI that has no other name.
_NAME_OF_PLACE = re.compile(r"(?:(\d{4,5})-)?\d{4,5}-\d{4,5}")
_COUNT_BEHIND = re.compile(r"-\d+\Z")  # nucleus-1: of ROIs of one name ImageJ counts the further
_NO_WORD = re.compile(r"[\d\s_.:-]*")
_OVAL_CORNERS = 360
_MOST_ENTRIES = 200_000  # of an archive
_LARGEST_ENTRY = 2**26  # bytes, unpacked
_LARGEST_ALL = 2**30
_SHAPE = re.compile(r"napari-unet ([1-9]\d{0,8}(?: x [1-9]\d{0,8}){1,3})")  # of the labels


def read_rois(path: Path) -> tuple[list[Drawn], tuple[int, ...] | None, tuple[str, ...]]:
    """Read the ROIs that have an area from a ``.roi`` file or a ``.zip`` of them.

    With them comes the shape of the labels, in a file of ours, and a notice of how many were left
    out: lines, points, texts. A damaged file raises FileProblemError.
    """
    drawn, without_area = [], 0
    for entry, content in _contents(path):
        try:
            roi = _decoded(content)
            rings = _rings_of(roi)
        except Exception as error:  # decoders of damaged files raise whatever they come upon
            inside = "" if entry == path.name else f" ({entry})"
            raise FileProblemError(
                f"Cannot read {path}{inside}: {short_reason(error).rstrip('.')}. Save the ROIs "
                "again in ImageJ."
            ) from error
        if not rings:
            without_area += 1
            continue
        drawn.append(_drawn(roi, rings, entry))
    text = f"ROIs without an area (lines, points, texts): {without_area}; they are left out."
    return drawn, _shape_in(path), (text,) if without_area else ()


def _shape_in(path: Path) -> tuple[int, ...] | None:
    """Return the shape of the labels from the comment that we write into our archives."""
    if path.suffix.lower() != ".zip":
        return None
    with _opened(path) as archive:
        ours = _SHAPE.fullmatch(archive.comment.decode("ascii", "replace"))
    return tuple(map(int, ours[1].split(" x "))) if ours else None


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix.lower() == ".zip":
        yield from _entries_of(path, ".roi")
        return
    check_regular(path)
    try:
        with path.open("rb") as file:
            yield path.name, file.read(_LARGEST_ROI)
    except OSError as error:
        raise FileProblemError(f"Cannot read {path}: {short_reason(error)}.") from error


def _decoded(content: bytes) -> ImagejRoi:
    """Decode a ROI; a count of points that its bytes cannot hold is refused by NumPy."""
    from roifile import ImagejRoi  # on use: windows open without it

    logger = logging.getLogger("roifile")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # it warns of what is left out here anyway
    try:
        return ImagejRoi.frombytes(content)
    finally:
        logger.setLevel(level)


def _rings_of(roi: ImagejRoi) -> tuple[Ring, ...]:
    """Return the outlines of a ROI; none where it has no area."""
    from roifile import ROI_SUBTYPE, ROI_TYPE

    if roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.IMAGE, ROI_SUBTYPE.ARROW):
        return ()
    if roi.composite:
        rings = roi.coordinates(multi=True) if roi.multi_coordinates is not None else []
        return tuple(ring for ring in rings if len(ring) > 2)
    if roi.roitype in (ROI_TYPE.RECT, ROI_TYPE.OVAL):
        left, top, width, height = _box_of(roi)
        is_oval = roi.roitype == ROI_TYPE.OVAL
        unit = _circle() if is_oval else np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
        return (unit * (width, height) + (left, top),)
    if roi.roitype in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        ring = np.asarray(roi.coordinates(), np.float64)
        return (ring,) if len(ring) > 2 else ()
    return ()


def _box_of(roi: ImagejRoi) -> tuple[float, float, float, float]:
    if roi.subpixelrect and roi.widthd > 0:
        return roi.xd, roi.yd, roi.widthd, roi.heightd
    return roi.left, roi.top, roi.right - roi.left, roi.bottom - roi.top


def _circle() -> NDArray[np.float64]:
    """Return a circle of diameter 1 in the unit square, by many corners."""
    angle = np.linspace(0, 2 * np.pi, _OVAL_CORNERS, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) / 2 + 0.5


def _drawn(roi: ImagejRoi, rings: tuple[Ring, ...], entry: str) -> Drawn:
    stem = entry.rpartition("/")[2]
    name = roi.name or (stem[:-4] if stem.lower().endswith(".roi") else stem)
    place = _NAME_OF_PLACE.fullmatch(name)
    ours = None if place else _OUR_NAME.fullmatch(name)
    z, t = roi.z_position - 1, roi.t_position - 1
    if max(z, t) < 0:
        in_name = place[1] if place and place[1] and not roi.position else None
        z = (int(in_name) if in_name else roi.position) - 1
    word = "" if place else _COUNT_BEHIND.sub("", name)
    if ours:
        word = ours["name"] or ""
    elif _NO_WORD.fullmatch(word):
        word = ""
    return Drawn(
        (rings,),
        number=int(ours["number"]) if ours else None,
        name=word or (f"group {roi.group}" if roi.group else ""),
        colour=str(roi.hexcolor(roi.stroke_color, "")),
        z=z if z >= 0 else None,
        t=t if t >= 0 else None,
    )


def _damaged(path: Path, reason: str) -> FileProblemError:
    return FileProblemError(f"Cannot read {path}: {reason.rstrip('.')}. Save it again.")


def roi_zip(
    labels: NDArray[np.integer[Any]], axes: str, names: Mapping[int, str] | None = None
) -> bytes:
    """Return a ZIP file for ImageJ's ROI Manager: one ROI for each object and plane.

    Objects of one part without holes become traced ROIs, all others composite ones; both follow the
    edges of the pixels, so that they hold exactly these. Labels are ``YX``, ``ZYX``, ``TYX`` or
    ``TZYX``, 0 background; the class of a number is part of the ROI's name, and its group. A plane
    that is larger than ImageJ's format allows raises LabelsError.
    """
    if max(labels.shape[-2:]) > _LARGEST_PLANE:
        raise LabelsError(
            f"Planes of {labels.shape[-2:]} pixels are too large for ImageJ's ROIs "
            f"({_LARGEST_PLANE} at most); write GeoJSON."
        )
    classes = sorted(set((names or {}).values()))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for index in np.ndindex(*labels.shape[:-2]):
            for number, rings in trace(labels[index]).items():
                word = (names or {}).get(number, "")
                roi = _encoded(rings, _roi_name(number, index, axes, word))
                _place(roi, index)
                roi.group = min(classes.index(word) + 1, 255) if word else 0
                safe = re.sub(r"[^\w\-. ]", "_", roi.name)
                archive.writestr(f"{safe}.roi", roi.tobytes())
        archive.comment = f"napari-unet {' x '.join(map(str, labels.shape))}".encode()
    return content.getvalue()


def _roi_name(number: int, index: tuple[int, ...], axes: str, word: str) -> str:
    planes = [f"{letter.lower()}{at + 1:04d}" for letter, at in zip(axes, index, strict=False)]
    return "-".join([f"{number:04d}", *planes, *([word] if word else [])])


def _place(roi: ImagejRoi, index: tuple[int, ...]) -> None:
    """Set in which plane a ROI lies: by number in a stack, by slice and frame in a hyperstack."""
    if len(index) == 1:
        roi.position = index[0] + 1
    elif index:
        roi.c_position = 1
        roi.t_position, roi.z_position = index[0] + 1, index[1] + 1


def _encoded(rings: list[NDArray[np.int64]], name: str) -> ImagejRoi:
    from roifile import ROI_TYPE, ImagejRoi

    corners = np.concatenate(rings)
    low, high = corners.min(axis=0), corners.max(axis=0)
    roi = ImagejRoi(name=name)
    roi.left, roi.top = low.tolist()
    roi.right, roi.bottom = high.tolist()
    if len(rings) == 1:
        roi.roitype = ROI_TYPE.TRACED
        roi.n_coordinates = len(rings[0])
        roi.integer_coordinates = (rings[0] - low).astype(np.int32)
        return roi
    roi.roitype = ROI_TYPE.RECT  # what ImageJ calls ROIs that are made of several lines
    path = [_as_path(ring) for ring in rings]
    roi.multi_coordinates = np.concatenate(path).astype(np.float32)
    roi.shape_roi_size = len(roi.multi_coordinates)
    return roi


def _as_path(ring: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a ring as ImageJ's steps: move to (0), line to (1), close (4)."""
    steps = np.ones((len(ring), 3))
    steps[0, 0] = 0
    steps[:, 1:] = ring
    return np.append(steps.ravel(), 4)


# --- ZIP archives in memory: nothing is unpacked to a disk, and bombs stay small ------------------


def names_in(path: Path) -> list[str]:
    """Return the names of the files in an archive; raises FileProblemError if it is damaged."""
    with _opened(path) as archive:
        return archive.namelist()


def _entries_of(path: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of those files in an archive whose name ends in `suffix`.

    An archive that is damaged or locked, or unpacks to more than objects can need, raises
    FileProblemError.
    """
    left = _LARGEST_ALL
    with _opened(path) as archive:
        for entry in archive.infolist():
            if not entry.filename.lower().endswith(suffix):
                continue
            try:
                with archive.open(entry) as file:
                    content = file.read(_LARGEST_ENTRY + 1)
            except Exception as error:  # decoders of damaged files raise whatever they come upon
                raise _damaged(path, f"{entry.filename}: {short_reason(error)}") from error
            left -= len(content)
            if len(content) > _LARGEST_ENTRY or left < 0:
                raise FileProblemError(
                    f"{path} unpacks to more than {megabytes(_LARGEST_ALL)} (or one file in it to "
                    f"more than {megabytes(_LARGEST_ENTRY)}); save fewer objects at once."
                )
            yield entry.filename, content


def _opened(path: Path) -> zipfile.ZipFile:
    check_regular(path)
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # see _entries_of
        raise _damaged(path, short_reason(error)) from error
    if len(archive.filelist) > _MOST_ENTRIES:
        archive.close()
        raise FileProblemError(
            f"{path} holds {len(archive.filelist)} files; {_MOST_ENTRIES} objects are read at most."
        )
    return archive
