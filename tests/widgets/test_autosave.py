"""Paint is saved for recovery although something is in the way: a full disk, a folder that goes."""

from __future__ import annotations

import gc
import os
import shutil
import threading
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels

from napari_unet.project import folder as folder_module
from napari_unet.project.contents import Project
from napari_unet.project.folder import load_project
from napari_unet.widgets.common import recovery
from napari_unet.widgets.common.recovery import Keeper, keeper_of

from .conftest import Desk

Painted = tuple[Desk, Labels]


def refuse(*_: object) -> None:
    raise OSError(28, "No space left on device")


def saved_paint(keeper: Keeper) -> Any:
    return load_project(keeper.folder).images[0].labels


@pytest.fixture
def refused(painted: Painted, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    """The keeper of a session whose disk is full when it saves."""
    desk, _ = painted
    keeper = keeper_of(desk.viewer)
    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "write_stored", refuse)
        keeper.save_now()
        desk.wait_until_idle()
    return keeper


@pytest.mark.fault(47)
def test_an_autosave_that_failed_is_told_and_tried_again(painted: Painted, refused: Keeper) -> None:
    desk, labels = painted
    assert "Disk full: project.json does not fit in" in desk.last_notice
    assert "was kept" not in desk.last_notice
    assert refused._timer.isActive()

    refused._timer.timeout.emit()
    desk.wait_until_idle()

    np.testing.assert_array_equal(saved_paint(refused), labels.data)


@pytest.mark.slow
@pytest.mark.fault(47)
def test_a_stroke_is_saved_soon_whatever_layers_there_were_before(desk: Desk) -> None:
    keeper = keeper_of(desk.viewer)
    for _ in range(20):  # new layers lie where removed ones did, in memory
        desk.annotate.target.create()
        layer = desk.annotate.target.annotation
        assert layer is not None
        keeper._timer.stop()
        layer.paint((10, 10), 2)
        assert keeper._timer.isActive()
        desk.viewer.layers.remove(layer)
        del layer
        gc.collect()


@pytest.mark.fault(47)
def test_closing_saves_what_an_autosave_could_not(painted: Painted, refused: Keeper) -> None:
    refused._timer.stop()  # whatever it waits for
    refused.save_before_closing()
    np.testing.assert_array_equal(saved_paint(refused), painted[1].data)


@pytest.mark.fault(3)
@pytest.mark.parametrize("fails", [True, False], ids=["fails", "succeeds"])
def test_closing_waits_for_an_autosave_and_saves_what_it_could_not(
    painted: Painted, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    desk, labels = painted
    keeper = keeper_of(desk.viewer)
    begun, saves, save = threading.Event(), [], folder_module.save_project

    def slowly(project: Project, folder: Any) -> None:
        saves.append(project)
        if not begun.is_set():  # the worker's, not the window's
            begun.set()
            threading.Event().wait(0.3)
            if fails:
                refuse()
        save(project, folder)

    monkeypatch.setattr(recovery, "save_project", slowly)
    keeper.save_now()
    assert begun.wait(20)

    keeper.save_before_closing()

    np.testing.assert_array_equal(saved_paint(keeper), labels.data)
    assert len(saves) == (2 if fails else 1)
    desk.wait_until_idle()


def test_a_recovery_folder_that_vanished_has_its_owner_again(painted: Painted) -> None:
    desk, _ = painted
    keeper = keeper_of(desk.viewer)
    folder = keeper.folder
    shutil.rmtree(folder)

    keeper.save_now()
    desk.wait_until_idle()

    assert (folder / "owner.lock").read_text().startswith(f"{os.getpid()}\n")
    assert saved_paint(keeper) is not None
