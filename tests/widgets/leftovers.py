"""What napari, app-model and npe2 keep of each viewer that is closed.

It is little for a person who opens one window. Over a thousand tests it is gigabytes, and each
collection of garbage takes seconds.
"""

from __future__ import annotations

from itertools import chain

from app_model.backends.qt import QMenuItemAction
from napari.utils.theme import _themes
from npe2 import PluginManager
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QApplication


def sweep_up() -> None:
    """Let go of what is left of closed viewers."""
    _delete_actions()
    _forget_commands()
    _disconnect_themes()


def _delete_actions() -> None:
    application = QApplication.instance()
    if application is not None:
        direct = Qt.FindChildOption.FindDirectChildrenOnly
        for action in application.findChildren(QMenuItemAction, options=direct):
            action.deleteLater()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # no loop runs to do it


def _forget_commands() -> None:
    """Each test has a new app-model; npe2 would take its commands back at the very end."""
    for context in PluginManager.instance()._contexts.values():
        context._disposables.clear()


def _disconnect_themes() -> None:
    """Each window stays connected to all themes by functions without a name."""
    emitters = chain.from_iterable(theme.events.emitters.values() for theme in _themes.values())
    for emitter in emitters:
        for callback in emitter.callbacks:
            if getattr(callback, "__qualname__", "").startswith("Window._connect_theme"):
                emitter.disconnect(callback)
