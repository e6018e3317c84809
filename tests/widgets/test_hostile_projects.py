"""Projects that somebody else made: nothing in them is run, and nothing in them is markup."""

from __future__ import annotations

import json
import os
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_unet.project.contents import Project, ProjectImage
from napari_unet.project.folder import load_project, save_project
from napari_unet.widgets.common.controls import Note, as_plain
from napari_unet.widgets.models.project_images import is_opened_unasked
from napari_unet.widgets.models.projects import open_project

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Desk

pytestmark = pytest.mark.fault(39)
LABELS = np.ones((20, 30), np.uint16)


def a_project(folder: Path, image: dict[str, Any], **changes: Any) -> Project:
    """Save a project with an annotation, and change fields of its first image and its own."""
    save_project(Project((ProjectImage("cells", labels_name="paint", labels=LABELS),), {}), folder)
    edit(folder, image, **changes)
    return load_project(folder)


def edit(folder: Path, image: dict[str, Any], **changes: Any) -> None:
    """Change fields of the first image of a project, and of its own."""
    path = folder / "project.json"
    content = {**json.loads(path.read_text()), **changes}
    content["images"][0].update(image)
    path.write_text(json.dumps(content))


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
    label = Note()
    label.setText("<img src=x> & co")
    assert label.textFormat() == Qt.TextFormat.PlainText
    assert as_plain("<b>x</b>") == "<qt>&lt;b&gt;x&lt;/b&gt;</qt>"
    assert as_plain("/home/a & b") == "/home/a & b"


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ({"units": ["nonsense", "um"]}, "nonsense"),
        ({"units": ["9**9**9**9", "um"]}, "'9**9**9**9' is no unit"),
        ({"translate": [1e308, 0.0]}, "a position of 1e+308, 0"),
        ({"scale": [1e308, 1.0]}, "a pixel of 1e+308 by 1"),
        ({"rgb": True}, "an image of shape (20, 30) has no colours"),
    ],
    ids=["unit", "formula", "position", "pixel size", "colours"],
)
def test_a_placement_that_napari_refuses_is_told_and_everything_is_open(
    desk: Desk, tmp_path: Path, image: dict[str, Any], told: str
) -> None:
    entries = (
        ProjectImage(name, image=LABELS, labels_name=f"{name} paint", labels=LABELS)
        for name in ("first", "second")
    )
    save_project(Project(tuple(entries), {}), tmp_path)
    edit(tmp_path, image)

    text = problem_of(desk, load_project(tmp_path))

    assert "first is shown without its" in text
    assert told in text
    shown = {layer.name for layer in desk.viewer.layers}
    assert {"first", "first paint", "second", "second paint"} <= shown


def test_an_annotation_that_napari_refuses_is_told_and_the_next_is_open(
    desk: Desk, tmp_path: Path
) -> None:
    entries = (
        ProjectImage(f"{labels.ndim}D", labels_name=f"{labels.ndim}D paint", labels=labels)
        for labels in (LABELS[0], LABELS)
    )
    save_project(Project(tuple(entries), {}), tmp_path)

    text = problem_of(desk, load_project(tmp_path))

    assert "1D paint cannot be shown" in text
    assert "2D paint" in desk.viewer.layers


@pytest.mark.parametrize(
    "path",
    [r"\\evil\share\a.tif", "//evil/share/a.tif", r"\\?\UNC\evil\share\a.tif", r"\\evil",
     "/\\evil\\share\\a.tif", "https://evil/a.tif", "file:///etc/a.tif"],
)  # fmt: skip
def test_a_path_to_another_machine_is_not_even_looked_at(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def looked(self: Path) -> bool:
        raise AssertionError(self)

    for look in ("is_dir", "is_file"):
        monkeypatch.setattr(f"napari_unet.widgets.models.project_images.Path.{look}", looked)
    assert not is_opened_unasked(path)


def test_an_image_on_the_machine_of_its_project_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_unet.widgets.models.project_images.Path.is_file", lambda _: True)
    monkeypatch.setattr("napari_unet.widgets.models.project_images._is_harmless", lambda _: True)
    assert is_opened_unasked("//lab/data/a.tif", PureWindowsPath("//lab/data/project"))  # type: ignore[arg-type]


@pytest.mark.fault(38)
@pytest.mark.parametrize("name", ["a.py", "a.PY", "a.sh", "a", "x" * 300, "", "a\0.tif"])
def test_what_is_no_image_is_not_opened_unasked(tmp_path: Path, name: str) -> None:
    if name and len(name) < 10 and "\0" not in name:
        (tmp_path / name).write_text("")
    assert not is_opened_unasked(str(tmp_path / name) if name else "")


@pytest.mark.fault(55)
@pytest.mark.parametrize(
    "start", [b"%!PS-Adobe-3.0 EPSF-3.0", b"\xc5\xd0\xd3\xc6"], ids=["EPS", "DOS"]
)
@pytest.mark.parametrize("name", ["x.png", "x.gif", "folder/x.png"])
def test_postscript_by_the_name_of_an_image_is_not_opened(
    tmp_path: Path, name: str, start: bytes
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / name).write_bytes(start + b"\n%%BoundingBox: 0 0 9 9\n")
    assert not is_opened_unasked(str(tmp_path / name.split("/")[0]))


@pytest.mark.fault(56)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such pipes on Windows")
def test_a_pipe_among_the_images_of_a_project_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    assert not is_opened_unasked(str(tmp_path / "x.png"))
    assert not is_opened_unasked(str(tmp_path))
