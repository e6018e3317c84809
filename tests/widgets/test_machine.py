"""Another machine is asked for where the device is chosen, and trains as this one does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.project.elsewhere import noted_in
from napari_unet.widgets.common.machine import ELSEWHERE, MachinePanel
from napari_unet.widgets.common.preferences import preferences, remember_machine
from napari_unet.widgets.common.recovery import RecoveryBar, keeper_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.segment.dock import SegmentWidget
from napari_unet.widgets.train.dock import TrainWidget
from remote.conftest import address, there

from .conftest import Desk

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Labels

__all__ = ["address", "there"]
Painted = tuple[Desk, "Labels"]


def choose(dock: TrainWidget, on: str) -> MachinePanel:
    """Choose another machine, and type its address."""
    dock.device_box.setCurrentIndex(dock.device_box.findData(ELSEWHERE))
    dock.machine.address_box.setEditText(on)
    dock.machine.trust_box.setChecked(on.startswith("tcp:"))
    return dock.machine


def test_nothing_is_asked_while_this_computer_trains(desk: Desk) -> None:
    assert desk.train.machine.isHidden()
    assert session_of(desk.viewer).on is None


def test_another_machine_is_asked_for_its_address(desk: Desk) -> None:
    panel = choose(desk.train, "ssh://me@gpu1")
    assert not panel.isHidden()
    assert session_of(desk.viewer).on == "ssh://me@gpu1"
    assert desk.train.config().device == "auto"


def test_trust_is_asked_for_an_open_port_alone(desk: Desk) -> None:
    panel = choose(desk.train, "ssh://me@gpu1")
    assert panel.trust_box.isHidden()
    choose(desk.train, "tcp://gpu1:8786")
    assert not panel.trust_box.isHidden()
    assert session_of(desk.viewer).trusted


def test_what_was_trusted_is_not_once_the_address_is_another(desk: Desk) -> None:
    choose(desk.train, "tcp://gpu1:8786")
    desk.train.machine.address_box.setEditText("tcp://other:8786")
    assert not session_of(desk.viewer).trusted


def test_this_computer_trains_again_once_it_is_chosen(desk: Desk) -> None:
    choose(desk.train, "ssh://me@gpu1")
    desk.train.device_box.setCurrentIndex(desk.train.device_box.findData("cpu"))
    assert desk.train.machine.isHidden()
    assert session_of(desk.viewer).on is None
    assert desk.train.config().device == "cpu"


def test_both_docks_show_the_same_machine(desk: Desk) -> None:
    segment = SegmentWidget(desk.viewer)
    choose(desk.train, "ssh://me@gpu1")
    panel = segment.findChild(MachinePanel)
    assert panel is not None
    assert panel.address_box.currentText() == "ssh://me@gpu1"
    desk.train.device_box.setCurrentIndex(0)
    assert panel.isHidden()


def test_no_training_begins_without_an_address(painted: Painted) -> None:
    desk, _ = painted
    choose(desk.train, "")
    desk.click(desk.train.train_button)
    assert not desk.train.task.running
    assert "give its address" in desk.last_notice


def test_machines_are_remembered(own_preferences: Any) -> None:
    for on in ("ssh://one", "ssh://two", "ssh://one"):
        remember_machine(on)
    assert preferences().machines == "ssh://one ssh://two"


def test_a_machine_that_was_used_is_offered(make_desk: Callable[..., Desk]) -> None:
    remember_machine("ssh://me@gpu1")
    desk = make_desk()
    desk.train.device_box.setCurrentIndex(desk.train.device_box.findData(ELSEWHERE))
    assert session_of(desk.viewer).on == "ssh://me@gpu1"


def test_who_does_not_answer_is_told_in_words(desk: Desk, monkeypatch: Any) -> None:
    monkeypatch.setenv("NAPARI_UNET_SSH", "/no/such/ssh")
    panel = choose(desk.train, "ssh://me@gpu1")
    desk.click(panel.look_button)
    desk.wait_until_idle()
    assert "install OpenSSH's client" in panel.note.text()
    assert preferences().machines == ""


def test_what_is_no_address_is_told(desk: Desk) -> None:
    panel = choose(desk.train, "gpu1")
    desk.click(panel.look_button)
    desk.wait_until_idle()
    assert "is no address of another machine" in panel.note.text()


def training_on(painted: Painted, address: str, steps: int) -> Desk:
    desk, _ = painted
    choose(desk.train, address)
    desk.train.steps_box.setValue(steps)
    desk.click(desk.train.train_button)
    return desk


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestWithAMachine:
    def test_it_says_what_it_is(self, desk: Desk, address: str) -> None:
        panel = choose(desk.train, address)
        desk.click(panel.look_button)
        desk.wait_until_idle()
        assert "CPU" in panel.note.text()
        assert "GB free" in panel.note.text()
        assert preferences().machines == address

    def test_it_trains(self, painted: Painted, address: str) -> None:
        desk = training_on(painted, address, 30)
        desk.wait_until_idle()
        assert desk.train.shown.status.text().startswith("Finished after 30 steps.")
        assert "disks model" in desk.predict.model_note.text()
        assert session_of(desk.viewer).origin is not None

    def test_what_is_on_screen_is_predicted_there(self, painted: Painted, address: str) -> None:
        desk = training_on(painted, address, 100_000)
        layers = desk.viewer.layers
        desk.qtbot.waitUntil(
            lambda: len(layers) > 2 and bool(np.any(layers[-1].data)), timeout=60_000
        )
        desk.click(desk.train.stop_button)
        desk.wait_until_idle()
        assert desk.train.shown.status.text().startswith("Stopped after ")

    def test_new_strokes_join_it(self, painted: Painted, address: str) -> None:
        desk = training_on(painted, address, 100_000)
        shown = desk.train.shown
        desk.qtbot.waitUntil(lambda: "Step" in shown.status.text(), timeout=60_000)
        labels = painted[1]
        labels.data_setitem((np.array([80, 80]), np.array([20, 21])), 1)
        desk.qtbot.waitUntil(lambda: "New strokes joined" in shown.joined.text(), timeout=60_000)
        desk.click(desk.train.stop_button)
        desk.wait_until_idle()
        run = session_of(desk.viewer).run
        assert run is not None
        assert not run.outdated

    def test_it_goes_on_after_a_stop(self, painted: Painted, address: str) -> None:
        desk = training_on(painted, address, 100_000)
        desk.qtbot.waitUntil(lambda: "Step" in desk.train.shown.status.text(), timeout=60_000)
        desk.click(desk.train.stop_button)
        desk.wait_until_idle()
        interrupted = session_of(desk.viewer).interrupted
        assert interrupted is not None
        desk.train.steps_box.setValue(interrupted.step + 10)
        desk.click(desk.train.continue_button)
        desk.wait_until_idle()
        trained = session_of(desk.viewer).trained
        assert trained is not None
        assert trained.state.step == interrupted.step + 10

    def test_a_training_is_taken_up_after_a_restart(
        self, painted: Painted, address: str, make_viewer: Callable[[], Any]
    ) -> None:
        desk = training_on(painted, address, 400)
        desk.qtbot.waitUntil(lambda: "Step" in desk.train.shown.status.text(), timeout=60_000)
        keeper, run = keeper_of(desk.viewer), session_of(desk.viewer).run
        assert run is not None
        keeper.save_before_closing()
        run.inbox.left.set()  # as where the window is gone
        desk.wait_until_idle()
        assert "goes on on" in desk.train.shown.status.text()

        viewer = make_viewer()
        bar = RecoveryBar(viewer)
        bar.folder = keeper.folder
        bar.restore()
        session = session_of(viewer)
        assert session.on == address
        desk.qtbot.waitUntil(lambda: not session.training.running, timeout=60_000)
        assert session.trained is not None
        assert session.trained.state.step == 400
        assert noted_in(keeper_of(viewer).folder) is None

    def test_what_is_over_is_noted_no_more(self, painted: Painted, address: str) -> None:
        desk = training_on(painted, address, 30)
        desk.qtbot.waitUntil(lambda: "Step" in desk.train.shown.status.text(), timeout=60_000)
        assert noted_in(keeper_of(desk.viewer).folder) is not None
        desk.wait_until_idle()
        assert noted_in(keeper_of(desk.viewer).folder) is None
