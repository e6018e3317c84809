"""Buttons side by side, in fewer columns where the dock is narrow or the font is large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtWidgets import QLayout, QLayoutItem, QWidget

if TYPE_CHECKING:
    from collections.abc import Iterable

_SPACING = 6


class ButtonGrid(QLayout):
    """Up to so many columns of one width, as fit; hidden buttons leave no gap."""

    def __init__(self, columns: int, buttons: Iterable[QWidget] = ()) -> None:
        super().__init__()
        self._columns = columns
        self._items: list[QLayoutItem] = []
        self.setSpacing(_SPACING)
        self.setContentsMargins(0, 0, 0, 0)
        for each in buttons:
            self.addWidget(each)

    def addItem(self, item: QLayoutItem | None) -> None:
        """Take an item in; called by `addWidget`."""
        assert item is not None
        self._items.append(item)

    def count(self) -> int:
        """Return how many items there are, hidden ones included."""
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        """Return an item, or None behind the last one."""
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        """Remove an item and return it."""
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        """Return the direction in which more room is of use."""
        return Qt.Orientation.Horizontal

    def hasHeightForWidth(self) -> bool:
        """Return that fewer columns need more rows."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Return the height of all rows in a dock so wide."""
        shown = self._shown()
        n_rows = -(-len(shown) // self._columns_in(width))
        return n_rows * self._row_height(shown) + max(0, n_rows - 1) * self.spacing()

    def minimumSize(self) -> QSize:
        """Return the size of the largest button: one column is enough."""
        shown = self._shown()
        return QSize(self._widest(shown), self._row_height(shown))

    def sizeHint(self) -> QSize:
        """Return the size with all columns."""
        shown = self._shown()
        n_columns = max(1, min(self._columns, len(shown)))
        width = n_columns * self._widest(shown) + (n_columns - 1) * self.spacing()
        return QSize(width, self.heightForWidth(width))

    def setGeometry(self, rect: QRect) -> None:
        """Place the buttons."""
        super().setGeometry(rect)
        shown, n_columns = self._shown(), self._columns_in(rect.width())
        step = (rect.width() + self.spacing()) / n_columns
        height = self._row_height(shown)
        for number, item in enumerate(shown):
            row, column = divmod(number, n_columns)
            left, right = round(column * step), round((column + 1) * step) - self.spacing()
            top = rect.y() + row * (height + self.spacing())
            item.setGeometry(QRect(rect.x() + left, top, right - left, height))

    def _shown(self) -> list[QLayoutItem]:
        # PySide6 asks for heights while it takes a window apart, when items are gone already.
        return [item for item in self._items if isalive(item) and not item.isEmpty()]

    def _columns_in(self, width: int) -> int:
        shown = self._shown()
        fitting = (width + self.spacing()) // (self._widest(shown) + self.spacing())
        return int(max(1, min(self._columns, fitting, max(1, len(shown)))))

    @staticmethod
    def _widest(shown: list[QLayoutItem]) -> int:
        return max((item.minimumSize().width() for item in shown), default=1)

    @staticmethod
    def _row_height(shown: list[QLayoutItem]) -> int:
        return max((item.sizeHint().height() for item in shown), default=0)
