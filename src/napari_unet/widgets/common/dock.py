"""What all our docks are: widgets of a viewer, in a window that may close, as tabs of one area."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from app_model import Application
from app_model.types import MenuItem, SubmenuItem
from npe2 import PluginManager
from npe2.manifest.contributions import MenuCommand
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QDockWidget, QMainWindow, QShortcut, QWidget

from napari_unet.widgets.common.preferences import PLUGIN, prefer_side, preferences
from napari_unet.widgets.common.recovery import keeper_of
from napari_unet.widgets.common.result_layer import change_look, shown_result, step_through_results
from napari_unet.widgets.common.session import session_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari.layers import Labels
    from napari.viewer import Viewer
    from qtpy.QtGui import QShowEvent

    from napari_unet.widgets.common.session import Session


# Pixels: with napari's own docks both fit into a window of 640, where Qt left the image nothing.
_NARROWEST_DOCK, _NARROWEST_CANVAS = 190, 100
_SIDES = {  # above or below the image a screen of 720 pixels has no room for them
    "left": Qt.DockWidgetArea.LeftDockWidgetArea,
    "right": Qt.DockWidgetArea.RightDockWidgetArea,
}


class Dock(QWidget):
    """A widget that shares the session of its viewer, and guards the window it is docked in."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._session = session_of(viewer)
        self._joined_tabs = False
        self._keys: list[QShortcut] = []
        self.setMinimumWidth(_NARROWEST_DOCK)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Guard the window: when it closes, nothing is lost, and all work ends."""
        super().showEvent(event)
        window: Any = self.window()
        keeper_of(self._viewer).guard(window)
        if isinstance(window, QMainWindow):
            self._session.window = window
            middle = window.centralWidget()
            if middle is not None:
                middle.setMinimumWidth(max(middle.minimumWidth(), _NARROWEST_CANVAS))
            if window.property(_KEYS_ADDED) is None:
                window.setProperty(_KEYS_ADDED, True)
                add_shortcuts(window, result_keys(self._session))
                offer_in_layer_menu()
        if not self._joined_tabs:  # later the user may have put it elsewhere
            self._joined_tabs = True
            place = _dock_of(self)
            if place is not None:
                place.visibilityChanged.connect(self._keep_keys)
            QTimer.singleShot(0, self._join_tabs)  # Qt is laying the window out just now

    def add_keys(self, actions: Mapping[str, Callable[[], object]]) -> None:
        """Let keys, as Qt writes them, call functions while this dock is in front."""
        self._keys += add_shortcuts(self, actions)

    def _keep_keys(self, in_front: bool) -> None:
        """Have keys, or leave them to the dock in front: Qt gives a key of two docks to neither.

        To Qt a dock behind another tab is on screen as well.
        """
        for each in self._keys:
            each.setEnabled(in_front)

    def _join_tabs(self) -> None:
        """Become a tab of our other docks: napari puts docks below each other, too low to use."""
        place, window = _dock_of(self), self.window()
        if place is None or not isinstance(window, QMainWindow):
            return
        if not window.dockOptions() & QMainWindow.DockOption.AllowTabbedDocks:
            return
        # napari's title names the plugin as well, which leaves a tab no room for its own name.
        name = place.windowTitle().split(" (")[0]
        place.setWindowTitle(name.replace("&&", "&").replace("&", "&&"))  # one & marks a key
        self._take_side(window, place)
        for other in window.findChildren(Dock):
            its_place = _dock_of(other)
            if other is self or its_place is None or its_place.isFloating():
                continue
            if not its_place.isVisible() or place in window.tabifiedDockWidgets(its_place):
                continue
            if window.dockWidgetArea(its_place) == window.dockWidgetArea(place):
                window.tabifyDockWidget(its_place, place)
                place.raise_()
                return

    def _take_side(self, window: QMainWindow, place: QDockWidget) -> None:
        """Go where docks were put last; on the right is where napari puts those of all plugins."""
        side = _SIDES[preferences().side]
        if window.dockWidgetArea(place) == _SIDES["right"] != side and not place.isFloating():
            # beside napari's own docks on the left: below them there is no height left
            window.addDockWidget(side, place, Qt.Orientation.Horizontal)
        place.dockLocationChanged.connect(_remember_side)

    @property
    def in_front(self) -> bool:
        """Whether it is on screen, and not behind another tab."""
        place = _dock_of(self)
        return place is not None and not place.visibleRegion().isEmpty()

    def bring_to_front(self) -> None:
        """Show it, in front of the docks of which it is a tab."""
        place = _dock_of(self)
        if place is not None:
            place.show()
            place.raise_()


def _remember_side(side: Qt.DockWidgetArea) -> None:
    for name, each in _SIDES.items():
        if each == side:
            prefer_side(name)


def _dock_of(widget: QWidget) -> QDockWidget | None:
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


# --- Single keys that work wherever the focus is in the window, canvas included ------------------
# napari never fires the keybindings of a manifest, so these are Qt's own. A text field keeps the
# keys that are typed into it.

_KEYS_ADDED = "napari-unet-paint keys"


def add_shortcuts(widget: QWidget, actions: Mapping[str, Callable[[], object]]) -> list[QShortcut]:
    """Let keys, as Qt writes them, call functions while a widget is on screen; return them.

    Where a dock is hidden, its keys are napari's again.
    """
    made = []
    for key, action in actions.items():
        shortcut = QShortcut(QKeySequence(key), widget)
        shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
        shortcut.setAutoRepeat(False)
        shortcut.activated.connect(partial(_call, action))
        made.append(shortcut)
    return made


def _call(action: Callable[[], object]) -> None:
    action()


def result_keys(session: Session) -> dict[str, Callable[[], object]]:
    """Return the keys of the result on screen: how it is shown, and those before and after it."""
    actions: dict[str, Callable[[Labels], str]] = {
        "H": change_look,
        ",": partial(step_through_results, by=-1),
        ".": partial(step_through_results, by=1),
    }
    return {key: partial(_act_on_result, session, action) for key, action in actions.items()}


def _act_on_result(session: Session, action: Callable[[Labels], str]) -> None:
    viewer = session.viewer
    if viewer is None:
        return
    layer = shown_result(viewer)
    viewer.status = "There is no result yet." if layer is None else action(layer)
    session.told_of_result.emit(viewer.status)


# --- The context menu of layers -------------------------------------------------------------------

_APPLICATION, _LAYER_MENU = "napari", "napari/layers/context"


def offer_in_layer_menu() -> None:
    """Offer what napari.yaml lists for the context menu of layers there.

    napari takes that from no plugin. Where it has done so, or another window of ours has, nothing
    is added.
    """
    application, plugins = Application.get_app(_APPLICATION), PluginManager.instance()
    if application is None or PLUGIN not in plugins or plugins.is_disabled(PLUGIN):
        return
    menus, offered = application.menus, plugins.get_manifest(PLUGIN).contributions
    there = [
        item.submenu if isinstance(item, SubmenuItem) else item.command.id
        for item in menus.get_menu(_LAYER_MENU)
    ]
    titles = {each.id: each.label for each in offered.submenus or ()}
    for item in (offered.menus or {}).get(_LAYER_MENU, ()):
        if isinstance(item, MenuCommand):
            action = application.registered_actions.get(item.command)
            made: Any = action and MenuItem(command=action, group=PLUGIN)
            name = item.command
        else:
            name = item.submenu
            made = SubmenuItem(submenu=name, title=titles[name], group=PLUGIN)
        if made and name not in there:
            menus.append_menu_items([(_LAYER_MENU, made)])
