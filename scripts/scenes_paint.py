"""The pictures of ``docs/paint.md``: well and badly painted, and what is learned from each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from paint_examples import STEPS, badly_painted
from skimage.measure import regionprops
from window_pictures import (
    PLUGIN,
    click,
    go_round,
    live,
    look_at,
    open_docks,
    open_viewer,
    outline_of,
    raise_dock,
    seen,
    shoot,
    wait_for,
    write_picture,
)

from napari_unet.samples import load_nuclei_2d, load_phase_2d

if TYPE_CHECKING:
    import napari
    from window_pictures import Scene

PAIR, ROW = (116, 84), (436, 160)  # nuclei that touch: two, and three in a row
ZOOM = 4.5
CLOSE, GAP = 320, 4  # pixels


def example(name: str, change: Any) -> None:
    """Show a paint, and beside it the outlines that are learned from it."""
    image, paint, _ = load_nuclei_2d()
    viewer = open_viewer()
    viewer.add_image(image, name="nuclei")
    labels = viewer.add_labels(change(paint), name="paint")
    _, training, prediction = open_docks(viewer)
    training.steps_box.setValue(STEPS)
    training.live_box.setChecked(False)
    shown = _close_ups(viewer)
    raise_dock(training)
    click(training.train_button)
    wait_for(training.task)
    raise_dock(prediction)
    click(prediction.predict_button)
    wait_for(prediction.task)
    labels.visible = False
    viewer.layers["nuclei prediction"].contour = 1
    write_picture(_side_by_side([*shown, *_close_ups(viewer)]), f"paint-{name}")
    viewer.close()


def _side_by_side(parts: list[Any]) -> Any:
    """Put pictures beside each other, with white between them."""
    gap = np.full((CLOSE, GAP, 3), 255, np.uint8)
    joined = [each for part in parts for each in (part, gap)]
    return np.concatenate(joined[:-1], axis=1)


def _close_ups(viewer: napari.Viewer) -> list[Any]:
    """Take the middle of the canvas at two places."""
    taken = []
    for y, x in (PAIR, ROW):
        look_at(viewer, y, x, ZOOM)
        live(0.5)
        canvas = viewer.screenshot(canvas_only=True, flash=False)[..., :3]
        top, left = ((size - CLOSE) // 2 for size in canvas.shape[:2])
        taken.append(canvas[top : top + CLOSE, left : left + CLOSE])
    return taken


def weights() -> None:
    """Show what each painted pixel counts."""
    image, paint, _ = load_nuclei_2d()
    viewer = open_viewer()
    viewer.add_image(image, name="nuclei")
    viewer.add_labels(paint, name="paint")
    annotate, _, _ = open_docks(viewer)
    raise_dock(annotate)
    click(annotate.weights_button)
    while not any("weight" in layer.name for layer in viewer.layers):
        live(0.2)
    viewer.layers["paint"].visible = False
    look_at(viewer, ROW[0], ROW[1], 5)
    shoot(viewer, "paint-weights")
    viewer.close()


def round_() -> None:
    """Go round three cells with a right click, the last one not yet to its end."""
    image, _, labels = load_phase_2d()
    viewer = open_viewer()
    viewer.add_image(image, name="cells")
    dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Paint & Segment")[1]
    live(1)
    click(dock.tools.buttons["cell"])
    viewer.layers["cells annotation"].brush_size = 3
    cells = [cell for cell in regionprops(labels) if seen(viewer, cell.bbox)]
    *done, last = sorted(cells, key=lambda cell: cell.area)[-3:]
    for cell in done:
        go_round(viewer, outline_of(labels == cell.label))
    path = outline_of(labels == last.label)
    go_round(viewer, path[: len(path) * 2 // 3], back=False)
    shoot(viewer, "paint-round")
    viewer.close()


SCENES: dict[str, Scene] = {
    "round": round_,
    "well": partial(example, "well", lambda paint: paint),
    "badly": partial(example, "badly", badly_painted),
    "weights": weights,
}
