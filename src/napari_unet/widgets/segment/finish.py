"""The last row of Paint & Segment: how many cells, linked or not, their table, all of it saved."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from napari.utils.notifications import show_warning
from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import Note, button
from napari_unet.widgets.common.layers import METADATA_KEY, FollowedLayer, follow
from napari_unet.widgets.common.result_layer import Predicted, count_objects_in, shown_result
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Failed, Outcome, task_named
from napari_unet.widgets.models.save_project import place_of
from napari_unet.widgets.predict.link_work import result_in_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray
    from qtpy.QtGui import QHideEvent, QShowEvent

    from napari_unet.widgets.predict.link import LinkPanel
    from napari_unet.widgets.predict.measure import MeasurePanel

_DELAY_MS = 200  # after a change: a drag of the brush has many
_LARGEST_COUNTED_HERE = 2**20  # pixels: some milliseconds
_NO_RESULT = "There are no cells yet: use what was found, or train."


class FinishPanel(QWidget):
    """How many cells there are; buttons that link them, write their table, and save all."""

    linked: Final = Signal(bool)  # whether the cells on screen are linked now

    def __init__(self, viewer: Viewer, measure: MeasurePanel, link: LinkPanel) -> None:
        super().__init__()
        self._viewer, self._measure, self._link = viewer, measure, link
        session = session_of(viewer)
        self._task = task_named(session, "Counting cells")
        self._measuring = session.measuring
        self._wanted: tuple[Labels, Path] | None = None  # a table, once it is measured
        self._key: SaveKey | None = None
        self.place: Final = place_of(viewer)
        self.count: Final = Note()
        self.text: Final = Note()
        self.link_button: Final = button(
            "Link  L",
            "The same cell has the same number and colour in all frames, and over time a track; "
            "again: each frame has cells of its own. Settings: Link over time or z. Key L.",
            self.toggle_link,
        )
        self.link_button.setCheckable(True)
        self.link_button.setAccessibleName("Link")
        self.link_button.hide()
        self.csv_button: Final = button(
            "Export CSV…", "Measure all cells, and write a table of them.", self.ask_to_export
        )
        self.save_button: Final = button(
            "&Save",
            "Save images, paint, results, tracks and the model in one folder. Asks where, once. "
            "Key Ctrl+S.",
            self.save,
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(9, 0, 9, 6)
        layout.addWidget(self.count)
        layout.addLayout(ButtonGrid(3, (self.link_button, self.csv_button, self.save_button)))
        layout.addWidget(self.text)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DELAY_MS)
        self._timer.timeout.connect(self.refresh)
        self._followed = FollowedLayer(self, ("paint", "set_data", "data"), self._timer.start)
        for emitter in (viewer.layers.events.inserted, viewer.layers.events.removed):
            follow(self, emitter, self._count_soon)
        follow(self, viewer.layers.selection.events.active, self._count_soon)
        self._task.ended.connect(self._show_count)
        self._measuring.ended.connect(self._export)
        link.cells.changed.connect(self._show_link)
        self.place.told.connect(self.text.setText)
        self._timer.start()

    def save(self) -> None:
        """Save all of the session; ask where if that is not known yet."""
        self.place.save(self)

    # --- How many cells -----------------------------------------------------------------------

    def _count_soon(self, event: object = None) -> None:
        self._timer.start()

    def refresh(self) -> None:
        """Count the cells of the result on screen; those of a large one in the background."""
        layer = shown_result(self._viewer)
        self._followed.follow(layer)
        self._show_link()
        if layer is None:
            self.count.setText("")
            return
        about: Predicted = layer.metadata[METADATA_KEY]
        if about.task.named:
            self.count.setText("")
            return
        shape = layer.data.shape
        at = self._viewer.dims.current_step[-layer.ndim :][: layer.ndim - about.ndim]
        shown = tuple(min(int(step), size - 1) for step, size in zip(at, shape, strict=False))
        linked = about.linked and not about.stale
        counting = partial(cells_shown_in_words, np.asarray(layer.data), about.ndim, shown, linked)
        if layer.data.size <= _LARGEST_COUNTED_HERE:
            self.count.setText(counting())
        elif not self._task.start(lambda stop: counting()):
            self._timer.start()  # the newest numbers count

    def _show_count(self, outcome: Outcome) -> None:
        self.count.setText("" if isinstance(outcome, Failed) else outcome.result)

    # --- Link -----------------------------------------------------------------------------------

    def toggle_link(self) -> None:
        """Link the cells of the result on screen over time or depth, or separate them again."""
        layer = shown_result(self._viewer)
        about = self._linkable(layer)
        if layer is None or about is None:
            return
        if not about.linked:
            self._link.link_layer(layer)
        elif about.stale and (about.in_progress or about.live):  # it was only asked for
            about.linked = False
            self._link.cells.told.emit(f"{layer.name} is not linked.")
        else:
            self._link.cells.separate(layer)
        self._show_link()

    def _linkable(self, layer: Labels | None) -> Predicted | None:
        """Return what belongs to a result that has frames or planes with objects of their own."""
        about = None if layer is None else result_in_memory(layer)
        frames = layer is not None and about is not None and layer.ndim > about.ndim
        return about if about is not None and frames and not about.task.named else None

    def _show_link(self) -> None:
        layer = shown_result(self._viewer)
        about = self._linkable(layer)
        self.link_button.setVisible(about is not None)
        linking = self._link.cells.task.running
        self.link_button.setEnabled(not linking)
        if not linking:
            self.link_button.setChecked(about is not None and about.linked)
        self.linked.emit(self._link.cells.linked(layer) is not None)

    # --- A table of them ----------------------------------------------------------------------

    def ask_to_export(self) -> None:
        """Ask for a file name; measure the cells as they are now, and write them there."""
        layer = shown_result(self._viewer)
        if layer is None:
            show_warning(_NO_RESULT)
            return
        name, _ = QFileDialog.getSaveFileName(self, "Export", "cells.csv", "Tables (*.csv)")
        if name:
            self.export(layer, Path(name))

    def export(self, layer: Labels, path: Path) -> None:
        """Measure the cells of a layer as they are now, and write a table of them."""
        if self._measuring.running:
            show_warning("Cells are being measured just now: try again in a moment.")
            return
        self._wanted = layer, path if path.suffix else path.with_suffix(".csv")
        self._measure.measure_layer(layer)

    def _export(self, outcome: Outcome) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is None or isinstance(outcome, Failed):
            return
        layer, path = wanted
        if self._measure.export(path, layer):
            self.text.setText(f"Wrote {len(layer.features)} cells to {path}.")

    # --- Ctrl+S -------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent | None) -> None:
        """Take Ctrl+S from napari, which saves the selected layer by it."""
        super().showEvent(event)
        window = self.window()
        if self._key is None and window is not None:
            self._key = SaveKey(window, self.save)
        if self._key is not None:
            self._key.active = True

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Let napari have Ctrl+S again."""
        if self._key is not None:
            self._key.active = False
        super().hideEvent(event)


class SaveKey(QObject):
    """Calls a function on Ctrl+S in a window, before its menus see the key: napari's has it too."""

    def __init__(self, window: QWidget, save: Callable[[], object]) -> None:
        super().__init__(window)
        self.active = True
        self._save = save
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """See a key that nothing below the window has taken for itself."""
        if not self.active or event is None or event.type() != QEvent.Type.ShortcutOverride:
            return False
        if not isinstance(event, QKeyEvent) or not event.matches(QKeySequence.StandardKey.Save):
            return False
        event.accept()
        if not event.isAutoRepeat():
            QTimer.singleShot(0, self._save)  # a dialog inside an event of a key would hang
        return True


def cells_shown_in_words(
    labels: NDArray[Any], ndim: int, shown: tuple[int, ...], linked: bool = False
) -> str:
    """Return how many cells there are: in the frame `shown`, and in all of them.

    Examples
    --------
    >>> cells_shown_in_words(np.array([[0, 3], [3, 7]]), 2, ())
    '2 cells'
    >>> cells_shown_in_words(np.array([[[0, 3]], [[3, 7]]]), 2, (1,))
    '2 cells here, 3 in all'
    """
    counts, total = count_objects_in(labels, ndim, linked)
    here = counts.get(shown, total)
    word = "cell" if here == 1 else "cells"
    return f"{here:,} {word}" if len(counts) == 1 else f"{here:,} {word} here, {total:,} in all"
