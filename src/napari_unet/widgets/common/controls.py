"""Small pieces that the widgets are made of: layouts, buttons, notes, the focus ring, sections."""

from __future__ import annotations

import contextlib
import html
from typing import TYPE_CHECKING, Any, Final, cast

from napari.settings import get_settings
from qtpy.QtCore import QEvent, QObject, QPoint, Qt, QTimer
from qtpy.QtGui import QPainter, QPaintEvent, QPalette, QRegion
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFormLayout,
    QHeaderView,
    QLabel,
    QLayout,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QTableWidget,
    QVBoxLayout,
    QWidget,
)

from napari_unet.widgets.common.layers import follow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtGui import QShowEvent

MODEL_FILES = "Models (*.safetensors)"  # what file dialogs offer
_RING_WIDTH = 2  # in device-independent pixels, as all sizes of Qt
_MOVES = (QEvent.Type.Move, QEvent.Type.Resize, QEvent.Type.Show, QEvent.Type.Hide)
_OPEN, _CLOSED = "▼", "▶"  # as text they take the colour of the theme


def form_layout() -> QFormLayout:
    """Return a form whose fields use the width there is, down to a narrow dock."""
    form = QFormLayout()
    form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    form.setContentsMargins(0, 0, 0, 0)
    return form


def stack(owner: QWidget, *parts: QWidget | QLayout) -> QVBoxLayout:
    """Lay parts below each other, as wide as what they are in."""
    column = QVBoxLayout(owner)
    column.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        column.addLayout(part) if isinstance(part, QLayout) else column.addWidget(part)
    return column


def single_shot(owner: QObject | None, milliseconds: int, call: Any) -> QTimer:
    """Return a timer that calls so long after it was started last."""
    timer = QTimer(owner)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(call)
    return timer


def scrolling_column(widget: QWidget) -> QVBoxLayout:
    """Give a dock widget a column, which scrolls where the dock is too low."""
    content = _Content()
    layout = QVBoxLayout(content)
    layout.setSpacing(8)
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # Tab stops at controls only
    scroll.setFrameShape(QScrollArea.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(content)
    FocusRing(content)
    _column_of(widget).addWidget(scroll, 1)
    return layout


def fixed_column(widget: QWidget) -> QVBoxLayout:
    """Give a dock widget a column above or below the one that scrolls: it is always in sight."""
    content = _Content()
    layout = QVBoxLayout(content)
    layout.setSpacing(6)
    FocusRing(content)
    _column_of(widget).addWidget(content)
    return layout


def _column_of(widget: QWidget) -> QVBoxLayout:
    outer = widget.layout()
    if isinstance(outer, QVBoxLayout):
        return outer
    outer = stack(widget)
    outer.setSpacing(0)
    return outer


class _Content(QWidget):
    """Has napari's font size where its style sheet names none: in tables and fields."""

    def __init__(self) -> None:
        super().__init__()
        self._appearance = get_settings().appearance
        follow(self, self._appearance.events.font_size, self._take_size)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Take the size now that all parts are there: parts added later do not inherit it."""
        super().showEvent(event)
        self._take_size()

    def _take_size(self, event: object = None) -> None:
        font = self.font()
        font.setPointSize(self._appearance.font_size)
        self.setFont(font)


def button(text: str, tooltip: str, slot: Callable[[], object]) -> QPushButton:
    """Return a push button; an ampersand in `text` makes its keyboard shortcut."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setAccessibleName(without_ampersand(text))
    made.setAutoDefault(True)  # Return works as the space bar does
    # Not by a click: the space bar, which pans napari's canvas, would press it again.
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    made.clicked.connect(lambda: slot())
    return made


def without_ampersand(text: str) -> str:
    """Return the text of a control as it is read, without the mark of its shortcut."""
    return text.replace("&", "")


def choice(options: Sequence[tuple[str, object]], tooltip: str) -> QComboBox:
    """Return a combo box of (text, value) pairs that may shrink below its longest text."""
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.setToolTip(tooltip)
    for text, value in options:
        box.addItem(text, value)
    return box


def add_row(form: QFormLayout, text: str, field: QWidget, tooltip: str = "") -> None:
    """Add a labelled field; both show the same tooltip, and a screen reader says the label."""
    label = QLabel(text)
    label.setBuddy(field)
    field.setAccessibleName(text)
    if tooltip:
        field.setToolTip(tooltip)
    label.setToolTip(field.toolTip())
    form.addRow(label, field)


def as_plain(text: str) -> str:
    """Return a text for tooltips and message boxes, which would read names with tags as HTML."""
    if "<" not in text:
        return text
    lines = html.escape(text).replace("\n", "<br>")
    return f"<qt>{lines}</qt>"


class Note(QLabel):
    """A few sentences that wrap; takes no room while it has nothing to say."""

    def __init__(self) -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)  # it may hold names of files from anywhere
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.hide()

    def setText(self, text: str | None) -> None:
        """Show a text; hide where it is empty."""
        super().setText(text)
        # Without a parent it would open a window of its own.
        self.setVisible(bool(text) and self.parent() is not None)

    def event(self, event: QEvent | None) -> bool:
        """Appear when the first text was set before there was a place for it."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.text():
            self.setVisible(self.parent() is not None)
        return super().event(event)


def header_of(table: QTableWidget) -> QHeaderView:
    """Make a table plain, without row numbers and grid, and return its column header."""
    rows, columns = table.verticalHeader(), table.horizontalHeader()
    assert rows is not None
    assert columns is not None
    rows.hide()
    table.setShowGrid(False)
    table.setTabKeyNavigation(False)
    return columns


def progress_bar(tooltip: str) -> QProgressBar:
    """Return a progress bar in per mille."""
    bar = QProgressBar()
    bar.setRange(0, 1000)
    bar.setTextVisible(False)
    bar.setMaximumHeight(8)
    bar.setToolTip(tooltip)
    bar.setAccessibleName(tooltip.rstrip("."))
    return bar


def duration(seconds: float) -> str:
    """Return a time in words: "40 s", "3 min", "2 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class FocusRing(QWidget):
    """A frame over the control inside `content` that has the keyboard: napari's themes show none.

    It is drawn in the theme's colour of text.
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__(content)
        self._content = content
        self.around: QWidget | None = None  # the control with the keyboard, if it is inside
        self._watched: list[QWidget] = []
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.hide()
        application = cast("QApplication", QApplication.instance())
        application.focusChanged.connect(self._follow)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Fill what the mask leaves of the rectangle: its rim."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.WindowText))
        painter.end()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Move along with the control, or with what it lies in."""
        if event is not None and event.type() in _MOVES:
            self._surround()
        return False

    def _follow(self, previous: QWidget | None, now: QWidget | None) -> None:
        for each in self._watched:
            with contextlib.suppress(RuntimeError):  # Qt has deleted it meanwhile
                each.removeEventFilter(self)
        inside = now is not None and self._content.isAncestorOf(now)
        self.around, self._watched = now if inside else None, []
        part = self.around
        while part is not None and part is not self._content:
            part.installEventFilter(self)
            self._watched.append(part)
            part = part.parentWidget()
        self._surround()

    def _surround(self) -> None:
        control = self.around
        if control is None or not control.isVisible():
            self.hide()
            return
        corner = control.mapTo(self._content, QPoint(0, 0))
        width = _RING_WIDTH
        outer = control.rect().translated(corner).adjusted(-width, -width, width, width)
        self.setGeometry(outer.intersected(self._content.rect()))
        inner = self.rect().adjusted(width, width, -width, -width)
        self.setMask(QRegion(self.rect()).subtracted(QRegion(inner)))
        self.raise_()
        self.show()


class Section(QWidget):
    """A title that is a button, and the panel that it shows and hides.

    A closed panel is hidden, not only of no height, so that the Tab key skips it.
    """

    def __init__(self, title: str, tooltip: str, panel: QWidget) -> None:
        super().__init__()
        self.panel: Final = panel
        self._title = title
        self.toggle_button: Final = QPushButton()
        self.toggle_button.setCheckable(True)
        self.toggle_button.setAutoDefault(True)  # Return works as the space bar does
        self.toggle_button.setAccessibleName(title)
        self.toggle_button.setToolTip(tooltip)
        self.toggle_button.setStyleSheet("text-align: left;")
        self.toggle_button.toggled.connect(self._show)
        stack(self, self.toggle_button, panel)
        self._show(False)

    def open(self) -> None:
        """Show the panel."""
        self.toggle_button.setChecked(True)

    def _show(self, shown: bool) -> None:
        self.toggle_button.setText(f"{_OPEN if shown else _CLOSED} {self._title}")
        self.panel.setVisible(shown)
