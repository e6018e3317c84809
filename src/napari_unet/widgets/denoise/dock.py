"""The Denoise widget: noise goes, learned from the noisy image alone, or from a pair of images."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QFileDialog, QSpinBox

from napari_unet.data.axes import guess_axes
from napari_unet.errors import FileProblemError, NapariUNetError
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.results import PredictionStarted, TilePredicted
from napari_unet.run import Notice
from napari_unet.settings import declared
from napari_unet.tasks import DENOISE, IMAGE, task_of
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.events import StepDone, Validated
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import (
    MODEL_FILES,
    Note,
    add_row,
    button,
    choice,
    duration,
    form_layout,
    progress_bar,
    scrolling_column,
)
from napari_unet.widgets.common.dock import Dock
from napari_unet.widgets.common.layers import LayerComboBox, channel_axis_of, pixels_of
from napari_unet.widgets.common.placement import kept_axes, placement_along
from napari_unet.widgets.common.task import Failed, Finished, Outcome, task_named
from napari_unet.widgets.denoise.work import Made, made_of
from napari_unet.widgets.predict.options import AxesRow
from napari_unet.widgets.predict.work import check_size

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_unet.model.trained import TrainedNetwork

_LEARN_HELP = (
    "The noisy image alone: the network foretells pixels that it is not shown; noise cannot be "
    "foretold (Noise2Void). A pair: it learns to make another image layer of this one, such as one "
    "with long exposure, or another stain. What was learned last: no training."
)
_ABOUT = (
    "The result is a new image layer in the grey values of the image. Noise must differ from pixel "
    "to pixel; stripes, and noise that a camera or a compression has smoothed, stay."
)


class DenoiseWidget(Dock):
    """Makes an image of an image: two clicks, to open it and to start."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.task = task_named(self._session, "Denoising")
        self.model: TrainedNetwork | None = None
        self.image_box = LayerComboBox(napari_viewer, Image)
        self.target_box = LayerComboBox(napari_viewer, Image)
        self.axes_row = AxesRow(self._guess)
        self.learn_box = choice(
            [
                ("the noisy image alone", DENOISE.kind),
                ("a pair of images", IMAGE.kind),
                ("what was learned last", None),
            ],
            _LEARN_HELP,
        )
        self.slices_box = choice(
            [("each plane alone", 2), ("whole volumes", 3)],
            "Of stacks: noise is foretold from the plane alone, or from the slices around it too, "
            "which is better and slower.",
        )
        self.channel_box = QSpinBox()
        self.steps_box = QSpinBox()
        self.bar = progress_bar("How much is done.")
        self.status, self.about = Note(), Note()
        self.start_button = button("&Denoise", "Learn, then make a new image layer.", self.start)
        self.stop_button = button(
            "&Stop", "Stop learning, and denoise with what was learned.", self.task.stop
        )
        self.save_button = button(
            "Save model…",
            "Save what was learned last, for more images: napari-unet predict MODEL PATH…",
            self.ask_to_save,
        )
        self._source: tuple[Image, tuple[int, ...]] | None = None
        self._lay_out()
        self._connect()
        self._show_state()

    def _lay_out(self) -> None:
        steps = declared(TrainConfig)["steps"]
        self.steps_box.setRange(1, 1_000_000)
        self.steps_box.setValue(steps.default)
        self.channel_box.setRange(0, 255)
        form = form_layout()
        add_row(form, "Image", self.image_box, "The image to denoise, or to make another one of.")
        add_row(form, "Axes", self.axes_row)
        add_row(form, "Channel", self.channel_box, "Which channel, the first is 0.")
        add_row(form, "Learn from", self.learn_box)
        add_row(form, "Target", self.target_box, "The image that is to be made of the image.")
        add_row(form, "Stacks", self.slices_box)
        add_row(form, "Steps", self.steps_box, steps.help)
        layout = scrolling_column(self)
        layout.addLayout(form)
        layout.addLayout(ButtonGrid(3, (self.start_button, self.stop_button, self.save_button)))
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        layout.addWidget(self.about)
        layout.addStretch(1)
        self.about.setText(_ABOUT)

    def _connect(self) -> None:
        self.image_box.layer_changed.connect(self._show_state)
        self.axes_row.axes_changed.connect(self._show_channel)
        for box in (self.learn_box, self.slices_box):
            box.currentIndexChanged.connect(self._show_state)
        self.task.started.connect(self._show_state)
        self.task.happened.connect(self._show_event)
        self.task.ended.connect(self._on_ended)

    def start(self) -> None:
        """Learn and denoise, in the background."""
        image = self.image_box.layer
        if image is None:
            self.status.setText("Open an image to denoise.")
            return
        try:
            self._start(image)
        except NapariUNetError as error:
            self._refuse(str(error))

    def _start(self, image: Image) -> None:
        axes, config, pixels = self.axes_row.axes, self._config(image), pixels_of(image)
        ndim = self._ndim
        if axes is None or len(axes) != len(pixels.shape):
            self._refuse("Say which axes the image has.")
            return
        target = np.zeros(0, np.uint8)
        if config is not None and not task_of(config.kind).teaches_itself:
            layer = self.target_box.layer
            if layer is None or layer is image:
                self._refuse("Choose as target another image layer, of the same pixels.")
                return
            target = np.asarray(pixels_of(layer))
        keep = kept_axes(axes, ndim)
        check_size([pixels.shape[axis] for axis in keep])
        source = AnnotatedImage(image.name, pixels, target, axes=axes)
        channels = (self.channel_box.value(),) if "C" in axes else None
        prediction = PredictConfig(axes=axes, used_channels=channels)
        self._source = image, keep
        self.bar.setValue(0)
        self.status.setText("Starting…")
        self.task.start(partial(made_of, source, config, self.model, prediction))

    @property
    def _ndim(self) -> int:
        if self.learn_box.currentData() is None and self.model is not None:
            return self.model.record.network.ndim
        return int(self.slices_box.currentData())

    def _config(self, image: Image) -> TrainConfig | None:
        """Return the settings of the training; None where there is to be none."""
        kind = self.learn_box.currentData()
        if kind is None:
            return None
        one = image.rgb or channel_axis_of(image) is not None or "C" in (self.axes_row.axes or "")
        return TrainConfig.preset(
            "fast" if self._ndim == 2 else "3d",
            kind=kind,
            steps=self.steps_box.value(),
            channels=str(self.channel_box.value()) if one else "",
        )

    def ask_to_save(self) -> None:
        """Ask for a name, and save the model there."""
        name, _ = QFileDialog.getSaveFileName(self, "Save model", "denoiser", MODEL_FILES)
        if name:
            self.save(Path(name))

    def save(self, path: Path) -> None:
        """Save what was learned last."""
        from napari_unet.model.trained import save_network

        path = path if path.suffix else path.with_name(f"{path.name}.safetensors")
        try:
            assert self.model is not None
            save_network(self.model, path)
        except FileProblemError as error:
            self._refuse(str(error))
            return
        self.status.setText(f"Saved as {path}.")

    def _guess(self, image: Image) -> str:
        return guess_axes(tuple(pixels_of(image).shape), self._ndim, 1)

    def _refuse(self, text: str) -> None:
        self.status.setText(text)
        show_error(text)

    def _show_state(self) -> None:
        self.axes_row.show_image(self.image_box.layer)
        self._show_channel()
        kind = self.learn_box.currentData()
        self.target_box.setEnabled(kind is not None and not task_of(kind).teaches_itself)
        self.steps_box.setEnabled(kind is not None)
        self.slices_box.setEnabled(kind is not None)
        ready = not self.task.running and (kind is not None or self.model is not None)
        self.start_button.setEnabled(ready)
        self.stop_button.setEnabled(self.task.running)
        self.save_button.setEnabled(self.model is not None and not self.task.running)

    def _show_channel(self) -> None:
        self.channel_box.setEnabled("C" in (self.axes_row.axes or ""))

    def _show_event(self, event: object) -> None:
        if isinstance(event, StepDone):
            self.bar.setValue(round(900 * event.progress))
            self.status.setText(
                f"Learning what is noise: step {event.step}, {duration(event.seconds_left)} left."
            )
        elif isinstance(event, Validated):
            self.about.setText(f"On blocks that were held back: {event.text}. {_ABOUT}")
        elif isinstance(event, PredictionStarted):
            self.status.setText("Making the image…")
        elif isinstance(event, TilePredicted):
            self.status.setText(f"Making the image: {event.number} tiles are done.")
        elif isinstance(event, Notice):
            self.about.setText(f"{event.text} {_ABOUT}")

    def _on_ended(self, outcome: Outcome) -> None:
        source, self._source = self._source, None
        made = outcome.result if isinstance(outcome, Finished) else None
        self.bar.setValue(1000 if made else 0)
        if isinstance(outcome, Failed):
            self._refuse(outcome.text)
        elif made is None:
            self.status.setText("Stopped: nothing was made.")
        elif source is not None:
            self._show(made, *source)
        self._show_state()

    def _show(self, made: Made, image: Image, keep: tuple[int, ...]) -> None:
        self.model = made.model
        paired = not made.model.record.classes.task.teaches_itself
        name = f"{image.name} {'made' if paired else 'denoised'}"
        limits = {} if paired else {"contrast_limits": tuple(image.contrast_limits)}
        colours = {} if image.rgb else {"colormap": image.colormap}
        layer = Image(made.pixels, name=name, **limits, **colours, **placement_along(image, keep))
        self._viewer.add_layer(layer)
        self.status.setText(f"{layer.name}: after {made.steps} steps.")
