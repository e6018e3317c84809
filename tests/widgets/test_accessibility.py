"""Every control has a name and a tooltip, is reached by the tabulator, and fits a narrow dock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from napari import Viewer
from qtpy.QtCore import QPoint, QRect
from qtpy.QtWidgets import QAbstractButton, QLabel, QProgressBar, QWidget

from .docks import (
    DOCK_WIDTH,
    LARGE,
    Docks,
    called,
    content_of,
    controls_in,
    open_docks,
    stops_in,
)

DOCKS = ("annotate", "train", "predict", "models", "classify")


@pytest.fixture
def docks(qapp: object) -> Iterator[Docks]:
    with open_docks() as opened:
        yield opened


@pytest.mark.parametrize("name", DOCKS)
def test_every_control_has_a_name_for_screen_readers(docks: Docks, name: str) -> None:
    nameless = [called(each) for each in controls_in(docks.all[name]) if not each.accessibleName()]

    assert nameless == []


@pytest.mark.parametrize("name", DOCKS)
def test_every_control_has_a_tooltip_that_says_more_than_its_text(docks: Docks, name: str) -> None:
    controls = controls_in(docks.all[name])
    silent = [called(e) for e in controls if e.toolTip() in ("", _text_of(e), e.accessibleName())]

    assert silent == []


def test_a_button_with_another_text_has_another_name(docks: Docks) -> None:
    docks.annotate.target.kind_box.setCurrentIndex(
        docks.annotate.target.kind_box.findData("classes")
    )

    assert docks.annotate.next_button.accessibleName() == "Next class"


@pytest.mark.parametrize("name", DOCKS)
def test_labels_lead_to_their_fields(docks: Docks, name: str) -> None:
    labels = [(each.text(), each.buddy()) for each in docks.all[name].findChildren(QLabel)]

    lost = [text for text, field in labels if field is not None and field.accessibleName() != text]
    assert lost == []


# --- the tabulator -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCKS)
def test_the_tabulator_reaches_every_control(docks: Docks, name: str) -> None:
    dock = docks.all[name]
    stops = stops_in(dock)
    missed = [
        called(each)
        for each in controls_in(dock)
        if each not in stops and not isinstance(each, QProgressBar)
    ]

    assert missed == []


@pytest.mark.parametrize("name", DOCKS)
def test_the_tabulator_stops_at_nothing_else(docks: Docks, name: str) -> None:
    dock = docks.all[name]

    assert [called(each) for each in stops_in(dock) if each not in controls_in(dock)] == []


@pytest.mark.parametrize("name", DOCKS)
def test_the_tabulator_follows_the_reading_order(docks: Docks, name: str) -> None:
    dock = docks.all[name]
    stops = [each for each in stops_in(dock) if each.isVisible()]
    back = [
        f"{called(previous)} -> {called(later)}"
        for previous, later in pairwise(stops)
        if not previous.isAncestorOf(later) and not _reads_on(dock, previous, later)
    ]

    assert back == []


def test_the_tabulator_passes_a_folded_section_by(docks: Docks) -> None:
    docks.train.advanced.toggle_button.setChecked(False)

    folded = docks.train.advanced.panel
    assert not any(folded.isAncestorOf(e) for e in stops_in(docks.train) if e.isVisible())


def test_boxes_of_new_rows_come_where_they_are_seen(docks: Docks) -> None:
    docks.viewer.add_labels(docks.viewer.layers["paint"].data, name="more paint")

    stops = stops_in(docks.train)
    assert stops[0] is docks.train.pairs
    assert [each.accessibleName() for each in stops[1:3]] == [
        "Image of paint",
        "Image of more paint",
    ]


# --- keys with Alt -----------------------------------------------------------------------------


def test_no_key_with_alt_means_two_things(
    docks: Docks, make_napari_viewer: Callable[..., Viewer]
) -> None:
    menus = make_napari_viewer().window._qt_window.menuBar().actions()
    meanings = defaultdict(set)
    for menu in menus:
        meanings[_letter_in(menu.text())].add(f"menu {menu.text()}")
    for name, dock in docks.all.items():
        for each in dock.findChildren(QWidget):
            if isinstance(each, (QAbstractButton, QLabel)) and _letter_in(each.text()):
                meanings[_letter_in(each.text())].add(f"{each.text()} in {name}")

    assert {key: found for key, found in meanings.items() if key and len(found) > 1} == {}


# --- room --------------------------------------------------------------------------------------


@pytest.mark.parametrize("points", [9, LARGE], ids=["default letters", "large letters"])
def test_every_dock_fits_a_width_of_350_pixels(qapp: object, points: int) -> None:
    with open_docks(points=points) as docks:
        widths = {
            name: content_of(dock).minimumSizeHint().width() for name, dock in docks.all.items()
        }

    assert {name: width for name, width in widths.items() if width > DOCK_WIDTH} == {}


@pytest.mark.parametrize("points", [9, LARGE], ids=["default letters", "large letters"])
def test_no_button_is_narrower_than_its_text(qapp: object, points: int) -> None:
    with open_docks(points=points) as docks:
        cut = [
            called(each)
            for dock in docks.all.values()
            for each in dock.findChildren(QAbstractButton)
            if each.isVisible() and each.text() and each.width() < each.minimumSizeHint().width()
        ]

    assert cut == []


def test_tables_have_letters_as_large_as_napari(qapp: object) -> None:
    with open_docks(points=LARGE) as docks:
        table = docks.annotate.target.table

        assert table.font().pointSize() == LARGE
        assert table.rowHeight(0) > table.fontMetrics().height()


def _text_of(widget: QWidget) -> str:
    return widget.text() if isinstance(widget, QAbstractButton) else ""


def _letter_in(text: str) -> str:
    mark = text.find("&")
    return text[mark + 1].upper() if 0 <= mark < len(text) - 1 else ""


def _reads_on(dock: QWidget, previous: QWidget, later: QWidget) -> bool:
    """Return whether a control comes after another: further down, or further right in its row."""
    a, b = (QRect(each.mapTo(dock, QPoint(0, 0)), each.size()) for each in (previous, later))
    below = b.center().y() > a.bottom() - 2
    same_row = b.top() < a.bottom() and b.left() > a.left()
    return below or same_row
