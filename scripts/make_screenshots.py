"""Make the screenshots of the README and of the site's first pages from the real application.

``loop`` paints with the mouse, trains while painting goes on, stops, predicts, looks for uncertain
spots, corrects, measures (annotate.png, train.png, unsure.png, corrected.png); ``animation``
adjusts what is suggested of cells in phase contrast, paints and trains, and writes loop.gif;
``light`` and ``dark`` show the three docks in both themes (theme-light.png, theme-dark.png);
``hidpi`` shows the window on a screen of twice the resolution (hidpi.png). All of them, or those
that are named::

    xvfb-run -a -s "-screen 0 2560x1600x24" python scripts/make_screenshots.py light dark
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation
from skimage.measure import regionprops
from window_pictures import (
    OUT,
    PLUGIN,
    WATCHERS,
    click,
    drag,
    fill_cell,
    go_round,
    live,
    look_at,
    open_docks,
    open_viewer,
    outline_of,
    picture_of,
    raise_dock,
    run_scenes,
    scroll_to,
    seen,
    shoot,
    wait_for,
    write_picture,
)

from napari_unet.samples import load_phase_2d
from napari_unet.widgets.common.session import session_of

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget
    from window_pictures import Scene

TRAINING_SECONDS = 35
LEARNING_SECONDS, PAINTED = 25, 5  # in the animation
GIF_SIZE = (960, 600)
QUICK = {"patch_size": 64, "batch_size": 1}  # where the result does not matter
DOCK = (350, 760)  # the narrowest dock that everything is to fit


class Recorder:
    """Takes pictures of the window while it lives, for an animation.

    Parameters
    ----------
    window : QWidget
        What to take.
    """

    def __init__(self, window: QWidget) -> None:
        self._window = window
        self.pause = 0.3  # seconds between two pictures: longer where little happens
        self._next = 0.0
        self.pictures: list[Image.Image] = []

    def look(self) -> None:
        """Take a picture if it is time to."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self.pause
        picture = Image.fromarray(picture_of(self._window))
        self.pictures.append(picture.resize(GIF_SIZE, Image.Resampling.LANCZOS))

    def save(self) -> None:
        """Write the animation; one palette for all, so that what stays the same costs nothing."""
        path = OUT / "loop.gif"
        plain, (width, height) = Image.Dither.NONE, GIF_SIZE
        middle = len(self.pictures) // 2
        shown = Image.new("RGB", (width, 3 * height))
        for number, picture in enumerate(
            (self.pictures[0], self.pictures[middle], self.pictures[-1])
        ):
            shown.paste(picture, (0, number * height))
        palette = shown.quantize(192, dither=plain)
        frames = [picture.quantize(palette=palette, dither=plain) for picture in self.pictures]
        durations = [300] * len(frames)
        durations[-1] = 3000
        frames[0].save(
            path, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True
        )
        print(f"wrote {path}: {len(frames)} pictures, {path.stat().st_size / 1e6:.1f} MB")


def paint(viewer: napari.Viewer, annotate: Any) -> None:
    """Paint two more cells, and background beside them."""
    camera = viewer.scene.camera
    zoom, (whole_y, whole_x) = camera.zoom, camera.center[-2:]
    annotate.target.annotation_box.layer = viewer.layers["nuclei 2D strokes"]
    look_at(viewer, 120, 180, 4)
    click(annotate.next_button)
    fill_cell(viewer, 97, 178, 20, 20)
    click(annotate.next_button)
    fill_cell(viewer, 142, 167, 18, 15)
    click(annotate.background_button)
    drag(viewer, [(75, 150), (115, 148), (165, 152), (172, 180)])
    live(1)
    shoot(viewer, "annotate")
    look_at(viewer, whole_y, whole_x, zoom)


def train(viewer: napari.Viewer, widget: Any) -> None:
    """Train, paint on meanwhile, stop."""
    raise_dock(widget)
    click(widget.train_button)
    while not any("prediction" in layer.name for layer in viewer.layers):
        live(0.2)
    live(10)
    drag(viewer, [(330, 300), (334, 320), (330, 345)])
    live(15)
    shoot(viewer, "train")
    live(TRAINING_SECONDS)
    click(widget.stop_button)
    wait_for(widget.task)
    print(widget.shown.status.text(), widget.shown.score.text())


def predict(viewer: napari.Viewer, widget: Any) -> None:
    """Predict all, and go to the most uncertain spot."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest

    raise_dock(widget)
    click(widget.predict_button)
    wait_for(widget.task)
    viewer.layers["nuclei 2D prediction"].contour = 2
    live(1)
    click(widget.spots.show_button)
    wait_for(widget.task)
    widget.spots.list.setFocus()
    hand: Any = QTest
    hand.keyClick(widget.spots.list, Qt.Key.Key_Down)
    live(1)
    shoot(viewer, "unsure")
    viewer.layers["nuclei 2D uncertainty"].visible = False


def correct(viewer: napari.Viewer, widget: Any) -> None:
    """Part the least convex object along its short axis, delete a speck, measure."""
    layer = viewer.layers["nuclei 2D prediction"]
    objects = [o for o in regionprops(layer.data) if o.area > 150]
    worst = min(objects, key=lambda o: o.solidity)
    y, x = worst.centroid
    turn, half = worst.orientation + np.pi / 2, worst.axis_minor_length * 0.8
    dy, dx = half * np.cos(turn), half * np.sin(turn)
    look_at(viewer, y, x, 6)
    scroll_to(widget.correct)
    click(widget.correct.buttons["split"])
    drag(viewer, [(y - dy, x - dx), (y, x), (y + dy, x + dx)])
    live(1)
    click(widget.correct.buttons["grow"])
    drag(viewer, [worst.coords[len(worst.coords) // 4].tolist()])
    click(widget.correct.buttons["grow"])
    click(widget.measure.measure_button)
    live(1.5)
    shoot(viewer, "corrected")
    live(1)


def loop() -> None:
    """Drive the application once through the loop."""
    viewer = open_viewer()
    viewer.open_sample(PLUGIN, "nuclei_2d")
    annotate, training, prediction = open_docks(viewer)
    raise_dock(annotate)
    paint(viewer, annotate)
    train(viewer, training)
    predict(viewer, prediction)
    correct(viewer, prediction)
    viewer.close()


def animation() -> None:
    """Adjust and use what is suggested of cells in phase contrast, paint five of them, train."""
    viewer = open_viewer()
    image, _, labels = load_phase_2d()
    viewer.add_image(image, name="cells")
    live(1)
    recorder = Recorder(viewer.window._qt_window)
    WATCHERS.append(recorder.look)
    dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Paint & Segment")[1]
    session = session_of(viewer)
    recorder.pause = 1.0
    while not dock.suggestions.cell_size.isVisible():
        live(0.2)
    live(2)
    shoot(viewer, "segment")
    recorder.pause = 0.3
    for smallest in (30, 45, 60):
        dock.suggestions.smallest.setValue(smallest)
        live(0.6)
    click(dock.suggestions.use_button)
    wait_for(session.prediction)
    recorder.pause = 2.0
    cells = [cell for cell in regionprops(labels) if seen(viewer, cell.bbox)]
    painted = sorted(cells, key=lambda cell: -cell.area)[:PAINTED]
    click(dock.tools.buttons["cell"])
    viewer.layers["cells annotation"].brush_size = 3
    for cell in painted:
        go_round(viewer, outline_of(labels == cell.label))
    click(dock.tools.buttons["background"])
    for cell in painted:
        around = outline_of(binary_dilation(labels == cell.label, iterations=7))
        free = [labels[round(y), round(x)] == 0 for y, x in around]
        drag(viewer, around[: free.index(False)] if False in free else around)
    live(1)
    recorder.pause = 1.0
    click(dock.learn.button)
    live(LEARNING_SECONDS)
    click(dock.learn.button)
    wait_for(session.training)
    wait_for(session.prediction)
    live(2)
    viewer.close()
    recorder.save()


def trained_a_little(viewer: napari.Viewer, training: Any, prediction: Any) -> None:
    """Train for some seconds, predict, compare with the paint."""
    training.form.set_value(training.config().changed(**QUICK))
    training.steps_box.setValue(12)
    raise_dock(training)
    click(training.train_button)
    wait_for(training.task)
    raise_dock(prediction)
    click(prediction.predict_button)
    wait_for(prediction.task)
    click(prediction.compare.compare_button)
    wait_for(prediction.compare.task)


def themed(theme: str) -> None:
    """Show the three docks beside each other in one theme."""
    viewer = open_viewer(theme)
    viewer.open_sample(PLUGIN, "nuclei_2d")
    annotate, training, prediction = open_docks(viewer)
    annotate.target.annotation_box.layer = viewer.layers["nuclei 2D strokes"]
    trained_a_little(viewer, training, prediction)
    taken = []
    for dock in (annotate, training, prediction):
        raise_dock(dock)
        floating = dock
        while not hasattr(floating, "setFloating"):
            floating = floating.parent()
        floating.setFloating(True)
        floating.resize(*DOCK)
        live(0.5)
        if dock is prediction:
            scroll_to(prediction.spots.parentWidget())
        taken.append(picture_of(floating))
    write_picture(np.concatenate(taken, axis=1), f"theme-{theme}")
    viewer.close()


def hidpi() -> None:
    """Show a part of the window at twice the resolution, after a short training."""
    viewer = open_viewer()
    viewer.open_sample(PLUGIN, "nuclei_2d")
    annotate, training, prediction = open_docks(viewer)
    annotate.target.annotation_box.layer = viewer.layers["nuclei 2D strokes"]
    trained_a_little(viewer, training, prediction)
    raise_dock(training)
    live(0.5)
    taken = picture_of(viewer.window._qt_window)
    write_picture(taken[: taken.shape[0] * 3 // 4, taken.shape[1] * 5 // 8 :], "hidpi")
    viewer.close()


SCENES: dict[str, Scene] = {
    "loop": loop,
    "animation": animation,
    "light": partial(themed, "light"),
    "dark": partial(themed, "dark"),
    "hidpi": hidpi,
}

if __name__ == "__main__":
    run_scenes(SCENES, {"hidpi": {"QT_SCALE_FACTOR": "2"}})
