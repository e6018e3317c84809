"""What a hand that wears out a window does, at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gui import live
from soak_window import DOCKS, scene

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from soak_window import Window

_MOST_LAYERS = 12
_KEYS = "NNNNBBBEECCDMSGALKJRXUTH123"
_SIGNS = ("[", "]", ",", ".", "Return", "Escape", "Ctrl+Z", "Ctrl+Z", "Ctrl+Shift+Z")


class Hand:
    """Does everything in a window, at random: what is painted, asked for and thrown away."""

    def __init__(self, window: Window, rng: np.random.Generator, folder: Path) -> None:
        self._window, self._rng, self._folder = window, rng, folder
        actions: dict[str, tuple[int, Callable[[], object]]] = {
            "paint": (36, self._paint),
            "key": (30, self._press_key),
            "undo": (8, self._undo),
            "train": (8, self._train),
            "stop": (8, self._stop),
            "predict": (10, self._predict),
            "suggestions": (5, self._adjust),
            "correct": (8, self._correct),
            "accept": (5, self._accept),
            "cell menu": (4, self._open_menu),
            "link": (4, self._link),
            "measure": (3, self._measure),
            "class or kind": (3, self._choose_kind),
            "starting model": (3, self._choose_model),
            "models": (4, self._keep_model),
            "save project": (4, self._save_project),
            "open project": (2, self._open_project),
            "delete layer": (8, self._delete_layer),
            "duplicate layers": (4, self._duplicate),
            "add layer": (8, self._add_layer),
            "rename or hide": (5, self._rename),
            "dims": (10, self._turn),
            "dock": (8, self._move_dock),
            "new viewer": (1, self.new_viewer),
        }
        self.names = list(actions)
        chances = np.array([chance for chance, _ in actions.values()], float)
        self._chances = chances / chances.sum()
        self._actions = {name: action for name, (_, action) in actions.items()}

    def act(self) -> str:
        """Do one thing, and return what it was."""
        name = str(self._rng.choice(self.names, p=self._chances))
        self._window.complaints.doing = self._window.lateness.doing = name
        try:
            self._actions[name]()
        except Exception as error:  # whatever was clicked must not raise
            self._window.complaints.raised(error)
        live(float(self._rng.uniform(0.0, 0.25)))
        return name

    def _one_of(self, options: Sequence[Any]) -> Any:
        """Choose one."""
        return options[int(self._rng.integers(len(options)))]

    # --- Paint & Segment --------------------------------------------------------------------------

    def _paint(self) -> None:
        tools = self._window.segment.tools
        if self._rng.random() < 0.3:
            tools.take(self._one_of(("cell", "cell", "background", "click", "erase")))
        for _ in range(self._rng.integers(1, 4)):
            self._window.drag(self._rng, int(self._rng.integers(1, 9)))

    def _press_key(self) -> None:
        from qtpy.QtGui import QKeySequence
        from qtpy.QtTest import QTest

        hand: Any = QTest
        window = self._window.viewer.window
        key = QKeySequence(self._one_of((*_KEYS, *_SIGNS)))[0]
        window._qt_window.activateWindow()
        hand.keyClick(window._qt_viewer.canvas.native, key.key(), key.keyboardModifiers())
        if self._rng.random() < 0.5:
            self._window.drag(self._rng, 4)

    def _undo(self) -> None:
        layer = self._window.viewer.layers.selection.active
        for _ in range(self._rng.integers(1, 4)):
            if hasattr(layer, "undo"):
                self._one_of((layer.undo, layer.undo, layer.redo))()

    def _train(self) -> None:
        choices = [self._window.segment.learn.button] * 2
        if "Train" in self._window.docks:
            dock = self._window.train
            dock.steps_box.setValue(int(self._rng.integers(20, 2000)))
            choices += [dock.train_button, dock.continue_button, dock.live_box]
        self._window.click(self._one_of(choices))

    def _stop(self) -> None:
        self._one_of((self._window.session.training, self._window.session.prediction)).stop()

    def _predict(self) -> None:
        dock = self._one_of((self._window.segment, self._window.predict))
        dock.starter.start(self._one_of(("view", "slice", "whole")))
        if self._rng.random() < 0.2:
            live(0.2)
            dock.cancel()

    def _adjust(self) -> None:
        panel = self._window.segment.suggestions
        for slider in (panel.cell_size, panel.smallest, panel.sensitivity):
            slider.setValue(int(self._rng.integers(0, 100)))
            live(0.05)
        self._window.click(self._one_of((panel.use_button, panel.dismiss_button)))

    def _correct(self) -> None:
        if "Predict" in self._window.docks and self._rng.random() < 0.4:
            panel = self._window.predict.correct
            self._window.click(self._one_of((*panel.buttons.values(), panel.teach_button)))
        else:
            tools = self._window.segment.tools
            names = ("delete", "merge", "split", "grow", "copy_object", "break", "join")
            tools.take(self._one_of(names))
        for _ in range(self._rng.integers(1, 4)):
            self._window.drag(self._rng)

    def _accept(self) -> None:
        panel = self._window.segment.tools.accept_all
        self._window.click(panel.button)
        live(0.3)
        panel.slider.setValue(int(self._rng.integers(50, 99)))
        self._window.click(self._one_of((panel.accept_button, panel.drop_button)))

    def _open_menu(self) -> None:
        menu, viewer = self._window.segment.tools.cell_menu, self._window.viewer
        extent = viewer.layers.extent.world
        menu.open_at(tuple(self._rng.uniform(*extent)) if viewer.layers else (0, 0))
        live(0.1)
        if menu.menu.isVisible():
            self._one_of(menu.menu.actions()).trigger()
            menu.menu.hide()

    def _link(self) -> None:
        self._one_of((self._window.segment.finish.toggle_link, self._window.segment.link.link))()

    def _measure(self) -> None:
        from napari_unet.widgets.common.result_layer import shown_result

        layer, segment = shown_result(self._window.viewer), self._window.segment
        if layer is not None:
            segment.finish.export(layer, self._folder / "cells.csv")
        self._window.click(
            self._one_of((segment.spots.show_button, segment.measure.measure_button))
        )

    # --- Models and projects ----------------------------------------------------------------------

    def _choose_kind(self) -> None:
        segment = self._window.segment
        box = segment.target.kind_box
        if self._rng.random() < 0.5:
            box.setCurrentIndex(int(self._rng.integers(box.count())))
        else:
            segment.add_class()

    def _choose_model(self) -> None:
        from napari_unet.model.starting import STARTING_MODELS

        segment = self._window.segment
        if self._rng.random() < 0.3:
            segment.forget_model()
            return
        card = self._one_of(tuple(STARTING_MODELS.values()))
        self._window.session.begin_loading(card.path, card.title)

    def _keep_model(self) -> None:
        dock = self._window.dock("Models and projects")
        if dock.list.count():
            dock.list.setCurrentRow(int(self._rng.integers(dock.list.count())))
        what = self._one_of((dock.add, dock.load, dock.refresh, dock.delete, dock.rename))
        own = dock.chosen is not None and dock.chosen.card is None
        if what == dock.rename and own:
            dock.rename(dock.chosen, f"model {self._rng.integers(99)}")
        elif what == dock.delete and own:
            dock.delete(dock.chosen)
        elif what not in (dock.rename, dock.delete):
            what()

    def _save_project(self) -> None:
        self._window.segment.finish.place.save_to(self._project())

    def _open_project(self) -> None:
        from napari_unet.project.contents import is_project

        folder = self._project()
        if is_project(folder) and len(self._window.viewer.layers) < _MOST_LAYERS:
            self._window.segment.finish.place.open(folder)

    def _project(self) -> Path:
        return self._folder / f"project {self._rng.integers(3)}"

    # --- Layers, docks, viewers -------------------------------------------------------------------

    def _delete_layer(self) -> None:
        layers = self._window.viewer.layers
        if len(layers) and self._rng.random() < 0.05:
            layers.select_all()
            layers.remove_selected()
        elif len(layers):
            layers.remove(self._one_of(layers))

    def _duplicate(self) -> None:
        from napari.layers import _layer_actions

        layers = self._window.viewer.layers
        if 0 < len(layers) < _MOST_LAYERS:
            layers.selection = {self._one_of(layers) for _ in range(self._rng.integers(1, 3))}
            _layer_actions._duplicate_layer(layers)

    def _add_layer(self) -> None:
        viewer = self._window.viewer
        while len(viewer.layers) >= _MOST_LAYERS:
            self._delete_layer()
        if self._rng.random() < 0.5:
            viewer.add_image(self._picture(), name="another")
        elif self._rng.random() < 0.5:
            viewer.add_labels(scene(128)[1], name="mask")
        else:
            viewer.add_shapes([self._rng.uniform(0, 100, (4, 2))], shape_type="polygon")

    def _picture(self) -> Any:
        """Make a plane, a stack or one with colours."""
        plane, _ = scene(int(self._one_of((96, 128, 160))))
        return self._one_of((plane, plane, np.stack([plane, plane[::-1], plane[:, ::-1]])))

    def _rename(self) -> None:
        layers = self._window.viewer.layers
        if len(layers):
            layer = self._one_of(layers)
            layer.visible = not layer.visible
            layer.name = f"layer {self._rng.integers(100)}"
            layers.selection.active = self._one_of(layers)

    def _turn(self) -> None:
        dims = self._window.viewer.dims
        what = self._rng.integers(5)
        if what == 0:
            dims.ndisplay = 5 - dims.ndisplay
        elif what == 1:
            dims.roll()
        elif what == 2:
            dims.transpose()
        elif dims.ndim > 2:
            dims.set_current_step(0, int(self._rng.integers(3)))
        if dims.ndisplay == 3 and self._rng.random() < 0.5:  # slow to draw
            dims.ndisplay = 2

    def _move_dock(self) -> None:
        name = str(self._rng.choice(DOCKS))
        if self._rng.random() < 0.5:
            self._window.close_dock(name)
        else:
            self._window.dock(name)

    def new_viewer(self) -> None:
        """Close the window, whatever is under way, and open one on another image."""
        self._window.viewer.close()
        live(0.5)
        docks = [DOCKS[0], *(name for name in DOCKS[1:] if self._rng.random() < 0.3)]
        self._window.open(docks, self._picture())
