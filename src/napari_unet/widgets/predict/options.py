"""How an image is predicted: its axes, its cells, the settings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from qtpy.QtWidgets import QLabel, QWidget

from napari_unet.data.axes import SPATIAL_AXES, guess_axes
from napari_unet.errors import ModelMismatchError, NapariUNetError
from napari_unet.prediction.config import PredictConfig
from napari_unet.settings import declared
from napari_unet.widgets.common.axes_row import AxesRow
from napari_unet.widgets.common.controls import Note, Section, add_row, stack
from napari_unet.widgets.common.file_axes import FileAxes
from napari_unet.widgets.common.layers import (
    FollowedLayer,
    LayerComboBox,
    pixels_of,
    transparency_notices,
)
from napari_unet.widgets.common.placement import kept_axes, pixel_size_of
from napari_unet.widgets.common.preferences import preferred
from napari_unet.widgets.common.settings_form import SettingsForm
from napari_unet.widgets.predict.cell_size import CellSizeRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QFormLayout

    from napari_unet.data.axes import PixelSize
    from napari_unet.model.record import ModelRecord
    from napari_unet.widgets.common.session import Session

# In the order of the rows, below the cell size.
_SETTINGS_SHOWN = (
    "result",
    "used_channels",
    "threshold",
    "smallest",
    "views",
    "rescale",
    "precision",
    "tile_size",
    "device",
)
_SETTINGS = declared(PredictConfig)


class PredictOptions(QWidget):
    """Shows what the axes of an image are, and sets how it is predicted.

    The dock has `image_box`, which chooses the image, and `rows`, below which its own are added,
    those of the settings `first` in their order; the others are folded away. The model of the
    session decides what fits.
    """

    def __init__(
        self,
        viewer: Viewer,
        session: Session,
        image_box: LayerComboBox[Image],
        rows: QFormLayout,
        first: Sequence[str] = ("result",),
    ) -> None:
        super().__init__()
        self._session, self._rows, self._first = session, rows, first
        self.image_box = image_box
        self.axes_row: Final = AxesRow(self.guess)
        self.form: Final = SettingsForm(preferred(PredictConfig()), _SETTINGS_SHOWN)
        self.channels_edit: Final = self.form.editors["used_channels"].widget
        self.scale_check: Final = self.form.editors["rescale"].widget
        self.size_note: Final = Note()
        self.cell_size: Final = CellSizeRow(viewer, session)
        self._file_axes = FileAxes(viewer, session, self)
        self._lay_out()
        self._followed = FollowedLayer(self, ("scale", "units"), self._show_sizes)
        self.image_box.layer_changed.connect(self._show_image)
        self.axes_row.axes_changed.connect(self._show_sizes)
        self._show_image()

    def _lay_out(self) -> None:
        form = self._rows
        add_row(form, "Axes", self.axes_row)
        cell_size = QLabel("Cell size")
        cell_size.setBuddy(self.cell_size.box)
        cell_size.setToolTip(self.cell_size.box.toolTip())
        form.addRow(cell_size, self.cell_size)
        self.form.add_rows(form, self._first)
        self.advanced: Section = Section(
            "Advanced settings",
            "Settings that the model and the program choose well.",
            self.form.panel([each for each in _SETTINGS_SHOWN if each not in self._first]),
        )
        stack(self, form, self.size_note, self.advanced)

    def forget_cells(self) -> None:
        """Leave size, threshold and smallest object to the model."""
        self.cell_size.box.setValue(0)
        self.form.set_value(replace(self.form.value(), threshold=None, smallest=None))

    def is_asking(self, image: Image) -> bool:
        """Return whether the file of an image is still to say what its axes are."""
        return self._file_axes.is_asking(image)

    def show_model(self) -> None:
        """Guess axes, and compare pixel sizes, for another model."""
        self.axes_row.show_axes()

    def keep(self, image: Image) -> tuple[int, ...]:
        """Return which axes of an image the result has, in its order.

        Raises ModelMismatchError if the model cannot read such an image.
        """
        axes, model = self.axes_of(image), self._session.model
        ndim = 2 if model is None else model.record.network.ndim
        lacking = [letter for letter in SPATIAL_AXES[ndim] if letter not in axes]
        if lacking or (image.rgb and not axes.endswith("C")):
            raise ModelMismatchError(
                f"The model is {ndim}D and cannot read the axes {axes}; choose another image or "
                "model, or correct the axes."
            )
        return kept_axes(axes, ndim)

    def axes_of(self, image: Image) -> str:
        """Return the axes of an image's pixels: named, else guessed.

        Raises ModelMismatchError if they are unknown, and the model cannot guess them.
        """
        if image is self.image_box.layer and self.axes_row.axes is not None:
            return self.axes_row.axes
        return self.guess(image)

    def config(self, image: Image) -> PredictConfig:
        """Return how a whole image is predicted.

        Raises ConfigError if the channels are no numbers, ModelMismatchError if the axes do not
        fit.
        """
        axes = self.axes_of(image)
        return replace(
            self.config_of_files(),
            axes=axes,
            pixel_size=pixel_size_of(image, axes),
            notices=transparency_notices(image),
        )

    def config_of_files(self) -> PredictConfig:
        """Return how files are predicted: their axes and pixel sizes are their own."""
        config: PredictConfig = self.form.value()
        return replace(config, cell_size=self.cell_size.value)

    def guess(self, image: Image) -> str:
        """Guess axes as the prediction would; a layer of colours has them last."""
        from napari_unet.prediction.plan import guessed_axes

        pixels, model = pixels_of(image), self._session.model
        ndim = 2 if model is None else model.record.network.ndim
        try:
            if image.rgb:
                return guess_axes(tuple(pixels.shape[:-1]), ndim, 1) + "C"
            if model is None:
                return guess_axes(tuple(pixels.shape), ndim, 1)
            return guessed_axes(model.record, pixels)
        except NapariUNetError as error:
            raise ModelMismatchError(
                f"The model is {ndim}D and cannot read the image of shape {tuple(pixels.shape)}; "
                "choose another image or model."
            ) from error

    def _show_image(self) -> None:
        image = self.image_box.layer
        self._file_axes.look(image)
        self._followed.follow(image)
        self.cell_size.show_image(image)
        self.axes_row.show_image(image)

    def _show_sizes(self) -> None:
        """Show what can be chosen for this image and this model."""
        image, model = self.image_box.layer, self._session.model
        axes = self.axes_row.axes or ""
        self.channels_edit.setEnabled(image is None or "C" in axes)
        if image is None or model is None:  # files have sizes of their own
            self.scale_check.setEnabled(image is None)
            self.scale_check.setToolTip(_SETTINGS["rescale"].help)
            self.size_note.setText("")
            return
        of_image = pixel_size_of(image, axes or None)
        letters = SPATIAL_AXES[model.record.network.ndim]
        unknown = _unknown(model.record, of_image, letters)
        self.scale_check.setEnabled(not unknown)
        self.scale_check.setToolTip(f"{_SETTINGS['rescale'].help} {unknown}".strip())
        self.size_note.setText("" if unknown else _sizes(model.record, of_image, letters))


def _unknown(record: ModelRecord, of_image: PixelSize, letters: str) -> str:
    """Return whose pixel size is not known, or nothing."""
    lacks_image = any(letter not in of_image for letter in letters)
    lacks_model = any(letter not in record.pixel_size for letter in letters)
    if lacks_image and lacks_model:
        return "The pixel sizes of image and model are not known."
    if lacks_image:
        return "The pixel size of the image is not known: set the layer's scale and units."
    return "The model does not know the pixel size of its training images." if lacks_model else ""


def _sizes(record: ModelRecord, of_image: PixelSize, letters: str) -> str:
    return f"Pixels: model {_text(record.pixel_size, letters)}, image {_text(of_image, letters)}."


def _text(size: PixelSize, letters: str) -> str:
    lengths = [f"{size[letter]:.4g}" for letter in letters]
    return f"{' x '.join(lengths) if len(set(lengths)) > 1 else lengths[0]} µm"


# --- What the axes of an image are: shown as letters, and corrected there ------------------------
