"""Tables as high as their rows, also when the letters grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QTableWidget

from napari_unet.widgets.controls import header_of

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent
    from qtpy.QtWidgets import QWidget

_ROW_PADDING = 12
_FRAME = 4
_CHANGES = (QEvent.Type.FontChange, QEvent.Type.StyleChange)


class PlainTable(QTableWidget):
    """A table without row numbers and grid, that the tabulator passes through.

    Parameters
    ----------
    columns : int
        How many.
    parent : QWidget, optional
        Owner.
    """

    _lines = 1

    def __init__(self, columns: int, parent: QWidget | None = None) -> None:
        super().__init__(0, columns, parent)
        self.header = header_of(self)
        self._fit()

    def show_lines(self, lines: int) -> None:
        """Be as high as the header and so many rows.

        Parameters
        ----------
        lines : int
            Further rows are scrolled to.
        """
        self._lines = lines
        self._fit()

    def changeEvent(self, event: QEvent | None) -> None:
        """Grow with the letters."""
        super().changeEvent(event)
        if event is not None and event.type() in _CHANGES:
            self._fit()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Fit once more: napari's style, and with it the header's height, comes with the window."""
        super().showEvent(event)
        self._fit()

    def _fit(self) -> None:
        rows, header = self.verticalHeader(), self.horizontalHeader()
        if rows is None or header is None:
            return  # Qt tells of fonts before there are any
        row_height = self.fontMetrics().height() + _ROW_PADDING
        rows.setDefaultSectionSize(row_height)
        self.setFixedHeight(header.sizeHint().height() + self._lines * row_height + _FRAME)
