"""Start a prediction of the chosen image, or tell what is missing for it; show how far it is."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from napari.utils.notifications import show_error, show_warning
from qtpy.compat import isalive
from qtpy.QtWidgets import QWidget

from napari_unet.errors import NapariUNetError
from napari_unet.prediction.results import PredictionProgress
from napari_unet.widgets.common.controls import Note, duration, progress_bar, single_shot, stack
from napari_unet.widgets.common.copy_script import prediction_to_copy
from napari_unet.widgets.common.layers import pixels_of
from napari_unet.widgets.common.pairs import paint_on
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

_NETWORK_ALONE = (
    "In the window painted cells are shown as they were painted; this is what the network finds."
)
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
        painted = paint_on(self._viewer, image, model.record.classes.task) is not None
        note = _NETWORK_ALONE if painted else ""
        return prediction_to_copy(model, image, pixels_of(image), config, note)

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


# --- How far it is: a bar, and a line of text -----------------------------------------------------


_TILES_THAT_TELL = 3  # before it is foretold how long it takes
_SOON = 3  # seconds, which need not be foretold


class PredictStatus(QWidget):
    """Shows what a running prediction reports: a bar, and a line of words."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: Final = progress_bar("How much is done.")
        self.line: Final = Note()
        self._progress = PredictionProgress()
        self._began: tuple[float, int] | None = None  # when the first tile was there, its number
        self._cancelled = False
        stack(self, self.bar, self.line)

    def begin(self) -> None:
        """Forget the last prediction."""
        self.bar.setValue(0)
        self._progress = PredictionProgress()
        self._began, self._cancelled = None, False
        self.line.setText("Starting…")

    def clear(self) -> None:
        """Forget the last prediction: what was said of it is true no longer."""
        self.begin()
        self.line.setText("")

    def show_event(self, event: object) -> None:
        """Show an event of a prediction of one image."""
        self._progress = self._progress.after(event)
        self.bar.setValue(round(1000 * self._progress.tile / max(self._progress.tiles, 1)))
        if not self._cancelled:
            self.end(f"{self._progress.text.capitalize()}{self._left()}.")

    def cancel(self) -> None:
        """Say at once that it was heard."""
        self._cancelled = True
        self.line.setText("Cancelling: what is finished is kept…")

    def _left(self) -> str:
        """Return in words how long it takes, as soon as a few tiles tell; nothing if it is soon."""
        tile, now = self._progress.tile, time.monotonic()
        if self._began is None and tile:
            self._began = now, tile
        done = tile - (self._began[1] if self._began else tile)
        if self._began is None or done < _TILES_THAT_TELL:
            return ""
        seconds = (now - self._began[0]) / done * (self._progress.tiles - tile)
        return f", about {duration(seconds)} left" if seconds >= _SOON else ""

    def end(self, text: str) -> None:
        """Show how it ended; what the user should know stays."""
        self.line.setText(f"{text} {self._progress.notices}".strip())

    def fail(self, text: str) -> None:
        """Show why it failed."""
        self.bar.setValue(0)
        self.line.setText(text)
