"""Predict every image of a folder: a table of the files, and how far each is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from napari.utils.notifications import show_error
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidgetItem,
    QWidget,
)

from napari_unet.errors import NapariUNetError
from napari_unet.io.files import find_images, name_of
from napari_unet.prediction.results import PredictionProgress
from napari_unet.widgets.common.controls import Note, as_plain, stack
from napari_unet.widgets.common.stored_layers import open_pair
from napari_unet.widgets.common.tables import PlainTable
from napari_unet.widgets.predict.work import files_events

if TYPE_CHECKING:
    from pathlib import Path

    from napari.viewer import Viewer

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.files import FilePredicted
    from napari_unet.widgets.common.task import BackgroundTask, Outcome

_FAILED = "✗"
_DONE = "✓"
_SHOWN_ROWS = 8


class BatchTable(QWidget):
    """Lists the files of a folder while they are predicted; hidden before there are any.

    A double click opens an image with its result.
    """

    def __init__(self, viewer: Viewer, task: BackgroundTask) -> None:
        super().__init__()
        self.task: Final = task
        self._viewer = viewer
        self._rows: dict[Path, int] = {}
        self._done: dict[int, FilePredicted] = {}
        self._reasons: dict[int, str] = {}  # why files failed
        self._row, self._progress = -1, PredictionProgress()
        self.table: Final = PlainTable(2)
        self.table.setHorizontalHeaderLabels(["File", "State"])
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setAccessibleName("Files")
        self.table.setToolTip(
            "Double click a finished file, or press Enter, to open it here; choose a failed one to "
            "read why below."
        )
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # positions end file names
        self.table.setWordWrap(False)
        self.table.header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.table.itemActivated.connect(self._open)
        self.table.currentCellChanged.connect(self._explain)
        self.reason: Final = Note()
        stack(self, self.table, self.reason)
        self.hide()

    def start(
        self, model: TrainedNetwork, source: Path, target: Path, config: PredictConfig
    ) -> None:
        """Predict every image of a folder into files of the same names in another folder."""
        try:
            paths = find_images([source])
        except NapariUNetError as error:
            show_error(str(error))
            return
        self._list(paths)
        self.task.happened.connect(self._on_event)
        self.task.ended.connect(self._on_ended)
        self.task.start(partial(files_events, model, paths, target, config))

    def _list(self, paths: list[Path]) -> None:
        self._rows = {path: row for row, path in enumerate(paths)}
        self._done, self._reasons, self._row = {}, {}, -1
        self.table.setRowCount(len(paths))
        for path, row in self._rows.items():
            item = QTableWidgetItem(name_of(path))
            item.setToolTip(as_plain(str(path)))
            self.table.setItem(row, 0, item)
            self.table.setItem(row, 1, QTableWidgetItem("waiting"))
        self.table.show_lines(min(len(paths), _SHOWN_ROWS))
        self.reason.setText("")
        self.show()

    def _on_event(self, event: Any) -> None:
        from napari_unet.prediction import files

        if isinstance(event, files.FileStarted):
            self._row, self._progress = self._rows[event.path], PredictionProgress()
            self._say(self._row, "reading")
            self.table.scrollToItem(self.table.item(self._row, 0))
        elif isinstance(event, files.FilePredicted):
            self._done[self._row] = event
            count = "done" if event.objects is None else _counted(event.objects)
            self._say(self._row, f"{_DONE} {count}")
        elif isinstance(event, files.FileFailed):
            short = event.text.replace(str(event.path), event.path.name)
            self._say(self._rows[event.path], f"{_FAILED} {short}", event.text)
            named = event.path.name in event.text
            reason = event.text if named else f"{event.path.name}: {event.text}"
            self._reasons[self._rows[event.path]] = reason
            if self.table.currentRow() not in self._reasons:  # which is being read
                self.reason.setText(reason)
        else:
            self._progress = self._progress.after(event)
            self._say(self._row, self._progress.text, self._progress.notices)

    def _say(self, row: int, text: str, tooltip: str = "") -> None:
        item = self.table.item(row, 1)
        if item is not None:
            item.setText(text)
            item.setToolTip(as_plain(tooltip) or item.toolTip())

    def _explain(self, row: int, *_: int) -> None:
        """Show below the table, in full, why a file failed: the column is narrow."""
        self.reason.setText(self._reasons.get(row, ""))

    def _on_ended(self, outcome: Outcome) -> None:
        self.task.happened.disconnect(self._on_event)
        self.task.ended.disconnect(self._on_ended)
        for row in range(self.table.rowCount()):
            if row not in self._done and row not in self._reasons:
                self._say(row, "not predicted")

    @property
    def summary(self) -> str:
        """How many files were written, how many failed and were not begun; empty: none is known."""
        if not self._rows:
            return ""
        written = len(self._done)
        text = f"{written} {'file' if written == 1 else 'files'} written"
        failed = len(self._reasons)
        if failed:
            text += f", {failed} failed: choose {'it' if failed == 1 else 'one'} in the table"
        left = self.table.rowCount() - written - failed
        return f"{text}; cancelled, {left} not predicted." if left else f"{text}."

    def _open(self, item: QTableWidgetItem) -> None:
        done = self._done.get(item.row())
        if done is None:
            return
        try:
            open_pair(self._viewer, done.path, done.target, done.kind, done.axes)
        except NapariUNetError as error:
            show_error(str(error))


def _counted(objects: int) -> str:
    return f"{objects:,} {'object' if objects == 1 else 'objects'}"
