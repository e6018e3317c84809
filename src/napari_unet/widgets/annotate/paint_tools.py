"""The buttons of the Annotate widget that choose what to paint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from napari_unet.widgets.common.button_grid import ButtonGrid
from napari_unet.widgets.common.controls import button

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QPushButton

    from napari_unet.tasks import Task
    from napari_unet.widgets.annotate.target import PaintTarget


FILL_TEXT = (
    "Fill between",
    "F",
    "Stacks: paint a cell in two slices, and the slices between them are filled. A cell that was "
    "just painted goes on with the one that it lies over in the nearest painted slice. What is "
    "painted stays.",
)


class PaintTools(ButtonGrid):
    """Buttons, two in a row, that choose what is painted in a target."""

    def __init__(self, target: PaintTarget, show_weight_map: Callable[[], object]) -> None:
        super().__init__(2)  # but for the region, whose words need a row
        painter = target.painter
        self.background_button: Final = button(
            "Background",
            "Paint background (1, key B): a stroke between and beside cells helps most.",
            painter.paint_background,
        )
        self.next_button: Final = button("", "", target.paint_next)
        self.same_button: Final = button(
            "More of the last",
            "Go on painting with the number of the newest object.",
            painter.paint_latest,
        )
        self.erase_button: Final = button(
            "Erase", "Erase paint (key E): what is erased is ignored again.", painter.erase
        )
        text, key, tooltip = FILL_TEXT
        self.fill_button = button(text, f"{tooltip} Key {key}.", painter.fill_between)
        self._make_rarer_buttons(target, show_weight_map)
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

    def _make_rarer_buttons(
        self, target: PaintTarget, show_weight_map: Callable[[], object]
    ) -> None:
        painter = target.painter
        self.add_button: QPushButton = button(
            "Add class", "Add a class to the table.", painter.add_class
        )
        self.remove_button: QPushButton = button(
            "Remove class",
            "Remove the chosen class from the table, and its paint; Ctrl+Z brings the paint back.",
            lambda: painter.remove_class(target.table.chosen_value),
        )
        self.region_button: QPushButton = button(
            "Ever&ything in this box is painted",
            "Draw a rectangle in which everything is painted: what is unpainted inside it is "
            "background.",
            painter.draw_region,
        )
        self.weights_button: QPushButton = button(
            "Show weight map",
            "Show what each painted pixel counts in a training with the settings of Train: gaps "
            "between touching cells count most.",
            show_weight_map,
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
