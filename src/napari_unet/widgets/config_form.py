"""A form made from the training configuration: what the command line has as flags."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from magicgui.widgets import Container, create_widget
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QLabel

from napari_unet.training.config import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Collection

    from qtpy.QtWidgets import QWidget


class ConfigForm(QObject):
    """Edits the settings of a training.

    Parameters
    ----------
    config : TrainConfig
        The settings to begin with.
    left_out : collection of str
        Settings that the form does not show; they stay as they are.
    """

    changed = Signal()

    def __init__(self, config: TrainConfig, left_out: Collection[str] = ()) -> None:
        super().__init__()
        self._config = config
        hints = get_type_hints(TrainConfig)
        self._editors = {
            setting.name: _editor_of(setting, hints[setting.name], getattr(config, setting.name))
            for setting in fields(TrainConfig)
            if setting.name not in left_out
        }
        self._container: Container[Any] = Container(
            widgets=list(self._editors.values()), labels=True
        )
        self._name_editors()
        self._container.changed.connect(lambda: self.changed.emit())

    def _name_editors(self) -> None:
        """Tell screen readers the label of each editor, and join the two."""
        for editor in self._editors.values():
            native: QWidget = editor.native
            native.setAccessibleName(editor.label)
            row = native.parentWidget()
            label = row.findChild(QLabel) if row is not None else None
            if label is not None and row is not self.native:
                label.setBuddy(native)

    @property
    def native(self) -> QWidget:
        """The Qt widget."""
        native: QWidget = self._container.native
        return native

    def value(self) -> TrainConfig:
        """Return the settings as they stand.

        Raises
        ------
        ConfigError
            They do not fit together.
        """
        edited = {name: editor.value for name, editor in self._editors.items()}
        return self._config.changed(**edited)

    def set_value(self, config: TrainConfig) -> None:
        """Show other settings."""
        self._config = config
        for name, editor in self._editors.items():
            editor.value = getattr(config, name)


def _editor_of(setting: Any, hint: Any, value: Any) -> Any:
    bounds = setting.metadata
    options: dict[str, Any] = {"tooltip": bounds["help"]}
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not bounds["choices"]:
        options |= {"min": bounds["minimum"], "max": _largest(bounds["maximum"], value)}
        if isinstance(value, float):
            options["step"] = 1e-5 if 0 < value < 0.01 else 0.01  # it decides the digits shown
    return create_widget(
        value=value,
        annotation=Annotated[hint, options],
        name=setting.name,
        label=setting.name.replace("_", " "),
    )


def _largest(maximum: float | None, value: float) -> float:
    return max(1e6, value) if maximum is None else maximum
