"""``project.json``: what stands in it, strictly; written all at once or not at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_unet.data.labels import Kind
from napari_unet.errors import FileProblemError
from napari_unet.io.disk import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT_VERSION = 1
PROJECT_FILE = "project.json"
LARGEST_JSON = 64 * 2**20
_LONGEST_PLACE = 200  # of what a hostile file says, in the message that refuses it


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class StoredArray(_Strict):
    """An array in a file of its own: its name relative to the folder, and its shape."""

    file: str
    shape: tuple[int, ...]


class StoredImage(_Strict):
    """A `ProjectImage`."""

    name: str
    image_path: str  # absolute, or an address
    image_inside: str  # instead of it: relative to the folder, with slashes
    image: StoredArray | None
    labels_name: str
    labels: StoredArray | None
    corrected: StoredArray | None
    regions: tuple[tuple[tuple[int, int], ...], ...]
    kind: Kind
    class_names: dict[int, str]
    class_colours: dict[int, str]
    used: bool
    rgb: bool
    scale: tuple[float, ...]
    translate: tuple[float, ...]
    units: tuple[str, ...]
    axis_labels: tuple[str, ...]


class StoredProject(_Strict):
    """A `Project`."""

    format_version: int
    saved: str
    preset: str
    model_name: str
    settings: dict[str, Any]
    images: tuple[StoredImage, ...]


def write_stored(content: Mapping[str, Any], folder: Path) -> None:
    """Replace the ``project.json`` of a folder by the fields of a `StoredProject` as plain values.

    Values that JSON cannot hold, that are not finite or too long raise FileProblemError: the
    content could not be read again.
    """
    path = folder / PROJECT_FILE
    try:
        text = json.dumps(content, allow_nan=False, indent=1).encode()
    except (TypeError, ValueError) as error:
        raise FileProblemError(f"The project in {folder} cannot be saved: {error}.") from error
    if len(text) > LARGEST_JSON:
        raise FileProblemError(
            f"The project in {folder} cannot be saved: its settings take {len(text)} bytes, "
            f"{LARGEST_JSON} are allowed. Remove some images."
        )
    _parse(text, path)  # what would not open again must not replace what does
    replace_file(path, text)


def read_stored(folder: Path) -> StoredProject:
    """Read the ``project.json`` of a folder.

    Raises FileProblemError if it is missing, too large, damaged, or of a later version.
    """
    path = folder / PROJECT_FILE
    try:
        size = path.stat().st_size
        if size > LARGEST_JSON:
            raise FileProblemError(
                f"{path} has {size} bytes, more than a project; open another folder."
            )
        content = path.read_bytes()
    except OSError as error:
        raise FileProblemError(
            f"Cannot read the project {path}: {error.strerror or error}. Choose a folder with a "
            f"{PROJECT_FILE}."
        ) from error
    return _parse(content, path)


def _parse(content: bytes, path: Path) -> StoredProject:
    try:
        plain = json.loads(content)
        version = plain.get("format_version") if isinstance(plain, dict) else None
        if type(version) is not int or version != FORMAT_VERSION:
            raise FileProblemError(
                f"{path} has project format {repr(version)[:_LONGEST_PLACE]}; this version reads "
                f"{FORMAT_VERSION}. Update napari-unet-paint."
            )
        return StoredProject.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:_LONGEST_PLACE]
        raise FileProblemError(
            f"{path} does not fit at {place!r}: {first['msg']}. Restore it from a copy."
        ) from error
    except (ValueError, RecursionError) as error:
        raise FileProblemError(f"{path} is damaged: {error}. Restore it from a copy.") from error
