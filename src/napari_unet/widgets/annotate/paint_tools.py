"""The buttons of the Annotate widget that choose what to paint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import button

if TYPE_CHECKING:
    from qtpy.QtWidgets import QPushButton

    from napari_unet.tasks import Task


class Paints(Protocol):
    """What the buttons ask of the Annotate widget, where each is documented."""

    def paint_background(self) -> None: ...  # noqa: D102
    def paint_next(self) -> None: ...  # noqa: D102
    def paint_latest(self) -> None: ...  # noqa: D102
    def erase(self) -> None: ...  # noqa: D102
    def fill_between(self) -> None: ...  # noqa: D102
    def add_class(self) -> None: ...  # noqa: D102
    def remove_class(self) -> None: ...  # noqa: D102
    def draw_region(self) -> None: ...  # noqa: D102
    def show_weight_map(self) -> None: ...  # noqa: D102


FILL_TEXT = (
    "Fill between",
    "F",
    "Stacks: paint a cell in two slices, and the slices between them are filled. A cell that was "
    "just painted goes on with the one that it lies over in the nearest painted slice. What is "
    "painted stays.",
)


class PaintTools(ButtonGrid):
    """Buttons, two in a row, that call the Annotate widget."""

    def __init__(self, annotate: Paints) -> None:
        super().__init__(2)  # but for the region, whose words need a row
        self.background_button: Final = button(
            "Background",
            "Paint background (1, key B): a stroke between and beside cells helps most.",
            annotate.paint_background,
        )
        self.next_button: Final = button("", "", annotate.paint_next)
        self.same_button: Final = button(
            "More of the last",
            "Go on painting with the number of the newest object.",
            annotate.paint_latest,
        )
        self.erase_button: Final = button(
            "Erase", "Erase paint (key E): what is erased is ignored again.", annotate.erase
        )
        text, key, tooltip = FILL_TEXT
        self.fill_button = button(text, f"{tooltip} Key {key}.", annotate.fill_between)
        self._make_rarer_buttons(annotate)
        for each in (
            self.background_button,
            self.next_button,
            self.erase_button,
            self.same_button,
            self.fill_button,
            self.add_button,
            self.remove_button,
            self.weights_button,
        ):
            self.addWidget(each)

    def _make_rarer_buttons(self, annotate: Paints) -> None:
        self.add_button: QPushButton = button(
            "Add class", "Add a class to the table.", annotate.add_class
        )
        self.remove_button: QPushButton = button(
            "Remove class",
            "Remove the chosen class from the table, and its paint; Ctrl+Z brings the paint back.",
            annotate.remove_class,
        )
        self.region_button: QPushButton = button(
            "Ever&ything in this box is painted",
            "Draw a rectangle in which everything is painted: what is unpainted inside it is "
            "background.",
            annotate.draw_region,
        )
        self.weights_button: QPushButton = button(
            "Show weight map",
            "Show what each painted pixel counts in a training with the settings of Train: gaps "
            "between touching cells count most.",
            annotate.show_weight_map,
        )

    def show_task(self, task: Task, has_depth: bool) -> None:
        """Show the buttons that make sense for what is painted, in a volume or not."""
        self.fill_button.setVisible(has_depth)
        self.next_button.setText(f"Next {task.thing}")
        self.next_button.setAccessibleName(f"Next {task.thing}")
        self.next_button.setToolTip(f"Paint the next {task.thing} (key N).")
        for each in (self.add_button, self.remove_button):
            each.setVisible(task.named)
        self.same_button.setVisible(not task.named)
