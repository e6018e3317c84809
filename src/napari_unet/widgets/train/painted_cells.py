"""Which painted cells come out right: a line of text, and a button that goes to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_unet.widgets.common.controls import Note, button

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.training.validation import PaintedCell
    from napari_unet.widgets.common.session import Session

_ABOUT = {
    "found": "found by now",
    "merged": "one object covers it and another painted cell",
    "missed": "no object matches it",
}


class PaintedCellsLine(QWidget):
    """Shows how many painted cells are found, and goes from one that is not to the next."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._cells: tuple[PaintedCell, ...] = ()
        self._shown: PaintedCell | None = None
        self.text: Final = Note()
        self.text.setToolTip(
            "Found: one object covers the painted cell, and no other painted one. Merged: one "
            "object covers it and another painted cell. Missed: no object matches it. A stroke "
            "counts as a cell, by its painted pixels. This is what the model finds by itself: the "
            "result shows painted cells as you painted them."
        )
        self.show_button: Final = button(
            "Show",
            "Move camera and sliders to a painted cell that is not found; each click goes to the "
            "next one.",
            self.show_next,
        )
        self.show_button.setAccessibleName("Show painted cells that are not found")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.text, 1)
        row.addWidget(self.show_button, 0, Qt.AlignmentFlag.AlignTop)
        self.show_cells(())

    def show_cells(self, cells: tuple[PaintedCell, ...]) -> None:
        """Show how many cells are found; hide without cells."""
        self._cells = cells
        if self._shown is not None:
            self._shown = _same_cell(self._shown, cells)
        self._say(_about(self._shown))

    def show_next(self) -> None:
        """Go to the next cell that is not found and whose layers are still there."""
        run = self._session.run
        for cell in self._wrong_after(self._shown):
            if run is not None and run.look_at(cell):
                self._shown = cell
                self._say(_about(cell))
                return
        self._say("Their layers are closed.")

    def _wrong_after(self, shown: PaintedCell | None) -> list[PaintedCell]:
        """List the cells that are not found, those after the one shown first."""
        first = 0 if shown is None else self._cells.index(shown) + 1
        around = (*self._cells[first:], *self._cells[:first])
        return [cell for cell in around if cell.verdict != "found"]

    def _say(self, more: str) -> None:
        self.text.setText(f"{cells_in_words(self._cells)} {more}".strip())
        self.show_button.setVisible(any(cell.verdict != "found" for cell in self._cells))
        self.setVisible(bool(self._cells))


def cells_in_words(cells: Sequence[PaintedCell]) -> str:
    """Return a sentence, "The model finds 8 of 10 painted cells; 2 are merged."; "" without any."""
    total = len(cells)
    found, merged, missed = (
        sum(cell.verdict == verdict for cell in cells) for verdict in ("found", "merged", "missed")
    )
    if not total:
        return ""
    if found == total:
        all_of_them = "the painted cell" if total == 1 else f"all {total} painted cells"
        return f"The model finds {all_of_them}."
    wrong = [f"{_are(n)} {word}" for n, word in ((merged, "merged"), (missed, "missed")) if n]
    of = "painted cell" if total == 1 else "painted cells"
    return f"The model finds {found} of {total} {of}; {', '.join(wrong)}."


def new_cells_in_words(cells: Sequence[PaintedCell]) -> str:
    """Return how many new cells were found before they were learned; empty without cells."""
    if not cells:
        return ""
    found, total = sum(cell.verdict == "found" for cell in cells), len(cells)
    if total == 1:
        return f"the new cell was {'already' if found else 'not yet'} found"
    if not found:
        return f"none of {total} new cells was found yet"
    return f"{found} of {total} new cells {'was' if found == 1 else 'were'} already found"


def _are(number: int) -> str:
    return f"{number} {_verb(number)}"


def _verb(number: int) -> str:
    return "is" if number == 1 else "are"


def _about(cell: PaintedCell | None) -> str:
    return "" if cell is None else f"Shown: {_ABOUT[cell.verdict]}."


def _same_cell(cell: PaintedCell, cells: Sequence[PaintedCell]) -> PaintedCell | None:
    """Return the same cell in newer results."""
    place = cell.image, cell.frame, cell.centre
    return next((each for each in cells if (each.image, each.frame, each.centre) == place), None)
