"""All docks in one main window with napari's style sheet, without its slow canvas."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari._qt.qt_resources import get_stylesheet
from napari.components import ViewerModel
from napari.settings import get_settings
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QHeaderView,
    QLineEdit,
    QMainWindow,
    QProgressBar,
    QScrollArea,
    QWidget,
)

from napari_unet.widgets.annotate.dock import AnnotateWidget
from napari_unet.widgets.classify.dock import ClassifyWidget
from napari_unet.widgets.models.dock import ModelsWidget
from napari_unet.widgets.predict.dock import PredictWidget
from napari_unet.widgets.train.dock import TrainWidget

from .scenes import disks, strokes_on

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCK_WIDTH = 350
LARGE = 14  # points: one and a half times the nine that napari begins with
_CONTROLS = (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QProgressBar,
)


@dataclass(frozen=True)
class Docks:
    """A window with five docks below each other."""

    window: QMainWindow
    viewer: ViewerModel
    annotate: AnnotateWidget
    train: TrainWidget
    predict: PredictWidget
    models: ModelsWidget
    classify: ClassifyWidget

    @property
    def all(self) -> dict[str, QWidget]:
        """The docks by name."""
        names = ("annotate", "train", "predict", "models", "classify")
        return {name: getattr(self, name) for name in names}


@contextmanager
def open_docks(theme: str = "dark", points: int = 9) -> Iterator[Docks]:
    """Open the docks with an image and paint on it, everything unfolded."""
    appearance = get_settings().appearance
    previous, appearance.font_size = appearance.font_size, points
    viewer = ViewerModel()
    viewer.theme = theme
    viewer.add_image(disks(), name="disks")
    viewer.add_labels(strokes_on(disks()), name="paint")
    window = QMainWindow()
    window.setDockOptions(QMainWindow.DockOption.AnimatedDocks)  # no tabs: all are seen at once
    window.setStyleSheet(get_stylesheet(theme, extra_variables={"font_size": f"{points}pt"}))
    docks = Docks(
        window,
        viewer,
        AnnotateWidget(viewer),
        TrainWidget(viewer),
        PredictWidget(viewer),
        ModelsWidget(viewer),
        ClassifyWidget(viewer),
    )
    for dock in docks.all.values():
        place = QDockWidget()
        place.setWidget(dock)
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, place)
        window.resizeDocks([place], [DOCK_WIDTH], Qt.Orientation.Horizontal)
    docks.train.advanced.open()
    window.show()
    window.activateWindow()
    QApplication.processEvents()
    try:
        yield docks
    finally:
        window.close()
        window.deleteLater()
        appearance.font_size = previous
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # no loop runs to do it


def content_of(dock: QWidget) -> QWidget:
    """Return what scrolls in a dock."""
    scroll = dock.findChild(QScrollArea)
    assert scroll is not None
    content = scroll.widget()
    assert content is not None
    return content


def controls_in(dock: QWidget) -> list[QWidget]:
    """List the controls of a dock, hidden ones too, without the parts that Qt makes them of."""
    return [
        each
        for each in dock.findChildren(QWidget)
        if isinstance(each, _CONTROLS) and not isinstance(each, QHeaderView) and not _is_part(each)
    ]


def _is_part(widget: QWidget) -> bool:
    if isinstance(widget, QAbstractButton) and isinstance(widget.parent(), QAbstractItemView):
        return True
    parent = widget.parentWidget()
    return isinstance(parent, (QComboBox, QAbstractSpinBox, QLineEdit)) or (
        parent is not None and isinstance(parent.parent(), QComboBox)  # the list that it opens
    )


def called(widget: QWidget) -> str:
    """Say which control it is, for the message of a test that fails."""
    text = getattr(widget, "text", None)
    words = text() if callable(text) and not isinstance(widget, QProgressBar) else ""
    return f"{type(widget).__name__} {widget.accessibleName() or words!r}"


def stops_in(dock: QWidget) -> list[QWidget]:
    """List what the tabulator stops at in a dock, in its order."""
    stops, each = [], dock.nextInFocusChain()
    while each is not None and each is not dock:
        takes_tab = bool(each.focusPolicy() & Qt.FocusPolicy.TabFocus)
        if dock.isAncestorOf(each) and takes_tab and each.focusProxy() is None:
            stops.append(each)
        each = each.nextInFocusChain()
    return stops
