from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_unet.errors import FileProblemError, LabelsError
from napari_unet.io.disk import machine_id
from napari_unet.project import folder as folder_module
from napari_unet.project.contents import (
    MODEL_FILE,
    STATE_FILE,
    Project,
    ProjectImage,
    ProjectResult,
    ProjectTracks,
    is_project,
)
from napari_unet.project.folder import load_project, save_project

LABELS = np.arange(12, dtype=np.uint16).reshape(3, 4)
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")


def project_of(**changes: Any) -> Project:
    return Project((ProjectImage("cells", labels=LABELS, **changes),), {"steps": 3})


def saved(project: Project, folder: Path) -> Project:
    save_project(project, folder)
    return load_project(folder)


def edit_json(folder: Path, **changes: Any) -> None:
    """Change fields of project.json; those of its first image under the name ``image``."""
    path = folder / "project.json"
    content = json.loads(path.read_text())
    content["images"][0].update(changes.pop("image", {}))
    path.write_text(json.dumps({**content, **changes}))


def files_in(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@given(
    labels=st.sampled_from(INTEGERS).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=5, max_side=5))
    )
)
def test_annotations_of_any_integer_dtype_come_back_as_they_were(labels: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        back = saved(Project((ProjectImage("a", labels=labels),), {}), Path(folder))
    found = back.images[0].labels
    assert found is not None
    assert found.dtype == labels.dtype
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize(
    ("shape", "dtype", "rgb"),
    [
        pytest.param((5, 6), "float32", False, id="grey"),
        pytest.param((2, 5, 6), "float16", False, id="half precision stack"),
        pytest.param((5, 6, 3), "uint8", True, id="rgb"),
        pytest.param((5, 6, 4), "uint8", True, id="rgba"),
        pytest.param((5, 6, 3), "float32", True, id="rgb of floats"),
        pytest.param((5, 6), "bool", False, id="bool"),
        pytest.param((0, 6), "uint8", False, id="empty"),
    ],
)
def test_an_image_in_memory_comes_back(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, rgb: bool
) -> None:
    pixels = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    found = saved(project_of(image=pixels, rgb=rgb), tmp_path).images[0].image
    assert isinstance(found, np.ndarray)
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, pixels)


def test_everything_about_an_image_comes_back(tmp_path: Path) -> None:
    image = ProjectImage(
        "cells é",
        labels_name="cells paint",
        regions=(((0, 2), (1, 3)),),
        kind="classes",
        class_names={1: "background", 7: "nucleus"},
        class_colours={1: "#0072B2"},
        used=False,
        scale=(0.5, 1.0),
        translate=(0.0, -3.5),
        units=("µm", "µm"),
        axis_labels=("y", "x"),
    )
    assert saved(Project((image,), {}), tmp_path).images == (image,)


def test_settings_preset_and_model_name_come_back(tmp_path: Path) -> None:
    back = saved(Project((), {"steps": 5, "flip": True}, "accurate", "nuclei"), tmp_path)
    assert (back.settings, back.preset, back.model_name) == (
        {"steps": 5, "flip": True},
        "accurate",
        "nuclei",
    )


def test_numbers_of_numpy_can_be_saved(tmp_path: Path) -> None:
    back = saved(
        project_of(
            scale=(np.float32(0.5), np.int64(2)),
            class_names={np.uint16(2): "cell"},
            regions=(((np.int64(0), np.int64(2)),) * 2,),
        ),
        tmp_path,
    ).images[0]
    assert (back.scale, back.class_names) == ((0.5, 2.0), {2: "cell"})


def test_corrected_pixels_come_back_as_bool(tmp_path: Path) -> None:
    found = saved(project_of(corrected=LABELS > 5), tmp_path).images[0].corrected
    assert found is not None
    assert found.dtype == bool
    np.testing.assert_array_equal(found, LABELS > 5)


def test_an_annotation_of_fractions_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    image = ProjectImage("a", labels_name="paint", labels=np.zeros((3, 3)))
    with pytest.raises(LabelsError, match="'paint' has dtype float64"):
        save_project(Project((project_of().images[0], image), {}), tmp_path)
    assert files_in(tmp_path) == set()


def test_the_model_is_found_beside_the_project(tmp_path: Path) -> None:
    before = saved(project_of(), tmp_path)
    (tmp_path / MODEL_FILE).touch()
    (tmp_path / STATE_FILE).touch()
    after = saved(project_of(), tmp_path)
    assert (before.has_model, before.has_state) == (False, False)
    assert (after.has_model, after.has_state) == (True, True)


def test_the_state_is_named_as_training_names_it() -> None:
    from napari_unet.training.checkpoint import state_path

    assert state_path(Path(MODEL_FILE)).name == STATE_FILE


def test_a_moved_project_finds_the_images_inside_it(tmp_path: Path) -> None:
    save_project(project_of(image_path=str(tmp_path / "old" / "raw" / "a.tif")), tmp_path / "old")
    shutil.move(tmp_path / "old", tmp_path / "new")
    found = load_project(tmp_path / "new").images[0].image_path
    assert found == str(tmp_path / "new" / "raw" / "a.tif")


@pytest.mark.parametrize("address", ["", "https://host/a.zarr"], ids=["none", "address"])
def test_what_is_no_path_is_left_alone(tmp_path: Path, address: str) -> None:
    assert saved(project_of(image_path=address), tmp_path).images[0].image_path == address


def test_an_image_with_a_path_is_not_copied_nor_missed(tmp_path: Path) -> None:
    elsewhere = str(tmp_path / "gone.tif")
    back = saved(project_of(image_path=elsewhere, image=LABELS), tmp_path / "p").images[0]
    assert back.image is None
    assert back.image_path == elsewhere


def test_a_second_save_sweeps_the_files_of_the_first(tmp_path: Path) -> None:
    save_project(project_of(image=LABELS, corrected=LABELS > 2), tmp_path)
    save_project(project_of(), tmp_path)
    assert files_in(tmp_path) == {"project.json", "cells paint.tif"}


def whole(folder: Path, value: int) -> bool:
    """Return whether a project lacks nothing of a session in which everything is one value."""
    (image,) = load_project(folder).images
    return all(
        array is not None and bool((np.asarray(array) == value).all())
        for array in (image.image, image.labels)
    )


def of_one_value(value: int) -> Project:
    painted = np.full((40, 50), value, np.uint16)
    return Project((ProjectImage("cells", image=painted, labels=painted),), {"value": value})


@pytest.mark.fault(8)
def test_two_saves_at_once_leave_one_of_them_whole(tmp_path: Path) -> None:
    for _ in range(10):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda value: save_project(of_one_value(value), tmp_path), (1, 2)))
        assert whole(tmp_path, load_project(tmp_path).settings["value"])
        assert len(files_in(tmp_path)) == 3


def test_what_another_program_is_writing_is_not_swept(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        theirs = tmp_path / f"cells (saving {machine_id()}-{other.pid}-00000000).tif"
        theirs.touch()
        save_project(project_of(), tmp_path)
        assert theirs.exists()
        other.communicate(b"\n")
    save_project(project_of(), tmp_path)
    assert not theirs.exists()


@pytest.mark.parametrize(
    "name",
    ["cells (saving 00000000-1-00000000).tif", "images/0-save-00000000-1-00000000.tif",
     "images/0-save3.tif"],
)  # fmt: skip
def test_what_was_left_long_ago_is_swept_whoever_wrote_it(tmp_path: Path, name: str) -> None:
    left = tmp_path / name
    left.parent.mkdir(exist_ok=True)
    left.touch()
    save_project(project_of(), tmp_path)
    assert left.exists()
    os.utime(left, (1.0, 1.0))
    save_project(project_of(), tmp_path)
    assert not left.exists()


def test_files_of_the_user_are_never_swept(tmp_path: Path) -> None:
    theirs = {"annotations/0.tif", "images/0-1.tif", "images/my-save1.tif", "0-save1.tif", "a.tif"}
    for name in theirs:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    save_project(project_of(), tmp_path)
    save_project(project_of(), tmp_path)
    assert theirs <= files_in(tmp_path)


def test_a_saved_image_that_was_opened_as_a_file_is_not_swept(tmp_path: Path) -> None:
    save_project(project_of(image=LABELS), tmp_path)
    file = tmp_path / "cells.tif"
    save_project(project_of(image_path=str(file)), tmp_path)
    assert file.is_file()


def test_a_save_that_fails_keeps_the_previous_one_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_project(project_of(), tmp_path)
    before = files_in(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_module, "write_stored", full)
    with pytest.raises(FileProblemError, match=r"Disk full: .* saved there before was kept"):
        save_project(project_of(image=LABELS), tmp_path)
    assert files_in(tmp_path) == before
    np.testing.assert_array_equal(load_project(tmp_path).images[0].labels, LABELS)


def test_a_first_save_that_fails_speaks_of_no_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_module, "write_stored", full)
    with pytest.raises(FileProblemError) as caught:
        save_project(project_of(), tmp_path / "p")
    text = str(caught.value)
    assert f"Disk full: project.json does not fit in {tmp_path / 'p'}" in text
    assert "was kept" not in text


def test_what_would_not_open_again_does_not_replace_what_does(tmp_path: Path) -> None:
    save_project(project_of(), tmp_path)
    with pytest.raises(FileProblemError, match="cannot be saved"):
        save_project(Project((), {"learning_rate": float("nan")}), tmp_path)
    assert load_project(tmp_path).settings == {"steps": 3}


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_program_that_is_killed_while_it_saves_leaves_a_whole_project(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, itertools, numpy as np\n"
        "from napari_unet.project.folder import Project, ProjectImage, save_project\n"
        "for n in itertools.count(1):\n"
        "    labels = np.full((40, 50), n, np.uint32)\n"
        "    images = tuple(ProjectImage(str(n), labels=labels) for _ in range(4))\n"
        "    save_project(Project(images, {'n': n}), pathlib.Path(sys.argv[1]))\n"
    )
    for delay in (0.0, 0.013, 0.031):
        process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
        deadline = time.monotonic() + 60
        while not is_project(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.5 + delay)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        project = load_project(tmp_path)
        for image in project.images:
            np.testing.assert_array_equal(image.labels, project.settings["n"])


def test_an_annotation_that_is_missing_is_named(tmp_path: Path) -> None:
    save_project(project_of(), tmp_path)
    (tmp_path / "cells paint.tif").unlink()
    (problem,) = load_project(tmp_path).problems
    assert "lacks its file cells paint.tif; restore it" in problem


@pytest.mark.fault(35)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
def test_an_annotation_that_is_cut_off_is_told_and_the_others_are_there(
    tmp_path: Path, share: float
) -> None:
    labels = np.random.default_rng(0).integers(0, 9, (8, 30, 30)).astype(np.uint16)
    images = tuple(ProjectImage(name, image=LABELS, labels=labels) for name in "ab")
    save_project(Project(images, {}), tmp_path)
    file = tmp_path / "a paint.tif"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])

    project = load_project(tmp_path)

    assert len(project.problems) == 1
    assert str(file) in project.problems[0]
    assert project.images[0].labels is None
    np.testing.assert_array_equal(project.images[0].image, LABELS)
    np.testing.assert_array_equal(project.images[1].labels, labels)


@pytest.mark.parametrize(
    "name",
    ["../secret.tif", "annotations/../../secret.tif", "/etc/secret.tif", "C:\\secret.tif",
     "..\\secret.tif", "", ".", "a\0.tif"],
)  # fmt: skip
def test_file_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "secret.npy", LABELS)
    save_project(project_of(), tmp_path / "p")
    edit_json(tmp_path / "p", image={"labels": {"file": name, "shape": [3, 4]}})
    with pytest.raises(FileProblemError, match="not inside"):
        load_project(tmp_path / "p")


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "secret.npy", LABELS)
    save_project(project_of(), tmp_path / "p")
    (tmp_path / "p" / "link.npy").symlink_to(tmp_path / "secret.npy")
    edit_json(tmp_path / "p", image={"labels": {"file": "link.npy", "shape": [3, 4]}})
    with pytest.raises(FileProblemError, match="leads out"):
        load_project(tmp_path / "p")


def test_a_linked_annotation_folder_of_an_earlier_version_is_not_swept(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "p").mkdir()
    (tmp_path / "theirs" / "0-save3.tif").touch()
    os.utime(tmp_path / "theirs" / "0-save3.tif", (1.0, 1.0))
    (tmp_path / "p" / "annotations").symlink_to(tmp_path / "theirs")
    save_project(project_of(), tmp_path / "p")
    assert files_in(tmp_path / "theirs") == {"0-save3.tif"}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"surprise": 1}, id="unknown field"),
        pytest.param({"image": {"surprise": 1}}, id="unknown field of an image"),
        pytest.param({"preset": 3}, id="other type"),
        pytest.param({"format_version": 4}, id="later version"),
        pytest.param({"image": {"kind": "blobs"}}, id="unknown kind"),
    ],
)
def test_content_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    save_project(project_of(), tmp_path)
    edit_json(tmp_path, **changes)
    with pytest.raises(FileProblemError):
        load_project(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"9" * 5000],
    ids=["empty", "cut off", "a list", "not utf-8", "deep", "a long number"],
)
def test_a_damaged_json_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "project.json").write_bytes(content)
    with pytest.raises(FileProblemError):
        load_project(tmp_path)


def test_a_huge_json_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "project.json").open("wb") as file:
        file.truncate(64 * 2**20 + 1)  # sparse
    with pytest.raises(FileProblemError, match="more than a project"):
        load_project(tmp_path)


def test_a_folder_without_project_is_none(tmp_path: Path) -> None:
    assert not is_project(tmp_path)
    with pytest.raises(FileProblemError, match=r"project\.json"):
        load_project(tmp_path)


# --- Names that a person would give, and what earlier versions saved -------------------------


def full_project(**changes: Any) -> Project:
    found = np.repeat(LABELS[np.newaxis], 2, 0).astype(np.int32)
    result = ProjectResult(
        "cells prediction",
        image=0,
        shown=np.where(found > 9, 0, found),
        predicted=found,
        places=(((0,), ((0, 3), (0, 4))), ((1,), ((0, 2), (0, 4)))),
        made_as="cells prediction",
        outline=2,
        linked=True,
        mothers={2: 1},
        must_link=(((0, 1, 1), (1, 1, 1)),),
        cannot_link=(((0, 1, 2), (1, 2, 2)),),
    )
    tracks = ProjectTracks(
        "cells tracks",
        points=np.array([[1, 0, 1.5, 2.25], [1, 1, 1.5, 2.75], [2, 1, 0.1, 0.2]]),
        parents={2: (1,)},
        axis_labels=("t", "y", "x"),
    )
    image = ProjectImage("cells", image=found, labels_name="mine", labels=found, **changes)
    return Project((image,), {}, results=(result,), tracks=(tracks,))


def test_files_are_called_as_a_person_would_call_them(tmp_path: Path) -> None:
    for _ in range(2):
        save_project(full_project(corrected=LABELS > 3), tmp_path)
        assert files_in(tmp_path) == {
            "project.json", "cells.tif", "cells paint.tif", "cells paint, corrected.tif",
            "cells result.tif", "cells result, as found.tif", "cells tracks.csv",
        }  # fmt: skip


def test_results_and_tracks_come_back_as_they_were(tmp_path: Path) -> None:
    before, after = full_project(), saved(full_project(), tmp_path)
    assert after.problems == ()
    for one, other in ((before.results[0], after.results[0]), (before.tracks[0], after.tracks[0])):
        for name, value in vars(one).items():
            np.testing.assert_equal(getattr(other, name), value)


def test_what_is_said_of_links_outside_the_labels_is_left_out(tmp_path: Path) -> None:
    project = full_project()
    pairs = (((0, 1, 1), (1, 99, 1)), ((0, 1, 1), (1, -1, 1)), ((0, 1, 1), (0, 1, 1)))
    result = replace(project.results[0], must_link=pairs)
    (back,) = saved(replace(project, results=(result,)), tmp_path).results
    assert back.must_link == ()
    assert len(back.cannot_link) == 1


def test_images_of_one_name_get_files_of_their_own(tmp_path: Path) -> None:
    images = tuple(ProjectImage(name, image=LABELS + i) for i, name in enumerate(("a", "A", "a")))
    back = saved(Project(images, {}), tmp_path).images
    assert files_in(tmp_path) == {"project.json", "a.tif", "A 2.tif", "a 3.tif"}
    for image, found in zip(images, back, strict=True):
        np.testing.assert_array_equal(found.image, image.image)


def test_names_that_no_file_can_have_are_changed(tmp_path: Path) -> None:
    names = ("../../a", "a/b:c", "é" * 300, "", "CON")
    images = tuple(ProjectImage(name, image=LABELS) for name in names)
    back = saved(Project(images, {}), tmp_path / "in" / "p").images
    assert tuple(image.name for image in back) == names
    assert all(image.image is not None for image in back)
    assert {path.parent for path in tmp_path.rglob("*.tif")} == {tmp_path / "in" / "p"}


def test_a_file_of_the_user_is_not_replaced_by_one_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "cells.tif").write_text("mine")
    for _ in range(2):
        save_project(project_of(image=LABELS), tmp_path)
        assert (tmp_path / "cells.tif").read_text() == "mine"
        assert files_in(tmp_path) == {
            "project.json", "cells.tif", "cells 2.tif", "cells paint.tif"
        }  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("named", [0, 1, 2])
def test_a_program_that_is_killed_while_it_names_its_files_has_saved(
    tmp_path: Path, named: int
) -> None:
    save_project(of_one_value(1), tmp_path)
    program = (
        "import os, sys, pathlib, numpy as np\n"
        "from napari_unet.project import arrays\n"
        "from napari_unet.project.folder import Project, ProjectImage, save_project\n"
        "right, left = os.replace, [1 + int(sys.argv[2])]  # the first is project.json\n"
        "def replace(*names):\n"
        "    if not left[0]:\n"
        "        os.kill(os.getpid(), 9)\n"
        "    left[0] -= 1\n"
        "    right(*names)\n"
        "painted = np.full((40, 50), 2, np.uint16)\n"
        "project = Project((ProjectImage('cells', image=painted, labels=painted),), {'value': 2})\n"
        "os.replace = replace\n"
        "save_project(project, pathlib.Path(sys.argv[1]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(named)], check=False
    ).returncode
    assert ended == (0 if named == 2 else -signal.SIGKILL)
    assert whole(tmp_path, 2)
    save_project(of_one_value(3), tmp_path)
    assert files_in(tmp_path) == {"project.json", "cells.tif", "cells paint.tif"}
    assert whole(tmp_path, 3)


def test_where_no_lock_can_be_had_files_keep_the_name_of_their_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_: Path) -> int:
        raise OSError(95, "Operation not supported")

    save_project(of_one_value(1), tmp_path)
    monkeypatch.setattr("napari_unet.project.arrays._lock_of", unknown)
    for value in (2, 3):
        save_project(of_one_value(value), tmp_path)
        assert whole(tmp_path, value)
        assert sum("(saving" in name for name in files_in(tmp_path)) == 2


def as_version_1(folder: Path) -> None:
    """Make a project what version 0.1 saved: its names, and a JSON without results."""
    stored = json.loads((folder / "project.json").read_text())
    stored["format_version"] = 1
    del stored["results"], stored["tracks"]
    for number, image in enumerate(stored["images"]):
        for kind, place in (("image", "images"), ("labels", "annotations")):
            array = image[kind]
            name = f"{place}/{number}-save-{machine_id()}-{os.getpid()}-1a413917.tif"
            (folder / place).mkdir(exist_ok=True)
            (folder / array["file"]).rename(folder / name)
            image[kind] = {"file": name, "shape": array["shape"]}
    (folder / "project.json").write_text(json.dumps(stored))


def test_a_project_of_version_1_opens_and_is_saved_under_new_names(tmp_path: Path) -> None:
    save_project(of_one_value(1), tmp_path)
    as_version_1(tmp_path)
    project = load_project(tmp_path)
    assert project.problems == ()
    assert whole(tmp_path, 1)
    save_project(project, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "project.json", "cells.tif", "cells paint.tif"
    }  # fmt: skip
    assert whole(tmp_path, 1)


@pytest.mark.parametrize("name", ["../mine.tif", "sub/mine.tif", "mine.txt"])
def test_what_a_damaged_project_names_is_not_deleted(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "p"
    save_project(project_of(), folder)
    (folder / "sub").mkdir()
    (folder / name).write_text("mine")
    edit_json(folder, image={"labels": {"file": name, "shape": [3, 4]}})
    save_project(project_of(), folder)
    assert (folder / name).read_text() == "mine"
