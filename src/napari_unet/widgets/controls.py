"""Small pieces that the widgets are made of."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from napari.settings import get_settings
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QTableWidget,
    QVBoxLayout,
    QWidget,
)

from napari_unet.widgets.focus_ring import FocusRing
from napari_unet.widgets.layers import follow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtGui import QShowEvent


MODEL_FILES = "Models (*.safetensors)"  # what file dialogs offer


def form_layout() -> QFormLayout:
    """Return a form whose fields use the width there is, down to a narrow dock."""
    form = QFormLayout()
    form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    form.setContentsMargins(0, 0, 0, 0)
    return form


def scrolling_column(widget: QWidget) -> QVBoxLayout:
    """Give a dock widget its one column, which scrolls where the dock is too low for it."""
    content = _Content()
    layout = QVBoxLayout(content)
    layout.setSpacing(8)
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # no stop of the tabulator without a control
    scroll.setFrameShape(QScrollArea.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(content)
    FocusRing(content)
    outer = QVBoxLayout(widget)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(scroll)
    return layout


class _Content(QWidget):
    """Has napari's size of letters where its style sheet names none: in tables and fields."""

    def __init__(self) -> None:
        super().__init__()
        self._appearance = get_settings().appearance
        follow(self, self._appearance.events.font_size, self._take_size)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Take the size now that all parts are there: Qt hands it on to no later ones."""
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
    made.clicked.connect(lambda: slot())
    return made


def without_ampersand(text: str) -> str:
    """Return the text of a control as it is read, without the mark of its keyboard shortcut."""
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
        self.setTextFormat(Qt.TextFormat.PlainText)  # names in it are of files, whoever made them
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.hide()

    def setText(self, text: str | None) -> None:
        """Say something, or nothing."""
        super().setText(text)
        # Without a parent it would open a window of its own.
        self.setVisible(bool(text) and self.parent() is not None)

    def event(self, event: QEvent | None) -> bool:
        """Appear when the first text was set before there was a place for it."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.text():
            self.setVisible(self.parent() is not None)
        return super().event(event)


def note() -> Note:
    """Return a label for a few sentences."""
    return Note()


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
    """Say a time in words: "40 s", "3 min", "2 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
