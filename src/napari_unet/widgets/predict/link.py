"""Link objects over time or through z: settings, and a button."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qtpy.QtWidgets import QWidget

from napari_unet.errors import ConfigError
from napari_unet.objects.linking import LinkConfig
from napari_unet.settings import declared
from napari_unet.tasks import task_of
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import Note, button, stack
from napari_unet.widgets.common.layers import METADATA_KEY, labels_of
from napari_unet.widgets.common.result_layer import active_labels, newest_prediction, predicted_of
from napari_unet.widgets.common.settings_form import SettingsForm
from napari_unet.widgets.predict.linked import linked_cells_of

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer


class LinkPanel(QWidget):
    """Links the objects of the selected labels layer, or of the newest prediction."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.cells: Final = linked_cells_of(viewer)
        self.task: Final = self.cells.task
        self.form: Final = SettingsForm(LinkConfig(), declared(LinkConfig))
        self.link_button: Final = button(
            "Lin&k",
            "Give the same object the same number and colour in all frames or planes; over time "
            "also as tracks. Labels of other origin stay as they are: the linked ones are a layer "
            "of their own.",
            self.link,
        )
        self.stop_button: Final = button("Stop", "Stop linking; all stays as it is.", self.stop)
        self.text: Final = Note()
        buttons = ButtonGrid(2, (self.link_button, self.stop_button))
        stack(self, self.form.panel(self.form.editors), buttons, self.text)
        self.cells.told.connect(self.text.setText)
        self.task.started.connect(self._show_state)
        self.task.ended.connect(self._show_state)
        self._show_state()

    @property
    def source(self) -> Labels | None:
        """What is linked: the selected labels, if they hold objects, else the newest prediction.

        What was linked through z may be linked again over time.
        """
        active = active_labels(self._viewer)
        if active is None:
            return newest_prediction(self._viewer)
        ours = active.metadata.get(METADATA_KEY)
        holds_objects = ours is None or predicted_of(active) is not None
        return active if holds_objects else newest_prediction(self._viewer)

    def link(self) -> None:
        """Link in the background; the layers follow."""
        self.link_layer(self.source)

    def link_layer(self, source: Labels | None) -> None:
        """Link a layer in the background, or tell what keeps it from that."""
        problem = _problem_of(source)
        if problem or source is None:
            self.cells.told.emit(problem)
            return
        try:
            config: LinkConfig = self.form.value()
            about = predicted_of(source)
            if about is not None and about.ndim == 3 and config.axis == "Z":
                raise ConfigError(f"{source.name} holds objects that are whole in z already.")
            self.cells.link_when_done(source, config)
        except ConfigError as error:
            self.cells.told.emit(str(error))

    def stop(self) -> None:
        """Stop after the current frame."""
        self.task.stop()
        self.stop_button.setEnabled(False)

    def _show_state(self) -> None:
        self.link_button.setEnabled(not self.task.running)
        self.stop_button.setEnabled(self.task.running and not self.task.stopping)


def _problem_of(source: Labels | None) -> str:
    """Return what keeps a layer from being linked, or nothing."""
    if source is None:
        return "There is nothing to link: select a labels layer, or predict one."
    predicted = predicted_of(source)
    if predicted is not None and (task := task_of(predicted.kind)).named:
        return f"{source.name} holds {task.things}: only objects are linked."
    n_axes = len(labels_of(source).shape)
    if n_axes not in (3, 4):
        return (
            f"{source.name} has {n_axes} axes: link labels with time or z before Y and X, or both."
        )
    if predicted is not None and n_axes == predicted.ndim:
        return f"{source.name} holds objects that are whole in z already: there is no time."
    return ""
