"""The pictures of ``docs/tutorials/3d-stack.md``.

Opens the bundled 3D sample, gives it a voxel size, paints three slices and two sections from the
side with the mouse, trains the preset 3d, predicts, turns to 3D, measures.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.measure import regionprops
from window_pictures import (
    PLUGIN,
    click,
    drag,
    live,
    open_docks,
    open_viewer,
    raise_dock,
    scroll_to,
    shoot,
    wait_for,
)

if TYPE_CHECKING:
    import napari

VOXEL_SIZE = (1.0, 0.5, 0.5)  # micrometres
SECTIONS = ((0, 8), (0, 15), (0, 22), (1, 20), (1, 40))  # axis to look along, and where
CELLS_PER_SECTION = 9
STROKES_PER_SECTION = 4
PICTURES = {(0, 15): "annotate", (1, 20): "side"}
PICTURED_STEP, LAST_STEP = 350, 550
SMALL = {"base_channels": 8, "patch_size": 24}  # learns in a minute on a slow computer


def stroke(viewer: napari.Viewer, points: list[tuple[float, float]]) -> None:
    """Drag the mouse through pixels of the section on screen, as slowly as a hand does."""
    if not points:
        return
    height, width = (VOXEL_SIZE[axis] for axis in viewer.dims.displayed)
    corners = np.array(points) * (height, width)
    at = np.linspace(0, len(points) - 1, 3 * len(points))
    path = np.stack([np.interp(at, np.arange(len(points)), side) for side in corners.T], axis=1)
    drag(viewer, [(float(y), float(x)) for y, x in path])


def fill(viewer: napari.Viewer, cell: Any) -> None:
    """Brush over the section of a cell, row by row."""
    points: list[tuple[float, float]] = []
    rows = sorted(set(cell.coords[:, 0].tolist()))
    apart = 2 if viewer.dims.displayed[0] == 1 else 1  # slices are as thick as the brush
    for number, row in enumerate(rows[1:-1:apart]):
        columns = cell.coords[cell.coords[:, 0] == row, 1]
        ends = [(row, float(columns.min() + 1)), (row, float(columns.max() - 1))]
        points += ends if number % 2 else ends[::-1]
    stroke(viewer, points)


def background_beside(truth: Any, number: int) -> list[tuple[float, float]]:
    """Find a horizontal line of background that is as long as possible, in one part of a slice."""
    best: tuple[int, int, int] = (0, 0, 0)
    part = len(truth) // STROKES_PER_SECTION
    for row in range(number * part + 1, (number + 1) * part - 1):
        free = (truth[row - 1 : row + 2] == 0).all(axis=0)
        begin = 0
        for column in range(len(free) + 1):
            if column == len(free) or not free[column]:
                best = max(best, (column - begin, row, begin))
                begin = column + 1
    length, row, begin = best
    return [(row, begin + 1.0), (row, begin + length - 2.0)] if length > 5 else []


def paint(viewer: napari.Viewer, annotate: Any, truth: Any) -> None:
    """Paint cells and background in three slices, and in two sections from the side."""
    click(annotate.new_button)
    layer = annotate.target.annotation
    numbers: dict[int, int] = {}
    for axis, position in SECTIONS:
        viewer.dims.order = (axis, *(other for other in range(3) if other != axis))
        viewer.dims.set_current_step(axis, position)
        viewer.reset_view()
        live(0.5)
        section = truth.take(position, axis)
        layer.brush_size = 2
        cells = [cell for cell in regionprops(section) if cell.area >= 20]
        for cell in sorted(cells, key=lambda cell: -cell.area)[:CELLS_PER_SECTION]:
            if cell.label in numbers:  # a hand takes the pipette
                annotate.target.painter.take_brush(numbers[cell.label])
            else:
                click(annotate.next_button)
                numbers[cell.label] = layer.selected_label
            fill(viewer, cell)
        click(annotate.background_button)
        for part in range(STROKES_PER_SECTION):
            stroke(viewer, background_beside(section, part))
        if (axis, position) in PICTURES:
            shoot(viewer, f"3d-{PICTURES[axis, position]}")
    viewer.dims.order = (0, 1, 2)
    viewer.reset_view()
    live(0.5)


def steps_of(widget: Any) -> int:
    """Read from the dock how far the training is."""
    found = re.match(r"Step (\d+)", widget.shown.status.text())
    return int(found.group(1)) if found else 0


def train(viewer: napari.Viewer, widget: Any) -> None:
    """Choose the preset 3d, train, stop."""
    raise_dock(widget)
    widget.preset_box.setCurrentText("3d")
    widget.form.set_value(widget.config().changed(**SMALL))
    live(0.3)
    viewer.dims.set_current_step(0, 12)
    click(widget.train_button)
    while steps_of(widget) < PICTURED_STEP:
        live(0.2)
    shoot(viewer, "3d-train")
    while steps_of(widget) < LAST_STEP and widget.task.running:
        live(0.2)
    click(widget.stop_button)
    wait_for(widget.task)
    print(widget.shown.status.text(), widget.shown.score.text())


def predict(viewer: napari.Viewer, widget: Any, truth: Any) -> None:
    """Predict the stack, look at it in 2D and 3D, measure."""
    import napari_unet

    raise_dock(widget)
    click(widget.predict_button)
    wait_for(widget.task)
    result = viewer.layers["nuclei 3D prediction"]
    scores = napari_unet.evaluate([np.asarray(result.data)], [truth], kind="objects")
    print({name: scores[name] for name in ("iou", "f1_50")})
    for layer in viewer.layers:
        layer.visible = layer.name in ("nuclei 3D", result.name)
    result.contour = 1
    viewer.dims.set_current_step(0, 15)
    live(1)
    shoot(viewer, "3d-result")
    result.contour = 0
    viewer.layers["nuclei 3D"].visible = False
    viewer.dims.ndisplay = 3
    live(0.5)
    viewer.reset_view()
    viewer.scene.camera.angles = (12, 25, 60)
    viewer.scene.camera.zoom *= 0.7
    scroll_to(widget.measure)
    click(widget.measure.measure_button)
    live(2)
    shoot(viewer, "3d-volume")


def stack() -> None:
    """Drive the application once through the tutorial."""
    viewer = open_viewer()
    viewer.open_sample(PLUGIN, "nuclei_3d")
    truth = np.asarray(viewer.layers["nuclei 3D labels"].data)
    viewer.layers.remove("nuclei 3D labels")
    image = viewer.layers["nuclei 3D"]
    image.scale, image.units, image.axis_labels = VOXEL_SIZE, ("um",) * 3, ("z", "y", "x")
    annotate, training, prediction = open_docks(viewer)
    viewer.reset_view()
    raise_dock(annotate)
    paint(viewer, annotate, truth)
    train(viewer, training)
    predict(viewer, prediction, truth)
    viewer.close()


SCENES = {"stack": stack}
