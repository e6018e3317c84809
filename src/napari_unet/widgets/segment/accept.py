"""Accept all that look right: cells of which the model is sure become paint, shown first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSlider, QVBoxLayout, QWidget

from napari_unet.errors import NapariUNetError
from napari_unet.objects.overlaps import check_fits
from napari_unet.widgets.common.annotation import next_object
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import Note, button
from napari_unet.widgets.common.highlight import Highlight
from napari_unet.widgets.common.layers import labels_of, plain_layers, write_pixels
from napari_unet.widgets.common.result_layer import predicted_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Failed, Outcome, task_named
from napari_unet.widgets.segment.click import ClickableView, clickable_work

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.widgets.annotate.target import PaintTarget
    from napari_unet.widgets.predict.correct import CorrectTools
    from napari_unet.widgets.predict.options import PredictOptions

_LEAST, _MOST, _FIRST = 50, 99, 85  # per cent: how sure
# Times the usual size: what is smaller may be a piece of a cell, what is larger two cells.
_SMALLEST, _LARGEST = 0.5, 1.6
_COLOUR = "#3ddc84"


class AcceptPanel(QWidget):
    """Shows which cells in view look right, and paints them as one step of undo."""

    def __init__(
        self, viewer: Viewer, target: PaintTarget, options: PredictOptions, correct: CorrectTools
    ) -> None:
        super().__init__()
        self._viewer, self._target, self._options = viewer, target, options
        self._correct, self._session = correct, session_of(viewer)
        self._task = task_named(self._session, "Looking for cells that look right")
        self._marked = Highlight(viewer, _COLOUR, self)
        self._layer: Labels | None = None  # the result whose cells are shown
        self._frame: tuple[int, ...] = ()
        self._sure: dict[int, float] = {}
        self.button: Final = button(
            "Accept all that look right…",
            "Show the cells in view of which the model is sure; one more click learns them.",
            self.look,
        )
        self.text: Final = Note()
        self.slider: Final = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(_LEAST, _MOST)
        self.slider.setValue(_FIRST)
        self.slider.setAccessibleName("How sure")
        self.slider.setToolTip("More to the right accepts fewer cells, of which it is surer.")
        self.accept_button: Final = button(
            "Accept these", "Paint them, as one step of undo.", self.accept
        )
        self.drop_button: Final = button("Not now", "Accept none.", self.drop)
        self._lay_out()
        self.slider.valueChanged.connect(self._show_chosen)
        self._task.ended.connect(self._on_looked)
        self._session.training.started.connect(self.drop)
        self._session.prediction.started.connect(self.drop)
        self.drop()

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for each in (self.button, self.text, self.slider):
            layout.addWidget(each)
        layout.addLayout(ButtonGrid(2, (self.accept_button, self.drop_button)))

    def look(self) -> None:
        """Ask the model how sure it is of the cells in view."""
        self.drop()
        image, layer = self._target.image, self._correct.ready()
        predicted = None if layer is None else predicted_of(layer)
        if image is None or predicted is None or self._task.running:
            return
        if predicted.ndim != 2 or predicted.image is not image:
            self.text.setText("These cells are of another image, or were found in 3D.")
            return
        try:
            work = clickable_work(self._viewer, self._options, image)
        except NapariUNetError as error:
            self.text.setText(str(error))
            return
        self._layer = layer
        self.text.setText("Looking which cells are sure…")
        self._task.start(work)

    def _on_looked(self, outcome: Outcome) -> None:
        layer = self._layer
        if isinstance(outcome, Failed) or layer is None:
            self.drop()
            self.text.setText(outcome.text if isinstance(outcome, Failed) else "")
            return
        view: ClickableView = outcome.result
        annotation, self._frame = self._target.annotation, view.frame
        labels = np.asarray(layer.data)[self._frame]
        painted = np.zeros(labels.shape, bool)
        if annotation is not None and labels_of(annotation).shape == layer.data.shape:
            painted = np.asarray(labels_of(annotation))[self._frame] > 0
        self._sure = sure_cells(labels, view, painted)
        self._show_chosen()

    @property
    def chosen(self) -> list[int]:
        """Numbers of the cells that look right."""
        return [n for n, sure in self._sure.items() if 100 * sure >= self.slider.value()]

    def _show_chosen(self, value: int = 0) -> None:
        if self._layer is None or self._task.running:
            return
        chosen = self.chosen
        for each in (self.slider, self.accept_button, self.drop_button):
            each.setVisible(bool(self._sure))
        self.accept_button.setText(f"Accept these {len(chosen):,}")
        self.accept_button.setEnabled(bool(chosen))
        self.text.setText(
            f"{len(chosen):,} of {len(self._sure):,} cells in view that are not painted yet look "
            "right."
            if self._sure
            else "There are no whole cells in view that are not painted yet."
        )
        self._marked.show(self._layer, self._pixels_of(self._layer, chosen))

    def _pixels_of(self, layer: Labels, numbers: list[int]) -> tuple[NDArray[np.intp], ...]:
        labels = np.asarray(layer.data)[self._frame]
        inside = np.nonzero(np.isin(labels, numbers))
        return (*(np.full(inside[0].size, at) for at in self._frame), *inside)

    def accept(self) -> None:
        """Paint the cells that look right where nothing is painted, as one step of undo."""
        layer, chosen = self._layer, self.chosen
        self.drop()
        if layer is None or not chosen or layer not in plain_layers(self._viewer):
            return
        try:
            annotation = self._correct.copier.annotation_for(layer)
            painted = np.asarray(labels_of(annotation))
            at = self._pixels_of(layer, chosen)
            free = painted[at] == 0
            at = tuple(each[free] for each in at)
            numbers = _numbers_after(painted, chosen)
            check_fits(max(numbers.values()), painted.dtype)
        except NapariUNetError as error:
            self.text.setText(str(error))
            return
        found = np.asarray(layer.data)[at]
        meant = np.zeros(max(chosen) + 1, painted.dtype)
        meant[list(numbers)] = list(numbers.values())
        annotation.mode = "pan_zoom"
        write_pixels(annotation, at, meant[found])
        self._viewer.layers.selection.active = annotation  # Ctrl+Z undoes it there
        self.text.setText(f"{len(chosen):,} cells are in your paint now; Ctrl+Z takes them back.")

    def drop(self, event: object = None) -> None:
        """Show none any more."""
        self._layer, self._sure = None, {}
        self._marked.hide()
        self.text.setText("")
        for each in (self.slider, self.accept_button, self.drop_button):
            each.hide()


def sure_cells(
    labels: NDArray[Any], view: ClickableView, painted: NDArray[np.bool_]
) -> dict[int, float]:
    """Return how sure the model is of each cell of a frame that may be accepted, by its number.

    Left out are cells that are painted for the most part, that end at the view's edge, and that are
    much smaller or larger than most.
    """
    from napari_unet.objects.clicking import Clickable  # scikit-image, on use
    from napari_unet.objects.separation import confidences

    assert isinstance(view.cells, Clickable)
    region, here = view.region, labels[view.region]
    probable = confidences(view.cells.foreground, here)
    sizes = np.bincount(here.ravel())
    covered = np.bincount(here[painted[region]].ravel(), minlength=sizes.size)
    usual = np.median(sizes[1:][sizes[1:] > 0]) if (sizes[1:] > 0).any() else 1.0
    fits = (sizes >= usual * _SMALLEST) & (sizes <= usual * _LARGEST) & (2 * covered <= sizes)
    fits[_cut_off(labels, view)] = False
    fits[0] = False
    return {int(number): float(probable[number]) for number in np.flatnonzero(fits)}


def _cut_off(labels: NDArray[Any], view: ClickableView) -> NDArray[Any]:
    """List the objects of which a part lies beyond the view."""
    here = labels[view.region]
    everywhere = np.bincount(labels.ravel(), minlength=int(here.max(initial=0)) + 1)
    inside = np.bincount(here.ravel())
    return np.flatnonzero(everywhere[: inside.size] > inside)


def _numbers_after(painted: NDArray[Any], cells: list[int]) -> dict[int, int]:
    """Give each cell a number that is new in the paint."""
    numbers, last = {}, int(painted.max(initial=0))
    for cell in cells:
        last = next_object(np.array([last]))
        numbers[cell] = last
    return numbers
