"""The pictures of the tutorials on nuclei, membranes, movies and folders.

Membranes and movie are made by the lines of Python that their pages show.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from scipy import ndimage as ndi
from window_pictures import (
    PLUGIN,
    ROOT,
    click,
    fill_cell,
    live,
    look_at,
    open_docks,
    open_viewer,
    raise_dock,
    run_page,
    scroll_to,
    shoot,
    wait_for,
)

from napari_unet.samples import load_nuclei_2d

if TYPE_CHECKING:
    import napari

LATE = 8
PAINTED_NUCLEI = {0: (1, 4, 16, 19, 31, 34, 46, 49, 52), LATE: (5, 6, 20, 21, 35, 36, 50, 51)}
STEPS = {
    "nuclei": 100,
    "membranes": 150,
    "movie": 40,
    "batch": 12,
    "denoise": 250,
    "object_classes": 150,
    "finer": 150,
}
# Mean grey values that part the nuclei of the sample into two classes.
_BRIGHT = 77


def train(training: Any, steps: int) -> None:
    """Train so many steps, without the live prediction."""
    raise_dock(training)
    training.steps_box.setValue(steps)
    training.live_box.setChecked(False)
    click(training.train_button)
    wait_for(training.task)
    print(training.shown.status.text(), training.shown.score.text(), flush=True)


def predict(prediction: Any) -> None:
    """Predict all."""
    raise_dock(prediction)
    click(prediction.predict_button)
    wait_for(prediction.task)
    while prediction.measure.text.text().startswith("Measuring"):
        live(0.1)
    print(prediction.status.text(), flush=True)


def nuclei() -> None:
    """Predict the sample, measure, compare with all nuclei."""
    viewer = open_viewer()
    viewer.open_sample(PLUGIN, "nuclei_2d")
    _, training, prediction = open_docks(viewer)
    train(training, STEPS["nuclei"])
    predict(prediction)
    viewer.layers["nuclei 2D strokes"].visible = False
    scroll_to(prediction.measure)
    shoot(viewer, "nuclei-result")
    truth = viewer.add_labels(load_nuclei_2d()[2].astype(np.int32), name="nuclei2d_labels")
    truth.visible = False
    compare = prediction.compare
    compare.truth_box.layer = truth
    scroll_to(compare)
    click(compare.compare_button)
    wait_for(compare.task)
    viewer.layers["nuclei 2D prediction"].visible = False
    scroll_to(compare)
    shoot(viewer, "nuclei-errors")
    viewer.close()


def membranes() -> None:
    """Paint a rectangle of membranes in classes; train and predict."""
    with tempfile.TemporaryDirectory() as folder:
        run_page("tutorials/em-membranes.md", 1, Path(folder))
        image = tifffile.imread(Path(folder) / "em/slice_1.tif")
        painted = tifffile.imread(Path(folder) / "em/painted_1.tif")
    viewer = open_viewer()
    viewer.add_image(image, name="slice_1")
    annotate, training, prediction = open_docks(viewer)
    raise_dock(annotate)
    annotate.target.kind_box.setCurrentIndex(annotate.target.kind_box.findData("classes"))
    click(annotate.new_button)
    click(annotate.add_button)
    for value, name in ((1, "inside"), (2, "membrane"), (3, "mitochondrion")):
        annotate.target.painter.rename(value, name)
    layer = annotate.target.annotation
    layer.data = np.where(painted > 1, painted, 0).astype(layer.data.dtype)
    click(annotate.region_button)
    rows, columns = np.nonzero(painted)
    corners = [(y, x) for y in (rows.min(), rows.max()) for x in (columns.min(), columns.max())]
    regions = viewer.layers.selection.active
    regions.add_rectangles(np.array([corners[i] for i in (0, 1, 3, 2)], float))
    viewer.layers.selection.active = layer
    annotate.target.painter.pick(2)
    layer.brush_size = 4
    y, x = np.mean(corners, axis=0).tolist()
    look_at(viewer, y, x, 3)
    live(1)
    shoot(viewer, "membranes-paint")
    training.form.set_value(training.config().changed(class_balance=0.5))
    viewer.reset_view()
    train(training, STEPS["membranes"])
    predict(prediction)
    layer.visible = regions.visible = False
    shoot(viewer, "membranes-result")
    viewer.close()


def movie() -> None:
    """Paint daughters in a late frame; train, predict, link."""
    with tempfile.TemporaryDirectory() as folder:
        run_page("tutorials/time-lapse.md", 1, Path(folder))
        frames = tifffile.imread(Path(folder) / "movie/cells.tif")
        truth = tifffile.imread(Path(folder) / "movie/truth.tif")
    viewer = open_viewer()
    viewer.add_image(frames, name="cells", axis_labels=("t", "y", "x"))
    annotate, training, prediction = open_docks(viewer)
    raise_dock(annotate)
    click(annotate.new_button)
    _paint_some(viewer, annotate, truth)
    shoot(viewer, "movie-paint")
    training.form.set_value(training.config().changed(patch_size=96, batch_size=2))
    train(training, STEPS["movie"])
    predict(prediction)
    annotate.target.annotation.visible = False
    panel = prediction.link
    scroll_to(panel)
    click(panel.link_button)
    wait_for(panel.task)
    print(panel.text.text())
    tracks = viewer.layers["cells prediction tracks"]
    tracks.tail_width, tracks.tail_length = 4, 12
    viewer.layers["cells prediction"].contour = 1
    viewer.dims.set_current_step(0, len(frames) - 1)
    viewer.reset_view()
    scroll_to(panel)
    shoot(viewer, "movie-tracks")
    viewer.close()


def _paint_some(viewer: napari.Viewer, annotate: Any, truth: Any) -> None:
    """Paint some nuclei of two frames with background around, one of them by hand."""
    layer = annotate.target.annotation
    painted = np.zeros_like(truth)
    for frame, numbers in PAINTED_NUCLEI.items():
        chosen = np.isin(truth[frame], numbers)
        apart = ndi.distance_transform_edt(~chosen)
        around = (apart > 2) & (apart < 6) & (truth[frame] == 0)
        painted[frame] = np.where(chosen, truth[frame] + 1, around)
    by_hand = (truth[LATE] == PAINTED_NUCLEI[LATE][0]) & (truth[LATE] > 0)
    painted[LATE][by_hand] = 0
    layer.data = painted.astype(layer.data.dtype)
    viewer.dims.set_current_step(0, LATE)
    viewer.reset_view()
    annotate.target.painter.take_brush(PAINTED_NUCLEI[LATE][0] + 1)
    layer.brush_size = 5
    y, x = np.mean(np.nonzero(by_hand), axis=1)
    fill_cell(viewer, float(y), float(x), 10, 10)
    live(1)


def batch() -> None:
    """Predict a folder, one file of which is damaged."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        source, target = Path("images"), Path("results")  # nobody wants to read of this machine
        source.mkdir()
        image = load_nuclei_2d()[0]
        for number, (y, x) in enumerate(((0, 0), (0, 256), (256, 0), (256, 256), (128, 128))):
            tifffile.imwrite(source / f"well_A{number + 1}.tif", image[y : y + 256, x : x + 256])
        (source / "well_A6.tif").write_bytes(b"damaged")
        viewer = open_viewer()
        viewer.open_sample(PLUGIN, "nuclei_2d")
        _, training, prediction = open_docks(viewer)
        train(training, STEPS["batch"])
        raise_dock(prediction)
        prediction.predict_folder(source, target)
        wait_for(prediction.task)
        viewer.layers.clear()
        prediction.batch.table.itemActivated.emit(prediction.batch.table.item(2, 0))
        live(1)
        viewer.reset_view()
        shoot(viewer, "batch-table")
        viewer.close()


def denoise() -> None:
    """Remove the noise of a confocal stack in two clicks.

    The nuclei are of Arabidopsis ovules (MIT, github.com/kreshuklab/plant-seg; Vijayan et al.
    2024), in the folder of data beside the checkout.
    """
    viewer = open_viewer()
    path = min((ROOT.parent / "shared" / "data" / "ovule_nuclei3d" / "images").glob("*.tif"))
    viewer.add_image(tifffile.imread(path)[30:62], name="ovule", axis_labels=("z", "y", "x"))
    viewer.dims.set_current_step(0, 16)
    dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Denoise")[1]
    live(1)
    dock.steps_box.setValue(STEPS["denoise"])
    click(dock.start_button)
    wait_for(dock.task)
    print(dock.status.text(), dock.about.text(), flush=True)
    viewer.grid.enabled = True
    viewer.grid.shape = (1, 2)
    viewer.reset_view()
    live(1)
    shoot(viewer, "denoised")


def object_classes() -> None:
    """Find bright and dim nuclei, learned from one half of the sample with all of it painted."""
    from napari_unet.widgets.common.annotation import new_annotation

    viewer = open_viewer()
    pixels, _, labels = load_nuclei_2d()
    image = viewer.add_image(pixels, name="nuclei")
    annotate, training, prediction = open_docks(viewer)
    numbers = np.unique(labels)[1:]
    bright = np.isin(labels, numbers[ndi.mean(pixels, labels, numbers) >= _BRIGHT])
    for name, inside in (("bright", bright), ("dim", ~bright)):
        layer = new_annotation(viewer, image, "object-classes", name)
        paint = np.where(inside & (labels > 0), labels + 1, 0)
        paint[labels == 0] = 1
        layer.data[:, : pixels.shape[1] // 2] = paint[:, : pixels.shape[1] // 2]
        annotate.target.adopt(layer)
    train(training, STEPS["object_classes"])
    predict(prediction)
    for layer in viewer.layers:
        layer.visible = layer is image or layer.name.endswith("prediction")
    from napari.utils.colormaps import direct_colormap

    for name, colour in (("bright", "orange"), ("dim", "cyan")):
        found = viewer.layers[f"nuclei {name} prediction"]
        found.colormap = direct_colormap({0: "transparent", None: colour})
    raise_dock(annotate)
    look_at(viewer, 256, 256, 1.35)
    live(1)
    shoot(viewer, "object-classes")


def finer() -> None:
    """Make nuclei twice as fine, learned from the left half of the sample."""
    from napari_unet.data.rescaling import mean_of_blocks

    viewer = open_viewer()
    fine = load_nuclei_2d()[0][:, :256]
    coarse = mean_of_blocks(fine[np.newaxis].astype(np.float32), (1, 2, 2))[0]
    truth = viewer.add_image(fine, name="fine", scale=(0.5, 0.5), translate=(-0.25, -0.25))
    image = viewer.add_image(coarse, name="coarse", contrast_limits=truth.contrast_limits)
    dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Denoise")[1]
    live(1)
    dock.learn_box.setCurrentIndex(1)
    dock.image_box.layer, dock.target_box.layer = image, truth
    dock.steps_box.setValue(STEPS["finer"])
    click(dock.start_button)
    wait_for(dock.task)
    print(dock.status.text(), dock.about.text(), flush=True)
    viewer.layers["coarse made"].contrast_limits = truth.contrast_limits
    viewer.grid.enabled = True
    viewer.grid.shape = (1, 3)
    viewer.reset_view()
    viewer.scene.camera.zoom *= 2.2
    live(1)
    shoot(viewer, "finer")


SCENES = {
    "finer": finer,
    "object_classes": object_classes,
    "nuclei": nuclei,
    "membranes": membranes,
    "movie": movie,
    "batch": batch,
    "denoise": denoise,
}
