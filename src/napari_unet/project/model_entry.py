"""What a list of models shows of one: read from the header of its file, without its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel

from napari_unet.data.labels import Kind
from napari_unet.errors import ModelFileError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.model.cards import StartingCard

THUMBNAIL_SUFFIX = ".png"
_RECORD_KEY = "napari_unet"  # as model.tensor_file writes it; importing that imports torch
_LARGEST_HEADER = 64 * 2**20


@dataclass(frozen=True)
class ModelEntry:
    """What a list of models shows of one."""

    path: Path
    name: str
    """Its name in the library: the file name without suffix."""
    created: str
    """When it was trained, ISO 8601."""
    score: float | None
    """Score of the kept weights on held-back paint, 0 to 1; None without validation."""
    score_text: str
    """The same for people, for example "object F1 0.91"; "" without validation."""
    images: tuple[str, ...]
    """Names of the images it was trained on."""
    kind: str
    """"objects" or "classes"."""
    ndim: int
    """Spatial dimensions of the network."""
    channels: int
    """Channels of the images that it takes."""
    steps: int
    """Training steps taken."""
    thumbnail: Path | None
    card: StartingCard | None = None
    """What it is, where it is bundled with the program: such a model is read only."""


class _Classes(BaseModel):
    kind: Kind


class _Network(BaseModel):
    ndim: int
    in_channels: int


class _Image(BaseModel):
    name: str


class _Record(BaseModel):
    """The part of a `ModelRecord` that is shown; loading the model checks the rest."""

    classes: _Classes
    network: _Network
    images: list[_Image]
    history: list[dict[str, float | bool | None]]
    created: str
    steps: int


def read_entry(path: Path) -> ModelEntry:
    """Read what a list shows of a model file: its header, no weights.

    A file that is missing, damaged, or of another program raises ModelFileError.
    """
    try:
        record = _Record.model_validate_json(_record_text(path))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFileError(
            f"{path} is no readable model file ({str(error).splitlines()[0]}). Restore it from a "
            "copy, or delete it."
        ) from error
    score, score_text = _score_of(record)
    thumbnail = path.with_suffix(THUMBNAIL_SUFFIX)
    return ModelEntry(
        path=path,
        name=path.stem,
        created=record.created,
        score=score,
        score_text=score_text,
        images=tuple(image.name for image in record.images),
        kind=record.classes.kind,
        ndim=record.network.ndim,
        channels=record.network.in_channels,
        steps=record.steps,
        thumbnail=thumbnail if thumbnail.is_file() else None,
    )


def _record_text(path: Path) -> str:
    """Read the record out of a safetensors header: a length, JSON, and then the weights."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _LARGEST_HEADER:
            raise ValueError(f"its header would be {length} bytes long")
        header = file.read(length)
    if len(header) < length:
        raise ValueError("it is cut off")
    text = json.loads(header)["__metadata__"][_RECORD_KEY]
    if not isinstance(text, str):
        raise TypeError("its record is no text")
    return text


def _score_of(record: _Record) -> tuple[float | None, str]:
    """Return the score of the weights that were kept, as a number and for people."""
    kept = [entry for entry in record.history if entry.get("best")]
    if not kept:
        return None, ""
    f1, iou = kept[-1].get("object_f1"), kept[-1].get("iou")
    if f1 is not None:
        return float(f1), f"object F1 {float(f1):.2f}"
    return (None, "") if iou is None else (float(iou), f"IoU {float(iou):.2f}")
