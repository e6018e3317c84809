"""A project folder remembers a session and opens it again; crash recovery uses the same format.

Every save writes the arrays into files of names that no other save has. Only then ``project.json``,
replaced in one step, makes them valid, and the files of previous saves are deleted. So a program
that is killed at any time leaves a project that loads, and of two that save at once one wins whole.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import FileProblemError, LabelsError
from napari_unet.io.disk import why_not_written
from napari_unet.project.stored import (
    FORMAT_VERSION,
    PROJECT_FILE,
    ArrayWriter,
    StoredArray,
    StoredImage,
    StoredProject,
    check_inside,
    is_plain_name,
    path_inside,
    read_array,
    read_stored,
    write_stored,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from napari_unet.data.labels import Kind

_COLOUR = re.compile("#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?")
MODEL_FILE = "model.safetensors"
STATE_FILE = "model.state.safetensors"  # as training.checkpoint.state_path names it

# One lock for each folder that was saved to. Of the process: an autosave and a save that was asked
# for have nothing in common but the folder.
_saves: dict[str, threading.Lock] = {}


@dataclass(frozen=True)
class ProjectImage:
    """One image layer, its annotation, and what is needed to show them again."""

    name: str
    image_path: str = ""
    """Path or address that the image was opened from; "" where it lives in memory only."""
    image: ArrayLike | None = None
    """Pixels, axes as in the layer. Only saved without a path; None on load where there is one."""
    labels_name: str = ""
    """Name of the annotation layer; "" if there is none."""
    labels: NDArray[Any] | None = None
    """Of any integer dtype."""
    corrected: NDArray[np.bool_] | None = None
    """Pixels of `labels` that the user corrected."""
    regions: tuple[tuple[tuple[int, int], ...], ...] = ()
    """Fully annotated boxes: (start, stop) in pixels for each axis of `labels`."""
    kind: Kind = "objects"
    class_names: Mapping[int, str] = field(default_factory=dict)
    """By painted value; so are the colours, as "#0072B2"."""
    class_colours: Mapping[int, str] = field(default_factory=dict)
    used: bool = True
    """Whether the image is ticked for training."""
    rgb: bool = False
    """Whether the last axis holds colours."""
    scale: tuple[float, ...] = ()
    """Size of a pixel per axis, in `units`; () if unknown."""
    translate: tuple[float, ...] = ()
    """Position of the first pixel per axis, in `units`; () if unknown."""
    units: tuple[str, ...] = ()
    """Of each axis, as are the labels; () if unknown."""
    axis_labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Project:
    """A session: its images and how it trains. What is set on load is ignored on save."""

    images: tuple[ProjectImage, ...]
    """In the order of the layers."""
    settings: dict[str, Any]
    """A `TrainConfig` as dict."""
    preset: str = "fast"
    """Name of the preset that the settings came from."""
    model_name: str = ""
    """Name of the model in the library; "" if none."""
    has_model: bool = False
    """On load: whether `MODEL_FILE` lies in the folder."""
    has_state: bool = False
    """On load: whether `STATE_FILE` lies in the folder."""
    saved: str = ""
    """On load: when it was saved, ISO 8601."""
    problems: tuple[str, ...] = ()
    """On load: what is missing or damaged, and left out."""


def is_project(folder: Path) -> bool:
    """Return whether a folder holds a project."""
    return (folder / PROJECT_FILE).is_file()


def save_project(project: Project, folder: Path) -> None:
    """Write a project; the previous one in this folder stays whole until the new one is.

    The folder is made if missing; images inside it are remembered relative to it, so that it can be
    moved. The model is not written; its place is `MODEL_FILE`.

    Raises
    ------
    FileProblemError
        The folder cannot be written, or a value cannot be stored.
    LabelsError
        An annotation holds no whole numbers.
    """
    with _saves.setdefault(os.path.realpath(folder), threading.Lock()):
        kept = " The project saved there before was kept." if is_project(folder) else ""
        try:
            _save(project, ArrayWriter(folder))
        except OSError as error:
            raise FileProblemError(
                f"{why_not_written(folder / PROJECT_FILE, error)}{kept} Make room, or save the "
                "project in another folder."
            ) from error


def _save(project: Project, writer: ArrayWriter) -> None:
    try:
        images = [_store_image(image, i, writer) for i, image in enumerate(project.images)]
        writer.sync()  # names first, and only then what points to them
        write_stored(_content(project, images), writer.folder)
    except (OSError, FileProblemError, LabelsError):
        writer.take_back()
        raise
    with contextlib.suppress(OSError, FileProblemError):  # another program replaces it just now
        writer.sweep(_files_of(read_stored(writer.folder)))


def _files_of(stored: StoredProject) -> list[str]:
    """Return what a project consists of; of two programs that save at once, the other's."""
    opened = [image.image_inside for image in stored.images if image.image_inside]
    return _array_files(stored) + opened


def _array_files(stored: StoredProject) -> list[str]:
    arrays = [each for i in stored.images for each in (i.image, i.labels, i.corrected)]
    return [array.file for array in arrays if array is not None]


def load_project(folder: Path) -> Project:
    """Read a project. Nothing in it is executed, and no file outside the folder is read.

    Images that were opened from a file are not read: their `image_path` is absolute and may name a
    file that is gone. An array that is missing or damaged is left out, and named in `problems`: the
    others are not lost with it.

    Raises
    ------
    FileProblemError
        There is no project, its ``project.json`` is damaged or was saved by a later version, or
        it names a file outside the folder.
    """
    stored = read_stored(folder)
    for name in _array_files(stored):  # one that leads out was made to do harm: refused as a whole
        check_inside(folder, name)
    problems: list[str] = []
    return Project(
        images=tuple([_load_image(image, folder, problems) for image in stored.images]),
        settings=stored.settings,
        preset=stored.preset,
        model_name=stored.model_name,
        has_model=(folder / MODEL_FILE).is_file(),
        has_state=(folder / STATE_FILE).is_file(),
        saved=stored.saved,
        problems=tuple(problems),
    )


def _content(project: Project, images: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "saved": datetime.now(UTC).isoformat(timespec="seconds"),
        "preset": project.preset,
        "model_name": project.model_name,
        "settings": project.settings,
        "images": images,
    }


def _store_image(image: ProjectImage, number: int, writer: ArrayWriter) -> dict[str, Any]:
    """Write the arrays of an image; return everything else with their file names."""
    path, inside = _split_path(image.image_path, writer.folder)
    stored: dict[str, Any] = {
        "name": image.name,
        "image_path": path,
        "image_inside": inside,
        "image": None,
        "labels_name": image.labels_name,
        "labels": None,
        "corrected": None,
        # Whoever made them: numpy's numbers do not fit into JSON.
        "regions": [[[int(a), int(b)] for a, b in region] for region in image.regions],
        "kind": image.kind,
        "class_names": {int(value): name for value, name in image.class_names.items()},
        "class_colours": {int(value): name for value, name in image.class_colours.items()},
        "used": bool(image.used),
        "rgb": bool(image.rgb),
        "scale": [float(size) for size in image.scale],
        "translate": [float(start) for start in image.translate],
        "units": [str(unit) for unit in image.units],
        "axis_labels": [str(label) for label in image.axis_labels],
    }
    if image.image is not None and not image.image_path:
        pixels = np.asarray(image.image)
        stored["image"] = _entry(writer.write_pixels(number, pixels, image.rgb), pixels)
    if image.labels is not None:
        labels = np.asarray(image.labels)
        if labels.dtype.kind not in "uib":
            raise LabelsError(
                f"The annotation {image.labels_name!r} has dtype {labels.dtype}; annotations are "
                "whole numbers, for example uint16."
            )
        stored["labels"] = _entry(writer.write_annotation(number, labels), labels)
    if image.corrected is not None:
        corrected = np.asarray(image.corrected, bool)
        stored["corrected"] = _entry(writer.write_corrected(number, corrected), corrected)
    return stored


def _entry(file: str, array: NDArray[Any]) -> dict[str, Any]:
    return {"file": file, "shape": array.shape}


def _load_image(stored: StoredImage, folder: Path, problems: list[str]) -> ProjectImage:
    plain = stored.model_dump(exclude={"image_inside", "image", "labels", "corrected"})
    plain["class_colours"] = {v: c for v, c in stored.class_colours.items() if _COLOUR.fullmatch(c)}
    plain["scale"] = stored.scale if all(size > 0 for size in stored.scale) else ()
    if stored.image_inside:
        plain["image_path"] = str(path_inside(Path(os.path.abspath(folder)), stored.image_inside))
    image, labels, corrected = (
        _array_or_none(array, folder, problems)
        for array in (stored.image, stored.labels, stored.corrected)
    )
    if labels is not None and labels.dtype.kind not in "uib":
        problems.append(
            f"The annotation {stored.labels_name!r} in {folder} has dtype {labels.dtype} instead "
            "of whole numbers; restore it from a copy."
        )
        labels = None
    if labels is not None:
        boxes = stored.regions
        plain["regions"] = tuple(box for box in boxes if _lies_in(box, labels.shape))
    fits = labels is not None and corrected is not None and corrected.shape == labels.shape
    return ProjectImage(
        **plain,
        image=image,
        labels=labels,
        corrected=corrected.astype(bool) if corrected is not None and fits else None,
    )


def _lies_in(region: tuple[tuple[int, int], ...], shape: tuple[int, ...]) -> bool:
    """Return whether a box lies in an array; nothing else can be shown."""
    return len(region) == len(shape) >= 2 and all(
        0 <= start < stop <= size for (start, stop), size in zip(region, shape, strict=True)
    )


def _array_or_none(
    stored: StoredArray | None, folder: Path, problems: list[str]
) -> NDArray[Any] | None:
    """Read an array; add to `problems` why where that is not possible."""
    try:
        return None if stored is None else read_array(folder, stored.file, stored.shape)
    except FileProblemError as error:
        problems.append(str(error))
        return None


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
