"""Projects that somebody else made: nothing in them is run, and nothing in them is markup."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_unet.project.folder import Project, ProjectImage, load_project, save_project
from napari_unet.widgets.controls import as_plain, note
from napari_unet.widgets.projects import is_opened_unasked, open_project

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Desk

pytestmark = pytest.mark.fault(39)
LABELS = np.ones((20, 30), np.uint16)


def a_project(folder: Path, image: dict[str, Any], **changes: Any) -> Project:
    """Save a project with an annotation, and change fields of its first image and its own."""
    save_project(Project((ProjectImage("cells", labels_name="paint", labels=LABELS),), {}), folder)
    path = folder / "project.json"
    content = {**json.loads(path.read_text()), **changes}
    content["images"][0].update(image)
    path.write_text(json.dumps(content))
    return load_project(folder)


def problem_of(desk: Desk, project: Project) -> str:
    with pytest.raises(Exception, match=r".") as caught:
        open_project(desk.viewer, project)
    assert type(caught.value).__name__ == "FileProblemError"
    return str(caught.value)


@pytest.mark.fault(37)
def test_a_program_that_is_named_as_an_image_is_not_run(desk: Desk, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "evil.py").write_text(f"import os\nos.mkdir({str(canary)!r})\n")
    project = a_project(tmp_path / "p", {"image_inside": "evil.py"})

    text = problem_of(desk, project)

    assert not canary.exists()
    assert "evil.py" in text
    assert "of no known image format" in text


def test_settings_that_do_not_fit_are_told_and_the_annotation_is_there(
    desk: Desk, tmp_path: Path
) -> None:
    project = a_project(tmp_path, {}, settings={"steps": "many", "arch": "os.system"})
    assert "settings of the project were left out, they do not fit" in problem_of(desk, project)
    assert "paint" in [layer.name for layer in desk.viewer.layers]


def test_colours_and_regions_that_cannot_be_shown_are_left_out(desk: Desk, tmp_path: Path) -> None:
    changes = {"class_colours": {"1": "red; x"}, "regions": [[[0, 10**9], [5, 2]]], "scale": [0, 1]}
    (image,) = a_project(tmp_path, changes).images
    assert (image.class_colours, image.regions, image.scale) == ({}, (), ())


def test_markup_in_names_is_shown_as_it_is_written(desk: Desk) -> None:
    label = note()
    label.setText("<img src=x> & co")
    assert label.textFormat() == Qt.TextFormat.PlainText
    assert as_plain("<b>x</b>") == "<qt>&lt;b&gt;x&lt;/b&gt;</qt>"
    assert as_plain("/home/a & b") == "/home/a & b"


@pytest.mark.fault(38)
@pytest.mark.parametrize("name", ["a.py", "a.PY", "a.sh", "a", "x" * 300, "", "a\0.tif"])
def test_what_is_no_image_is_not_opened_unasked(tmp_path: Path, name: str) -> None:
    if name and len(name) < 10 and "\0" not in name:
        (tmp_path / name).write_text("")
    assert not is_opened_unasked(str(tmp_path / name) if name else "")
