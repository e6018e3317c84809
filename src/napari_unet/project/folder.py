"""A project folder remembers a session and opens it again; crash recovery uses the same format.

Every save writes the arrays into files of names that no other save has. Only then ``project.json``,
replaced in one step, makes them valid, and they get names that a person would give; what belonged
to the previous save is deleted. So a program that is killed at any time leaves a project that
loads, and of two that save at once one wins whole.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import FileProblemError, LabelsError
from napari_unet.io.disk import writing
from napari_unet.project.arrays import (
    ArrayWriter,
    StoredArray,
    as_file_name,
    check_inside,
    is_plain_name,
    locked_folder,
    path_inside,
    read_array,
)
from napari_unet.project.contents import (
    FORMAT_VERSION,
    MODEL_FILE,
    PROJECT_FILE,
    STATE_FILE,
    Project,
    ProjectClasses,
    ProjectImage,
    ProjectResult,
    ProjectTracks,
    is_project,
    read_stored,
    write_stored,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.project.contents import AnyArray, Box, LayerT

_MOST_CLASSES = 255
_COLOUR = re.compile("#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?")

# One lock for each folder that was saved to. Of the process: an autosave and a save that was asked
# for have nothing in common but the folder.
_saves: dict[str, threading.Lock] = {}


# --- Saving ------------------------------------------------------------------------------------


def save_project(project: Project, folder: Path) -> None:
    """Write a project; the previous one in this folder stays whole until the new one is.

    The folder is made if missing; images inside it are remembered relative to it, so that it can be
    moved. The model is not written; its place is `MODEL_FILE`. Files of the user are left alone.

    Raises FileProblemError if the folder cannot be written or a value cannot be stored, LabelsError
    if an annotation holds no whole numbers.
    """
    with _saves.setdefault(os.path.realpath(folder), threading.Lock()):
        kept = "The project saved there before was kept. " if is_project(folder) else ""
        remedy = f"{kept}Make room, or save the project in another folder."
        with writing(folder / PROJECT_FILE, remedy):
            _save(project, folder)


def _save(project: Project, folder: Path) -> None:
    images = tuple(_with_path_inside(image, folder) for image in project.images)
    opened = [image.image_inside for image in images if image.image_inside]
    writer = ArrayWriter(folder, {*_files_in(folder)}.difference(opened))
    try:
        stored = replace(
            project,
            format_version=FORMAT_VERSION,
            saved=datetime.now(UTC).isoformat(timespec="seconds"),
            images=tuple(_store_image(image, writer) for image in images),
            results=tuple(_store_result(each, images, writer) for each in project.results),
            tracks=tuple(_store_tracks(each, writer) for each in project.tracks),
        )
        writer.sync()  # names first, and only then what points to them
        with locked_folder(folder) as is_locked:
            before = _files_in(folder)
            write_stored(stored, folder)
            if is_locked:  # else another program may replace it just now
                writer.name(_arrays_of(stored))
            writer.sweep(before, [*_files_in(folder), *opened])
    except (OSError, FileProblemError, LabelsError):
        writer.take_back()
        raise


def _files_in(folder: Path) -> list[str]:
    """Return which files are those of the project that lies in a folder, if one does."""
    with contextlib.suppress(FileProblemError):
        return _files_of(read_stored(folder))
    return []


def _files_of(stored: Project) -> list[str]:
    arrays = list(_arrays_of(stored))
    return [each.file for each in arrays] + [each.written for each in arrays if each.written]


def _arrays_of(stored: Project) -> Iterator[StoredArray]:
    for layer in (*stored.images, *stored.results, *stored.tracks):
        yield from (array for array in vars(layer).values() if isinstance(array, StoredArray))


def _with_path_inside(image: ProjectImage, folder: Path) -> ProjectImage:
    path, inside = _split_path(image.image_path, folder)
    pixels = None if image.image_path else image.image
    return replace(image, image_path=path, image_inside=inside, image=pixels)


def _store_image(image: ProjectImage, writer: ArrayWriter) -> ProjectImage:
    """Write the arrays of an image, and put in their places which files hold them."""
    stored: dict[str, Any] = {}
    name = f"{image.name} paint" if image.name else image.labels_name
    if image.image is not None:
        stored["image"] = writer.write_pixels(image.name, np.asarray(image.image), image.rgb)
    if image.labels is not None:
        labels = np.asarray(image.labels)
        if labels.dtype.kind not in "uib":
            raise LabelsError(
                f"The annotation {image.labels_name!r} has dtype {labels.dtype}; annotations are "
                "whole numbers, for example uint16."
            )
        stored["labels"] = writer.write_labels(name, labels)
    if image.corrected is not None:
        corrected = np.asarray(image.corrected, bool)
        stored["corrected"] = writer.write_labels(f"{name}, corrected", corrected)
    return replace(image, **stored)


def _store_result(
    result: ProjectResult, images: tuple[ProjectImage, ...], writer: ArrayWriter
) -> ProjectResult:
    known = 0 <= result.image < len(images)
    name = f"{images[result.image].name} result" if known else result.name
    names = {"shown": name, "predicted": f"{name}, as found", "taken": f"{name}, as learned"}
    arrays = {key: getattr(result, key) for key in names}
    written: dict[str, Any] = {
        key: writer.write_labels(names[key], array)
        for key, array in arrays.items()
        if array is not None
    }
    return replace(result, **written)


def _store_tracks(tracks: ProjectTracks, writer: ArrayWriter) -> ProjectTracks:
    points = np.asarray(tracks.points)
    axes = tracks.axis_labels
    columns = axes if len(axes) == points.shape[1] - 1 else [f"axis {i}" for i in range(9)]
    names = ["track", *(as_file_name(name).replace(",", " ") for name in columns)]
    table: Any = writer.write_table(tracks.name, points, names[: points.shape[1]])
    return replace(tracks, points=table)


# --- Loading -----------------------------------------------------------------------------------


def load_project(folder: Path) -> Project:
    """Read a project. Nothing in it is executed, and no file outside the folder is read.

    Images that were opened from a file are not read: their `image_path` is absolute and may name a
    file that is gone. An array that is missing or damaged is left out, and named in `problems`: the
    others are not lost with it.

    Raises FileProblemError if there is no project, its ``project.json`` is damaged or was saved by
    a later version, or it names a file outside the folder.
    """
    with locked_folder(folder):
        stored = read_stored(folder)
        for name in _files_of(stored):  # one that leads out was made to do harm: refused as a whole
            check_inside(folder, name)
        problems: list[str] = []
        loaded = replace(
            stored,
            images=tuple([_load_image(each, folder, problems) for each in stored.images]),
            results=tuple([_load_result(each, folder, problems) for each in stored.results]),
            tracks=tuple([_with_arrays(each, folder, problems) for each in stored.tracks]),
        )
    return replace(
        loaded,
        has_model=(folder / MODEL_FILE).is_file(),
        has_state=(folder / STATE_FILE).is_file(),
        problems=tuple(problems),
    )


def _with_arrays(layer: LayerT, folder: Path, problems: list[str]) -> LayerT:
    """Read the arrays of a layer; add to `problems` why where that is not possible."""
    found: dict[str, Any] = {}
    for name, array in vars(layer).items():
        if isinstance(array, StoredArray):
            found[name] = None
            try:
                found[name] = read_array(folder, array)
            except FileProblemError as error:
                problems.append(str(error))
    scale = layer.scale if all(size > 0 for size in layer.scale) else ()
    return replace(layer, scale=scale, **found)


def _load_image(stored: ProjectImage, folder: Path, problems: list[str]) -> ProjectImage:
    found = _with_arrays(stored, folder, problems)
    labels = _whole_numbers(found.labels, f"annotation {stored.labels_name!r}", folder, problems)
    corrected = found.corrected
    fits = labels is not None and corrected is not None and corrected.shape == labels.shape
    above, inside = Path(os.path.abspath(folder)), stored.image_inside
    return replace(
        found,
        image_path=str(path_inside(above, inside)) if inside else stored.image_path,
        image_inside="",
        labels=labels,
        corrected=corrected.astype(bool) if corrected is not None and fits else None,
        regions=tuple(b for b in stored.regions if labels is None or _lies_in(b, labels.shape)),
        class_colours={v: c for v, c in stored.class_colours.items() if _COLOUR.fullmatch(c)},
        object_classes=_fitting(stored.object_classes),
    )


def _load_result(stored: ProjectResult, folder: Path, problems: list[str]) -> ProjectResult:
    found = _with_arrays(stored, folder, problems)
    shown = _whole_numbers(found.shown, f"result {stored.name!r}", folder, problems)
    shape = () if shown is None else shown.shape
    others: dict[str, Any] = {
        name: array if array is not None and array.shape == shape else None
        for name, array in (("predicted", found.predicted), ("taken", found.taken))
    }
    known = (place for place in stored.places if _lies_in(_box_of(place), shape))
    for name in ("must_link", "cannot_link"):
        pairs = getattr(stored, name)
        others[name] = tuple(
            (a, b) for a, b in pairs if a != b and _is_in(a, shape) and _is_in(b, shape)
        )
    others["object_classes"] = _fitting(stored.object_classes)
    return replace(found, shown=shown, places=tuple(known), **others)


def _fitting(classes: ProjectClasses | None) -> ProjectClasses | None:
    """Leave out what does not fit together; examples outside of the labels teach nothing anyway."""
    if classes is None:
        return None
    names = {value: name for value, name in classes.names.items() if 0 < value <= _MOST_CLASSES}
    width, n_rows = len(classes.columns), len(classes.rows)
    whole = len(classes.values) == n_rows and all(len(row) == width for row in classes.rows)
    whole = whole and all(value in names for value in classes.values)
    learned: dict[str, Any] = {} if whole else {"columns": (), "rows": (), "values": ()}
    return replace(
        classes,
        names=names if len(set(names.values())) == len(names) else {},
        colours={v: c for v, c in classes.colours.items() if _COLOUR.fullmatch(c)},
        examples=tuple((at, value) for at, value in classes.examples if value in names),
        ndim=classes.ndim if classes.ndim in (0, 2, 3) else 0,
        first=2 if classes.first == 2 else 1,
        **learned,
    )


def _is_in(place: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(place) == len(shape) and all(
        0 <= at < size for at, size in zip(place, shape, strict=True)
    )


def _box_of(place: tuple[tuple[int, ...], Box]) -> Box:
    frame, box = place
    return (*((at, at + 1) for at in frame), *box)


def _whole_numbers(
    labels: AnyArray | None, what: str, folder: Path, problems: list[str]
) -> AnyArray | None:
    if labels is None or labels.dtype.kind in "uib":
        return labels
    problems.append(
        f"The {what} in {folder} has dtype {labels.dtype} instead of whole numbers; restore it "
        "from a copy."
    )
    return None


def _lies_in(region: Box, shape: tuple[int, ...]) -> bool:
    """Return whether a box lies in an array; nothing else can be shown."""
    return len(region) == len(shape) >= 2 and all(
        0 <= start < stop <= size for (start, stop), size in zip(region, shape, strict=True)
    )


def _split_path(image_path: str, folder: Path) -> tuple[str, str]:
    """Return an absolute path and "", or "" and the path relative to the folder."""
    if not image_path or "://" in image_path:
        return image_path, ""
    path = Path(os.path.abspath(image_path))  # links stay: they may be there to be changed
    above = Path(os.path.abspath(folder))
    for inner, outer in ((path, above), (path.resolve(), above.resolve())):
        if inner.is_relative_to(outer):
            name = inner.relative_to(outer).as_posix()
            if is_plain_name(name):
                return "", name
    return str(path), ""
