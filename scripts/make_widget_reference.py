"""Write the tables of docs/reference/widgets.md: each control of each dock, with its tooltip.

    python scripts/make_widget_reference.py

Run it after a dock has changed: a test compares the page with the docks. It opens a window; without
a screen put ``xvfb-run -a`` before it.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QLabel,
    QLayout,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QScrollBar,
    QTableWidget,
    QWidget,
)

from napari_unet.widgets.common.controls import Section

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.viewer import Viewer

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "widgets.md"
# In the order in which they hold others: a check box is a button as well.
_KINDS: tuple[tuple[type[QWidget], str], ...] = (
    (QCheckBox, "tick"),
    (QAbstractButton, "button"),
    (QComboBox, "choice"),
    (QAbstractSpinBox, "number"),
    (QAbstractSlider, "slider"),
    (QLineEdit, "text"),
    (QTableWidget, "table"),
    (QAbstractItemView, "list"),
)


class Control(NamedTuple):
    """One thing that can be clicked, chosen or typed into.

    Parameters
    ----------
    section : str
        Title of the fold that it stands in; "" outside of folds.
    name : str
        What is written on it, or before it.
    kind : str
        Button, tick, choice, number, slider, text, table, list.
    text : str
        Its tooltip.
    """

    section: str
    name: str
    kind: str
    text: str


def docks() -> dict[str, str]:
    """Return the docks of the manifest: title, and where the class of the widget is."""
    content = yaml.safe_load((ROOT / "napari.yaml").read_text(encoding="utf-8"))["contributions"]
    places = {command["id"]: command["python_name"] for command in content["commands"]}
    return {dock["display_name"]: places[dock["command"]] for dock in content["widgets"]}


def table_of(place: str, viewer: Viewer) -> str:
    """Return the tables of a dock's controls, one for each of its folds."""
    module, _, name = place.partition(":")
    widget: QWidget = getattr(import_module(module), name)(viewer)
    controls = [control for control in controls_of(widget) if control.name or control.text]
    lines: list[str] = []
    for section in dict.fromkeys(control.section for control in controls):
        lines += ["", f"*{section}*"] if section else []
        lines += ["", "| control | kind | what it does |", "|---|---|---|"]
        rows = [control for control in controls if control.section == section]
        lines += [f"| {_cell(c.name)} | {c.kind} | {_cell(c.text)} |" for c in rows]
    widget.close()
    widget.deleteLater()
    return "\n".join(lines[1:])


def controls_of(widget: QWidget, section: str = "") -> Iterator[Control]:
    """Walk through a widget from top to bottom."""
    layout = widget.layout()
    if isinstance(widget, QScrollArea):
        inner = widget.widget()
        if inner is not None:
            yield from controls_of(inner, section)
    elif isinstance(widget, Section):
        yield from controls_of(widget.panel, widget.toggle_button.accessibleName())
    elif layout is not None:
        yield from _controls_in(layout, section)


def _controls_in(layout: QLayout, section: str) -> Iterator[Control]:
    label = ""
    for index in range(layout.count()):
        item = layout.itemAt(index)
        assert item is not None
        widget, inner = item.widget(), item.layout()
        if inner is not None:
            yield from _controls_in(inner, section)
        elif isinstance(widget, QLabel):
            label = widget.text() if widget.buddy() is not None or _is_short(widget) else label
        elif widget is not None and not isinstance(widget, QScrollBar):
            kind = next((word for made, word in _KINDS if isinstance(widget, made)), "")
            if not kind:
                yield from _labelled(controls_of(widget, section), label)
            else:
                yield Control(section, _name(widget, label), kind, _text(widget))
            label = ""


def _labelled(controls: Iterator[Control], label: str) -> Iterator[Control]:
    """Give a name to the first control of a field that is made of several."""
    for control in controls:
        yield control if control.name else control._replace(name=_plain(label))
        label = ""


def _is_short(label: QLabel) -> bool:
    return 0 < len(label.text()) < 24 and "<" not in label.text()


def _name(widget: QWidget, label: str) -> str:
    own = widget.text() if isinstance(widget, QAbstractButton) else ""
    if isinstance(widget, QTableWidget):
        heads = [widget.horizontalHeaderItem(i) for i in range(widget.columnCount())]
        own = ", ".join(head.text() for head in heads if head is not None and head.text())
    if isinstance(widget, QComboBox):
        own = label or widget.accessibleName() or widget.currentText()
    elif isinstance(widget, QAbstractItemView):
        own = own or label or widget.accessibleName() or "(without a title)"
    return _plain(own or label or widget.accessibleName())


def _text(widget: QWidget) -> str:
    """Return the tooltip, with what can be chosen."""
    text = widget.toolTip()
    if isinstance(widget, QPushButton) and (menu := widget.menu()) is not None:
        entries = [_plain(action.text()) for action in menu.actions() if action.text()]
        text += f" Menu: {'; '.join(entries)}." if entries else ""
    if isinstance(widget, QComboBox) and 0 < widget.count() < 9:
        choices = [widget.itemText(index) for index in range(widget.count())]
        text += f" One of: {', '.join(choices)}."
    return text


def _plain(text: str) -> str:
    """Return a text without the marks of keyboard shortcuts."""
    return re.sub(r"&(?!&)", "", text).strip()


def _cell(text: str) -> str:
    text = re.sub(r"<[^>]+>", "", text)
    return " ".join(text.split()).replace("|", "\\|")


def filled(page: str, tables: dict[str, str]) -> str:
    """Return the page with its tables, each between two marks."""
    for title, table in tables.items():
        begin, end = f"<!-- controls of {title} -->", f"<!-- end of {title} -->"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{PAGE.name} has no place for the dock {title}: add {begin} {end}.")
        page = f"{before}{begin}\n\n{table}\n\n{end}{after}"
    return page


def main() -> None:
    """Write the tables into the page."""
    import napari

    viewer = napari.Viewer(show=False)
    tables = {title: table_of(place, viewer) for title, place in docks().items()}
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(filled(page, tables), encoding="utf-8", newline="\n")
    viewer.close()


if __name__ == "__main__":
    main()
