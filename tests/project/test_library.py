from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from napari_unet.errors import FileProblemError, ImageError
from napari_unet.io.disk import unfinished_path
from napari_unet.project import library as library_module
from napari_unet.project.library import ModelEntry, ModelLibrary

RECORD: dict[str, Any] = {
    "classes": {"kind": "objects", "unpainted": "unlabelled", "painted": []},
    "network": {"ndim": 2, "in_channels": 3},
    "images": [{"name": "a.tif"}, {"name": "b.tif"}],
    "history": [],
    "created": "2025-03-01T10:00:00+00:00",
    "steps": 40,
}


def write_model(path: Path, **changes: Any) -> Path:
    """Write a model file without weights."""
    record = json.dumps({**RECORD, **changes})
    header = json.dumps({"__metadata__": {"napari_unet": record}}).encode()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


@pytest.fixture
def library(tmp_path: Path) -> ModelLibrary:
    return ModelLibrary(tmp_path / "models")


def add(library: ModelLibrary, name: str, **changes: Any) -> ModelEntry:
    """Add a model with its training state and thumbnail."""
    path = write_model(library.path_for(name), **changes)
    path.with_name(f"{path.stem}.state.safetensors").write_bytes(b"state")
    library.save_thumbnail(path, np.zeros((4, 4), np.uint8))
    (entry,) = (entry for entry in library.entries() if entry.path == path)
    return entry


def names(library: ModelLibrary) -> set[str]:
    return {path.name for path in library.folder.iterdir()}


def test_a_library_that_was_never_used_is_empty_and_makes_no_folder(library: ModelLibrary) -> None:
    assert (library.entries(), library.unreadable()) == ((), ())
    assert not library.folder.exists()


def test_an_entry_tells_what_the_record_holds(library: ModelLibrary) -> None:
    entry = add(library, "cells")
    assert (entry.name, entry.kind, entry.ndim, entry.channels, entry.steps) == (
        "cells",
        "objects",
        2,
        3,
        40,
    )
    assert entry.images == ("a.tif", "b.tif")
    assert entry.thumbnail == library.folder / "cells.png"


def test_a_model_as_the_program_saves_it_is_listed(library: ModelLibrary) -> None:
    from napari_unet.model.config import UNetConfig
    from napari_unet.model.record import ModelRecord
    from napari_unet.model.trained import TrainedNetwork, save_network
    from napari_unet.model.unet import UNet
    from napari_unet.tasks import ClassTable

    config = UNetConfig(base_channels=2, depth=1, padding="same")
    record = ModelRecord(config, ClassTable("objects", "unlabelled"), steps=7)
    save_network(TrainedNetwork(UNet(config).eval(), record), library.path_for("real"))
    assert [(entry.name, entry.steps) for entry in library.entries()] == [("real", 7)]


def test_listing_does_not_import_torch(library: ModelLibrary) -> None:
    add(library, "cells")
    program = (
        "import sys, pathlib\n"
        "from napari_unet.project.library import ModelLibrary\n"
        "assert len(ModelLibrary(pathlib.Path(sys.argv[1])).entries()) == 1\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, str(library.folder)], check=True)


@pytest.mark.parametrize(
    ("history", "text"),
    [
        pytest.param([], "", id="no validation"),
        pytest.param([{"best": False, "iou": 0.9}], "", id="nothing kept"),
        pytest.param([{"best": True, "iou": 0.85, "object_f1": None}], "IoU 0.85", id="iou"),
        pytest.param([{"best": True, "iou": 0.8, "object_f1": 0.91}], "object F1 0.91", id="f1"),
        pytest.param(
            [{"best": True, "iou": 0.7}, {"best": True, "iou": 0.8}, {"best": False, "iou": 0.9}],
            "IoU 0.80",
            id="the last that was kept",
        ),
    ],
)
def test_the_score_is_that_of_the_kept_weights(
    library: ModelLibrary, history: list[dict[str, Any]], text: str
) -> None:
    entry = add(library, "cells", history=history)
    assert entry.score_text == text
    assert (entry.score is None) == (not text)


def test_the_newest_model_comes_first_whatever_its_time_zone(library: ModelLibrary) -> None:
    add(library, "noon", created="2025-03-01T12:00:00+00:00")
    add(library, "eleven", created="2025-03-01T13:00:00+02:00")
    add(library, "later", created="2025-03-01T12:30:00+00:00")
    assert [entry.name for entry in library.entries()] == ["later", "noon", "eleven"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff" * 8, id="huge header"),
        pytest.param((2).to_bytes(8, "little") + b"{}", id="of another program"),
        pytest.param((2).to_bytes(8, "little") + b"[]", id="no table"),
        pytest.param((99).to_bytes(8, "little") + b"{", id="cut off"),
        pytest.param((10**5).to_bytes(8, "little") + b"[" * 10**5, id="deep"),
    ],
)
def test_a_damaged_file_is_left_out_and_listed_apart(library: ModelLibrary, content: bytes) -> None:
    good = add(library, "good")
    bad = library.path_for("bad")
    bad.write_bytes(content)
    assert [entry.path for entry in library.entries()] == [good.path]
    assert library.unreadable() == (bad,)


@given(name=st.text(max_size=300))
def test_any_name_gives_a_free_file_in_the_folder_or_is_refused(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        library = ModelLibrary(Path(folder))
        try:
            path = library.path_for(name)
        except FileProblemError:
            return
        write_model(path)
        assert path.parent == library.folder
        assert library.path_for(name) not in {path, library.folder}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Zellkerne Müller", "Zellkerne Müller.safetensors"),
        ("細胞", "細胞.safetensors"),
        ("../a/b", "-a-b.safetensors"),
        ("v1.2", "v1.2.safetensors"),
    ],
    ids=["accents", "script", "separators", "dots"],
)
def test_names_stay_as_near_as_can_be(library: ModelLibrary, name: str, file: str) -> None:
    assert library.path_for(name).name == file


def test_taken_names_get_numbers(library: ModelLibrary) -> None:
    add(library, "cells")
    assert add(library, "cells").name == "cells 2"
    assert library.path_for("Cells").stem == "Cells 3"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_a_name_is_taken_however_its_accents_are_written(
    library: ModelLibrary, form: Any, asked: Any
) -> None:
    library.folder.mkdir()
    write_model(library.folder / f"{unicodedata.normalize(form, 'Müller')}.safetensors")
    found = library.path_for(unicodedata.normalize(asked, "müller")).stem
    assert found == unicodedata.normalize("NFC", "müller 2")


def written_model(library: ModelLibrary) -> Path:
    return write_model(unfinished_path(library.path_for("cells")))


@pytest.mark.fault(41)
def test_a_name_that_the_disk_says_is_taken_is_not_tried_for_ever(
    library: ModelLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def strict(source: Path, target: Path) -> None:
        if target.stem == "cells":  # as another name in the listing
            raise FileExistsError(17, "File exists")
        link(source, target)

    monkeypatch.setattr(os, "link", strict)
    assert library.take_in(written_model(library), "cells").stem == "cells 2"
    assert names(library) == {"cells 2.safetensors"}


@pytest.mark.fault(41)
def test_a_disk_on_which_every_name_is_taken_is_told(
    library: ModelLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise FileExistsError(17, "File exists")

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(library_module, "_MOST_NAMES", 5)
    with pytest.raises(FileProblemError, match="too many models called 'cells'; choose another"):
        library.take_in(written_model(library), "cells")


SAVE = """
import os, pathlib, sys, threading
from napari_unet.tasks import ClassTable
from napari_unet.model.config import UNetConfig
from napari_unet.model.record import ModelRecord
from napari_unet.model.trained import TrainedNetwork
from napari_unet.model.unet import UNet
from napari_unet.project.library import ModelLibrary
from napari_unet.widgets.common.model_work import store_model
config = UNetConfig(base_channels=2, depth=1, padding="same")
record = ModelRecord(config, ClassTable("objects", "unlabelled"))
model = TrainedNetwork(UNet(config).eval(), record)
if sys.argv[2] == "killed":
    ModelLibrary.take_in = lambda *_: os._exit(9)
store_model(ModelLibrary(pathlib.Path(sys.argv[1])), model, "a", None, threading.Event())
"""


@pytest.mark.slow
@pytest.mark.fault(34)
def test_a_save_that_was_killed_before_its_name_leaves_nothing_for_long(
    library: ModelLibrary,
) -> None:
    save = [sys.executable, "-c", SAVE, str(library.folder)]
    assert subprocess.run([*save, "killed"]).returncode == 9
    assert len(names(library)) == 1
    assert (library.entries(), library.unreadable()) == ((), ())
    subprocess.run([*save, "whole"], check=True)
    assert names(library) == {"a.safetensors"}


def test_a_renamed_model_takes_its_companions_along(library: ModelLibrary) -> None:
    renamed = library.rename(add(library, "old"), "new")
    assert names(library) == {"new.safetensors", "new.state.safetensors", "new.png"}
    assert (renamed.name, renamed.thumbnail) == ("new", library.folder / "new.png")


def test_a_rename_never_replaces_a_model_that_differs_in_case_alone(library: ModelLibrary) -> None:
    library.folder.mkdir()
    for name in ("Cells", "cells"):
        write_model(library.folder / f"{name}.safetensors", images=[{"name": name}])
    if len(names(library)) < 2:
        pytest.skip("this file system does not tell them apart")
    entry = next(entry for entry in library.entries() if entry.path.stem == "Cells")
    with pytest.raises(FileProblemError, match="There is a model 'cells' already"):
        library.rename(entry, "cells")
    assert len(names(library)) == 2


@pytest.mark.parametrize("name", ["", "  ", "taken", "TAKEN", "..."], ids=repr)
def test_empty_and_taken_names_are_refused_and_change_nothing(
    library: ModelLibrary, name: str
) -> None:
    add(library, "taken")
    entry = add(library, "cells")
    before = names(library)
    with pytest.raises(FileProblemError):
        library.rename(entry, name)
    assert names(library) == before


def test_a_rename_that_fails_half_way_is_taken_back(
    library: ModelLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = add(library, "cells")
    before = names(library)
    rename = Path.rename

    def refuse_models(path: Path, target: Path) -> Path:
        if path == entry.path:
            raise PermissionError(13, "in use")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse_models)
    with pytest.raises(FileProblemError, match="in use"):
        library.rename(entry, "new")
    assert names(library) == before


def test_a_deleted_model_takes_its_companions_along(library: ModelLibrary) -> None:
    kept = add(library, "kept")
    library.delete(add(library, "cells"))
    assert library.entries() == (kept,)
    assert len(names(library)) == 3


def test_models_elsewhere_are_neither_deleted_nor_renamed(
    library: ModelLibrary, tmp_path: Path
) -> None:
    other = add(ModelLibrary(tmp_path / "other"), "cells")
    with pytest.raises(FileProblemError, match="not in the model folder"):
        library.delete(other)
    with pytest.raises(FileProblemError, match="not in the model folder"):
        library.rename(other, "new")
    assert other.path.is_file()


@pytest.mark.parametrize(
    ("shape", "size"),
    [((200, 100), (48, 96)), ((300, 300, 3), (96, 96)), ((5, 7), (7, 5)), ((1, 5000), (96, 1))],
    ids=["tall", "rgb", "small", "thin"],
)
def test_a_thumbnail_has_at_most_96_pixels(
    library: ModelLibrary, shape: tuple[int, ...], size: tuple[int, int]
) -> None:
    path = library.path_for("cells")
    library.save_thumbnail(path, np.zeros(shape, np.uint8))
    with Image.open(path.with_suffix(".png")) as picture:
        assert picture.size == size


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8)],
    ids=["floats", "two channels", "empty"],
)
def test_what_is_no_picture_is_refused(library: ModelLibrary, image: Any) -> None:
    with pytest.raises(ImageError):
        library.save_thumbnail(library.path_for("cells"), image)


def test_a_name_never_points_to_the_state_of_another_model(tmp_path: Path) -> None:
    assert not ModelLibrary(tmp_path).path_for("cells.state").stem.endswith(".state")
