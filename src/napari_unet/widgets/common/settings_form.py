"""Controls made from declared settings: what the command line has as flags."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from magicgui.widgets import CheckBox, LineEdit, create_widget
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QWidget

from napari_unet.errors import ConfigError
from napari_unet.settings import as_text, declared
from napari_unet.widgets.common.controls import add_row, choice, form_layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qtpy.QtWidgets import QFormLayout

    from napari_unet.settings import Setting

_LARGEST = 1_000_000  # of a number that has no upper bound
_FINE = 0.01  # smaller defaults are shown with more digits


class Editor(NamedTuple):
    """A control, its signal for changes, and how its value is read and shown."""

    widget: Any
    changed: Any
    read: Callable[[], Any]
    show: Callable[[Any], object]


class SettingsForm(QObject):
    """Edits some declared settings of a config; the others stay as they are."""

    changed: Final = Signal()

    def __init__(self, config: Any, names: Iterable[str]) -> None:
        super().__init__()
        self._config, self._settings = config, declared(type(config))
        self.editors: Final = {name: editor_of(self._settings[name]) for name in names}
        self.set_value(config)
        for editor in self.editors.values():
            editor.changed.connect(lambda *_: self.changed.emit())

    def add_rows(self, form: QFormLayout, names: Iterable[str]) -> None:
        """Add the rows of some settings to a form."""
        for name in names:
            editor, setting = self.editors[name], self._settings[name]
            if isinstance(editor.widget, QCheckBox):
                form.addRow(editor.widget)
            else:
                add_row(form, setting.label, editor.widget, setting.help)

    def panel(self, names: Iterable[str]) -> QWidget:
        """Return a widget with the rows of some settings."""
        made = QWidget()
        made.setLayout(form := form_layout())
        self.add_rows(form, names)
        return made

    def value(self) -> Any:
        """Return the settings as they stand; ConfigError if one is out of its bounds."""
        return replace(self._config, **{n: editor.read() for n, editor in self.editors.items()})

    def set_value(self, config: Any) -> None:
        """Show other settings."""
        self._config = config
        for name, editor in self.editors.items():
            editor.show(getattr(config, name))


def editor_of(setting: Setting) -> Editor:
    """Return a control for a setting, with its bounds and its tooltip."""
    if setting.kind is bool:
        editor = _tick(setting)
    elif setting.choices or setting.words:
        editor = _choice(setting)
    elif setting.kind in (int, float):
        editor = _number(setting)
    else:
        editor = _text(setting)
    editor.widget.setToolTip(setting.help)
    editor.widget.setAccessibleName(setting.label)
    return editor


def _tick(setting: Setting) -> Editor:
    box: Any = CheckBox(text=setting.label).native
    return Editor(box, box.toggled, box.isChecked, box.setChecked)


def _choice(setting: Setting) -> Editor:
    words = [
        (setting.words.get(value, str(value)), value) for value in setting.choices or setting.words
    ]
    none = [(setting.unset, None)] if setting.default is None else []
    box: QComboBox = choice([*none, *words], setting.help)

    def show(value: Any) -> None:
        index = box.findData(value)
        if index < 0:
            if setting.choices:  # raises where it is none of them
                setting.check(value)
                raise ConfigError(f"{setting.name} is {value!r}, which cannot be chosen here.")
            box.addItem(str(value), value)
            index = box.count() - 1
        box.setCurrentIndex(index)

    return Editor(box, box.currentIndexChanged, box.currentData, show)


def _number(setting: Setting) -> Editor:
    """Return a field for a number; its lowest value stands for none, where that is the default."""
    box, optional = number_box(setting), setting.default is None

    def read() -> Any:
        value = box.value()
        return None if optional and value == box.minimum() else setting.kind(value)

    return Editor(
        box, box.valueChanged, read, lambda v: box.setValue(box.minimum() if v is None else v)
    )


def number_box(setting: Setting) -> Any:
    """Return a field for a number; a whole one is shown without digits.

    Qt would round bounds that have more digits than it shows, and so let them be passed.
    """
    fine = 5 if 0 < (setting.default or 0) < _FINE else 2
    digits = 0 if setting.kind is int else fine
    step = Decimal(1).scaleb(-digits)
    high = _LARGEST if setting.maximum is None else setting.maximum
    low = Decimal(str(setting.minimum or 0))
    lowest = low.quantize(step, ROUND_CEILING)
    highest = Decimal(str(high)).quantize(step, ROUND_FLOOR)
    lowest += step * (setting.between and lowest == low)
    highest -= step * (setting.between and highest == Decimal(str(high)))
    # Without a step here the arrows' step would follow the number that is shown.
    box: Any = create_widget(annotation=Annotated[float, {"step": float(step)}]).native
    box.setDecimals(digits)
    box.setRange(float(lowest - step * (setting.default is None)), float(highest))
    box.setSuffix(f" {setting.unit}" if setting.unit else "")
    box.setSpecialValueText(setting.unset)
    return box


def _text(setting: Setting) -> Editor:
    box: Any = LineEdit().native
    box.setPlaceholderText(setting.unset)

    def read() -> Any:
        text = box.text().strip() if box.isEnabled() else ""
        return (setting.parse or str)(text) if text else setting.default

    return Editor(
        box, box.textChanged, read, lambda v: box.setText("" if v is None else as_text(v))
    )
