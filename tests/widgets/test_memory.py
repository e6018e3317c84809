"""What is closed is let go: the images of a closed viewer may fill the memory."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from napari.components import ViewerModel

from napari_unet.widgets.annotate.dock import AnnotateWidget
from napari_unet.widgets.classify.dock import ClassifyWidget
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.models.dock import ModelsWidget
from napari_unet.widgets.predict.dock import PredictWidget
from napari_unet.widgets.train.dock import TrainWidget

from .scenes import disks, strokes_on

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari import Viewer
    from pytestqt.qtbot import QtBot

    from .conftest import Desk

pytestmark = pytest.mark.canvas

DOCKS = (AnnotateWidget, TrainWidget, PredictWidget, ModelsWidget, ClassifyWidget)


@pytest.mark.slow
@pytest.mark.parametrize("dock", DOCKS, ids=lambda dock: dock.__name__)
@pytest.mark.parametrize("show", [True, False], ids=["shown", "hidden"])
def test_a_closed_viewer_is_freed(
    dock: Callable[[Viewer], Any],
    show: bool,
    make_napari_viewer: Callable[..., Viewer],
    qtbot: QtBot,
) -> None:
    viewer = make_napari_viewer(show=show)
    viewer.add_image(disks(), name="disks")
    viewer.window.add_dock_widget(dock(viewer), name="dock")
    closed = weakref.ref(viewer)

    viewer.close()
    del viewer

    assert is_freed(closed, qtbot)


@pytest.mark.slow
def test_a_viewer_that_trained_and_predicted_is_freed(
    make_desk: Callable[..., Desk], qtbot: QtBot
) -> None:
    desk = make_desk()
    desk.viewer.add_labels(strokes_on(disks()), name="paint")
    desk.train_tiny()
    desk.click(desk.train.train_button)
    desk.wait_until_idle()
    desk.click(desk.predict.predict_button)
    desk.wait_until_idle()
    closed = weakref.ref(desk.viewer)

    desk.viewer.close()
    del desk

    assert is_freed(closed, qtbot)


@pytest.mark.slow
@pytest.mark.parametrize("dock", DOCKS, ids=lambda dock: dock.__name__)
def test_work_ends_with_its_window_and_the_session_after_it(
    dock: Callable[[Viewer], Any], make_napari_viewer: Callable[..., Viewer], qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window.add_dock_widget(dock(viewer), name="dock")
    session = session_of(viewer)
    going_on, ended = threading.Event(), threading.Event()

    def until_stopped(stop: threading.Event) -> Generator[object, None, None]:
        yield "begun"
        stop.wait(10)
        going_on.wait(10)
        ended.set()

    with qtbot.waitSignal(session.storing.happened):
        session.storing.start(until_stopped)
    left = weakref.ref(session)
    viewer.close()
    del session, viewer
    assert not is_freed(left, qtbot)  # as long as there is work

    going_on.set()
    qtbot.waitUntil(ended.is_set)
    assert is_freed(left, qtbot)


def test_the_session_of_a_viewer_without_a_window_goes_after_it(qtbot: QtBot) -> None:
    viewer = ViewerModel()
    left = weakref.ref(session_of(viewer))
    del viewer
    gc.collect()
    session_of(ViewerModel())
    assert is_freed(left, qtbot)


def is_freed(thing: weakref.ref[Any], qtbot: QtBot) -> bool:
    """Let Qt take apart what was closed, and collect what is left."""
    for _ in range(3):
        qtbot.wait(50)
        gc.collect()
    return thing() is None
