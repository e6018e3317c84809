"""The docks without a mouse: what keys do in tables, sections, and on predicted objects."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from napari.layers import Labels
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QColorDialog, QLineEdit

from napari_unet.errors import LabelsError
from napari_unet.widgets.common.annotation import annotation_of
from napari_unet.widgets.common.controls import FocusRing
from napari_unet.widgets.common.layers import METADATA_KEY
from napari_unet.widgets.common.mouse_edits import numbers_in
from napari_unet.widgets.common.result_layer import Predicted

from .conftest import HAND
from .docks import Docks, content_of, open_docks

_NUMBER, _COLOUR, _NAME = range(3)
CLASS = 2
ROW = 1  # of that class


@pytest.fixture
def docks(qapp: object) -> Iterator[Docks]:
    with open_docks() as opened:
        box = opened.annotate.target.kind_box
        box.setCurrentIndex(box.findData("classes"))
        yield opened


def press(widget: object, name: str) -> None:
    HAND.keyClick(widget, getattr(Qt.Key, f"Key_{name}"))


def painted(docks: Docks) -> Labels:
    layer = docks.annotate.target.annotation
    assert layer is not None
    return layer


# --- the table of classes ----------------------------------------------------------------------


@pytest.mark.parametrize("key", ["Return", "Enter", "Space"])
def test_a_key_picks_the_class_of_the_current_row(docks: Docks, key: str) -> None:
    docks.annotate.target.table.setCurrentCell(ROW, _NUMBER)

    press(docks.annotate.target.table, key)

    assert painted(docks).selected_label == CLASS
    assert painted(docks).mode == "paint"


@pytest.mark.parametrize("column", [_NUMBER, _NAME], ids=["in the number", "in the name"])
def test_f2_renames_a_class(docks: Docks, column: int) -> None:
    table = docks.annotate.target.table
    table.setCurrentCell(ROW, column)

    press(table, "F2")
    editor = table.findChild(QLineEdit)
    HAND.keyClicks(editor, "membrane")
    press(editor, "Return")
    QApplication.processEvents()  # Qt takes the text a little later

    assert annotation_of(painted(docks)).names[CLASS] == "membrane"


@pytest.mark.parametrize("key", ["Return", "F2"])
def test_a_key_in_its_cell_changes_a_colour(
    docks: Docks, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qtpy.QtGui import QColor

    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor("#ff0000"))
    docks.annotate.target.table.setCurrentCell(ROW, _COLOUR)

    press(docks.annotate.target.table, key)

    assert annotation_of(painted(docks)).colour_of(CLASS) == "#ff0000"


def test_escape_closes_the_dialog_of_colours_and_changes_none(docks: Docks) -> None:
    before = annotation_of(painted(docks)).colour_of(CLASS)
    docks.annotate.target.table.setCurrentCell(ROW, _COLOUR)
    QTimer.singleShot(200, lambda: press(QApplication.activeModalWidget(), "Escape"))

    press(docks.annotate.target.table, "Return")

    assert annotation_of(painted(docks)).colour_of(CLASS) == before


def test_picking_keeps_the_column_that_the_keys_are_in(docks: Docks) -> None:
    table = docks.annotate.target.table
    table.setCurrentCell(ROW, _NAME)

    press(table, "Space")

    assert (table.currentRow(), table.currentColumn()) == (ROW, _NAME)


def test_a_letter_starts_no_edit(docks: Docks) -> None:
    table = docks.annotate.target.table
    table.setCurrentCell(ROW, _NAME)

    press(table, "M")

    assert table.findChild(QLineEdit) is None


@pytest.mark.parametrize("name", ["classes", "pairs", "files"])
def test_the_tabulator_leaves_a_table(docks: Docks, name: str) -> None:
    table = {
        "classes": docks.annotate.target.table,
        "pairs": docks.train.pairs,
        "files": docks.predict.batch.table,
    }[name]
    docks.predict.batch.show()
    table.setFocus()

    press(table, "Tab")

    assert docks.window.focusWidget() is not table


def test_space_ticks_an_annotation(docks: Docks) -> None:
    docks.train.pairs.setCurrentCell(0, 0)

    press(docks.train.pairs, "Space")

    assert not annotation_of(painted(docks)).used


# --- sections and buttons ----------------------------------------------------------------------


@pytest.mark.parametrize("key", ["Return", "Space"])
def test_a_key_folds_a_section(docks: Docks, key: str) -> None:
    press(docks.train.advanced.toggle_button, key)

    assert not docks.train.advanced.toggle_button.isChecked()
    assert not docks.train.advanced.panel.isVisible()


@pytest.mark.parametrize("key", ["Return", "Space"])
def test_a_key_clicks_a_button(docks: Docks, key: str) -> None:
    press(docks.annotate.erase_button, key)

    assert painted(docks).mode == "erase"


def test_a_ring_surrounds_the_control_with_the_focus(docks: Docks) -> None:
    ring = content_of(docks.annotate).findChild(FocusRing)
    button = docks.annotate.erase_button

    ring._follow(None, button)

    assert ring.isVisible()
    assert ring.geometry().contains(button.geometry())
    assert ring.mask().contains(ring.rect().topLeft())
    assert not ring.mask().contains(ring.rect().center())


def test_the_ring_leaves_with_the_focus(docks: Docks) -> None:
    ring = content_of(docks.annotate).findChild(FocusRing)
    ring._follow(None, docks.annotate.erase_button)

    ring._follow(docks.annotate.erase_button, docks.train.train_button)

    assert not ring.isVisible()
    assert ring.around is None


# --- objects by their numbers ------------------------------------------------------------------


def predicted(docks: Docks, kind: str = "objects") -> Labels:
    """Three objects: two squares with a third between them, and a bar."""
    labels = np.zeros((96, 96), np.int32)
    labels[10:30, 10:30], labels[10:30, 30:40], labels[10:30, 40:60] = 1, 2, 3
    labels[60:70, 10:80] = 4
    layer = Labels(
        labels, name="prediction", metadata={METADATA_KEY: Predicted(labels.copy(), 2, kind)}
    )
    docks.viewer.add_layer(layer)
    return layer


def use(docks: Docks, tool: str, numbers: str) -> None:
    docks.predict.correct.numbers_edit.setText(numbers)
    press(docks.predict.correct.buttons[tool], "Space")


def left_in(layer: Labels) -> set[int]:
    return set(np.unique(layer.data).tolist()) - {0}


def test_objects_are_deleted_by_number(docks: Docks) -> None:
    layer = predicted(docks)

    use(docks, "delete", "1, 4")

    assert left_in(layer) == {2, 3}


def test_only_the_named_objects_are_merged(docks: Docks) -> None:
    layer = predicted(docks)

    use(docks, "merge", "1 3")

    assert left_in(layer) == {1, 2, 4}
    assert (layer.data[10:30, 40:60] == 1).all()


def test_an_object_is_split_across_its_longer_side(docks: Docks) -> None:
    layer = predicted(docks)

    use(docks, "split", "4")

    left, right = np.unique(layer.data[60:70, 12:40]), np.unique(layer.data[60:70, 50:78])
    assert len(left) == len(right) == 1
    assert left != right


def test_an_object_grows_by_number(docks: Docks) -> None:
    layer = predicted(docks)
    before = np.count_nonzero(layer.data == 4)

    use(docks, "grow", "4")

    assert np.count_nonzero(layer.data == 4) > before


def test_an_object_is_taken_over_by_number(docks: Docks) -> None:
    predicted(docks)

    use(docks, "copy_object", "4")

    assert (painted(docks).data[60:70, 10:80] > 1).all()


def test_a_correction_by_number_is_undone_in_one_step(docks: Docks) -> None:
    layer = predicted(docks)
    use(docks, "delete", "4")

    layer.undo()

    assert left_in(layer) == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("text", "said"),
    [("9", "no object 9"), ("four", "'four' is no number"), ("0", "'0' is no number")],
    ids=["not there", "a word", "background"],
)
def test_what_is_no_object_is_said(docks: Docks, text: str, said: str) -> None:
    layer = predicted(docks)

    use(docks, "delete", text)

    assert said in str(notification_manager.records[-1].message)
    assert left_in(layer) == {1, 2, 3, 4}


def test_a_number_may_stand_between_any_marks() -> None:
    assert numbers_in(" 3,7; 12 ") == [3, 7, 12]


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(LabelsError, match="'-3' is no number"):
        numbers_in("-3")
