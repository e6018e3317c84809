"""Start a prediction of the chosen image, or tell what is missing for it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_warning
from qtpy.compat import isalive

from napari_unet.errors import NapariUNetError
from napari_unet.widgets.common.controls import single_shot
from napari_unet.widgets.common.copy_script import prediction_to_copy
from napari_unet.widgets.common.layers import pixels_of
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.task import Finished
from napari_unet.widgets.predict.runs import (
    predict_into_file,
    predict_into_layer,
    scoped,
    separate_with,
)

if TYPE_CHECKING:
    from pathlib import Path

    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_unet.prediction.config import PredictConfig
    from napari_unet.widgets.common.copy_script import ScriptBundle
    from napari_unet.widgets.common.task import Outcome
    from napari_unet.widgets.predict.options import PredictOptions
    from napari_unet.widgets.predict.status import PredictStatus


_TUNING_MS = 250  # after the last change of a number


class PredictionStarter:
    """Starts what `options` say with the model in use; what does not fit is told in `status`."""

    def __init__(self, viewer: Viewer, options: PredictOptions, status: PredictStatus) -> None:
        self._viewer, self._session = viewer, session_of(viewer)
        self._options, self._status = options, status
        self._wanted = ""  # as soon as a model is loaded
        self._tuning = single_shot(status, _TUNING_MS, self._tune)
        for name in ("threshold", "smallest"):
            options.form.editors[name].changed.connect(self._tuning.start)

    def start(self, scope: str = "whole") -> None:
        """Predict into a layer, in the background: the "view", a "slice" or the "whole".

        While a model is being loaded, that happens when it is there.
        """
        if self._session.loading.running:
            self._want(scope)
            return
        image, model = self.ready_image(), self._session.model
        if image is None or model is None:
            return
        try:
            config = self.config(image, scope)
        except NapariUNetError as error:
            self._refuse(image, str(error))
            return
        predict_into_layer(self._viewer, self._session, model, image, self.kept_axes(image), config)

    def _tune(self) -> None:
        """Show the objects of another threshold or smallest size, without asking the network."""
        if self._session.prediction.running:
            self._tuning.start()
            return
        with contextlib.suppress(NapariUNetError):  # which is told where all is predicted
            separate_with(self._session, self._viewer, self._options.config_of_files())

    def _want(self, scope: str) -> None:
        if not self._wanted:
            self._session.loading.ended.connect(self._start_wanted)
        self._wanted = scope
        self._status.line.setText(f"{self._session.model_in_words} It begins then.")

    def _start_wanted(self, outcome: Outcome) -> None:
        self._session.loading.ended.disconnect(self._start_wanted)
        scope, self._wanted = self._wanted, ""
        if not isalive(self._status):  # the dock was closed
            return
        self._status.line.setText("")
        if isinstance(outcome, Finished):
            self.start(scope)

    def start_into(self, path: Path) -> None:
        """Predict the whole image into an OME-Zarr, or go on with what was cancelled there."""
        image, model = self.ready_image(), self._session.model
        config = None if image is None else self._config_of_whole(image)
        if image is None or model is None or config is None:
            return
        predict_into_file(
            self._viewer, self._session, model, image, self.kept_axes(image), config, path
        )

    def to_copy(self) -> ScriptBundle | None:
        """Freeze a prediction of the whole image for a script; show what is missing."""
        image, model = self.ready_image(), self._session.model
        config = None if image is None else self._config_of_whole(image)
        if image is None or model is None or config is None:
            return None
        return prediction_to_copy(model, image, pixels_of(image), config)

    def ready_image(self) -> Image | None:
        """Return the chosen image if it can be predicted now; else show what is missing."""
        if self._session.prediction.running:
            show_warning(f"A prediction is already running. {self._status.line.text()}")
            return None
        if self._session.model is None:
            show_warning(
                "There is no model yet: train one, load a model file, or choose a starting model."
            )
            return None
        if self._options.image_box.layer is None:
            show_warning("Open an image to predict.")
        return self._options.image_box.layer

    def config(self, image: Image, scope: str) -> PredictConfig:
        """Return what to predict, from what is on screen now: its "view", a "slice" or the "whole".

        Raises NapariUNetError if model and image do not fit, or the result would not fit into
        memory.
        """
        model = self._session.model
        ndim = 2 if model is None else model.record.network.ndim
        config = self._fitting(image, self._options.config(image))
        return scoped(self._viewer, image, self.kept_axes(image), ndim, config, scope)

    def kept_axes(self, image: Image) -> tuple[int, ...]:
        """Return which axes of an image the result has, in its order."""
        return self._options.keep(image)

    def _config_of_whole(self, image: Image) -> PredictConfig | None:
        try:
            return self._fitting(image, self._options.config(image))
        except NapariUNetError as error:
            self._refuse(image, str(error))
            return None

    def _fitting(self, image: Image, config: PredictConfig) -> PredictConfig:
        """Return settings under which model and image fit; not a pixel is read for it."""
        from napari_unet.prediction.plan import plan_prediction

        self.kept_axes(image)
        if self._session.model is not None:
            plan_prediction(self._session.model.record, pixels_of(image), config)
        return config

    def _refuse(self, image: Image, text: str) -> None:
        """Show in one place what does not fit: model, image, and why."""
        text = f"The model {self._session.model_name!r} cannot predict {image.name!r}: {text}"
        self._status.fail(text)
        show_error(text)
