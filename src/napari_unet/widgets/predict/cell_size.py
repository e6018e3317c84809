"""How large a cell is: a number of the Predict dock, typed in or taken from one cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from napari.layers import Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QWidget

from napari_unet.data.binning import typical_diameter
from napari_unet.data.labels import BACKGROUND_VALUE
from napari_unet.prediction.config import PredictConfig
from napari_unet.settings import declared
from napari_unet.widgets.common.annotation import annotation_of
from napari_unet.widgets.common.controls import button
from napari_unet.widgets.common.layers import follow, labels_of, plain_layers, unwrapped
from napari_unet.widgets.common.pairs import every_pair
from napari_unet.widgets.common.placement import placement_along
from napari_unet.widgets.common.regions import REGIONS_KEY
from napari_unet.widgets.common.settings_form import number_box

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.labels import Unpainted
    from napari_unet.widgets.common.session import Session

_CELL_KEY = "napari-unet-paint cell"


class CellSizeRow(QWidget):
    """The diameter of a typical cell, and a button that takes it from one that is circled."""

    told: Final = Signal(str)
    """What to do next, or what was found."""

    def __init__(self, viewer: Viewer, session: Session) -> None:
        super().__init__()
        self._viewer, self._session = viewer, session
        self._image: Image | None = None
        setting = declared(PredictConfig)["cell_size"]
        self.box: QDoubleSpinBox = number_box(setting)
        self.box.setToolTip(setting.help)
        self.box.setAccessibleName(setting.label)
        self.box.setDecimals(1)
        self.box.setSingleStep(1)
        self.from_cell: Final = button(
            "From a cell",
            "Take the cell size from a circle that you have drawn over a cell (select its Shapes "
            "layer), or from a painted cell. With neither you can draw a circle at once.",
            self.take_from_cell,
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box, stretch=1)
        layout.addWidget(self.from_cell)

    @property
    def value(self) -> float:
        """The diameter in pixels of the image; 0: as the model was trained."""
        return float(self.box.value())

    def show_image(self, image: Image | None) -> None:
        """Measure on this image from now on."""
        self._image = image

    def take_from_cell(self) -> None:
        """Take the size from what is circled or painted, or let a circle be drawn."""
        if self._image is None:
            self.told.emit("Open an image first.")
            return
        circled = [circled_diameter(layer, self._image) for layer in self._circles()]
        found = next(filter(None, circled), 0.0) or self._painted()
        if found:
            self._take(found)
        else:
            self._let_draw(self._image)

    def _circles(self) -> list[Shapes]:
        """Return the layers in which a cell may be circled: the selected one, then our own."""
        active = unwrapped(self._viewer.layers.selection.active)
        selected = isinstance(active, Shapes) and REGIONS_KEY not in active.metadata
        own = self._own_layer()
        return [active] * selected + ([own] if own is not None else [])

    def _own_layer(self) -> Shapes | None:
        for layer in plain_layers(self._viewer):
            if isinstance(layer, Shapes) and _CELL_KEY in layer.metadata:
                return layer
        return None

    def _painted(self) -> float:
        """Return how large the cells are that are painted on the image; 0 where none are."""
        unpainted = self._session.settings.unpainted
        found = [
            painted_diameter(np.asarray(labels_of(pair.annotation)), unpainted)
            for pair in every_pair(self._viewer)
            if pair.image is self._image and not annotation_of(pair.annotation).task.named
        ]
        return next(filter(None, found), 0.0)

    def _let_draw(self, image: Image) -> None:
        layer = self._own_layer()
        if layer is None:
            layer = Shapes(
                ndim=2,
                name="A cell",
                metadata={_CELL_KEY: True},
                **placement_along(image, range(image.ndim)[-2:]),
                edge_color="#F0E442",
                face_color="transparent",
                edge_width=1,
            )
            self._viewer.add_layer(layer)
            for event in (layer.events.data, layer.events.set_data):
                follow(self, event, self._on_drawn)
        self._viewer.layers.selection.active = layer
        layer.mode = "add_ellipse"
        self.told.emit("Draw a circle over one cell.")

    def _on_drawn(self, event: object = None) -> None:
        """Show how large is what is being drawn."""
        layer = self._own_layer()
        if layer is not None and self._image is not None:
            self._take(circled_diameter(layer, self._image))

    def _take(self, diameter: float) -> None:
        if diameter and round(diameter, 1) != self.value:
            self.box.setValue(diameter)
            self.told.emit(f"Cell size: {self.value:g} pixels.")


def circled_diameter(layer: Shapes, image: Image) -> float:
    """Return how large the shapes of a layer are, as the diameter of circles, in image pixels.

    The median of several; 0 where there are none.
    """
    found = [
        _diameter(kind, _in_pixels(corners, layer, image))
        for kind, corners in zip(layer.shape_type, layer.data, strict=True)
    ]
    drawn = [diameter for diameter in found if diameter > 0]
    return float(np.median(drawn)) if drawn else 0.0


def painted_diameter(labels: NDArray[Any], unpainted: Unpainted) -> float:
    """Return how large painted cells are in pixels; 0 where none is painted.

    What could be a dab of the brush in a large cell is taken for a cell: the user has chosen it.
    """
    found = typical_diameter([labels], unpainted)
    if found or not labels.size:
        return found
    planes = labels.reshape(-1, *labels.shape[-2:])
    cells = (np.where(plane > BACKGROUND_VALUE[unpainted], plane, 0) for plane in planes)
    return typical_diameter(cells, "background")


def _in_pixels(corners: Any, layer: Shapes, image: Image) -> NDArray[np.float64]:
    world = [layer.data_to_world(corner) for corner in np.asarray(corners)]
    return np.array([image.world_to_data(corner)[-2:] for corner in world])


def _diameter(kind: str, corners: NDArray[np.float64]) -> float:
    """Return the diameter of the circle that is as large as a shape; a line is one itself."""
    if kind in ("line", "path"):
        return float(np.hypot(*(corners[-1] - corners[0])))
    if kind in ("ellipse", "rectangle"):  # of which the corners are those of the box around it
        sides = np.hypot(*(corners[[1, 3]] - corners[0]).T)
        return float(np.sqrt(sides[0] * sides[1]))
    y, x = corners.T
    area = abs(np.dot(y, np.roll(x, 1)) - np.dot(x, np.roll(y, 1))) / 2
    return float(2 * np.sqrt(area / np.pi))
