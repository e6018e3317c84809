"""What the three widgets of one viewer share: the model, and the work under way."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_unet.widgets.task import BackgroundTask, Finished, Outcome

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.widgets.result_layers import ResultLayers

METADATA_KEY = "napari-unet-paint"

_sessions: dict[int, Session] = {}


class Session(QObject):
    """The state of one viewer.

    Attributes
    ----------
    training, prediction : BackgroundTask
        The work that may be under way.
    model : TrainedNetwork or None
        The newest model: trained here, or loaded.
    model_name : str
        What it is called.
    trained_image : str
        Name of the image of the training that is under way, or was the last.
    result : ResultLayers or None
        Where the prediction that is under way appears.
    """

    model_changed = Signal()
    annotation_chosen = Signal()
    kind_chosen = Signal(str)  # "objects" or "classes"

    def __init__(self) -> None:
        super().__init__()
        self.training = BackgroundTask("U-Net training", self)
        self.prediction = BackgroundTask("U-Net prediction", self)
        # The session, not a widget, takes the result: a closed dock must not lose it.
        self.training.ended.connect(self._take_trained)
        self.model: TrainedNetwork | None = None
        self.model_name = ""
        self.trained_image = ""
        self.result: ResultLayers | None = None
        self._image: weakref.ref[Image] | None = None
        self._annotation: weakref.ref[Labels] | None = None

    def _take_trained(self, outcome: Outcome) -> None:
        if isinstance(outcome, Finished) and outcome.result.state.step > 0:
            self.set_model(outcome.result.trained, f"{self.trained_image} model")

    def set_model(self, model: TrainedNetwork, name: str) -> None:
        """Make a model the one that all widgets use."""
        self.model, self.model_name = model, name
        self.model_changed.emit()

    def choose_annotation(self, image: Image, annotation: Labels) -> None:
        """Remember which image is being painted in which layer, and tell the other widgets."""
        self._image, self._annotation = weakref.ref(image), weakref.ref(annotation)
        self.annotation_chosen.emit()

    @property
    def image(self) -> Image | None:
        """The image that is being painted, while it exists."""
        return self._image() if self._image else None

    @property
    def annotation(self) -> Labels | None:
        """The layer that is being painted, while it exists."""
        return self._annotation() if self._annotation else None


def session_of(viewer: Any) -> Session:
    """Return the session of a viewer; the same for all widgets, whatever proxy they were given."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    key = id(viewer)
    if key not in _sessions:
        _sessions[key] = Session()
        weakref.finalize(viewer, _sessions.pop, key, None)
    return _sessions[key]
