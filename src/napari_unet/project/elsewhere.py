"""The note in a recovery folder that a training goes on on another machine."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from napari_unet.io.disk import replace_file

if TYPE_CHECKING:
    from pathlib import Path

_NOTE = "elsewhere.json"
_LARGEST = 2**20  # bytes


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Elsewhere:
    """A training that goes on on another machine."""

    on: Annotated[str, Field(max_length=1000)]
    """Its address."""
    trusted: bool
    """Whether everybody is who reaches a port there."""
    run: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    """What the training is called there."""
    images: tuple[tuple[str, tuple[int, ...]], ...]
    """Names of what it learns from, and the shapes of the paint, in its order."""

    def note(self, folder: Path) -> None:
        """Write it down; where that fails, it is not found again after a crash, as in former times.

        What is there already, of a training before, is replaced.
        """
        with suppress(OSError):
            replace_file(folder / _NOTE, json.dumps(asdict(self)).encode())


def noted_in(folder: Path) -> Elsewhere | None:
    """Return what a folder notes, if that can be read."""
    try:
        with (folder / _NOTE).open("rb") as file:
            return TypeAdapter(Elsewhere).validate_json(file.read(_LARGEST))
    except (OSError, ValidationError):
        return None


def forget_note(folder: Path) -> None:
    """Note no training on another machine any more."""
    with suppress(OSError):
        (folder / _NOTE).unlink(missing_ok=True)
