"""What ``project.json`` says: a session as values, in which arrays are named by their files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from napari_unet.data.labels import Kind  # noqa: TC001 (pydantic reads it)
from napari_unet.errors import FileProblemError
from napari_unet.io.disk import replace_file
from napari_unet.io.limits import check_regular
from napari_unet.project.arrays import StoredArray

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    AnyArray = NDArray[Any]
    Mask = NDArray[np.bool_]
else:  # in project.json stands which file holds it
    AnyArray = Mask = StoredArray

FORMAT_VERSION = 3
_READ_VERSIONS = (1, 2, 3)  # the first has no results and no tracks, the second no object classes
PROJECT_FILE = "project.json"
LARGEST_JSON = 64 * 2**20
MODEL_FILE = "model.safetensors"
STATE_FILE = "model.state.safetensors"  # as training.checkpoint.state_path names it
_LONGEST_PLACE = 200  # of what a hostile file says, in the message that refuses it

Box = tuple[tuple[int, int], ...]  # (start, stop) in pixels, of each axis
Pair = tuple[tuple[int, ...], tuple[int, ...]]  # indices of two pixels


@dataclass(frozen=True)
class ProjectLayer:
    """A layer, and where it lies."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False
    )

    name: str
    scale: tuple[float, ...] = ()
    """Size of a pixel per axis, in `units`; () if unknown."""
    translate: tuple[float, ...] = ()
    """Position of the first pixel per axis, in `units`; () if unknown."""
    units: tuple[str, ...] = ()
    """Of each axis; () if unknown."""
    axis_labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProjectClasses:
    """Classes that the objects of a layer get by examples; what is found of all is not stored."""

    __pydantic_config__: ClassVar[ConfigDict] = ProjectLayer.__pydantic_config__

    names: dict[int, str] = field(default_factory=dict)
    """By number of the class; so are the colours, as "#0072B2"."""
    colours: dict[int, str] = field(default_factory=dict)
    examples: tuple[tuple[tuple[int, ...], int], ...] = ()
    """Pixels of the labels, and the class of the object there."""
    ndim: int = 0
    """Along how many axes an object extends; 0: as the layer is made."""
    first: int = 1
    """The lowest number of an object: 2 where 1 is painted background."""
    without_image: bool = False
    """Whether sizes and shapes alone count."""
    columns: tuple[str, ...] = ()
    """Of examples from elsewhere, as a classifier in a file has them; so are the next two."""
    rows: tuple[tuple[float | None, ...], ...] = ()
    values: tuple[int, ...] = ()


@dataclass(frozen=True)
class ProjectImage(ProjectLayer):
    """One image layer, its annotation, and what is needed to show them again."""

    image_path: str = ""
    """Path or address that the image was opened from; "" where it lives in memory only."""
    image_inside: str = ""
    """In the file: instead of it, relative to the folder, with slashes."""
    image: AnyArray | None = None
    """Pixels, axes as in the layer. Only saved without a path; None on load where there is one."""
    labels_name: str = ""
    """Name of the annotation layer; "" if there is none."""
    labels: AnyArray | None = None
    """Of any integer dtype; it lies where the image does.

    An image without a name is none: the paint is of no image, or of which was not clear.
    """
    corrected: Mask | None = None
    """Pixels of `labels` that the user corrected."""
    regions: tuple[Box, ...] = ()
    """Fully annotated boxes of `labels`."""
    kind: Kind = "objects"
    class_names: dict[int, str] = field(default_factory=dict)
    """By painted value; so are the colours, as "#0072B2"."""
    class_colours: dict[int, str] = field(default_factory=dict)
    used: bool = True
    """Whether the image is ticked for training."""
    rgb: bool = False
    """Whether the last axis holds colours."""
    object_classes: ProjectClasses | None = None
    """Of the objects of `labels`; None where none have classes."""


@dataclass(frozen=True)
class ProjectResult(ProjectLayer):
    """A layer of results, with what was corrected in it."""

    shown: AnyArray | None = None
    """The labels; None on load where they are damaged."""
    predicted: AnyArray | None = None
    """As they were predicted: what differs was corrected. None where nothing does."""
    taken: AnyArray | None = None
    """As they were when corrections were last learned; None if that never was."""
    image: int = -1
    """Which of the project's images they were found in; -1 where that is unknown."""
    kind: str = "objects"
    """What the numbers stand for."""
    ndim: int = 2
    """Spatial dimensions of the network."""
    start: tuple[int, ...] = ()
    """Where in its image it begins; () where it covers all of it."""
    places: tuple[tuple[tuple[int, ...], Box], ...] = ()
    """Frames, and the box in each, that were predicted."""
    made_as: str = ""
    """What it was called at first: a layer that was renamed since is the user's."""
    linked: bool = False
    """Whether a number is one object in all frames: linked over time or depth."""
    mothers: dict[int, int] = field(default_factory=dict)
    """Of each daughter, where it is linked."""
    must_link: tuple[Pair, ...] = ()
    """Pixels of cells that are the same, as the user has said; so is `cannot_link`."""
    cannot_link: tuple[Pair, ...] = ()
    object_classes: ProjectClasses | None = None
    """Of the objects of `shown`; None where none have classes."""
    outline: int = 0
    """Width of the outlines; 0 where it is filled."""
    opacity: float = 0.7
    visible: bool = True


@dataclass(frozen=True)
class ProjectTracks(ProjectLayer):
    """A layer of tracks."""

    points: AnyArray | None = None
    """Rows of a track's number and a position; None on load where they are damaged."""
    parents: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Of each track that comes of others."""
    visible: bool = True


@dataclass(frozen=True)
class Project:
    """A session: its images and how it trains. What is set on load is ignored on save."""

    __pydantic_config__: ClassVar[ConfigDict] = ProjectLayer.__pydantic_config__

    images: tuple[ProjectImage, ...]
    """In the order of the layers."""
    settings: dict[str, Any]
    """A `TrainConfig` as dict."""
    preset: str = "fast"
    """Name of the preset that the settings came from."""
    model_name: str = ""
    """Name of the model in the library; "" if none."""
    results: tuple[ProjectResult, ...] = ()
    tracks: tuple[ProjectTracks, ...] = ()
    has_model: bool = False
    """On load: whether `MODEL_FILE` lies in the folder."""
    has_state: bool = False
    """On load: whether `STATE_FILE` lies in the folder."""
    saved: str = ""
    """On load: when it was saved, ISO 8601."""
    format_version: int = FORMAT_VERSION
    """On load: that of the file."""
    problems: tuple[str, ...] = ()
    """On load: what is missing or damaged, and left out."""


_NOT_WRITTEN = ("has_model", "has_state", "problems")
LayerT = TypeVar("LayerT", bound=ProjectLayer)


def is_project(folder: Path) -> bool:
    """Return whether a folder holds a project."""
    return (folder / PROJECT_FILE).is_file()


def write_stored(stored: Project, folder: Path) -> None:
    """Replace the ``project.json`` of a folder.

    Values that JSON cannot hold, that are not finite or too long raise FileProblemError: the
    content could not be read again.
    """
    path = folder / PROJECT_FILE
    content = {name: each for name, each in _plain(stored).items() if name not in _NOT_WRITTEN}
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


def _plain(value: Any) -> Any:
    """Return a value as JSON has them: numpy's numbers do not fit into it, whoever made them."""
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value


def read_stored(folder: Path) -> Project:
    """Read the ``project.json`` of a folder: in the place of an array is which file holds it.

    Raises FileProblemError if it is missing, too large, damaged, or of a later version.
    """
    path = folder / PROJECT_FILE
    check_regular(path)
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


@cache
def _parser() -> Callable[[bytes], Project]:
    return TypeAdapter(Project).validate_json


def _parse(content: bytes, path: Path) -> Project:
    try:
        plain = json.loads(content)
        version = plain.get("format_version") if isinstance(plain, dict) else None
        if type(version) is not int or version not in _READ_VERSIONS:
            raise FileProblemError(
                f"{path} has project format {repr(version)[:_LONGEST_PLACE]}; this version reads "
                f"{FORMAT_VERSION}. Update napari-unet-paint."
            )
        return _parser()(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:_LONGEST_PLACE]
        raise FileProblemError(
            f"{path} does not fit at {place!r}: {first['msg']}. Restore it from a copy."
        ) from error
    except (ValueError, RecursionError) as error:
        raise FileProblemError(f"{path} is damaged: {error}. Restore it from a copy.") from error
