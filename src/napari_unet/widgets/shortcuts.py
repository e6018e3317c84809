"""Single keys that work wherever the focus is in the window, canvas included.

napari never fires the keybindings of a manifest, so these are Qt's own. A text field keeps the
keys that are typed into it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QShortcut, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def add_shortcuts(widget: QWidget, actions: Mapping[str, Callable[[], object]]) -> None:
    """Let keys call functions while a dock widget is on screen.

    Parameters
    ----------
    widget : QWidget
        Where it is hidden, its keys are napari's again.
    actions : mapping of str to callable
        Keys, as Qt writes them, and what they do.
    """
    for key, action in actions.items():
        shortcut = QShortcut(QKeySequence(key), widget)
        shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
        shortcut.setAutoRepeat(False)
        shortcut.activated.connect(partial(_call, action))


def _call(action: Callable[[], object]) -> None:
    action()
