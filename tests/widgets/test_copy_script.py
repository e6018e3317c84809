"""Copy as script: what is copied runs outside of the window, and gives the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from napari import Viewer
from napari.layers import Labels
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_unet.io.files import write_image
from napari_unet.model import devices
from napari_unet.model.trained import TrainedNetwork, load_network
from napari_unet.provenance.card import PredictionCard, TrainingCard, read_card
from napari_unet.widgets.common.annotation import annotation_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.predict.runs import CARD_KEY

from .conftest import Desk, disks, strokes_on

Painted = tuple[Desk, Labels]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute with one thread in the window and outside: bits depend on their number."""
    monkeypatch.setattr(devices, "yield_to_foreground", lambda threads=0: torch.set_num_threads(1))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the user chooses, with a space in its name."""
    chosen = tmp_path / "my script"
    chosen.mkdir()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a, **k: str(chosen))
    return chosen


def entries(button: Any) -> list[Any]:
    """Return the entries of a button's menu."""
    return list(button.menu().actions())


def copied(desk: Desk, button: Any, form: str) -> str:
    """Choose an entry of the button's menu; return what lies on the clipboard."""
    clipboard: Any = QApplication.clipboard()
    clipboard.setText("")
    (action,) = [each for each in entries(button) if form in each.text()]
    action.trigger()
    desk.wait_until_idle()
    desk.qtbot.waitUntil(lambda: clipboard.text() != "", timeout=10_000)
    text: str = clipboard.text()
    return text


def run_in_shell(command: str, tmp_path: Path) -> None:
    """Run a command line as a terminal does, where the program is called as here."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    program = tmp_path / "bin" / "napari-unet"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m napari_unet "$@"\n')
    program.chmod(0o755)
    line = f'PATH="{program.parent}:$PATH"\n{command}'
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def run_in_python(text: str, tmp_path: Path) -> None:
    """Run Python lines in a process of their own."""
    script = tmp_path / "script.py"
    script.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def same_weights(one: TrainedNetwork, other: TrainedNetwork) -> bool:
    mine, its = one.network.state_dict(), other.network.state_dict()
    return all(torch.equal(mine[name], its[name]) for name in mine)


@pytest.mark.canvas
@pytest.mark.slow
def test_what_was_painted_trained_and_predicted_is_the_same_outside(
    painted: Painted, folder: Path, tmp_path: Path
) -> None:
    desk, labels = painted
    desk.viewer.layers.selection.active = labels
    labels.selected_label, labels.mode = 40, "paint"
    desk.stroke((84, 60), (84, 62))
    assert labels.data[84, 61] == 40
    desk.click(desk.train.train_button)
    desk.wait_until_idle()
    desk.click(desk.predict.predict_button)
    desk.wait_until_idle()
    model = session_of(desk.viewer).model
    assert model is not None

    training = copied(desk, desk.train.copy_button, "command line")
    run_in_shell(training, tmp_path)
    assert same_weights(load_network(folder / "script" / "model.safetensors"), model)
    run_in_python(copied(desk, desk.train.copy_button, "Python"), tmp_path)
    assert same_weights(load_network(folder / "script 2" / "model.safetensors"), model)

    assert "# In the window painted cells are shown as they were painted" in copied(
        desk, desk.predict.copy_button, "command line"
    )
    annotation_of(labels).used = False  # so that the window too shows the network alone
    desk.click(desk.predict.predict_button)
    desk.wait_until_idle()
    expected = desk.viewer.layers["disks prediction"].data
    run_in_shell(copied(desk, desk.predict.copy_button, "command line"), tmp_path)
    result = folder / "script 4" / "results" / "disks.tif"
    np.testing.assert_array_equal(tifffile.imread(result), expected)
    run_in_python(copied(desk, desk.predict.copy_button, "Python"), tmp_path)
    result = folder / "script 5" / "results" / "disks.tif"
    np.testing.assert_array_equal(tifffile.imread(result), expected)


def test_an_image_from_a_file_is_named_and_not_copied(
    make_napari_viewer: Callable[..., Viewer], make_desk: Callable[..., Desk], folder: Path
) -> None:
    desk = make_desk()
    desk.viewer.layers.clear()
    path = folder.parent / "cells.tif"
    write_image(path, disks(), "YX")
    desk.viewer.open(path, plugin="napari")
    desk.viewer.add_labels(strokes_on(disks()), name="paint")
    desk.train_tiny()
    text = copied(desk, desk.train.copy_button, "command line")
    assert str(path) in text
    assert [path.name for path in (folder / "script").iterdir()] == ["labels"]


def test_without_paint_nothing_is_copied(desk: Desk, folder: Path) -> None:
    entries(desk.train.copy_button)[0].trigger()
    assert "Training needs an image" in desk.last_notice
    assert not any(folder.iterdir())


def test_without_a_model_a_prediction_cannot_be_copied(desk: Desk) -> None:
    assert not desk.predict.copy_button.isEnabled()


def test_entries_of_the_menu_have_tooltips(desk: Desk) -> None:
    for button in (desk.train.copy_button, desk.predict.copy_button):
        assert button.toolTip()
        assert all(action.toolTip() for action in entries(button))


# --- run cards in the window -------------------------------------------------------------------


def test_a_predicted_layer_keeps_its_card(painted: Painted) -> None:
    desk, _ = painted
    desk.click(desk.train.train_button)
    desk.wait_until_idle()
    desk.click(desk.predict.predict_button)
    desk.wait_until_idle()
    layer = desk.viewer.layers["disks prediction"]
    card = layer.metadata[CARD_KEY]
    assert isinstance(card, PredictionCard)
    assert (card.model.name, card.objects) == ("disks model", layer.data.max())


def test_a_saved_model_has_its_card(painted: Painted, tmp_path: Path) -> None:
    desk, _ = painted
    desk.click(desk.train.train_button)
    desk.wait_until_idle()
    desk.train.save_model(tmp_path / "cells")
    card = read_card(tmp_path / "cells.run.json")
    assert isinstance(card, TrainingCard)
    assert (card.steps, card.settings["base_channels"]) == (30, 4)
    assert "in memory only" in card.not_repeatable


def test_strokes_that_joined_are_told_in_the_card(painted: Painted, tmp_path: Path) -> None:
    desk, labels = painted
    desk.train.steps_box.setValue(100_000)
    desk.click(desk.train.train_button)
    desk.qtbot.waitUntil(lambda: "Step" in desk.train.shown.status.text(), timeout=60_000)
    happened: list[str] = []
    desk.train.task.happened.connect(lambda event: happened.append(type(event).__name__))
    labels.data[60:64, 60:64] = 41
    labels.refresh()
    session_of(desk.viewer).run._note_paint(_Of(labels))  # type: ignore[union-attr]
    desk.qtbot.waitUntil(lambda: "AnnotationsJoined" in happened, timeout=60_000)
    desk.click(desk.train.stop_button)
    desk.wait_until_idle()
    desk.train.save_model(tmp_path / "cells")
    assert "Strokes joined" in read_card(tmp_path / "cells.run.json").not_repeatable


class _Of:
    """An event of a layer."""

    type = "paint"

    def __init__(self, source: Labels) -> None:
        self.source = source
