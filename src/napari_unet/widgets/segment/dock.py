"""The Paint & Segment widget: the whole loop in one column."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from qtpy.QtWidgets import QMenu, QPushButton

from napari_unet.prediction.results import Prediction
from napari_unet.widgets.annotate.target import PaintTarget
from napari_unet.widgets.common.axes_row import AxesChip
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import (
    Note,
    Section,
    add_row,
    button,
    fixed_column,
    form_layout,
    scrolling_column,
)
from napari_unet.widgets.common.dock import Dock
from napari_unet.widgets.common.machine import training_place
from napari_unet.widgets.common.recovery import RecoveryBar
from napari_unet.widgets.common.starting import starting_model_box
from napari_unet.widgets.common.task import Failed
from napari_unet.widgets.predict.correct import TOOLS
from napari_unet.widgets.predict.link import LinkPanel
from napari_unet.widgets.predict.measure import MeasurePanel
from napari_unet.widgets.predict.options import PredictOptions
from napari_unet.widgets.predict.runs import said_of
from napari_unet.widgets.predict.spots import SpotsPanel
from napari_unet.widgets.predict.start import PredictionStarter, PredictStatus
from napari_unet.widgets.predict.work import is_large
from napari_unet.widgets.segment.finish import FinishPanel
from napari_unet.widgets.segment.learn import LearnPanel
from napari_unet.widgets.segment.menu import PromptModelMenu
from napari_unet.widgets.segment.suggest import SuggestionPanel
from napari_unet.widgets.segment.tools import ToolBox
from napari_unet.widgets.train.work import ask_to_save

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_unet.widgets.common.task import Outcome
    from napari_unet.widgets.predict.spots import Doubt

_PLUGIN = "napari-unet-paint"
_FIRST_SETTINGS = "threshold", "smallest", "result"  # in this order
_NO_PAINT = "Paint three cells, with a stroke or more for each: click Cell, and fill one."


class SegmentWidget(Dock):
    """Paint, train, look, correct, measure: on one image after the other."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.target: Final = PaintTarget(napari_viewer, self, _NO_PAINT)
        self.recovery: Final = RecoveryBar(napari_viewer)
        self.model_note: Final = Note()
        self._settings = form_layout()
        self.options: Final = PredictOptions(
            napari_viewer, self._session, self.target.image_box, self._settings, _FIRST_SETTINGS
        )
        self.axes_chip: Final = AxesChip(self.options.guess)
        self.progress: Final = PredictStatus()
        self.starter: Final = PredictionStarter(napari_viewer, self.options, self.progress)
        self.suggestions: Final = SuggestionPanel(napari_viewer, self.target, self.options)
        self.tools: Final = ToolBox(napari_viewer, self.target, self.options, self)
        self.learn: Final = LearnPanel(
            napari_viewer,
            lambda: self.target.task.kind,
            lambda: self.options.cell_size.value,
        )
        self.place: Final = training_place(self._session)
        self.class_button: Final = button("New class", "Paint a further class.", self.add_class)
        self.spots: Final = SpotsPanel(napari_viewer, self.starter)
        self.measure: Final = MeasurePanel(napari_viewer)
        self.link: Final = LinkPanel(napari_viewer)
        self.finish: Final = FinishPanel(napari_viewer, self.measure, self.link)
        self._lay_out()
        self._connect()
        self._show_axes()
        self._show_state()

    def _lay_out(self) -> None:
        head, layout, foot = fixed_column(self), scrolling_column(self), fixed_column(self)
        form = form_layout()
        add_row(form, "Image", self.target.image_box, "The image to work on.")
        add_row(form, "It holds", self.axes_chip)
        self._axes_label = form.labelForField(self.axes_chip)
        add_row(form, "Find", self.target.kind_box)
        head.addLayout(form)
        head.addLayout(self.tools)
        layout.addLayout(self.tools.links)
        layout.addWidget(self.recovery)
        layout.addWidget(self.suggestions)
        layout.addWidget(self.tools.accept_all)
        layout.addWidget(self.tools.text)
        layout.addWidget(self.target.table)
        layout.addWidget(self.class_button)
        layout.addWidget(self.target.coverage)
        layout.addWidget(self.learn)
        layout.addWidget(self.progress)
        foot.addWidget(self.learn.button)
        foot.addLayout(self._result_buttons())
        layout.addWidget(self.model_note)
        layout.addLayout(ButtonGrid(2, (starting_model_box(self._session), self._more_button())))
        self.settings: Section = Section(
            "Settings of the result", "Cell size, sensitivity and more.", self.options
        )
        self.link_section: Section = Section(
            "Link over time or z", "One number for the same cell in all frames.", self.link
        )
        for section in (
            self.settings,
            Section("Train on another machine", "The GPU of your lab.", self.place),
            Section("Where is it unsure?", "Spots to look at, and to paint on, next.", self.spots),
            Section("Measure and export", "A table of all cells, and files.", self.measure),
            self.link_section,
        ):
            layout.addWidget(section)
        layout.addStretch(1)
        outer = self.layout()
        assert outer is not None
        outer.addWidget(self.finish)  # below what scrolls: always in sight

    def _result_buttons(self) -> ButtonGrid:
        start = self.starter.start
        self.view_button: QPushButton = button(
            "Segment view", "Find the cells in what is on screen.", partial(start, "view")
        )
        self.slice_button: QPushButton = button(
            "Segment slice", "Find the cells in the plane on screen.", partial(start, "slice")
        )
        self.whole_button: QPushButton = button(
            "Segment &all",
            "Find the cells in the whole image or stack, what is on screen first.",
            partial(start, "whole"),
        )
        self.cancel_button: QPushButton = button(
            "&Cancel", "Stop; what is finished is kept.", self.cancel
        )
        return ButtonGrid(
            2, (self.view_button, self.slice_button, self.whole_button, self.cancel_button)
        )

    def _more_button(self) -> QPushButton:
        made, menu = QPushButton("More…"), QMenu(self)
        made.setToolTip("Models, projects, other programs, and the docks with all settings.")
        made.setAccessibleName("More")
        menu.addAction("Save the model…", partial(ask_to_save, self, self._session))
        menu.addAction("Begin anew, without the model in use", self.forget_model)
        menu.addSeparator()
        menu.addAction("Open a project…", partial(self.finish.place.ask_to_open, self))
        menu.addAction("Save the project elsewhere…", partial(self.finish.place.ask_to_save, self))
        menu.addSeparator()
        for name in ("Annotate", "Train", "Predict", "Models and projects"):
            menu.addAction(f"{name}…", partial(self._open_dock, name))
        menu.addSeparator()
        menu.addMenu(PromptModelMenu(self.tools.click, menu))
        made.setMenu(menu)
        return made

    def _connect(self) -> None:
        task = self._session.prediction
        self._session.model_changed.connect(self._show_state)
        self._session.loading.started.connect(self._show_state)
        self._session.loading.ended.connect(self._show_state)
        self._session.model_changed.connect(self.options.show_model)
        self.target.changed.connect(self._show_state)
        self.target.image_box.layer_changed.connect(self._show_state)
        self.target.image_box.layer_changed.connect(self._show_axes)
        self._session.model_changed.connect(self.axes_chip.show_axes)
        self.options.cell_size.told.connect(self.progress.end)
        self._session.training.started.connect(self.progress.clear)
        task.started.connect(self.progress.begin)
        task.started.connect(self._show_state)
        task.happened.connect(self.progress.show_event)
        task.ended.connect(self._on_ended)
        self._session.told_of_result.connect(self._show_told)
        self.spots.told.connect(self.tools.text.setText)
        self.spots.arrived.connect(self._take_up)
        self.learn.learned.connect(self._use_learned)
        self.learn.background_wanted.connect(partial(self.tools.take, "background"))
        self.suggestions.used.connect(self._fill_in)
        self.finish.linked.connect(self.tools.show_linked)
        keys: dict[str, Any] = {
            "T": self.learn.toggle,
            "U": self.next_unsure,
            "L": self.finish.toggle_link,
        }
        self.add_keys({**keys, **self.tools.keys})

    def _show_axes(self) -> None:
        self.axes_chip.show_image(self.target.image)
        if self._axes_label is not None:
            self._axes_label.setVisible(self.axes_chip.needed)

    def cancel(self) -> None:
        """Stop what is being found; what is finished is kept."""
        self._session.prediction.stop()
        self.progress.cancel()
        self._show_state()

    def add_class(self) -> None:
        """Paint a further class; the first one where nothing is painted."""
        if self.target.annotation is None:
            self.target.create()
        else:
            self.target.painter.add_class()

    def forget_model(self) -> None:
        """Begin the next training with a starting model again."""
        self._session.forget_model()

    def next_unsure(self) -> None:
        """Go to the next spot where the model is unsure, and take up the tool that settles it."""
        self.spots.next_spot()

    def _take_up(self, doubt: Doubt) -> None:
        self.tools.take_up(doubt.tool)
        use = TOOLS[doubt.tool][2] if doubt.tool in TOOLS else "Paint it, and go on with U."
        end = "" if doubt.words.endswith("?") else "."
        self.tools.text.setText(f"Unsure: {doubt.words}{end} {use}")

    def _open_dock(self, name: str) -> None:
        self._viewer.window.add_plugin_dock_widget(_PLUGIN, name)

    def _use_learned(self) -> None:
        """Let the model say how large its cells are, now that it has learned it from paint."""
        self.options.forget_cells()
        self._fill_in()

    def _fill_in(self) -> None:
        """Find the cells of the whole image with the model in use; of a huge one in view."""
        image = self.target.image
        if image is None or self._session.prediction.running:
            return
        large = is_large(image, self.starter.kept_axes(image))
        self.starter.start("view" if large else "whole")

    def _on_ended(self, outcome: Outcome) -> None:
        self._show_state()
        if isinstance(outcome, Failed):
            self.progress.fail(outcome.text)
        elif isinstance(outcome.result, Prediction):
            self.progress.end(said_of(outcome.result))

    def _show_told(self, text: str) -> None:
        if text != self.tools.text.text():  # once is enough
            self.progress.end(text)

    def _show_state(self) -> None:
        session, image = self._session, self.target.image
        running = session.prediction.running
        model_coming = session.model is not None or session.loading.running
        stack = image is not None and image.ndim > 2
        for each in (self.view_button, self.slice_button, self.whole_button):
            each.setEnabled(model_coming and not running)
        self.slice_button.setVisible(stack)
        self.link_section.setVisible(stack)
        self.cancel_button.setVisible(running)
        self.cancel_button.setEnabled(not session.prediction.stopping)
        self.tools.show_task(self.target.task)
        self.target.table.setVisible(self.target.task.named)
        self.class_button.setVisible(self.target.task.named)
        self.model_note.setText(session.model_in_words)
