"""Where the network is unsure: a layer, and a ranked list that takes the camera there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget
from scipy import ndimage as ndi

from napari_unet.errors import NapariUNetError
from napari_unet.widgets.common.controls import Note, button, stack
from napari_unet.widgets.common.layers import labels_of, pixels_of
from napari_unet.widgets.common.result_layer import predicted_of, result_to_correct
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Failed, Outcome
from napari_unet.widgets.common.visible import look_at
from napari_unet.widgets.predict.runs import ShownPrediction
from napari_unet.widgets.predict.work import UncertainSpots, check_size, uncertainty_events

if TYPE_CHECKING:
    from napari.layers import Image, Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.uncertainty import Spot
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.widgets.predict.start import PredictionStarter

_SHOWN_LINES = 7
_DOUBT = Qt.ItemDataRole.UserRole + 1
_SURE = "It is sure everywhere outside what is painted."


class SpotsPanel(QWidget):
    """Asks the model where it is unsure, and goes there."""

    arrived: Final = Signal(object)  # Doubt: what is to be decided at the next spot
    told: Final = Signal(str)  # why it goes nowhere yet

    def __init__(self, viewer: Viewer, predict: PredictionStarter) -> None:
        super().__init__()
        self._viewer, self._predict = viewer, predict
        self._session = session_of(viewer)
        self._image: Image | None = None
        self._result: ShownPrediction | None = None  # Qt's connections alone do not keep it alive
        self.show_button: Final = button(
            "Show me whe&re it is unsure",
            "Compute the uncertainty of the plane on screen, and list the spots where a few "
            "strokes would teach most.",
            self.find_spots,
        )
        self.list: Final = QListWidget()
        self.list.setAccessibleName("Unsure spots")
        self.list.setToolTip("Click a spot, or choose it with the arrow keys, to go there.")
        self.list.setMaximumHeight(_SHOWN_LINES * self.list.fontMetrics().lineSpacing())
        self.list.currentItemChanged.connect(self._go)
        self.list.itemClicked.connect(self._go)
        self.text: Final = Note()
        stack(self, self.show_button, self.list, self.text)
        self._asked = False  # for the next spot, where none was known
        self._session.prediction.happened.connect(self._on_event)
        self._session.prediction.ended.connect(self._on_ended)
        self._session.model_changed.connect(self._forget)
        self._show_state()

    def find_spots(self) -> None:
        """Compute the uncertainty in the background; a layer and the list follow."""
        found = self._find()
        if found is not None:
            image, model, config = found
            keep = self._predict.kept_axes(image)
            self._result = ShownPrediction(self._viewer, self._session, image, keep, config, model)
            self._start(image, model, config)

    def next_spot(self) -> None:
        """Go to the next spot of the list; look for spots first where there is none."""
        row = self.list.currentRow() + 1
        item = self.list.item(row)
        if item is not None:
            self.list.setCurrentRow(row)
            self.arrived.emit(item.data(_DOUBT))
        elif self._session.model is None:
            self.told.emit("There is no model yet: train, or choose a starting model.")
        elif self._session.prediction.running:
            self.told.emit("Wait a moment: cells are still being looked for.")
        elif (found := self._find()) is not None:
            self._asked = True
            self.told.emit("Looking where it is unsure…")
            self._start(*found)

    def _find(self) -> tuple[Image, TrainedNetwork, PredictConfig] | None:
        """Return what to ask of the plane on screen, or show what is missing."""
        image, model = self._predict.ready_image(), self._session.model
        if image is None or model is None:
            return None
        try:
            config = self._predict.config(image, "slice")
            keep = self._predict.kept_axes(image)
            check_size([pixels_of(image).shape[axis] for axis in keep])
        except NapariUNetError as error:
            show_error(str(error))
            return None
        return image, model, config

    def _start(self, image: Image, model: TrainedNetwork, config: PredictConfig) -> None:
        self._image = image
        self.list.clear()
        self.text.setText("Looking…")
        painted = self._painted(image)
        self._session.prediction.start(
            partial(uncertainty_events, model, pixels_of(image), painted, config)
        )

    def _painted(self, image: Image) -> NDArray[np.bool_] | None:
        """Return what is painted on an image: there it needs no more strokes."""
        annotation: Labels | None = self._session.annotation
        if annotation is None or self._session.image is not image:
            return None
        painted: NDArray[np.bool_] = np.asarray(labels_of(annotation)) > 0
        return painted

    def _on_event(self, event: Any) -> None:
        if not isinstance(event, UncertainSpots):
            return
        self.list.clear()
        for number, spot in enumerate(event.spots, start=1):
            doubt = self._doubt_at(spot)
            item = QListWidgetItem(f"{number}. Unsure: {doubt.words} ({spot.score:.0%})")
            item.setToolTip(_place_in_words(spot))
            item.setData(Qt.ItemDataRole.UserRole, spot)
            item.setData(_DOUBT, doubt)
            self.list.addItem(item)
        self.text.setText(
            "Paint or correct there: the next training learns it." if event.spots else _SURE
        )

    def _on_ended(self, outcome: Outcome) -> None:
        asked, self._asked = self._asked, False
        if asked and self.list.count():
            self.next_spot()
        elif asked:
            self.told.emit(outcome.text if isinstance(outcome, Failed) else _SURE)

    def _doubt_at(self, spot: Spot) -> Doubt:
        """Guess what is to be decided, by the objects that are shown there."""
        layer = result_to_correct(self._viewer)
        predicted = None if layer is None else predicted_of(layer)
        if layer is None or predicted is None or predicted.image is not self._image:
            return MISSED
        if predicted.task.named:
            return Doubt(f"which {predicted.task.thing}?", "cell")
        plane = np.asarray(layer.data)[(*spot.frame, *spot.position[:-2])]
        return doubt_at(plane, spot.position, usual_size(plane))

    def _go(self, item: QListWidgetItem | None, _previous: object = None) -> None:
        if item is None or self._image is None:
            return
        spot: Spot = item.data(Qt.ItemDataRole.UserRole)
        keep = self._predict.kept_axes(self._image)
        look_at(self._viewer, self._image, keep, (*spot.frame, *spot.position))

    def _forget(self) -> None:
        """Ask the new model, not the previous one, for the next spot."""
        self.list.clear()
        self._show_state()

    def _show_state(self) -> None:
        self.show_button.setEnabled(self._session.model is not None)


def _place_in_words(spot: Spot) -> str:
    axes = "zyx"[-len(spot.position) :]
    return ", ".join(f"{axis} {at}" for axis, at in zip(axes, spot.position, strict=True))


# --- What a model may be unsure of at a spot, in words, and which tool settles it -----------------


_REACH = 16  # pixels to each side: half of the box of which a spot is the middle
_LARGE, _SMALL = 1.6, 0.5  # times the size of most cells
_TOUCH = 3  # pixels between two cells that may be one


@dataclass(frozen=True)
class Doubt:
    """What is to be decided."""

    words: str
    tool: str
    """One of the tools of the dock."""


MISSED = Doubt("is there a cell?", "cell")
NO_CELL = Doubt("is this a cell?", "delete")
EDGE = Doubt("where does the cell end?", "cell")
BETWEEN = Doubt("between two cells", "merge")
TWO_IN_ONE = Doubt("one cell or two?", "split")


def doubt_at(labels: NDArray[Any], position: tuple[int, ...], usual: float) -> Doubt:
    """Guess what a model is unsure of at a pixel of a plane of objects.

    `usual` is the size of most objects, in pixels.
    """
    box = tuple(slice(max(0, at - _REACH), at + _REACH) for at in position[-2:])
    around = labels[box]
    if not around.any():
        return MISSED
    middle = tuple(at - part.start for at, part in zip(position[-2:], box, strict=True))
    places = np.argwhere(around > 0)
    nearest = places[((places - middle) ** 2).sum(axis=1).argmin()]
    cell = around == around[tuple(nearest)]
    if (ndi.binary_dilation(cell, iterations=_TOUCH) & (around > 0) & ~cell).any():
        return BETWEEN
    area = int(np.count_nonzero(labels == around[tuple(nearest)]))
    if area > _LARGE * usual:
        return TWO_IN_ONE
    return NO_CELL if area < _SMALL * usual else EDGE


def usual_size(labels: NDArray[Any]) -> float:
    """Return the median size of the objects of a plane, in pixels; 0 where there is none."""
    sizes = np.bincount(labels.ravel())[1:]
    return float(np.median(sizes[sizes > 0])) if sizes.any() else 0.0
