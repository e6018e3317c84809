"""Folders of the Cell Tracking Challenge: frames with numbers, and the table of tracks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.util import map_array

from napari_unet.data.labels import check_labels
from napari_unet.errors import FileProblemError, LabelsError
from napari_unet.io.annotations.drawn import Annotations
from napari_unet.io.disk import megabytes, replace_file, writing
from napari_unet.io.files import read_labels, write_image
from napari_unet.io.outputs import make_output_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

# The gold truth names frames, or single planes of them: man_seg003.tif, man_seg_003_012.tif.
_FRAME = re.compile(r"(man_seg|man_track|mask)_?(\d{1,6})(?:_(\d{1,6}))?\.tiff?", re.IGNORECASE)
_TABLE = "res_track.txt"
_INSIDE = ("SEG", "TRA")  # of 01_GT and 01_ST
_MOST = np.iinfo(np.uint16).max
_MOST_PIXELS = 2**36


def is_ctc(path: Path) -> bool:
    """Return whether a folder holds frames of the Cell Tracking Challenge.

    Files ``mask001.tif`` alone are none, as many programs name label images so: such a folder is
    called ``01_RES``, or holds the table of tracks.
    """
    folder = _folder_of(path) if path.is_dir() else None
    if folder is None:
        return False
    is_truth = any(not _is_mask(file) for _, file in _frames_in(folder))
    return is_truth or folder.name.endswith("_RES") or (folder / _TABLE).is_file()


def _is_mask(path: Path) -> bool:
    return path.name.lower().startswith("mask")


def read_ctc(path: Path, shape: Sequence[int] | None = None) -> Annotations:
    """Read the frames of a folder; frames and planes that it does not have are unlabelled.

    The folder is ``01_GT``, ``01_ST``, ``01_RES``, or ``SEG`` or ``TRA`` in them. Of ``01_GT`` the
    segmentation is taken where there is one, else the markers of the tracks. `shape` is ``TYX`` or
    ``TZYX`` of the movie, which may go on behind the last frame of the folder.

    Raises FileProblemError if there are no such files, or they do not fit together; LabelsError if
    the movie has another shape.
    """
    folder = _folder_of(path)
    if folder is None:
        raise FileProblemError(
            f"The folder {path} holds no man_seg*.tif, man_track*.tif or mask*.tif."
        )
    frames = _frames_in(folder)
    first = check_labels(read_labels(frames[0][1]))
    ndim = len(frames[0][0])
    if any(len(index) != ndim for index, _ in frames):
        raise FileProblemError(
            f"The folder {folder} holds whole frames and single planes; part it."
        )
    whole = _whole_shape([index for index, _ in frames], first, shape)
    if np.prod(whole, dtype=float) > _MOST_PIXELS:
        raise FileProblemError(
            f"The frames of {folder} are numbered up to {whole[0] - 1}: {whole} labels do not fit "
            "into memory. Number them from 0."
        )
    labels = np.zeros(whole, np.uint16 if first.dtype.itemsize < 4 else np.uint32)
    for at, (index, file) in enumerate(frames):
        plane = check_labels(read_labels(file)) if at else first
        if plane.shape != whole[len(index) :] or int(plane.max(initial=0)) > 2**32 - 1:
            raise FileProblemError(
                f"{file} has shape {plane.shape}, not {whole[len(index) :]} like the others."
            )
        if plane.max(initial=0) > np.iinfo(labels.dtype).max:
            labels = labels.astype(np.uint32)
        labels[index] = plane
    known = {index for index, _ in frames}
    missing = tuple(index for index in np.ndindex(*whole[:ndim]) if index not in known)
    return Annotations(labels, "objects", unlabelled=missing, notices=_notices(missing))


def _folder_of(path: Path) -> Path | None:
    candidates = [path, *(path / name for name in _INSIDE)]
    return next((each for each in candidates if each.is_dir() and _frames_in(each)), None)


def _frames_in(folder: Path) -> list[tuple[tuple[int, ...], Path]]:
    """Return the files with labels: which frame each is, and which plane of it if not all."""
    found: dict[str, list[tuple[tuple[int, ...], Path]]] = {}
    for path in sorted(folder.iterdir()):
        match = _FRAME.fullmatch(path.name)
        if match:
            index = tuple(int(number) for number in match.groups()[1:] if number is not None)
            found.setdefault(match[1].lower(), []).append((index, path))
    return next((found[name] for name in ("man_seg", "man_track", "mask") if name in found), [])


def _whole_shape(
    indices: list[tuple[int, ...]], first: NDArray[Any], shape: Sequence[int] | None
) -> tuple[int, ...]:
    told = (*(max(along) + 1 for along in zip(*indices, strict=True)), *first.shape)
    if shape is None:
        return told
    wanted = tuple(shape)
    fits = len(wanted) == len(told) and wanted[-2:] == told[-2:]
    if not fits or any(a < b for a, b in zip(wanted, told, strict=True)):
        raise LabelsError(
            f"The frames are numbered up to {told[0] - 1} and make labels of shape {told}; the "
            f"image has shape {wanted}. Choose the folder of this movie."
        )
    return wanted


def _notices(missing: tuple[tuple[int, ...], ...]) -> tuple[str, ...]:
    if not missing:
        return ()
    named = ", ".join("/".join(map(str, index)) for index in missing[:10])
    what = "Planes (frame/plane)" if len(missing[0]) > 1 else "Frames"
    more = " ..." if len(missing) > 10 else ""
    return (f"{what} without labels: {named}{more}; nothing is labelled there.",)


def write_ctc(
    labels: NDArray[np.integer[Any]], folder: Path, parents: Mapping[int, int] | None = None
) -> None:
    """Write linked labels as a result folder: ``mask000.tif`` and on, and ``res_track.txt``.

    A track must have no gap there: behind a gap it goes on under a new number, whose parent is the
    number before. Labels are ``TYX`` or ``TZYX``, 0 background; an object has the same number in
    all frames. `parents` are the mothers of daughters, as `link` finds them.

    Raises LabelsError if there is no time, or there are more numbers than fit into 16 bits;
    FileProblemError if a file cannot be written, or the folder holds frames of a longer movie.
    """
    if labels.ndim not in (3, 4):
        raise LabelsError(
            f"Labels of shape {labels.shape} are no movie; the Cell Tracking Challenge needs TYX "
            "or TZYX."
        )
    labels = check_labels(labels)
    rows, tables = _tracks(labels, parents or {})
    if len(rows) > _MOST:
        raise LabelsError(
            f"There are {len(rows)} tracks; the Cell Tracking Challenge numbers up to {_MOST}. "
            "Crop the movie, or remove small objects."
        )
    needed = labels.size * 2
    digits = max(3, len(str(len(labels) - 1)))
    names = [f"mask{time:0{digits}d}.tif" for time in range(len(labels))]
    _refuse_others(folder, names)
    make_output_folder(folder)
    for name, frame, (values, new) in zip(names, labels, tables, strict=True):
        renumbered = map_array(frame, values, new.astype(np.uint16))
        write_image(folder / name, renumbered, "ZYX"[-frame.ndim :])
    path = folder / _TABLE
    with writing(path, f"({megabytes(needed)} of frames.)", needed):
        replace_file(path, "".join(f"{' '.join(map(str, row))}\n" for row in rows).encode())


def _refuse_others(folder: Path, names: Sequence[str]) -> None:
    """Refuse a folder with frames that would stay, and be read with the new ones."""
    if not folder.is_dir():
        return
    others = sorted({path.name for _, path in _frames_in(folder)} - set(names))
    if others:
        raise FileProblemError(
            f"The folder {folder} holds {others[0]} of another movie ({len(others)} such frames); "
            "delete them, or choose an empty folder."
        )


def _tracks(
    labels: NDArray[np.integer[Any]], parents: Mapping[int, int]
) -> tuple[list[tuple[int, int, int, int]], list[tuple[NDArray[Any], NDArray[Any]]]]:
    """Give tracks numbers such that none has a gap.

    Returns number, first frame, last frame and parent of each track; and for each frame the numbers
    that are in it, ascending, with their new ones.
    """
    rows: list[list[int]] = []
    current: dict[int, int] = {}  # the row of each number where it was last seen
    tables = []
    for time in range(len(labels)):
        values = np.unique(labels[time])
        values = values[values > 0]
        new = []
        for value in values.tolist():
            row = current.get(value)
            if row is None or rows[row][2] < time - 1:
                mother = current.get(parents.get(value, 0)) if row is None else row
                rows.append([len(rows) + 1, time, time, 0 if mother is None else mother + 1])
                row = current[value] = len(rows) - 1
            rows[row][2] = time
            new.append(row + 1)
        tables.append((values, np.array(new)))
    return [(n, first, last, parent) for n, first, last, parent in rows], tables
