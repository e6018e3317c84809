"""Where the network is unsure: a layer, and a ranked list that takes the camera there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_unet.errors import NapariUNetError
from napari_unet.widgets.common.controls import Note, button
from napari_unet.widgets.common.layers import labels_of, pixels_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.visible import look_at
from napari_unet.widgets.predict.runs import ShownPrediction
from napari_unet.widgets.predict.work import UncertainSpots, check_size, uncertainty_events

if TYPE_CHECKING:
    from napari.layers import Image, Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.uncertainty import Spot
    from napari_unet.prediction.config import PredictConfig

_SHOWN_LINES = 7


class Predicts(Protocol):
    """What the panel asks of the Predict widget."""

    def ready_image(self) -> Image | None:
        """Return the image to predict, or show what is missing."""

    def config(self, image: Image, scope: str) -> PredictConfig:
        """Return what to predict of it."""

    def kept_axes(self, image: Image) -> tuple[int, ...]:
        """Return which axes of the image the result has."""


class SpotsPanel(QWidget):
    """Asks the model where it is unsure, and goes there."""

    def __init__(self, viewer: Viewer, predict: Predicts) -> None:
        super().__init__()
        self._viewer, self._predict = viewer, predict
        self._session = session_of(viewer)
        self._image: Image | None = None
        self._result: ShownPrediction | None = None  # Qt's connections alone do not keep it alive
        self.show_button = button(
            "Show me whe&re it is unsure",
            "Compute the uncertainty of the plane on screen, and list the spots where a few "
            "strokes would teach most.",
            self.find_spots,
        )
        self.list = QListWidget()
        self.list.setAccessibleName("Unsure spots")
        self.list.setToolTip("Click a spot, or choose it with the arrow keys, to go there.")
        self.list.setMaximumHeight(_SHOWN_LINES * self.list.fontMetrics().lineSpacing())
        self.list.currentItemChanged.connect(self._go)
        self.list.itemClicked.connect(self._go)
        self.text = Note()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for each in (self.show_button, self.list, self.text):
            layout.addWidget(each)
        self._session.prediction.happened.connect(self._on_event)
        self._session.model_changed.connect(self._show_state)
        self._show_state()

    def find_spots(self) -> None:
        """Compute the uncertainty in the background; the list follows."""
        image, model = self._predict.ready_image(), self._session.model
        if image is None or model is None:
            return
        try:
            config = self._predict.config(image, "slice")
            keep = self._predict.kept_axes(image)
            check_size([pixels_of(image).shape[axis] for axis in keep])
        except NapariUNetError as error:
            show_error(str(error))
            return
        self._image = image
        self.list.clear()
        self.text.setText("Looking…")
        self._result = ShownPrediction(self._viewer, self._session, image, keep, config, model)
        make_events = partial(
            uncertainty_events, model, pixels_of(image), self._painted(image), config
        )
        self._session.prediction.start(make_events)

    def next_spot(self) -> None:
        """Go to the next spot of the list; look for spots where there is none."""
        row = self.list.currentRow() + 1
        if row < self.list.count():
            self.list.setCurrentRow(row)
        else:
            self.find_spots()

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
            place = ", ".join(
                f"{axis} {at}"
                for axis, at in zip("zyx"[-len(spot.position) :], spot.position, strict=True)
            )
            item = QListWidgetItem(f"{number}. {spot.score:.0%} unsure at {place}")
            item.setData(Qt.ItemDataRole.UserRole, spot)
            self.list.addItem(item)
        self.text.setText(
            "Paint there, then Continue in the Train widget."
            if event.spots
            else "It is sure everywhere outside what is painted."
        )

    def _go(self, item: QListWidgetItem | None, _previous: object = None) -> None:
        if item is None or self._image is None:
            return
        spot: Spot = item.data(Qt.ItemDataRole.UserRole)
        keep = self._predict.kept_axes(self._image)
        look_at(self._viewer, self._image, keep, (*spot.frame, *spot.position))

    def _show_state(self) -> None:
        self.show_button.setEnabled(self._session.model is not None)
