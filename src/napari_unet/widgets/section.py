"""A group of controls under a title that folds it away."""

from __future__ import annotations

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

_OPEN, _CLOSED = "▼", "▶"  # as text they take the colour of the theme


class Section(QWidget):
    """A title that is a button, and the panel that it shows and hides.

    What is folded away is hidden, not only of no height, so that the tabulator passes it by.

    Parameters
    ----------
    title : str
        What the panel is for.
    tooltip : str
        The same in a sentence.
    panel : QWidget
        What is shown and hidden.
    """

    def __init__(self, title: str, tooltip: str, panel: QWidget) -> None:
        super().__init__()
        self.panel, self._title = panel, title
        self.toggle_button = QPushButton()
        self.toggle_button.setCheckable(True)
        self.toggle_button.setAutoDefault(True)  # Return works as the space bar does
        self.toggle_button.setAccessibleName(title)
        self.toggle_button.setToolTip(tooltip)
        self.toggle_button.setStyleSheet("text-align: left;")
        self.toggle_button.toggled.connect(self._show)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.toggle_button)
        layout.addWidget(panel)
        self._show(False)

    @property
    def is_open(self) -> bool:
        """Whether the panel is shown."""
        return self.toggle_button.isChecked()

    def open(self) -> None:
        """Show the panel."""
        self.toggle_button.setChecked(True)

    def close_up(self) -> None:
        """Fold the panel away."""
        self.toggle_button.setChecked(False)

    def _show(self, shown: bool) -> None:
        self.toggle_button.setText(f"{_OPEN if shown else _CLOSED} {self._title}")
        self.panel.setVisible(shown)
