"""Paint & Segment: what the loop needs is in sight on a small screen, with large letters too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari._qt.qt_resources import get_stylesheet
from napari.components import ViewerModel
from napari.settings import get_settings
from qtpy.QtCore import QEvent, QPoint, QRect, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QDockWidget,
    QLabel,
    QMainWindow,
    QTabBar,
    QWidget,
)

from napari_unet.widgets.common.controls import Section
from napari_unet.widgets.common.layers import LayerComboBox
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.segment import suggest
from napari_unet.widgets.segment.dock import SegmentWidget

from .docks import LARGE, called
from .scenes import disks
from .test_predict import untrained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Open = Callable[..., SegmentWidget]

_WIDTH = 340


@pytest.fixture
def open_dock(monkeypatch: pytest.MonkeyPatch, qtbot: object) -> Iterator[Open]:
    """Give a function that opens the dock at 1280 x 720, in letters of one and a half the size."""
    monkeypatch.setattr(suggest, "_DELAY_MS", 10_000_000)
    appearance = get_settings().appearance
    previous, appearance.font_size = appearance.font_size, LARGE
    windows: list[QMainWindow] = []

    def open_it(image: NDArray[np.float32] | None = None) -> SegmentWidget:
        viewer = ViewerModel()
        viewer.add_image(disks() if image is None else image, name="cells")
        window = QMainWindow()
        windows.append(window)
        window.setStyleSheet(get_stylesheet("dark", extra_variables={"font_size": f"{LARGE}pt"}))
        menus, status = window.menuBar(), window.statusBar()
        assert menus is not None
        assert status is not None
        menus.addMenu("File")
        status.showMessage("Ready")
        dock, place = SegmentWidget(viewer), QDockWidget("Paint & Segment")
        place.setWidget(dock)
        window.setCentralWidget(QWidget())
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, place)
        window.resizeDocks([place], [_WIDTH], Qt.Orientation.Horizontal)
        window.resize(1280, 720)
        window.show()
        QApplication.processEvents()
        assert window.height() == 720
        return dock

    yield open_it
    for window in windows:
        window.close()
        window.deleteLater()
    appearance.font_size = previous
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def loop_buttons(dock: SegmentWidget) -> list[QWidget]:
    """List the buttons of the loop that are there now."""
    results = [dock.view_button, dock.slice_button, dock.whole_button, dock.cancel_button]
    found = [*dock.tools.buttons.values(), dock.learn.button, *results]
    return [each for each in found if each.isVisibleTo(dock)]


def out_of_sight(dock: SegmentWidget) -> list[str]:
    """List the buttons of the loop of which a part is cut off, or scrolled away."""
    QApplication.processEvents()
    hidden = []
    for each in loop_buttons(dock):
        seen = QRect(each.mapTo(dock, QPoint(0, 0)), each.size())
        if each.visibleRegion().boundingRect() != each.rect() or not dock.rect().contains(seen):
            hidden.append(called(each))
    return hidden


def test_all_is_in_sight_as_it_opens(open_dock: Open) -> None:
    assert out_of_sight(open_dock()) == []


def test_all_is_in_sight_while_cells_are_suggested(open_dock: Open) -> None:
    dock = open_dock()
    dock.suggestions.text.setText("1,159 cells found in this view, about 24 pixels wide.")
    dock.suggestions._show(True)
    QApplication.processEvents()
    assert out_of_sight(dock) == []
    use = dock.suggestions.use_button
    assert use.visibleRegion().boundingRect() == use.rect()


def test_all_is_in_sight_while_it_trains_on_a_stack(open_dock: Open) -> None:
    dock = open_dock(np.stack([disks()] * 3))
    dock.learn.progress.show()
    dock.learn.text.setText("At the start 10 of 12. This version is no better: " * 3)
    dock.target.coverage.setText("Painted: 12 cells. Enough to train. " * 4)
    dock.cancel_button.show()
    assert dock.axes_chip.isVisible()
    assert out_of_sight(dock) == []


def test_size_threshold_and_smallest_object_are_one_click_away(open_dock: Open) -> None:
    dock = open_dock()
    dock.settings.toggle_button.click()
    editors = dock.options.form.editors
    shown = [dock.options.cell_size, editors["threshold"].widget, editors["smallest"].widget]
    assert all(each.isVisible() for each in shown)
    assert not editors["device"].widget.isVisible()
    assert out_of_sight(dock) == []


def test_a_narrow_window_leaves_room_for_image_and_dock(open_dock: Open) -> None:
    dock = open_dock()
    window, napari_has = dock.window(), QDockWidget()
    assert isinstance(window, QMainWindow)
    controls = QWidget()
    controls.setFixedWidth(310)
    napari_has.setWidget(controls)
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, napari_has)
    QApplication.processEvents()
    window.resize(640, 720)
    QApplication.processEvents()
    image = window.centralWidget()
    assert image is not None
    assert (window.width(), image.width() >= 100, dock.width() >= 190) == (640, True, True)


def test_its_tab_is_called_paint_and_segment(open_dock: Open) -> None:
    dock = open_dock()
    window = dock.window()
    assert isinstance(window, QMainWindow)
    other = QDockWidget("Other")
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, other)
    window.tabifyDockWidget(window.findChildren(QDockWidget)[0], other)
    for _ in range(3):
        QApplication.processEvents()
    tabs = window.findChild(QTabBar)
    assert tabs is not None
    texts = [tabs.tabText(i) for i in range(tabs.count())]
    shown = [QKeySequence.mnemonic(text).toString() for text in texts]
    assert (texts[0], shown[0]) == ("Paint && Segment", "")  # Qt draws && as &


def test_the_axes_of_a_plane_are_not_asked_for(open_dock: Open) -> None:
    assert not open_dock().axes_chip.isVisible()


def cut_off(dock: SegmentWidget) -> list[str]:
    """List what has less room than its words need."""
    QApplication.processEvents()
    cut = []
    for each in dock.findChildren(QWidget):
        if not each.isVisibleTo(dock):
            continue
        needed = 0
        if isinstance(each, QLabel):
            words = each.text().split() if each.wordWrap() else [each.text()]
            needed = max((each.fontMetrics().horizontalAdvance(word) for word in words), default=0)
        elif isinstance(each, QComboBox) and not isinstance(each, LayerComboBox):
            needed = each.sizeHint().width()
        elif isinstance(each, QAbstractButton) and each.text():
            needed = each.minimumSizeHint().width()
        if each.width() < needed:
            cut.append(f"{called(each)}: {each.width()} of {needed}")
    return cut


@pytest.mark.parametrize("kind", [0, 1])
def test_no_word_is_cut_in_large_letters(open_dock: Open, kind: int) -> None:
    dock = open_dock(np.stack([disks()] * 3))
    dock.target.kind_box.setCurrentIndex(kind)
    dock.suggestions._show(True)
    session_of(dock.starter._viewer).set_model(untrained(), "General cells")
    for section in dock.findChildren(Section):
        section.open()
    dock.cancel_button.show()
    dock.learn.text.setText("Looking at what is painted…")
    dock.tools.accept_all.accept_button.show()
    assert dock.width() <= _WIDTH
    assert cut_off(dock) == []


def test_all_is_in_sight_where_cells_are_linked(open_dock: Open) -> None:
    dock = open_dock(np.stack([disks()] * 3))
    dock.finish.count.setText("1,159 cells here, 12,345 in all")
    dock.finish.link_button.show()
    dock.tools.show_linked(True)
    dock.cancel_button.show()
    assert out_of_sight(dock) == []
    row = (dock.finish.link_button, dock.finish.csv_button, dock.finish.save_button)
    assert [each.visibleRegion().boundingRect() == each.rect() for each in row] == [True] * 3
    assert dock.width() <= _WIDTH + 20
