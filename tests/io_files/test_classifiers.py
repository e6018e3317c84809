"""Files of classifiers of objects, and tables of examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.errors import FileProblemError
from napari_unet.io.classifiers import read_examples
from napari_unet.objects.classifier import ObjectClassifier

CLASSIFIER = ObjectClassifier(
    ("dead", "alive"),
    ("size", "roundness"),
    np.array([[20, 0.5], [100, np.nan], [30, 0.4]]),
    np.array([0, 1, 0]),
)


def changed(path: Path, **changes: Any) -> Path:
    nu.save_classifier(CLASSIFIER, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    nu.save_classifier(CLASSIFIER, tmp_path / "cells.json")
    loaded = nu.load_classifier(tmp_path / "cells.json")
    assert (loaded.names, loaded.columns) == (CLASSIFIER.names, CLASSIFIER.columns)
    np.testing.assert_array_equal(loaded.examples, CLASSIFIER.examples)
    assert loaded.classes.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "something else"},
        {"version": 2},
        {"classes": [0, 1]},
        {"classes": [0, 1, 2]},
        {"classes": [0, 1, -1]},
        {"examples": [[1, 2], [3], [4, 5]]},
        {"examples": [[1, "1e3"], [3, 4], [5, 6]]},
        {"names": ["dead", "dead"]},
        {"columns": ["size", "size"]},
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_its_name(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(FileProblemError, match=r"cells\.json"):
        nu.load_classifier(changed(tmp_path / "cells.json", **changes))


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95", b"[" * 100_000, b"NaN", b"{}"])
def test_a_file_that_is_no_classifier_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cells.json").write_bytes(content)
    with pytest.raises(FileProblemError, match=r"cells\.json"):
        nu.load_classifier(tmp_path / "cells.json")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match="Cannot read"):
        nu.load_classifier(tmp_path / "none.json")


def test_examples_are_rows_with_a_class(tmp_path: Path) -> None:
    path = tmp_path / "examples.csv"
    path.write_text("image,index,frame,class\na.tif,3,0,dead\na.tif,4,1,alive\nb.tif,3,,\n")
    assert read_examples(path) == {"a.tif": {(3, 0): "dead", (4, 1): "alive"}}


@pytest.mark.parametrize(
    "text", ["", "class\ndead\n", "index,class\nx,dead\n", "index,class\n3,\n"]
)
def test_a_table_without_examples_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "examples.csv"
    path.write_text(text)
    with pytest.raises(FileProblemError, match=r"examples\.csv"):
        read_examples(path)
