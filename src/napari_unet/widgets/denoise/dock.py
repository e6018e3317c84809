"""The Denoise widget: noise goes, learned from the noisy image alone, or from a pair of images."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from napari.layers import Image
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QFileDialog, QSpinBox

from napari_unet.data.axes import guess_axes
from napari_unet.errors import FileProblemError, ImageError, NapariUNetError
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.results import PredictionStarted, TilePredicted
from napari_unet.run import Notice
from napari_unet.settings import declared
from napari_unet.tasks import DENOISE, IMAGE, task_of
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.events import StepDone, Validated
from napari_unet.widgets.common.axes_row import AxesRow
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
from napari_unet.widgets.common.layers import LayerComboBox, pixels_of
from napari_unet.widgets.common.placement import kept_axes
from napari_unet.widgets.common.preferences import preferred
from napari_unet.widgets.common.task import Finished, Outcome
from napari_unet.widgets.denoise.work import layer_over, made_of, maker_of
from napari_unet.widgets.predict.work import check_size

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_unet.data.labels import Kind
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.widgets.denoise.work import Made

_LEARN_HELP = (
    "The noisy image alone: the network foretells pixels that it is not shown; noise cannot be "
    "foretold (Noise2Void). A pair: it learns to make another image layer of this one, such as one "
    "with long exposure, or another stain, or a finer one. Last learned: no training."
)
_TARGET_HELP = (
    "The image that is to be made of the image, of the same place: of as many pixels, or of 2, 3 "
    "or 4 times as many along Y and X (super-resolution)."
)
_ABOUT = (
    "The result is a new image layer in the grey values of the image. Noise must differ from pixel "
    "to pixel; stripes, and noise that a camera or a compression has smoothed, stay."
)


class DenoiseWidget(Dock):
    """Makes an image of an image: two clicks, to open it and to start."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.maker = maker_of(self._session)
        self.task = self.maker.task
        self.image_box = LayerComboBox(napari_viewer, Image)
        self.target_box = LayerComboBox(napari_viewer, Image)
        self.axes_row = AxesRow(self._guess)
        self.learn_box = choice(
            [
                ("noise alone", DENOISE.kind),
                ("image pair", IMAGE.kind),
                ("last learned", None),
            ],
            _LEARN_HELP,
        )
        self.slices_box = choice(
            [("single planes", 2), ("whole volumes", 3)],
            "Of stacks: noise is foretold from the plane alone, or from the slices around it too, "
            "which is better and slower.",
        )
        self.channel_box = QSpinBox()
        self.steps_box = QSpinBox()
        self.bar = progress_bar("How much is done.")
        self.status, self.about = Note(), Note()
        self._noticed = ""  # of the images, for example what bicubic enlargement reaches
        self.start_button = button("&Denoise", "Learn, then make a new image layer.", self.start)
        self.stop_button = button(
            "&Stop",
            "Stop learning, and denoise with what was learned. Again: stop making the image.",
            self.task.stop,
        )
        self.further_button = button(
            "&Learn further",
            "Go on with what was learned last, for as many more steps, and make the image again.",
            self.learn_further,
        )
        self.save_button: Final = button(
            "Save model…",
            "Save what was learned last, for more images: napari-unet predict MODEL PATH…",
            self.ask_to_save,
        )
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
        add_row(form, "Target", self.target_box, _TARGET_HELP)
        add_row(form, "Stacks", self.slices_box)
        add_row(form, "Steps", self.steps_box, steps.help)
        buttons = (self.start_button, self.stop_button, self.further_button, self.save_button)
        layout = scrolling_column(self)
        layout.addLayout(form)
        layout.addLayout(ButtonGrid(3, buttons))
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

    @property
    def model(self) -> TrainedNetwork | None:
        """What was learned last."""
        return self.maker.model

    def start(self) -> None:
        """Learn and denoise, in the background."""
        known = self.model if self.learn_box.currentData() is None else None
        self._begin(self.learn_box.currentData(), known)

    def learn_further(self) -> None:
        """Go on learning where the last training ended, and make the image again."""
        if self.model is not None:
            self._begin(self.model.record.classes.kind, self.model)

    def _begin(self, kind: Kind | None, known: TrainedNetwork | None) -> None:
        image = self.image_box.layer
        if image is None:
            self.status.setText("Open an image to denoise.")
            return
        try:
            self._start(image, kind, known)
        except NapariUNetError as error:
            self._refuse(str(error))

    def _start(self, image: Image, kind: Kind | None, known: TrainedNetwork | None) -> None:
        axes, pixels = self.axes_row.axes, pixels_of(image)
        if axes is None or len(axes) != len(pixels.shape):
            self._refuse("Say which axes the image has.")
            return
        ndim = self._ndim if known is None else known.record.network.ndim
        if ndim == 3 and "Z" not in axes:
            self._refuse(
                f"Whole volumes have slices, Z, and this image has the axes {axes}. Choose single "
                "planes, or correct the axes."
            )
            return
        target, target_layer = np.zeros(0, np.uint8), None
        if kind is not None and not task_of(kind).teaches_itself:
            target_layer = self.target_box.layer
            if target_layer is None or target_layer is image:
                self._refuse("Choose as target another image layer, of the same place.")
                return
            target = np.asarray(pixels_of(target_layer))
        keep = kept_axes(axes, ndim)
        check_size([pixels.shape[axis] for axis in keep])
        channel = self._channel(image, axes)
        source = AnnotatedImage(image.name, pixels, target, axes=axes)
        config = None if kind is None else self._config(kind, ndim, channel)
        used = None if channel is None else (channel,)
        prediction = preferred(PredictConfig(axes=axes, used_channels=used))
        task = known.record.classes.task if known is not None else task_of(kind or DENOISE.kind)
        limits = image if task.teaches_itself else target_layer
        name = image.name if channel is None else f"{image.name} channel {channel}"
        name = f"{name} {'denoised' if task.teaches_itself else 'made'}"
        self.bar.setValue(0)
        self._noticed = ""
        self.status.setText("Starting…")
        work = partial(made_of, source, config, known, prediction)
        self.maker.start(work, layer_over(image, keep, name, limits), task.teaches_itself)

    def _channel(self, image: Image, axes: str) -> int | None:
        """Return which channel is made; None where there is one."""
        if "C" not in axes:
            return None
        number, there = self.channel_box.value(), pixels_of(image).shape[axes.index("C")]
        if number >= there:
            raise ImageError(
                f"The image has {there} channels, the first is 0, the last is {there - 1}: there "
                f"is no channel {number}."
            )
        return number

    def _config(self, kind: Kind, ndim: int, channel: int | None) -> TrainConfig:
        """Return the settings of a training."""
        config = TrainConfig.preset(
            "fast" if ndim == 2 else "3d",
            kind=kind,
            steps=self.steps_box.value(),
            channels="" if channel is None else str(channel),
        )
        return preferred(config)

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

    @property
    def _ndim(self) -> int:
        """Along how many axes a network sees that is begun now."""
        if self.learn_box.currentData() is None and self.model is not None:
            return self.model.record.network.ndim
        return int(self.slices_box.currentData())

    def _guess(self, image: Image) -> str:
        shape = tuple(pixels_of(image).shape[: image.ndim])
        return guess_axes(shape, min(image.ndim, self._ndim), 1) + ("C" if image.rgb else "")

    def _refuse(self, text: str) -> None:
        self.status.setText(text)
        show_error(text)

    def _show_state(self) -> None:
        self.axes_row.show_image(self.image_box.layer)
        self._show_channel()
        kind = self.learn_box.currentData()
        self.target_box.setEnabled(kind is not None and not task_of(kind).teaches_itself)
        self.slices_box.setEnabled(kind is not None)
        there, running = self.model is not None, self.task.running
        self.steps_box.setEnabled(kind is not None or there)
        self.start_button.setEnabled(not running and (kind is not None or there))
        self.stop_button.setEnabled(running)
        self.further_button.setEnabled(there and not running)
        self.save_button.setEnabled(there and not running)

    def _show_channel(self) -> None:
        self.channel_box.setEnabled("C" in (self.axes_row.axes or ""))

    def _show_event(self, event: object) -> None:
        if isinstance(event, StepDone):
            self.bar.setValue(round(900 * event.progress))
            self.status.setText(
                f"Learning: step {event.step}, {duration(event.seconds_left)} left."
            )
        elif isinstance(event, Validated):
            scores = _scores_in_words(event, self.maker.teaches_itself)
            self.about.setText(f"{scores} {self._noticed}".strip())
        elif isinstance(event, PredictionStarted):
            self.status.setText(f"Making the image: 0 of {event.tiles} tiles.")
        elif isinstance(event, TilePredicted):
            self.bar.setValue(900 + 100 * event.number // max(1, self.maker.tiles))
            self.status.setText(f"Making the image: {event.number} of {self.maker.tiles} tiles.")
        elif isinstance(event, Notice):
            self._noticed = event.text
            self.about.setText(f"{event.text} {_ABOUT}")

    def _on_ended(self, outcome: Outcome) -> None:
        made: Made | None = outcome.result if isinstance(outcome, Finished) else None
        self.bar.setValue(1000 if made is not None and made.complete else 0)
        self.status.setText(self.maker.said)
        self._show_state()


def _scores_in_words(scores: Validated, teaches_itself: bool) -> str:
    """Say how far held-back pixels are from what was foretold; noisy ones never come near."""
    if not teaches_itself or scores.psnr is None:
        return f"On blocks that were held back: {scores.text}."
    return (
        f"Noisy pixels that were held back lie {100 * 10 ** (-scores.psnr / 20):.1f} % of the grey "
        "range from what is foretold. Their noise, which nobody foretells, stays in that number: "
        "it learns as long as the number falls."
    )
