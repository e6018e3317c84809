"""Tables as high as their rows at any font size, and their cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qtpy.QtCore import QEvent, QModelIndex, QPersistentModelIndex, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPalette, QPixmap
from qtpy.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QTableWidget

from napari_unet.widgets.common.controls import header_of

if TYPE_CHECKING:
    from qtpy.QtGui import QFontMetrics, QShowEvent
    from qtpy.QtWidgets import QWidget

_ROW_PADDING = 12
_FRAME = 4
_CHANGES = (QEvent.Type.FontChange, QEvent.Type.StyleChange)


class PlainTable(QTableWidget):
    """A table without row numbers and grid, through which the Tab key moves on."""

    _lines = 1

    def __init__(self, columns: int) -> None:
        super().__init__(0, columns)
        self.header: Final = header_of(self)
        self._fit()

    def show_lines(self, lines: int) -> None:
        """Be as high as the header and so many rows; more rows scroll."""
        self._lines = lines
        self._fit()

    def changeEvent(self, event: QEvent | None) -> None:
        """Grow with the font."""
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
            return  # fonts change before there are any
        row_height = self.fontMetrics().height() + _ROW_PADDING
        rows.setDefaultSectionSize(row_height)
        self.setFixedHeight(header.sizeHint().height() + self._lines * row_height + _FRAME)


def swatch_side(metrics: QFontMetrics) -> int:
    """Return how long the sides of a square beside a text are."""
    return metrics.height()


class CellDelegate(QStyledItemDelegate):
    """Draws colours as rimmed squares, not tinted by selection, and frames the current cell."""

    def __init__(self, table: QWidget) -> None:
        super().__init__(table)
        self._table = table

    def initStyleOption(
        self, option: QStyleOptionViewItem | None, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        """Replace the colour by its picture."""
        assert option is not None
        super().initStyleOption(option, index)  # type: ignore[arg-type]
        colour = index.data(Qt.ItemDataRole.DecorationRole)
        if isinstance(colour, QColor):
            side = swatch_side(option.fontMetrics)
            rim = option.palette.color(QPalette.ColorRole.Text)
            option.icon = _icon_of(colour, rim, side, self._table.devicePixelRatioF())
            option.decorationSize = QSize(side, side)

    def paint(
        self,
        painter: QPainter | None,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        """Draw a frame around the cell that the keyboard acts on."""
        super().paint(painter, option, index)  # type: ignore[arg-type]
        if painter is not None and option.state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(option.palette.color(QPalette.ColorRole.Text))
            painter.drawRect(option.rect.adjusted(0, 0, -1, -1))


def _icon_of(colour: QColor, rim: QColor, side: int, ratio: float) -> QIcon:
    picture = QPixmap(round(side * ratio), round(side * ratio))
    picture.setDevicePixelRatio(ratio)
    picture.fill(rim)
    painter = QPainter(picture)
    painter.fillRect(1, 1, side - 2, side - 2, colour)
    painter.end()
    icon = QIcon(picture)
    icon.addPixmap(picture, QIcon.Mode.Selected)
    return icon
