"""What napari's command palette and menus call, and functions of arrays for magicgui and scripts.

Each command acts in the dock that is in front, of those that can do it; where none is open it opens
Paint & Segment. npe2 and napari call them without arguments.
"""

from pathlib import Path
from typing import TypeVar

from napari import current_viewer
from napari.layers import Image, Labels, Layer
from napari.types import ImageData, LabelsData  # magicgui looks at the annotations
from napari.utils.notifications import show_error, show_info, show_warning
from napari.viewer import Viewer
from qtpy.QtWidgets import QFileDialog

import napari_unet as nu
from napari_unet.errors import NapariUNetError
from napari_unet.model.starting import STARTING_MODELS, starting_card
from napari_unet.tasks.classes import CLASSES
from napari_unet.widgets.annotate.dock import AnnotateWidget
from napari_unet.widgets.annotate.import_annotations import add_annotation_from
from napari_unet.widgets.common.controls import MODEL_FILES
from napari_unet.widgets.common.dock import Dock
from napari_unet.widgets.common.layers import unwrapped
from napari_unet.widgets.common.preferences import PLUGIN
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.denoise.work import maker_of
from napari_unet.widgets.predict.dock import PredictWidget
from napari_unet.widgets.segment.dock import SegmentWidget
from napari_unet.widgets.train.dock import TrainWidget

_First = TypeVar("_First", bound=Dock)
_Second = TypeVar("_Second", bound=Dock)
_Predicting = SegmentWidget | PredictWidget
_NO_WINDOW = "Open a window of napari first."

# --- Functions of arrays --------------------------------------------------------------------------


def predict_pixels(
    image: ImageData, model: str | Path = "cells", cell_size: float = 0
) -> LabelsData:
    """Return the objects or classes that a model finds in an image, without a dock.

    Parameters
    ----------
    image : array
        As `TrainedModel.predict` takes it.
    model : str or path
        A model file, or the name of a starting model.
    cell_size : float
        Diameter of a typical cell in pixels; 0: as the model was trained.

    Returns
    -------
    array
        Labels: 0 is background.

    Raises
    ------
    NapariUNetError
        There is no such model, or it does not fit the image.
    """
    name = str(model)
    known = nu.starting_model(name) if name in STARTING_MODELS else nu.load_model(name)
    return known.predict(image, cell_size=cell_size)


def train_model(image: ImageData, labels: LabelsData, output: Path, steps: int = 600) -> Path:
    """Train a model on what is painted on an image, without a dock, and save it.

    Parameters
    ----------
    image : array
        As `train` takes it.
    labels : array
        Paint: 0 is not labelled, 1 background, 2 and up one number for each object.
    output : path
        Where the model is saved.
    steps : int
        Steps of the training.

    Returns
    -------
    path
        The model file.

    Raises
    ------
    NapariUNetError
        Image and paint do not fit, or the file cannot be written.
    """
    nu.train(image, labels, nu.TrainConfig(steps=steps), output=output)
    return Path(output)


# --- Buttons of the docks -------------------------------------------------------------------------


def start_training() -> None:
    """Train on what is painted."""
    _train(goes_on=False)


def continue_training() -> None:
    """Go on with the model in use."""
    _train(goes_on=True)


def _train(goes_on: bool) -> None:
    dock = _dock(SegmentWidget, TrainWidget)
    if isinstance(dock, TrainWidget):
        dock.continue_training() if goes_on else dock.start_training()
    elif isinstance(dock, SegmentWidget):  # which always goes on with the model in use
        dock.learn.start()


def stop() -> None:
    """Stop training, prediction and denoising; what is finished is kept."""
    viewer = _viewer()
    if viewer is None:
        return
    session = session_of(viewer)
    tasks = session.training, session.prediction, maker_of(session).task
    under_way = [task for task in tasks if task.running]
    for task in under_way:
        task.stop()
    if not under_way:
        show_info("Nothing is being trained or predicted.")


def predict_view() -> None:
    """Predict what is in view."""
    _predict("view")


def predict_slice() -> None:
    """Predict the slice on screen."""
    _predict("slice")


def predict_whole() -> None:
    """Predict the whole image or stack."""
    _predict("whole")


def _predict(scope: str) -> None:
    dock: _Predicting | None = _dock(SegmentWidget, PredictWidget)
    if dock is not None:
        dock.starter.start(scope)


def next_spot() -> None:
    """Go to the next spot where the model is unsure."""
    dock = _dock(SegmentWidget, PredictWidget)
    if isinstance(dock, SegmentWidget):
        dock.next_unsure()
    elif isinstance(dock, PredictWidget):
        dock.spots.next_spot()


def take_next_object() -> None:
    """Paint the next object."""
    dock = _dock(SegmentWidget, AnnotateWidget)
    if isinstance(dock, SegmentWidget):
        dock.tools.take("cell")
    elif isinstance(dock, AnnotateWidget):
        dock.target.paint_next()


def paint_background() -> None:
    """Paint background."""
    dock = _dock(SegmentWidget, AnnotateWidget)
    if isinstance(dock, SegmentWidget):
        dock.tools.take("background")
    elif isinstance(dock, AnnotateWidget):
        dock.target.painter.paint_background()


def accept() -> None:
    """Take the tool in hand that accepts objects."""
    dock = _dock(SegmentWidget)
    if dock is not None:
        dock.tools.take_up("copy_object")


def accept_all() -> None:
    """Show the objects in view that look right, to accept them all."""
    dock = _dock(SegmentWidget)
    if dock is not None:
        dock.tools.accept_all.look()


def paint_classes() -> None:
    """Paint classes instead of objects."""
    dock = _dock(SegmentWidget)
    if dock is not None:
        box = dock.target.kind_box
        box.setCurrentIndex(box.findData(CLASSES.kind))


# --- The selected layer ---------------------------------------------------------------------------


def predict_layer() -> None:
    """Predict the selected image with the model in use."""
    image = _selected(Image)
    dock: _Predicting | None = None if image is None else _dock(SegmentWidget, PredictWidget)
    if dock is not None:
        dock.options.image_box.layer = image
        dock.starter.start()


def predict_layer_with_cells() -> None:
    """Predict the selected image with the starting model."""
    card = next(iter(STARTING_MODELS.values()))
    try:
        _predict_layer_with(starting_card(card.name).path, card.title)
    except NapariUNetError as error:  # its file is missing
        show_error(str(error))


def predict_layer_with_file() -> None:
    """Ask for a model file, and predict the selected image with it."""
    if _selected(Image) is None:
        return
    name, _ = QFileDialog.getOpenFileName(None, "Predict with", "", MODEL_FILES)
    if name:
        _predict_layer_with(Path(name), Path(name).stem)


def _predict_layer_with(path: Path, name: str) -> None:
    viewer, image = _viewer(), _selected(Image)
    if viewer is not None and image is not None and session_of(viewer).begin_loading(path, name):
        predict_layer()  # it begins when the model is there


def use_as_annotation() -> None:
    """Paint on in a copy of the selected labels; what is 0 there is background."""
    mask = _selected(Labels)
    dock: SegmentWidget | AnnotateWidget | None
    dock = None if mask is None else _dock(SegmentWidget, AnnotateWidget)
    viewer = _viewer()
    if dock is None or viewer is None or mask is None:
        return
    try:
        made = add_annotation_from(viewer, mask, "background", dock.target.task.kind)
    except NapariUNetError as error:
        show_error(str(error))
    else:
        dock.target.adopt(made)


def measure_layer() -> None:
    """Measure the objects of the selected labels, and open napari's table of features."""
    dock: _Predicting | None = _of_labels()
    if dock is not None:
        dock.measure.measure()
        dock.measure.open_table()


def link_layer() -> None:
    """Link the objects of the selected labels over time or z."""
    dock = _of_labels()
    if dock is not None:
        if isinstance(dock, SegmentWidget):
            dock.link_section.open()
        dock.link.link()


def _of_labels() -> _Predicting | None:
    return None if _selected(Labels) is None else _dock(SegmentWidget, PredictWidget)


# --- Where they act -------------------------------------------------------------------------------


def _viewer() -> Viewer | None:
    viewer = current_viewer()
    if viewer is None:
        show_warning(_NO_WINDOW)
    return viewer


def _selected(kind: type[Layer]) -> Layer | None:
    """Return the selected layer if it is of a kind; else say that one is to be selected."""
    viewer = _viewer()
    if viewer is None:
        return None
    layer = unwrapped(viewer.layers.selection.active)
    if isinstance(layer, kind):
        return layer
    show_warning(f"Select the {kind.__name__.lower()} layer first, in napari's list of layers.")
    return None


def _dock(first: type[_First], second: type[_Second] | None = None) -> _First | _Second | None:
    """Return the dock in front that is one of these; without one Paint & Segment is opened."""
    viewer = _viewer()
    if viewer is None:
        return None
    window, kinds = session_of(viewer).window, (first, second or first)
    docks = [] if window is None else window.findChildren(Dock)
    for dock in sorted(docks, key=lambda each: not each.in_front):
        if isinstance(dock, kinds):
            dock.bring_to_front()
            return dock
    _, opened = viewer.window.add_plugin_dock_widget(PLUGIN, "Paint & Segment")
    return opened if isinstance(opened, kinds) else None
