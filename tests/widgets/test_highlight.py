"""What is marked for a moment: over the canvas, where its pixels are seen, and in no layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QObject
from qtpy.QtGui import QImage, QPainter

from napari_unet.widgets.common.highlight import Highlight, canvas_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.visible import camera_of
from napari_unet.widgets.segment import suggest

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Labels
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

# Of a layer of 20 x 30 pixels: its rows 2 to 4 and columns 5 to 14.
MARKED = np.nonzero(np.pad(np.ones((3, 10), bool), ((2, 15), (5, 15))))


@pytest.fixture
def owner(qapp: object) -> QObject:
    return QObject()


def labels_in(viewer: ViewerModel, shape: tuple[int, ...] = (20, 30), **placement: Any) -> Labels:
    layer: Labels = viewer.add_labels(np.zeros(shape, np.uint8), **placement)
    return layer


def look(viewer: ViewerModel, centre: tuple[float, float], zoom: float = 4) -> None:
    camera = camera_of(viewer)
    camera.center, camera.zoom = centre, zoom


def box_of(seen: NDArray[np.bool_]) -> tuple[int, ...]:
    """Return first and last row, first and last column; () where nothing is seen."""
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    return (rows[0], rows[-1], columns[0], columns[-1]) if rows.size else ()


def drawn(marks: Highlight) -> tuple[int, ...]:
    """Return which box of a canvas of 100 x 100 pixels is filled."""
    image = QImage(100, 100, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(0)
    painter = QPainter(image)
    marks.draw(painter, 100, 100)
    painter.end()
    return box_of(pixels_of_picture(image)[..., 3] > 0)


def pixels_of_picture(image: QImage) -> NDArray[np.uint8]:
    plain = image.convertToFormat(QImage.Format.Format_RGBA8888)
    raw: Any = plain.constBits()
    if hasattr(raw, "setsize"):  # PyQt6 does not know how long it is
        raw.setsize(plain.sizeInBytes())
    return np.frombuffer(bytes(raw), np.uint8).reshape(plain.height(), plain.width(), 4)


def test_marked_pixels_are_filled_to_their_edges(owner: QObject) -> None:
    viewer = ViewerModel()
    marks = Highlight(viewer, "#ff0000", owner)
    marks.show(labels_in(viewer), MARKED)
    look(viewer, (9.5, 9.5))  # which is the middle of the canvas, at 50, 50
    assert drawn(marks) == (18, 29, 30, 69)  # rows 1.5 to 4.5, columns 4.5 to 14.5


def test_scale_and_place_of_the_layer_count(owner: QObject) -> None:
    viewer = ViewerModel()
    marks = Highlight(viewer, "#ff0000", owner)
    marks.show(labels_in(viewer, scale=(2, 1), translate=(10, 0)), MARKED)
    look(viewer, (16, 9.5))
    assert drawn(marks) == (38, 61, 30, 69)


def test_only_the_plane_that_is_marked_shows_it(owner: QObject) -> None:
    viewer = ViewerModel()
    marks = Highlight(viewer, "#ff0000", owner)
    marks.show(labels_in(viewer, (5, 20, 30)), (np.full(30, 3), *MARKED))
    look(viewer, (9.5, 9.5))
    seen = []
    for frame in (2, 3):
        viewer.dims.set_current_step(0, frame)
        seen.append(drawn(marks))
    assert seen == [(), (18, 29, 30, 69)]


def test_a_stack_from_the_side_shows_it_from_the_side(owner: QObject) -> None:
    viewer = ViewerModel()
    marks = Highlight(viewer, "#ff0000", owner)
    marks.show(labels_in(viewer, (5, 20, 30)), (np.full(30, 3), *MARKED))
    viewer.dims.order = (2, 1, 0)  # Y down, frames to the right
    viewer.dims.set_current_step(2, 7)
    look(viewer, (9.5, 3))
    assert drawn(marks) == (18, 29, 48, 51)


def test_nothing_is_marked_in_3d(owner: QObject) -> None:
    viewer = ViewerModel()
    marks = Highlight(viewer, "#ff0000", owner)
    marks.show(labels_in(viewer, (5, 20, 30)), (np.full(30, 3), *MARKED))
    viewer.dims.ndisplay = 3
    assert drawn(marks) == ()


def test_a_layer_that_was_removed_shows_nothing(owner: QObject) -> None:
    viewer = ViewerModel()
    marks = Highlight(viewer, "#ff0000", owner)
    marks.show(labels_in(viewer), MARKED)
    look(viewer, (9.5, 9.5))
    viewer.layers.clear()
    assert drawn(marks) == ()


@pytest.mark.canvas
@pytest.mark.fault(74)
def test_over_the_real_canvas_it_follows_the_camera_and_adds_no_layer(
    make_viewer: Callable[[], Any], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suggest, "_DELAY_MS", 10_000_000)
    viewer = make_viewer()
    image = viewer.add_image(np.zeros((20, 30), np.uint8))
    _, dock = viewer.window.add_plugin_dock_widget("napari-unet-paint", "Paint & Segment")
    marks = Highlight(viewer, "#ff0000", dock)
    layer = viewer.add_labels(np.zeros((20, 30), np.uint8))
    qtbot.wait(100)
    marks.show(layer, MARKED)
    canvas = canvas_of(session_of(viewer).window)
    assert canvas is viewer.window._qt_viewer.canvas.native
    middle = np.array([canvas.height(), canvas.width()]) / 2

    def red() -> NDArray[np.float64]:
        qtbot.wait(50)
        picture = pixels_of_picture(canvas.grab().toImage())
        found = box_of((picture[..., 0] > 100) & (picture[..., 1] < 50))
        return np.array(found, float) - (middle.repeat(2) if found else ())

    look(viewer, (9.5, 9.5))
    np.testing.assert_allclose(red(), (-32, -21, -20, 19), atol=1)
    look(viewer, (9.5, 4.5), zoom=8)
    np.testing.assert_allclose(red(), (-64, -41, 0, 79), atol=1)
    marks.hide()
    assert red().size == 0
    assert list(viewer.layers) == [image, layer]
