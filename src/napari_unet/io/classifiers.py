"""Classifiers of objects in files: JSON with their examples. Nothing in them is executed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, TypeAdapter

from napari_unet.errors import PATH, FileProblemError, accepting
from napari_unet.io.annotations.json_files import Number, Part, json_bytes, read_json
from napari_unet.io.disk import short_reason, write_file
from napari_unet.io.limits import check_regular
from napari_unet.objects.classifier import ObjectClassifier

if TYPE_CHECKING:
    import os

    Examples = dict[str, dict[tuple[int, int], str]]

_FORMAT = "napari-unet object classifier"
_MOST_COLUMNS, _LARGEST_TABLE = 10_000, 2**28
_Name = Annotated[str, Field(min_length=1, max_length=200)]


class _File(Part):
    format: Literal["napari-unet object classifier"]
    version: Literal[1]
    names: Annotated[list[_Name], Field(max_length=1000)]
    columns: Annotated[list[_Name], Field(max_length=_MOST_COLUMNS)]
    examples: list[list[Number | None]]
    classes: list[Annotated[int, Field(ge=0)]]


_READER = TypeAdapter(_File)


@accepting(path=PATH)
def save_classifier(classifier: ObjectClassifier, path: str | os.PathLike[str]) -> None:
    """Write a classifier of objects as JSON, at once or not at all.

    Raises FileProblemError where the file cannot be written.
    """
    rows = [
        [value if np.isfinite(value) else None for value in row]
        for row in classifier.examples.tolist()
    ]
    content = {
        "format": _FORMAT,
        "version": 1,
        "names": list(classifier.names),
        "columns": list(classifier.columns),
        "classes": classifier.classes.tolist(),
        "examples": rows,
    }
    write_file(Path(path).expanduser(), json_bytes(content))


@accepting(path=PATH)
def load_classifier(path: str | os.PathLike[str]) -> ObjectClassifier:
    """Read a classifier of objects.

    Raises FileProblemError where the file is missing, damaged or something else.
    """
    path = Path(path).expanduser()
    content = read_json(path, _READER, "a classifier of objects")
    rows, classes, width = content.examples, content.classes, len(content.columns)
    fits = len(rows) == len(classes) and all(len(row) == width for row in rows)
    unique = len(set(content.columns)) == width and len(set(content.names)) == len(content.names)
    if not fits or not unique or max(classes, default=-1) >= len(content.names):
        raise FileProblemError(
            f"{path} is damaged: its examples do not fit its columns and classes. Save it again."
        )
    examples = np.array(rows, np.float64).reshape(len(rows), width)
    return ObjectClassifier(
        tuple(content.names), tuple(content.columns), examples, np.array(classes, np.intp)
    )


def read_examples(path: Path) -> Examples:
    """Read a table of examples: columns class and index, image where it is of several, and frame.

    Returned is the class of each object, by its number and frame, of each image. Raises
    FileProblemError where the table cannot be read.
    """
    check_regular(path)
    found: Examples = {}
    try:
        if path.stat().st_size > _LARGEST_TABLE:
            raise ValueError("it is too large")
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                if row["class"]:
                    key = int(row["index"]), int(row.get("frame") or 0)
                    found.setdefault(row.get("image") or "", {})[key] = row["class"]
    except OSError as error:
        raise FileProblemError(f"Cannot read {path}: {short_reason(error)}.") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise FileProblemError(
            f"Cannot read {path} as a table of examples: it needs the columns class and index "
            "(number of the object), and image (name of the file) where there are several files."
        ) from error
    if not found:
        raise FileProblemError(f"{path} has no example: fill in the column class of some objects.")
    return found
