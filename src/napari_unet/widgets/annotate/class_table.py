"""The table of classes: name, colour, painted pixels and objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QColorDialog, QHeaderView, QTableWidgetItem

from napari_unet.widgets.common.annotation import BACKGROUND_VALUE, FIRST_VALUE
from napari_unet.widgets.common.tables import CellDelegate, PlainTable, swatch_side

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_unet.widgets.annotate.coverage import Coverage
    from napari_unet.widgets.common.annotation import Annotation

_NUMBER, _COLOUR, _NAME, _FIRST_COUNT, _SECOND_COUNT = range(5)
_HEADERS = {
    _NUMBER: ("#", "The painted number, and the key that picks it."),
    _COLOUR: ("", "Double-click, or press Return here, to choose another colour."),
    _NAME: ("Name", "Double-click, or press F2, to rename."),
    _FIRST_COUNT: (
        "Pixels",
        "Painted pixels in the plane on screen; unpainted ones in rectangles are background.",
    ),
    _SECOND_COUNT: ("Objects", "Objects, or separate strokes of a class, in the plane on screen."),
}
_HELP = (
    "Click a row, or press the space bar in it, to paint with it; double-click its name or colour "
    "to change it."
)

_PICK = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space)
_CHANGE = (Qt.Key.Key_F2,)

_MOST_ROWS = 8


@dataclass(frozen=True)
class ClassRow:
    """What one row shows."""

    value: int
    """The painted number; with objects the row of all objects has the first one."""
    name: str
    colour: str
    """As ``#rrggbb``, or "" where each object has its own."""
    counts: tuple[int, int]
    """Of pixels and of objects that are painted, or of what else the table counts."""


class ClassTableWidget(PlainTable):
    """Shows classes, with two counts of each; asks to pick, rename or recolour one."""

    picked: Final = Signal(int)
    renamed: Final = Signal(int, str)
    recoloured: Final = Signal(int, str)

    def __init__(
        self, headers: Mapping[int, tuple[str, str]] = _HEADERS, tooltip: str = _HELP
    ) -> None:
        super().__init__(len(headers))
        self._rows: tuple[ClassRow, ...] = ()
        self._headers = headers
        for column, (text, about) in headers.items():
            header = QTableWidgetItem(text)
            header.setToolTip(about)
            self.setHorizontalHeaderItem(column, header)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        self.header.setSectionResizeMode(_COLOUR, QHeaderView.ResizeMode.Fixed)
        self.setItemDelegate(CellDelegate(self))
        triggers = QAbstractItemView.EditTrigger
        self.setEditTriggers(triggers.DoubleClicked | triggers.EditKeyPressed)
        self.setAccessibleName("Classes")
        self.setToolTip(tooltip)
        self.cellClicked.connect(self._pick)
        self.cellDoubleClicked.connect(self._ask_for_colour)
        self.itemChanged.connect(self._rename)

    def show_rows(self, rows: tuple[ClassRow, ...]) -> None:
        """Show classes; only what has changed is written, so that an edit under way survives."""
        if rows == self._rows:
            return
        self.blockSignals(True)
        self.setRowCount(len(rows))
        for index, row in enumerate(rows):
            if index >= len(self._rows) or self._rows[index] != row:
                self._fill(index, row)
        self._rows = rows
        self.blockSignals(False)
        self.setColumnWidth(_COLOUR, swatch_side(self.fontMetrics()) + 10)
        self.show_lines(min(len(rows), _MOST_ROWS))

    @property
    def values(self) -> tuple[int, ...]:
        """The painted numbers of the rows, top to bottom."""
        return tuple(row.value for row in self._rows)

    @property
    def chosen_value(self) -> int | None:
        """The number of the selected row."""
        return self._rows[self.currentRow()].value if self.currentRow() >= 0 else None

    def mark(self, value: int) -> None:
        """Select the row of a number; numbers above the last one are its objects."""
        rows = [i for i, row in enumerate(self._rows) if row.value <= value]
        self.blockSignals(True)
        if value > 0 and rows:
            self.setCurrentCell(rows[-1], max(_NUMBER, self.currentColumn()))
        else:
            self.clearSelection()
        self.blockSignals(False)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Do all that the mouse can: space and Return pick, F2 renames; each changes a colour."""
        row, column = self.currentRow(), self.currentColumn()
        editing = self.state() == QAbstractItemView.State.EditingState
        if event is None or editing or row < 0 or event.key() not in _PICK + _CHANGE:
            super().keyPressEvent(event)
        elif column == _COLOUR and event.key() != Qt.Key.Key_Space:
            self._ask_for_colour(row, _COLOUR)
        elif event.key() in _PICK:
            self._pick(row, _NUMBER)
        else:
            self.setCurrentCell(row, _NAME)
            self.editItem(self.item(row, _NAME))

    def _fill(self, index: int, row: ClassRow) -> None:
        plain = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        texts = {
            _NUMBER: str(row.value) if row.colour else f"{row.value}+",
            _COLOUR: "" if row.colour else "…",
            _NAME: row.name,
            _FIRST_COUNT: f"{row.counts[0]:,}",
            _SECOND_COUNT: f"{row.counts[1]:,}" if row.counts[1] else "",
        }
        for column, text in texts.items():
            item = QTableWidgetItem(text)
            item.setFlags(plain | Qt.ItemFlag.ItemIsEditable if column == _NAME else plain)
            item.setToolTip(self._headers[column][1])
            if column in (_FIRST_COUNT, _SECOND_COUNT):
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            if column == _COLOUR and row.colour:
                item.setData(Qt.ItemDataRole.DecorationRole, QColor(row.colour))
                item.setData(Qt.ItemDataRole.AccessibleTextRole, f"colour {row.colour}")
            self.setItem(index, column, item)

    def _pick(self, index: int, column: int) -> None:
        self.picked.emit(self._rows[index].value)

    def _rename(self, item: QTableWidgetItem) -> None:
        if item.column() == _NAME:
            self.renamed.emit(self._rows[item.row()].value, item.text().strip())

    def _ask_for_colour(self, index: int, column: int) -> None:
        row = self._rows[index]
        if column != _COLOUR or not row.colour:
            return
        colour = QColorDialog.getColor(QColor(row.colour), self, f"Colour of {row.name}")
        if colour.isValid():
            self.recoloured.emit(row.value, colour.name())


# --- What the table of classes shows of an annotation, row by row --------------------------------


def rows_of_objects(annotation: Annotation, coverage: Coverage) -> tuple[ClassRow, ...]:
    """Return the rows where numbers are objects: the background, and all objects in one."""
    background = ClassRow(
        BACKGROUND_VALUE,
        annotation.name_of(BACKGROUND_VALUE),
        annotation.colour_of(BACKGROUND_VALUE),
        (coverage.pixels_of(BACKGROUND_VALUE), 0),
    )
    name = annotation.names.get(FIRST_VALUE, "objects")
    numbers = coverage.objects
    counts = coverage.pixels_of(*numbers), len(numbers)
    objects = ClassRow(FIRST_VALUE, name, "", counts)
    return background, objects


def rows_of_classes(
    annotation: Annotation, coverage: Coverage, values: Iterable[int]
) -> tuple[ClassRow, ...]:
    """Return the rows where numbers are classes: one for each.

    `values` are the numbers of the classes, background included, in the order of the rows.
    """
    return tuple(
        ClassRow(
            value,
            annotation.name_of(value),
            annotation.colour_of(value),
            (coverage.pixels_of(value), coverage.components.get(value, 0)),
        )
        for value in values
    )
