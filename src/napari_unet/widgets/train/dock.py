"""The Train widget: from painted layers to a trained network."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Final

from napari.utils.notifications import show_error, show_warning
from qtpy.QtWidgets import QCheckBox, QSpinBox

from napari_unet.errors import NapariUNetError
from napari_unet.settings import declared
from napari_unet.tasks import PAINTED_TASKS
from napari_unet.training.config import PRESET_HELP, TrainConfig
from napari_unet.widgets.common.annotation import annotation_of
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import (
    Note,
    Section,
    add_row,
    button,
    choice,
    form_layout,
    scrolling_column,
)
from napari_unet.widgets.common.copy_script import CopyScriptButton, training_to_copy
from napari_unet.widgets.common.dock import Dock
from napari_unet.widgets.common.layers import labels_of
from napari_unet.widgets.common.machine import MachinePanel, device_of
from napari_unet.widgets.common.pairs import PairsTable
from napari_unet.widgets.common.placement import (
    anisotropy_of_scale,
    named_axes_of,
    pixel_size_of,
)
from napari_unet.widgets.common.preferences import preferred
from napari_unet.widgets.common.settings_form import SettingsForm
from napari_unet.widgets.common.starting import start_box
from napari_unet.widgets.train.run import begin_training, painted_pairs, what_to_continue
from napari_unet.widgets.train.status import TrainingStatus
from napari_unet.widgets.train.work import ask_to_save, save_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari.layers import Image
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QComboBox, QPushButton

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.training.config import PresetName
    from napari_unet.training.state import TrainingState
    from napari_unet.widgets.common.pairs import LayerPair

# These have controls of their own.
_MAIN_SETTINGS = ("kind", "unpainted", "start", "steps", "minutes", "device")
_ADVANCED = [name for name in declared(TrainConfig) if name not in _MAIN_SETTINGS]


class TrainWidget(Dock):
    """Trains a U-Net on what is painted."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.task: Final = self._session.training
        self.pairs: PairsTable = PairsTable(napari_viewer)
        self.kind_box: Final = choice(
            [(task.things, task.kind) for task in PAINTED_TASKS],
            "Objects: each painted number is one cell; touching cells are separated. "
            "Classes: each painted number is one class. Overlapping classes: each is painted in a "
            "layer of its own.",
        )
        self.unpainted_box: Final = choice(
            [("ignored", "unlabelled"), ("are background", "background")],
            "What becomes of unpainted pixels (0). While painting they are ignored, and 1 is "
            "background. In finished masks, for example of Cellpose, they are background.",
        )
        self.preset_box: QComboBox = choice(
            [(name, name) for name in PRESET_HELP], "Which network, and how."
        )
        self.start_box: Final = start_box()
        self.device_box: Final = choice(
            [("automatic", "auto"), ("CPU", "cpu"), ("NVIDIA GPU", "cuda"), ("Apple GPU", "mps")],
            "Where to compute. Automatic takes a GPU that works, else the CPU, and shows which.",
        )
        self.device_box.setCurrentIndex(self.device_box.findData(self._session.settings.device))
        self.machine: Final = MachinePanel(self._session, self.device_box)
        self.preset_note: Final = Note()
        self.preset_note.setToolTip(VOXEL_SIZE_HELP)
        self.steps_box: Final = QSpinBox()
        self.steps_box.setRange(1, 10_000_000)
        self.live_box: Final = QCheckBox("Live prediction")
        self.live_box.setChecked(True)
        self.live_box.setAccessibleName("Live prediction")
        self.live_box.setToolTip("Watch the network learn: the visible part, every few seconds.")
        self.form: Final = SettingsForm(TrainConfig(), _ADVANCED)
        self.shown: Final = TrainingStatus(napari_viewer)
        self._lay_out()
        self._connect()
        self._show_preset()
        self._show_running()

    def _lay_out(self) -> None:
        layout = scrolling_column(self)
        layout.addWidget(self.pairs)
        form = form_layout()
        add_row(form, "Kind", self.kind_box)
        add_row(form, "Unpainted pixels", self.unpainted_box)
        add_row(form, "Preset", self.preset_box)
        form.addRow(self.preset_note)
        add_row(form, "Begin with", self.start_box)
        add_row(
            form,
            "Steps",
            self.steps_box,
            "Training steps. Stop early whenever you like; strokes painted meanwhile prolong it.",
        )
        add_row(form, "Device", self.device_box)
        form.addRow(self.machine)
        layout.addLayout(form)
        self.train_button: QPushButton = button(
            "&Train", "Train a new network on what is painted.", self.start_training
        )
        self.continue_button: QPushButton = button(
            "Contin&ue",
            "Go on with the model in use: exactly where a stopped training was, or further on "
            "what is painted and corrected now.",
            self.continue_training,
        )
        self.stop_button: QPushButton = button(
            "&Stop", "Stop after this step; the best and the last weights stay.", self.stop_training
        )
        self.save_button: QPushButton = button(
            "S&ave…", "Save the network to a file.", partial(ask_to_save, self, self._session)
        )
        buttons = (self.train_button, self.continue_button, self.stop_button, self.save_button)
        layout.addLayout(ButtonGrid(4, buttons))
        to_copy = partial(training_to_copy, self._viewer, self)
        self.copy_button: CopyScriptButton = CopyScriptButton(
            self._session, to_copy, "this training"
        )
        layout.addWidget(self.copy_button)
        layout.addWidget(self.live_box)
        layout.addWidget(self.shown)
        self.advanced: Section = Section(
            "Advanced settings",
            "All settings of the training; the preset chooses good ones.",
            self.form.panel(_ADVANCED),
        )
        layout.addWidget(self.advanced)
        layout.addStretch(1)

    def _connect(self) -> None:
        self.preset_box.currentIndexChanged.connect(self._show_preset)
        self.live_box.toggled.connect(self._switch_live)
        for signal in (self.task.started, self.task.ended, self._session.model_changed):
            signal.connect(self._show_running)
        self.pairs.changed.connect(self._follow_pairs)
        self._session.annotation_chosen.connect(self.pairs.reset_choices)
        self._session.kind_chosen.connect(self._follow_kind)
        self._session.settings_loaded.connect(self._show_settings)
        self.form.changed.connect(self._share_settings)
        for box in (self.kind_box, self.unpainted_box, self.start_box, self.device_box):
            box.currentIndexChanged.connect(self._share_settings)
        self.steps_box.valueChanged.connect(self._share_settings)
        self._follow_pairs()

    def config(self) -> TrainConfig:
        """Return the settings that the widget shows; ConfigError if they do not fit together."""
        edited: TrainConfig = self.form.value()
        return edited.changed(
            kind=self.kind_box.currentData(),
            unpainted=self.unpainted_box.currentData(),
            start=self.start_box.currentData(),
            steps=self.steps_box.value(),
            device=device_of(self.device_box),
        )

    def start_training(self) -> None:
        """Train a new network on a snapshot of images and paint, in the background."""
        try:
            self._start(self.config(), None)
        except NapariUNetError as error:
            show_error(str(error))

    def continue_training(self) -> None:
        """Go on with the model in use, on what is painted and corrected now."""
        if self._session.model is None:
            show_warning("There is no model to go on with yet: train one, or load a model file.")
            return

        try:
            self._start(*what_to_continue(self._session, self.config()))
        except NapariUNetError as error:
            show_error(str(error))

    def _start(self, config: TrainConfig, previous: TrainingState | TrainedNetwork | None) -> None:
        if self.task.running:
            show_warning(f"Training is already running. {self.shown.status.text()}")
        elif pairs := painted_pairs(self._viewer):
            begin_training(self._viewer, pairs, config, previous, self.live_box.isChecked())

    def stop_training(self) -> None:
        """Stop after the current step; the best and the last weights are kept."""
        self.task.stop()
        self._show_running()

    def save_model(self, path: Path) -> None:
        """Save the session's model."""
        save_model(self._session, path)

    def _switch_live(self, live: bool) -> None:
        if self._session.run is not None:
            self._session.run.live = live
            self._session.run.share_view()

    def _show_preset(self) -> None:
        name = self.preset_box.currentData()
        config = preferred(TrainConfig.preset(name))
        self.steps_box.setValue(config.steps)
        self.start_box.setCurrentIndex(self.start_box.findData(config.start))
        self.form.set_value(config)
        self._show_preset_note()

    def _show_preset_note(self) -> None:
        self.preset_note.setText(preset_text(self.preset_box.currentData(), self.pairs.pairs()))

    def _show_settings(self, preset: str, config: TrainConfig) -> None:
        self.preset_box.setCurrentIndex(max(0, self.preset_box.findData(preset)))
        self.form.set_value(config)
        self.steps_box.setValue(config.steps)
        for box, value in (
            (self.kind_box, config.kind),
            (self.unpainted_box, config.unpainted),
            (self.start_box, config.start),
            *(((self.device_box, config.device),) * (self._session.on is None)),
        ):
            box.setCurrentIndex(max(0, box.findData(value)))

    def _share_settings(self) -> None:
        """Keep the settings for the project, unless they do not fit together."""
        with contextlib.suppress(NapariUNetError):
            self._session.settings = self.config()
            self._session.preset = self.preset_box.currentData()

    def _follow_pairs(self) -> None:
        """Show the kind of the ticked layers; the one that is being painted decides."""
        self._show_preset_note()
        chosen = self._session.annotation
        layers = [pair.annotation for pair in self.pairs.pairs()]
        decisive = chosen if chosen in layers else layers[-1] if layers else None
        if decisive is not None:
            self._follow_kind(annotation_of(decisive).kind)

    def _follow_kind(self, kind: str) -> None:
        self.kind_box.setCurrentIndex(self.kind_box.findData(kind))

    def _show_running(self) -> None:
        running, model = self.task.running, self._session.model
        self.train_button.setEnabled(not running)
        self.continue_button.setEnabled(not running and model is not None)
        self.stop_button.setEnabled(running and not self.task.stopping)
        self.save_button.setEnabled(model is not None)


# --- The text beside the presets ------------------------------------------------------------------


_FEWEST_SLICES = 8  # from fewer a network learns nothing along Z

VOXEL_SIZE_HELP = (
    "The voxel size decides how much the network looks along Z. napari shows it as the layer's "
    "scale and units: set them before training, as in\n"
    "layer.scale = (2, 0.5, 0.5); layer.units = ('um', 'um', 'um')\n"
    "in napari's console, or save the image as OME-TIFF or OME-Zarr with its pixel size."
)


def preset_text(preset: PresetName, pairs: Sequence[LayerPair]) -> str:
    """Return what a preset is for, and what would fit the chosen images better."""
    text = PRESET_HELP[preset]
    stacks = [pair for pair in pairs if _may_be_stack(pair)]
    if preset != "3d" and stacks:
        return (
            f"{text} {stacks[0].image.name} has several slices: each is learned alone. If they "
            "are slices of a volume (Z), the preset 3d sees them together."
        )
    if preset == "3d" and pairs and not stacks:
        return f"{text} No chosen image has a Z axis of {_FEWEST_SLICES} slices or more."
    if preset == "3d" and any(_thickness_unknown(pair.image) for pair in stacks):
        return (
            f"{text} The voxel size is not known: set the scale of the layer if slices "
            "are thicker than pixels are wide."
        )
    return text


def _thickness_unknown(image: Image) -> bool:
    return "Z" not in pixel_size_of(image) and anisotropy_of_scale(image) is None


def _may_be_stack(pair: LayerPair) -> bool:
    """Return whether an image has slices along Z, or along an axis without a name."""
    labels, axes = labels_of(pair.annotation), named_axes_of(pair.image)
    if axes is None:
        return len(labels.shape) == 3 and labels.shape[0] >= _FEWEST_SLICES
    of_labels = axes.replace("C", "")
    if "Z" not in of_labels or len(of_labels) != len(labels.shape):
        return False
    return bool(labels.shape[of_labels.index("Z")] >= _FEWEST_SLICES)
