"""What a starting model finds in an image before anything is painted, and how to adjust it."""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QFormLayout, QSlider, QVBoxLayout, QWidget

from napari_unet.data.rescaling import size_of_cell
from napari_unet.errors import NapariUNetError
from napari_unet.model.starting import STARTING_MODELS
from napari_unet.run import PartsDone
from napari_unet.training.events import ViewPredicted
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import Note, add_row, button, form_layout
from napari_unet.widgets.common.importing_torch import quietly
from napari_unet.widgets.common.layers import follow, labels_of, pixels_of, plain_layers
from napari_unet.widgets.common.placement import placement_along
from napari_unet.widgets.common.result_layer import draw_unseen, image_of_result
from napari_unet.widgets.common.result_writing import ResultLayer
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Failed, Outcome, task_named
from napari_unet.widgets.predict.runs import scoped
from napari_unet.widgets.train.work import import_for_training

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Sequence

    from napari.layers import Image
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.proposals import Proposals
    from napari_unet.widgets.annotate.target import PaintTarget
    from napari_unet.widgets.predict.options import PredictOptions

_STARTING_MODEL = "cells"
_DELAY_MS = 600  # after an image was opened: it is drawn first
_SMALLEST_CELL, _LARGEST_CELL = 8.0, 250.0  # pixels
_SHARE_OF_CELL = 15  # per cent of a cell that an object has at least


class SuggestionPanel(QWidget):
    """Looks for cells as soon as an image is opened, and shows them as outlines.

    Sliders act on what the model has said already; it does not run again.
    """

    used: Final = (
        Signal()
    )  # its model and settings are in use now, and more is to be found with them

    def __init__(self, viewer: Viewer, target: PaintTarget, options: PredictOptions) -> None:
        super().__init__()
        self._viewer, self._target, self._options = viewer, target, options
        self._session = session_of(viewer)
        self._task = task_named(self._session, "Looking for cells")
        self._decoding = task_named(self._session, "Showing other cells")
        self._readying = task_named(self._session, "Getting ready to learn")
        self._seen: weakref.WeakSet[Image] = weakref.WeakSet()
        self._image: Image | None = None
        self._found: tuple[TrainedNetwork, Proposals] | None = None
        self._layer: ResultLayer | None = None
        self._waiting = self._ready = False
        self.text: Final = Note()
        self.cell_size: Final = _slider(0, 100)
        self.smallest: Final = _slider(0, 100)
        self.sensitivity: Final = _slider(5, 95)
        self.use_button: Final = button(
            "&Use these", "Find the cells of the whole image in this way.", self.use
        )
        self.dismiss_button: Final = button(
            "Not now", "Take these outlines away; paint cells instead.", self.dismiss
        )
        self._lay_out()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DELAY_MS)
        self._timer.timeout.connect(self.look)
        self._connect()
        self._show(False)
        self._timer.start()

    def _lay_out(self) -> None:
        self._sliders = QWidget()
        form: QFormLayout = form_layout()
        self._sliders.setLayout(form)
        add_row(form, "Size", self.cell_size, "How large a cell is.")
        add_row(form, "Smallest", self.smallest, "What is smaller is no cell, in % of one.")
        add_row(form, "Sensitivity", self.sensitivity, "More to the right finds more.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text)
        layout.addWidget(self._sliders)
        layout.addLayout(ButtonGrid(2, (self.use_button, self.dismiss_button)))

    def _connect(self) -> None:
        for slider in (self.cell_size, self.smallest, self.sensitivity):
            slider.valueChanged.connect(self._decode)
        self._target.image_box.layer_changed.connect(self._timer.start)
        self._task.happened.connect(self._on_event)
        self._task.ended.connect(self._on_found)
        self._decoding.ended.connect(self._on_decoded)
        self._session.training.started.connect(partial(self._show, False))
        follow(self, self._viewer.layers.events.removed, self._on_removed)
        for emitter in (self._viewer.dims.events.order, self._viewer.dims.events.ndisplay):
            follow(self, emitter, self._look_later)

    def look(self) -> None:
        """Look for cells in what is on screen, unless the user is at work on it already."""
        image = self._target.image
        if image is None or image in self._seen or not self._is_welcome() or self._task.running:
            return
        if self._options.is_asking(image):
            self._timer.start()
            return
        try:
            keep = self._options.keep(image)
            if not _shows_planes(self._viewer, image, keep):
                return  # from the side, or in 3D: later
            config = scoped(self._viewer, image, keep, 2, self._options.config(image), "view")
        except NapariUNetError:
            return  # which Everything will tell, where it is asked for
        self._seen.add(image)
        self._image, self._found = image, None
        shape = tuple(pixels_of(image).shape[axis] for axis in keep)
        self._layer = ResultLayer(
            self._viewer, image, "objects", 2, shape, placement_along(image, keep), None
        )
        self.text.setText("Looking for cells…")
        self.setVisible(True)
        self._task.start(partial(looking_events, pixels_of(image), config))

    def _look_later(self, event: Any = None) -> None:
        self._timer.start()

    def _is_welcome(self) -> bool:
        annotation, session = self._target.annotation, self._session
        painted = annotation is not None and np.any(labels_of(annotation))
        busy = session.model is not None or session.training.running or session.loading.running
        layers = plain_layers(self._viewer)
        known = any(image_of_result(each) is self._target.image for each in layers)
        return not (painted or busy or known or self._target.task.named)

    def dismiss(self) -> None:
        """Take the outlines away."""
        self._task.stop()
        self._show(False)
        if self._layer is not None:
            self._layer.remove()
        self._layer = self._found = None

    def use(self) -> None:
        """Go on with this model, and with what the sliders say."""
        if self._found is None:
            return
        trained, proposals = self._found
        size, smallest = self._cell_size(), self._smallest_pixels()
        form = self._options.form
        form.set_value(
            replace(
                form.value(),
                threshold=proposals.threshold_at(self.sensitivity.value() / 100),
                smallest=smallest,
            )
        )
        self._show(False)
        self._session.load_model(trained, STARTING_MODELS[_STARTING_MODEL].title)
        self._options.cell_size.box.setValue(size)
        if self._layer is not None and _is_all(proposals, self._layer.shape):
            self._layer.keep_live()  # just what was looked at
        else:
            self.used.emit()

    def _cell_size(self) -> float:
        share = self.cell_size.value() / 100
        return float(_SMALLEST_CELL * (_LARGEST_CELL / _SMALLEST_CELL) ** share)

    def _smallest_pixels(self) -> int:
        return round(size_of_cell(self._cell_size(), 2) * self.smallest.value() / 100)

    def _on_event(self, event: object) -> None:
        if isinstance(event, PartsDone):
            self.text.setText(f"Looking for cells… {event.number} of {event.total} sizes.")

    def _on_found(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failed) or self._layer is None:
            self._show(False)
            return
        trained, proposals = outcome.result
        if not proposals.complete or not self._is_welcome():  # painted on meanwhile
            self._show(False)
        elif proposals.fits:
            self._found = trained, proposals
            self._set_sliders(proposals.cell_size)
            self._show(True)
            self._decode()
        else:
            self._show(False)
            self.setVisible(True)
            self.text.setText("Paint three cells, so that I learn their size.")
            self._get_ready()

    def _set_sliders(self, cell_size: float) -> None:
        share = np.log(cell_size / _SMALLEST_CELL) / np.log(_LARGEST_CELL / _SMALLEST_CELL)
        values = (
            (self.cell_size, 100 * share),
            (self.smallest, _SHARE_OF_CELL),
            (self.sensitivity, 50),
        )
        for slider, value in values:
            slider.blockSignals(True)
            slider.setValue(round(value))
            slider.blockSignals(False)

    def _decode(self, value: int = 0) -> None:
        """Show the cells that the sliders ask for; the newest wish counts."""
        if self._found is None:
            return
        self._waiting = self._decoding.running
        if not self._waiting:
            arguments = self._cell_size(), self._smallest_pixels(), self.sensitivity.value() / 100
            proposals = self._found[1]
            self._decoding.start(lambda stop: proposals.objects(*arguments))

    def _on_decoded(self, outcome: Outcome) -> None:
        if self._waiting:
            self._waiting = False
            self._decode()
        elif not isinstance(outcome, Failed):
            self._show_cells(outcome.result)

    def _show_cells(self, labels: NDArray[np.int32]) -> None:
        if self._found is None or self._layer is None:
            return
        proposals = self._found[1]
        self._layer.show_live(ViewPredicted(0, 0, proposals.frame, proposals.region, labels, 0.0))
        n_cells = int(np.count_nonzero(np.bincount(labels.ravel())[1:]))
        self.text.setText(
            f"{n_cells:,} cells found in this view, about {self._cell_size():.0f} pixels wide."
        )
        self._get_ready()

    def _get_ready(self) -> None:
        """Import what the first training needs, while the user looks at the cells."""
        if not self._ready:
            self._ready = self._readying.start(import_for_training)

    def _on_removed(self, event: Any = None) -> None:
        if self._image is not None and self._image not in self._viewer.layers:
            self._task.stop()
            self._show(False)
            self._layer = self._found = self._image = None

    def _show(self, adjustable: bool) -> None:
        self._sliders.setVisible(adjustable)
        self.use_button.setVisible(adjustable)
        self.setVisible(adjustable)


def _shows_planes(viewer: Viewer, image: Image, keep: Sequence[int]) -> bool:
    """Return whether what is on screen is a plane in which a model looks for cells."""
    offset = viewer.dims.ndim - image.ndim
    return set(viewer.dims.displayed) == {axis + offset for axis in keep[-2:]}


def _is_all(proposals: Proposals, shape: tuple[int, ...]) -> bool:
    """Return whether proposals cover labels of a shape."""
    return proposals.region == tuple(slice(0, size) for size in shape)


def looking_events(
    image: ArrayLike, config: PredictConfig, stop: threading.Event
) -> Generator[object, None, tuple[TrainedNetwork, Proposals]]:
    """Look for cells with the starting model; torch is imported here."""
    with quietly:
        from napari_unet.model.starting import load_starting_model
        from napari_unet.prediction.proposals import propose

    trained = load_starting_model(_STARTING_MODEL)
    draw_unseen()
    proposals = yield from propose(trained, image, config, stop)
    return trained, proposals


def _slider(least: int, most: int) -> QSlider:
    made = QSlider(Qt.Orientation.Horizontal)
    made.setRange(least, most)
    return made
