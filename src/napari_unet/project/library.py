"""The saved models: listed by their headers, without loading a single weight."""

from __future__ import annotations

import contextlib
import io
import json
import re
import unicodedata
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

import numpy as np
from platformdirs import user_data_path
from pydantic import BaseModel

from napari_unet.data.labels import Kind
from napari_unet.errors import FileProblemError, ImageError, ModelFileError
from napari_unet.io.disk import (
    make_folder,
    put_if_free,
    replace_file,
    sync_folder,
    why_not_written,
    writing,
)
from napari_unet.model.starting import STARTING_MODELS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.model.starting import StartingCard

_RECORD_KEY = "napari_unet"  # as model.trained writes it; importing that imports torch
_LARGEST_HEADER = 64 * 2**20
_MODEL, _STATE, _THUMBNAIL = ".safetensors", ".state.safetensors", ".png"
_SUFFIXES = (_STATE, _THUMBNAIL, _MODEL)
_LARGEST_THUMBNAIL = 96
# File systems take 255 bytes; suffixes and names of temporary files need some of them.
_LONGEST_NAME = 150
_MOST_NAMES = 1000  # tried, where others take them or a file system distinguishes fewer
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]+')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


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
    ndim: int
    channels: int
    steps: int
    thumbnail: Path | None
    card: StartingCard | None = None
    """What it is, where it is bundled with the program: such a model is read only."""


def starting_entries() -> tuple[ModelEntry, ...]:
    """Return the bundled starting models that are there."""
    return tuple(
        replace(entry, name=card.title, card=card)
        for card in STARTING_MODELS.values()
        if (entry := _entry_or_none(card.path))
    )


class ModelLibrary:
    """The saved models of a user, in the user's data folder where none is given.

    The folder is made when a model is to be saved.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder: Final = folder or user_data_path("napari-unet-paint") / "models"

    def entries(self) -> tuple[ModelEntry, ...]:
        """Return all readable models, the newest first."""
        found = [entry for path in self._files() if (entry := _entry_or_none(path))]
        return tuple(sorted(found, key=_age))

    def unreadable(self) -> tuple[Path, ...]:
        """Return the model files that are damaged or of another program, by name."""
        return tuple(path for path in self._files() if _entry_or_none(path) is None)

    def path_for(self, name: str) -> Path:
        """Return where to save a model of this name, and make the folder.

        What a file name cannot hold becomes "-"; a name that is taken gets a number: "cells 2".
        Neither the file nor its companions exist. An empty name, or a folder that cannot be made,
        raises FileProblemError.
        """
        return self._free_path(name, set())

    def _free_path(self, name: str, refused: set[str]) -> Path:
        stem = _file_stem(name)
        with writing(self.folder, "Save the model as a file elsewhere."):
            make_folder(self.folder)
        taken = self._taken() | refused
        number, free = 1, stem
        while _folded(free) in taken:
            number += 1
            free = f"{stem} {number}"
        return self.folder / f"{free}{_MODEL}"

    def take_in(self, written: Path, name: str) -> Path:
        """Give a written model file a name that is free, whatever other programs do meanwhile.

        The file lies whole under a hidden name in the library's folder, and is moved; `path_for`
        makes the name. Raises FileProblemError if that is empty or has no number left, or the file
        cannot be moved.
        """
        refused: set[str] = set()
        while len(refused) < _MOST_NAMES:
            path = self._free_path(name, refused)
            try:
                put_if_free(written, path)
            except FileExistsError:
                refused.add(_folded(path.stem))
                continue
            except OSError as error:
                raise FileProblemError(why_not_written(path, error)) from error
            return path
        raise FileProblemError(f"There are too many models called {name!r}; choose another name.")

    def rename(self, entry: ModelEntry, new_name: str) -> ModelEntry:
        """Rename a model together with its training state and thumbnail.

        Raises FileProblemError if the name is empty or taken, the model is not in this library, or
        it cannot be renamed; ModelFileError if it was damaged since it was listed.
        """
        self._check_own(entry)
        stem = _file_stem(new_name)
        if stem == entry.path.stem:
            return entry
        if _folded(stem) in self._taken() - {_folded(entry.path.stem)}:
            raise FileProblemError(f"There is a model {stem!r} already; choose another name.")
        if not entry.path.is_file():
            raise FileProblemError(f"There is no model {entry.path} any more; refresh the list.")
        alike = self.folder / f"{stem}{_MODEL}"
        if alike.exists() and not alike.samefile(entry.path):
            raise FileProblemError(f"There is a model {stem!r} already; choose another name.")
        moves = [
            (old, self.folder / f"{stem}{suffix}")
            for old, suffix in zip(_files_of(entry.path), _SUFFIXES, strict=True)
            if old.exists()
        ]
        _move_all(moves)
        return read_entry(self.folder / f"{stem}{_MODEL}")

    def delete(self, entry: ModelEntry) -> None:
        """Delete a model together with its training state and thumbnail.

        Raises FileProblemError if it is not in this library, or cannot be deleted.
        """
        self._check_own(entry)
        try:
            for path in reversed(_files_of(entry.path)):  # companions without model show nowhere
                path.unlink(missing_ok=True)
        except OSError as error:
            raise FileProblemError(
                f"Cannot delete {entry.path}: {error.strerror or error}. Close what uses it."
            ) from error

    def save_thumbnail(self, path: Path, image: NDArray[np.uint8]) -> None:
        """Write a small picture beside a model file; the sides keep their proportion.

        The image is ``(Y, X)`` grey or ``(Y, X, 3)`` RGB, uint8, of any size above 0; else
        ImageError. Raises FileProblemError if the picture cannot be written.
        """
        grey_or_rgb = image.ndim == 2 or (image.ndim == 3 and image.shape[-1] == 3)
        if image.dtype != np.uint8 or not grey_or_rgb or not image.size:
            raise ImageError(
                f"A thumbnail of dtype {image.dtype} and shape {image.shape} cannot be saved; "
                "give uint8, (Y, X) or (Y, X, 3)."
            )
        from PIL import Image  # on use: windows open without it

        picture = Image.fromarray(np.ascontiguousarray(image))
        picture.thumbnail((_LARGEST_THUMBNAIL, _LARGEST_THUMBNAIL))
        target = path.with_suffix(_THUMBNAIL)
        content = io.BytesIO()
        picture.save(content, format="PNG")
        with writing(target):
            replace_file(target, content.getvalue())

    def _files(self) -> list[Path]:
        found = self.folder.glob(f"*{_MODEL}") if self.folder.is_dir() else ()
        return sorted(p for p in found if p.name[0] != "." and not p.name.endswith(_STATE))

    def _taken(self) -> set[str]:
        """Return the names of models and lone companions, folded."""
        names = (_folded(path.name) for path in self.folder.iterdir())
        return {
            name.removesuffix(suffix)
            for name in names
            for suffix in _SUFFIXES
            if name.endswith(suffix)
        }

    def _check_own(self, entry: ModelEntry) -> None:
        if entry.path.parent.resolve() != self.folder.resolve():
            raise FileProblemError(f"{entry.path} is not in the model folder {self.folder}.")


def _entry_or_none(path: Path) -> ModelEntry | None:
    try:
        return read_entry(path)
    except ModelFileError:
        return None


def _age(entry: ModelEntry) -> tuple[float, str]:
    """Sort key: the newest first, then by name."""
    try:
        trained = datetime.fromisoformat(entry.created).timestamp()
    except ValueError:
        trained = 0.0
    return -trained, entry.name


def _file_stem(name: str) -> str:
    """Return a name that every file system takes, as near to `name` as can be."""
    printable = "".join(c for c in unicodedata.normalize("NFC", name) if c.isprintable())
    stem = _FORBIDDEN.sub("-", printable).strip(" .")
    while len(stem.encode()) > _LONGEST_NAME:
        stem = stem[:-1].rstrip(" .")
    if _DEVICES.fullmatch(stem):
        stem = f"{stem}-"
    if stem.casefold().endswith(".state"):  # that is the name of another model's state
        stem += "-"
    if not stem.strip("-"):
        raise FileProblemError(f"A model cannot be called {name!r}; give it a name with letters.")
    return stem


def _folded(name: str) -> str:
    """Return a name without what some file systems do not distinguish.

    That is upper case, or whether an accent is part of its letter.
    """
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def _files_of(path: Path) -> list[Path]:
    """Return a model's state, thumbnail and the model itself, whether they exist or not."""
    return [path.with_name(f"{path.stem}{suffix}") for suffix in _SUFFIXES]


def _move_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Rename files, all or none."""
    done: list[tuple[Path, Path]] = []
    try:
        for old, new in moves:
            old.rename(new)
            done.append((old, new))
        sync_folder(moves[0][1].parent)
    except OSError as error:
        for old, new in reversed(done):
            with contextlib.suppress(OSError):
                new.rename(old)
        raise FileProblemError(
            f"Cannot rename {moves[-1][0]}: {error.strerror or error}. Close what uses it."
        ) from error


# --- An entry of the list, read from the header of its file --------------------------------------


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
    thumbnail = path.with_suffix(_THUMBNAIL)
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


def check_place_of_model(path: Path) -> None:
    """Refuse, by FileProblemError, to write a model where something else lies."""
    if not path.exists():
        return
    try:
        read_entry(path)  # the header alone: the weights of the previous one do not matter any more
    except ModelFileError as error:
        raise FileProblemError(
            f"{path} is there already and is no model file of this program, or a damaged one. "
            "Choose another name, or delete it."
        ) from error


def _record_text(path: Path) -> str:
    """Read the record out of a safetensors header: a length, JSON, and then the weights."""
    if not path.is_file():
        raise ValueError("it is no file")  # a pipe would be waited for
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
    if (psnr := kept[-1].get("psnr")) is not None:
        return float(psnr), f"PSNR {float(psnr):.1f} dB"
    return (None, "") if iou is None else (float(iou), f"IoU {float(iou):.2f}")
