"""The Classify objects widget: some objects are clicked, and all get a class."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QFileDialog, QLineEdit, QShortcut

from napari_unet.errors import ConfigError, NapariUNetError
from napari_unet.io.classifiers import load_classifier, save_classifier
from napari_unet.run import PartsDone
from napari_unet.widgets.annotate.class_table import ClassRow, ClassTableWidget
from napari_unet.widgets.classify.brush import ERASE, ExampleBrush
from napari_unet.widgets.classify.classifying import classifying_of
from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import (
    Note,
    add_row,
    button,
    choice,
    form_layout,
    progress_bar,
    scrolling_column,
)
from napari_unet.widgets.common.dock import Dock
from napari_unet.widgets.common.highlight import Highlight
from napari_unet.widgets.common.layers import METADATA_KEY, LayerComboBox, labels_of, plain_layers
from napari_unet.widgets.common.mouse_edits import numbers_in, plane_on_screen
from napari_unet.widgets.common.object_classes import MOST_CLASSES
from napari_unet.widgets.common.result_layer import Predicted
from napari_unet.widgets.common.visible import look_at
from napari_unet.widgets.predict.save_objects import SaveObjectsButton

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from qtpy.QtGui import QHideEvent

    from napari_unet.widgets.common.object_classes import ObjectClasses

_CLASSIFIERS = "Classifiers of objects (*.json)"
_FLASH = "#ffffff"
_HEADERS = {
    0: ("#", "The number of the class, and the key that chooses it."),
    1: ("", "Double-click, or press Return here, to choose another colour."),
    2: ("Name", "Double-click, or press F2, to rename."),
    3: ("Examples", "Objects that were given this class."),
    4: ("Objects", "All objects of this class: the examples, and those found."),
}
_TABLE_HELP = (
    "Click a row, or press its number, and click objects of that class; double-click its name or "
    "colour to change it."
)
_NUMBERS_HELP = (
    "Without a mouse: numbers of objects in the plane on screen, as in 3, 7. Next unsure writes "
    "the one it goes to."
)
_STACKS_HELP = (
    "Where an object ends: single planes, as in a time series, each with objects of its own; or "
    "whole volumes, whose objects go on from slice to slice."
)


def labels_of_objects(viewer: Viewer, kind: type[Labels]) -> list[Labels]:
    """List the layers whose objects may get classes: predictions too, and what others have made."""
    found = [layer for layer in plain_layers(viewer) if isinstance(layer, kind)]
    others = (layer.metadata.get(METADATA_KEY, "edited") for layer in found)
    return [
        layer
        for layer, about in zip(found, others, strict=True)
        if isinstance(about, Predicted) or about == "edited"
    ]


class ClassifyWidget(Dock):
    """Gives all objects a class, by a few that are clicked."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.classifying = classifying_of(self._session)
        self.brush = ExampleBrush(napari_viewer, self.classifying, self)
        self.labels_box = LayerComboBox(napari_viewer, Labels, labels_of_objects)
        self.image_box = LayerComboBox(napari_viewer, Image, none="none: size and shape only")
        self.stacks_box = choice([("single planes", 2), ("whole volumes", 3)], _STACKS_HELP)
        self.table: Final = ClassTableWidget(headers=_HEADERS, tooltip=_TABLE_HELP)
        self.numbers_edit: Final = QLineEdit()
        self.bar = progress_bar("How much is measured.")
        self.counts, self.status = Note(), Note()
        self._flash = Highlight(napari_viewer, _FLASH, self)
        self._make_buttons(napari_viewer)
        self._lay_out()
        self._connect()
        self._choose_layer()

    def _make_buttons(self, viewer: Viewer) -> None:
        self.add_button = button("Add class", "Add a class.", self.add_class)
        self.remove_button = button(
            "Remove class", "Remove the chosen class, with its examples.", self.remove_class
        )
        self.erase_button = button(
            "Erase (E)",
            "Click examples to take their class away: they are found as the others are.",
            partial(self.take, ERASE),
        )
        self.erase_button.setCheckable(True)
        self.undo_button = button(
            "Undo", "Take back the last click or drag; Ctrl+Z while you click.", self.undo
        )
        self.next_button = button(
            "Next unsure (U)",
            "Go to the object whose class is least certain: an example there teaches most.",
            self.next_unsure,
        )
        self.stop_button = button(
            "Stop", "Stop measuring the objects.", self.classifying.describing.stop
        )
        self.give_button = button(
            "Give class (G)",
            "Give the objects whose numbers are written above the chosen class; with Erase, none.",
            self.give_numbers,
        )
        self.load_button = button(
            "Load classifier…", "Let examples from a file count as well.", self.ask_to_load
        )
        self.save_button = button(
            "Save classifier…",
            "Save all examples, for other images: Load classifier here, or napari-unet classify.",
            self.ask_to_save,
        )
        self.export_button = SaveObjectsButton(viewer, lambda: self.classifying.layer)

    def _lay_out(self) -> None:
        form = form_layout()
        add_row(form, "Objects", self.labels_box, "The labels layer whose objects get classes.")
        add_row(form, "Image", self.image_box, "Whose grey values count, in all its channels.")
        add_row(form, "Stacks", self.stacks_box)
        numbers = form_layout()
        add_row(numbers, "Numbers", self.numbers_edit, _NUMBERS_HELP)
        layout = scrolling_column(self)
        layout.addLayout(form)
        layout.addWidget(self.table)
        of_classes = (self.add_button, self.remove_button, self.erase_button)
        layout.addLayout(ButtonGrid(3, of_classes))
        layout.addLayout(ButtonGrid(2, (self.next_button, self.undo_button)))
        layout.addWidget(self.counts)
        layout.addWidget(self.bar)
        layout.addLayout(ButtonGrid(1, (self.stop_button,)))
        layout.addWidget(self.status)
        layout.addLayout(numbers)
        layout.addLayout(ButtonGrid(1, (self.give_button,)))
        layout.addLayout(ButtonGrid(2, (self.load_button, self.save_button)))
        layout.addWidget(self.export_button)
        layout.addStretch(1)

    def _connect(self) -> None:
        self.labels_box.layer_changed.connect(self._choose_layer)
        self.image_box.layer_changed.connect(self._choose_image)
        self.stacks_box.activated.connect(self._choose_stacks)
        self.table.picked.connect(self.take)
        self.table.renamed.connect(self.rename)
        self.table.recoloured.connect(self.recolour)
        self.brush.taken.connect(self._show_state)
        self.classifying.changed.connect(self._show_state)
        self.classifying.told.connect(self.status.setText)
        self.classifying.describing.happened.connect(self._show_progress)
        self.classifying.describing.started.connect(self._show_state)
        keys: dict[str, Any] = {str(n): partial(self.take, n) for n in range(1, 10)}
        keys |= {"E": partial(self.take, ERASE), "U": self.next_unsure, "G": self.give_numbers}
        self.add_keys(keys | {"Escape": self.brush.put_down})
        # Only while the mouse gives classes: else napari undoes what was done to a layer.
        self._undo_key = QShortcut(QKeySequence("Ctrl+Z"), self)
        self._undo_key.setContext(Qt.ShortcutContext.WindowShortcut)
        self._undo_key.activated.connect(self.undo)

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Put the class down with the dock: without its buttons the user could not."""
        self.brush.put_down()
        super().hideEvent(event)

    # --- What is classified -----------------------------------------------------------------------

    def _choose_layer(self) -> None:
        self.brush.put_down()
        self.classifying.choose(self.labels_box.layer)
        self.image_box.layer = self.classifying.image
        self._show_state()

    def _choose_image(self) -> None:
        self.classifying.use_image(self.image_box.layer)

    def _choose_stacks(self) -> None:
        self.classifying.extend_along(self.stacks_box.currentData())

    # --- Classes and examples ---------------------------------------------------------------------

    @property
    def state(self) -> ObjectClasses | None:
        """What is known of the classes."""
        return self.classifying.state

    def take(self, value: int) -> None:
        """Let the mouse give a class, or take it away; the one in hand is put down."""
        state = self.state
        if value == self.brush.value:
            self.brush.put_down()
        elif value == ERASE or (state is not None and value in state.names):
            self.brush.take(value)
        self._show_state()

    def add_class(self) -> None:
        """Add a class, and take it in hand."""
        state = self.state
        if state is None or self.classifying.refusal:
            self.classifying.tell(self.classifying.refusal)
        elif len(state.names) >= MOST_CLASSES:
            self.classifying.tell(f"There are {MOST_CLASSES} classes, which are the most.")
        else:
            self.brush.take(state.add_class())

    def remove_class(self) -> None:
        """Remove the chosen class."""
        state, value = self.state, self.table.chosen_value
        if state is None or value is None:
            self.classifying.tell("Choose the class to remove.")
            return
        self.brush.put_down()
        state.remove_class(value)
        self.classifying.update()

    def rename(self, value: int, name: str) -> None:
        """Give a class another name, unless another one has it."""
        state = self.state
        if state is None or name == state.names.get(value):
            return
        if not name or name in state.names.values():
            self.classifying.tell(
                f"There is a class {name} already: choose another name."
                if name
                else "A class needs a name."
            )
        else:
            state.remember()
            state.names[value] = name
            self.classifying.update()
        self.table.show_rows(())  # also the name that was refused
        self._show_state()

    def recolour(self, value: int, colour: str) -> None:
        """Show a class in another colour."""
        if self.state is not None:
            self.state.remember()
            self.state.colours[value] = colour
            self.classifying.update()

    def undo(self) -> None:
        """Take back the last click, drag or change of the classes."""
        self.classifying.undo()

    def give_numbers(self) -> None:
        """Give the chosen class to objects of the plane on screen by their numbers."""
        layer, value = self.classifying.layer, self.brush.value
        if layer is None:
            return
        if value is None:
            self.classifying.tell("Choose a class first, by its row or its key.")
            return
        try:
            numbers = numbers_in(self.numbers_edit.text())
            if not numbers:
                raise ConfigError("Write numbers of objects first, as in 3, 7; or click objects.")
            places = [self._place_of(layer, number) for number in numbers]
        except NapariUNetError as error:
            self.classifying.tell(str(error))
            return
        self.classifying.begin_step()
        for place in places:
            self.classifying.give(place, value)

    def _place_of(self, layer: Labels, number: int) -> tuple[int, ...]:
        """Return a pixel of an object in the frame on screen."""
        plane = plane_on_screen(self._viewer, layer)[: layer.ndim - self.classifying.ndim]
        pixels = np.argwhere(np.asarray(labels_of(layer)[plane]) == number)
        if not len(pixels) or number < self.classifying.first:
            raise ConfigError(f"There is no object {number} in the plane on screen.")
        inner = ((pixels - pixels.mean(axis=0)) ** 2).sum(axis=1).argmin()
        return (*plane, *map(int, pixels[inner]))

    def next_unsure(self) -> None:
        """Go to the least certain object that was not shown yet."""
        layer, state, row = self.classifying.layer, self.state, self.classifying.next_unsure()
        if layer is None or state is None or row is None:
            self.classifying.tell("No object is unsure yet: give examples of two classes.")
            return
        assert state.described is not None
        assert state.found is not None
        look_at(self._viewer, layer, range(layer.ndim), state.described.centre(row))
        columns = state.found.columns
        number, name = int(columns["index"][row]), columns["class"][row]
        self.numbers_edit.setText(str(number))
        with suppress(ConfigError):
            frame = plane_on_screen(self._viewer, layer)[: layer.ndim - self.classifying.ndim]
            inside = np.nonzero(np.asarray(labels_of(layer)[frame]) == number)
            at = (*(np.full(inside[0].size, each) for each in frame), *inside)
            self._flash.flash(layer, at)
        self.classifying.tell(
            f"Object {number}: {name} by {columns['probability'][row]:.0%}. Click it with its "
            "class, or press the key of the class and G."
        )

    # --- Files ------------------------------------------------------------------------------------

    def ask_to_save(self) -> None:
        """Ask for a name, and save the classifier there."""
        name, _ = QFileDialog.getSaveFileName(
            self, "Save classifier", "objects.classifier.json", _CLASSIFIERS
        )
        if name:
            self.save(Path(name))

    def save(self, path: Path) -> None:
        """Save all examples."""
        state = self.state
        if state is None or state.described is None:
            self.classifying.tell("There are no examples to save yet.")
            return
        path = path if path.suffix else path.with_name(f"{path.name}.json")
        try:
            given = state.described.given(state.examples)
            classifier = state.classifier(state.described.columns, given)
            classifier.check_examples()
            save_classifier(classifier, path)
        except NapariUNetError as error:
            self._refuse(str(error))
            return
        self.classifying.tell(f"Saved {len(classifier.classes)} examples as {path}.")

    def ask_to_load(self) -> None:
        """Ask for a classifier, and load it."""
        name, _ = QFileDialog.getOpenFileName(self, "Load classifier", "", _CLASSIFIERS)
        if name:
            self.load(Path(name))

    def load(self, path: Path) -> None:
        """Let the examples of a file count, beside those given here."""
        state = self.state
        if state is None:
            self.classifying.tell(self.classifying.refusal)
            return
        try:
            classifier = load_classifier(path)
            if len({*classifier.names, *state.names.values()}) > MOST_CLASSES:
                raise ConfigError(f"{path} has too many classes: {MOST_CLASSES} are the most.")
        except NapariUNetError as error:
            self._refuse(str(error))
            return
        state.take_in(classifier)
        self.classifying.update()

    def _refuse(self, text: str) -> None:
        self.classifying.tell(text)
        show_error(text)

    # --- What is seen -----------------------------------------------------------------------------

    def _show_progress(self, event: object) -> None:
        if isinstance(event, PartsDone):
            self.bar.setValue(1000 * event.number // max(1, event.total))

    def _show_state(self) -> None:
        state, layer, running = self.state, self.classifying.layer, self.classifying.describing
        self._show_classes(state)
        self.stacks_box.setCurrentIndex(self.classifying.ndim - 2)
        self.stacks_box.setEnabled(layer is not None and layer.ndim > 2)
        self.erase_button.setChecked(self.brush.value == ERASE)
        self._undo_key.setEnabled(self.brush.value is not None)
        self.stop_button.setVisible(running.running)
        self.undo_button.setEnabled(state is not None and bool(state.earlier))
        there = state is not None and layer is not None
        for each in (self.add_button, self.remove_button, self.erase_button, self.load_button):
            each.setEnabled(there)
        found = state is not None and state.found is not None
        self.next_button.setEnabled(found)
        self.save_button.setEnabled(found)
        if not running.running:
            self.bar.setValue(1000 if found else 0)
        self.status.setText(self.classifying.said)

    def _show_classes(self, state: ObjectClasses | None) -> None:
        if state is None:
            self.table.show_rows(())
            self.counts.setText("")
            return
        given, found = self.classifying.counts, state.found.counts if state.found else {}
        self.table.show_rows(
            tuple(
                ClassRow(
                    value, name, state.colour_of(value), (given.get(value, 0), found.get(value, 0))
                )
                for value, name in state.names.items()
            )
        )
        value = self.brush.value
        if value:
            self.table.mark(value)
        elif value == ERASE:
            self.table.mark(0)
        painted = (
            "It is painted in: its number 1 is background." if self.classifying.first > 1 else ""
        )
        words = _in_words(state), _asleep_in_words(self.classifying.asleep), painted
        self.counts.setText(" ".join(filter(None, words)))


def _in_words(state: ObjectClasses) -> str:
    """Say how many objects there are of each class: "A 41, B 17 of 58 objects."."""
    if state.found is None:
        return ""
    counts = state.found.counts
    each = ", ".join(f"{name} {counts.get(value, 0):,}" for value, name in state.names.items())
    return f"{each} of {sum(counts.values()):,} objects."


def _asleep_in_words(asleep: int) -> str:
    if not asleep:
        return ""
    examples = "1 example lies" if asleep == 1 else f"{asleep} examples lie"
    return f"{examples} where no object is any more, and teaches nothing."
