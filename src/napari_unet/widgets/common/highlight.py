"""Mark cells on screen, for a moment or until it is taken back: over the canvas, in no layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QTransform
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_unet.widgets.common.controls import single_shot
from napari_unet.widgets.common.layers import follow, plain_layers
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.visible import camera_of

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray
    from qtpy.QtGui import QPaintEvent

    Indices = tuple[NDArray[np.intp], ...]

_FLASH_MS = 450
_OPACITY = 0.6
_LARGEST = 2**26  # pixels of a box that is marked


class Highlight(QObject):
    """Fills what is marked in a layer with a colour, where its planes are seen.

    It is drawn over the canvas, as napari's own welcome is: to add a layer would hold the window up
    for half a second, and the list of layers would jump.
    """

    def __init__(self, viewer: Viewer, colour: str, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._colour = viewer, QColor(colour)
        self._colour.setAlphaF(_OPACITY)
        self._layer: Labels | None = None
        self._start: tuple[int, ...] = ()
        self._mask: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._veil: _Veil | None = None
        self._fading = single_shot(self, _FLASH_MS, self.hide)
        for emitter in (camera_of(viewer).events, viewer.dims.events):
            follow(self, emitter, self._redraw)

    @property
    def at(self) -> Indices:
        """What is marked, one array per axis of the layer; () where nothing is."""
        if self._layer is None:
            return ()
        inside = np.nonzero(self._mask)
        return tuple(each + first for each, first in zip(inside, self._start, strict=True))

    def show(self, layer: Labels, at: Indices) -> None:
        """Mark pixels of a labels layer, given as one array per axis."""
        self.hide()
        if not at[0].size:
            return
        start = tuple(int(each.min()) for each in at)
        shape = tuple(int(each.max()) + 1 - first for each, first in zip(at, start, strict=True))
        if np.prod(shape) > _LARGEST:
            return
        self._layer, self._start, self._mask = layer, start, np.zeros(shape, np.uint8)
        self._mask[tuple(each - first for each, first in zip(at, start, strict=True))] = 1
        canvas = canvas_of(session_of(self._viewer).window)
        if canvas is not None:
            self._veil = _Veil(canvas, self)

    def flash(self, layer: Labels, at: Indices) -> None:
        """Mark pixels for a moment."""
        self.show(layer, at)
        self._fading.start()

    def hide(self) -> None:
        """Mark nothing."""
        self._fading.stop()
        self._layer = None
        veil, self._veil = self._veil, None
        if veil is not None and isalive(veil):
            veil.leave()

    def _redraw(self, event: object = None) -> None:
        if self._veil is not None and isalive(self._veil):
            self._veil.update()

    def draw(self, painter: QPainter, width: int, height: int) -> None:
        """Draw what is marked of the plane on screen, on a canvas of a size in pixels."""
        layer, viewer = self._layer, self._viewer
        if layer is None or layer not in plain_layers(viewer):
            return
        offset = viewer.dims.ndim - layer.ndim
        axes = [axis - offset for axis in viewer.dims.displayed]
        grid = getattr(viewer, "canvas", viewer).grid  # where napari 0.9 has it
        if len(axes) != 2 or min(axes) < 0 or grid.enabled:
            return
        here = np.asarray(layer.world_to_data(viewer.dims.point), float)
        plane: list[Any] = [slice(None)] * layer.ndim
        for axis in set(range(layer.ndim)) - set(axes):
            plane[axis] = round(float(here[axis])) - self._start[axis]
            if not 0 <= plane[axis] < self._mask.shape[axis]:
                return
            here[axis] = round(float(here[axis]))
        mask = self._mask[tuple(plane)]
        corner = here.copy()
        corner[axes] = [self._start[axis] - 0.5 for axis in axes]
        place = self._placed(layer, corner, axes, width, height)
        painter.setTransform(place)
        painter.drawImage(0, 0, _image_of(mask if axes[0] < axes[1] else mask.T, self._colour))

    def _placed(
        self, layer: Labels, corner: NDArray[np.float64], axes: list[int], width: int, height: int
    ) -> QTransform:
        """Return where pixels of the plane along two axes are on the canvas."""
        camera = camera_of(self._viewer)
        ways = [str(each) for each in getattr(camera, "orientation2d", ("down", "right"))]
        signs = [-1 if way in ("up", "left") else 1 for way in ways]
        steps = np.zeros((3, layer.ndim))
        steps[1, axes[1]] = steps[2, axes[0]] = 1  # to the right, and down
        world = np.array([layer.data_to_world(corner + step) for step in steps])
        shown = world[:, axes] - camera.center[-2:]
        y, x = (shown * camera.zoom * signs + [height / 2, width / 2]).T
        return QTransform(x[1] - x[0], y[1] - y[0], x[2] - x[0], y[2] - y[0], x[0], y[0])


class _Veil(QWidget):
    """Covers a canvas, and lets through all but what a highlight draws."""

    def __init__(self, canvas: QWidget, highlight: Highlight) -> None:
        super().__init__(canvas)
        self._canvas, self._highlight = canvas, highlight
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        canvas.installEventFilter(self)
        self.setGeometry(canvas.rect())
        self.show()

    def leave(self) -> None:
        """Cover nothing more."""
        self.hide()
        self._canvas.removeEventFilter(self)
        self.deleteLater()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Stay as large as the canvas."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self.setGeometry(self._canvas.rect())
        return False

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Let the highlight draw, while there is one."""
        if isalive(self._highlight):
            painter = QPainter(self)
            self._highlight.draw(painter, self.width(), self.height())
            painter.end()


def _image_of(mask: NDArray[np.uint8], colour: QColor) -> QImage:
    height, width = mask.shape
    made = QImage(bytes(np.ascontiguousarray(mask)), width, height, width, _INDEXED)
    made.setColorTable([0, colour.rgba()])
    return made.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)


_INDEXED = QImage.Format.Format_Indexed8


def canvas_of(window: QMainWindow | None) -> QWidget | None:
    """Return what napari draws on in a window; None where that has docks alone."""
    middle = None if window is None else window.centralWidget()
    inside = [] if middle is None else middle.findChildren(QWidget)
    return next((each for each in inside if each.inherits("QOpenGLWidget")), None)
