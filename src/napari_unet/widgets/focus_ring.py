"""Shows which control has the keyboard: napari's themes do not."""

from __future__ import annotations

import contextlib
from typing import cast

from qtpy.QtCore import QEvent, QObject, QPoint, Qt
from qtpy.QtGui import QPainter, QPaintEvent, QPalette, QRegion
from qtpy.QtWidgets import QApplication, QWidget

_WIDTH = 2  # in device-independent pixels, as all sizes of Qt
_MOVES = (QEvent.Type.Move, QEvent.Type.Resize, QEvent.Type.Show, QEvent.Type.Hide)


class FocusRing(QWidget):
    """A frame around the control that has the keyboard, in the theme's colour of text.

    It lies over the controls, so that it shows alike on all of them and moves none.

    Parameters
    ----------
    content : QWidget
        The controls are somewhere inside it.
    """

    def __init__(self, content: QWidget) -> None:
        super().__init__(content)
        self._content = content
        self._around: QWidget | None = None
        self._watched: list[QWidget] = []
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.hide()
        application = cast("QApplication", QApplication.instance())
        application.focusChanged.connect(self._follow)

    @property
    def around(self) -> QWidget | None:
        """The control with the keyboard, if it is one of those inside."""
        return self._around

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
        self._around, self._watched = now if inside else None, []
        part: QWidget | None = self._around
        while part is not None and part is not self._content:
            part.installEventFilter(self)
            self._watched.append(part)
            part = part.parentWidget()
        self._surround()

    def _surround(self) -> None:
        control = self._around
        if control is None or not control.isVisible():
            self.hide()
            return
        corner = control.mapTo(self._content, QPoint(0, 0))
        outer = control.rect().translated(corner).adjusted(-_WIDTH, -_WIDTH, _WIDTH, _WIDTH)
        self.setGeometry(outer.intersected(self._content.rect()))
        inner = self.rect().adjusted(_WIDTH, _WIDTH, -_WIDTH, -_WIDTH)
        self.setMask(QRegion(self.rect()).subtracted(QRegion(inner)))
        self.raise_()
        self.show()
