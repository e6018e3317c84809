"""Settings that are declared once, as fields of a dataclass.

Python keywords, flags, controls of the window, run cards and the tables of the reference come from
the declaration.
"""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Hashable
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

from napari_unet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Caller = Literal["Python", "command line", "window"]
_KEY = "setting"


@dataclass(frozen=True)
class Setting:
    """One setting, as it was declared by `setting`."""

    name: str
    default: Any
    help: str
    """Sentences for flags, tooltips and the reference."""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] = ()
    """What it may be, where that is a list."""
    kind: type = str
    """Of its value, where it has one."""
    unset: str = ""
    """What the default stands for, in words, where it is no value of its own: "as trained"."""
    words: Mapping[Any, str] = field(default_factory=dict)
    """Choices as the window calls them; one that is missing is called what it is. Where all is
    allowed, what the window offers.
    """
    unit: str = ""
    """Of a number, in the plural; of a text, what it holds."""
    label: str = ""
    """What its control in the window is called."""
    flag: str = ""
    """Of the command line."""
    parse: Callable[[str], Any] | None = None
    """Reads it from a text, where `kind` is not enough."""
    lacks: Mapping[Caller, str] = field(default_factory=dict)
    """Why one of the callers does not have it, as a sentence."""
    between: bool = False
    """Whether it has to lie between minimum and maximum, and may be neither."""

    @property
    def usual(self) -> str:
        """The default: its value, what it stands for in words, or both; "" where it is none."""
        default = self.default
        if isinstance(default, bool):
            value = "yes" if default else "no"
        elif isinstance(default, (int, float)):
            value = f"{default:g}"
        else:
            value = default if isinstance(default, str) else ""
        return ", ".join(filter(None, (value, self.unset)))

    def check(self, value: Any) -> None:
        """Refuse, by ConfigError, a value out of bounds, and a fraction where numbers are whole."""
        if (value is None and self.default is None) or (
            isinstance(value, str) and value in self.words
        ):
            return
        if self.kind is int and not isinstance(value, Integral):
            raise ConfigError(f"{self.name} is {value!r}; choose a whole number, without a point.")
        if self.kind is bool and type(value).__name__ not in ("bool", "bool_"):  # NumPy's as well
            raise ConfigError(f"{self.name} is {value!r}; choose True or False.")
        is_text = self.kind is str and self.parse is None and self.unit != "path"
        if is_text and not isinstance(value, str):
            raise ConfigError(f"{self.name} is {reprlib.repr(value)}; give a text.")
        if self.choices and not (isinstance(value, Hashable) and value in self.choices):
            raise ConfigError(f"{self.name} is {value!r}; choose {_either(self.choices)}.")
        low, high = self.minimum, self.maximum
        if low is None:
            return
        number, top = _finite(value), math.inf if high is None else high
        if self.between and not low < number < top:
            bounds = f"{low:g} and {top:g}"
            raise ConfigError(f"{self.name} is {value}; choose a value between {bounds}.")
        if not low <= number <= top:  # instead of "less than": NaN is neither
            upper = " or more" if high is None else f" to {high:g}"
            unit = f" {self.unit}" if self.unit else ""
            raise ConfigError(f"{self.name} is {value}; choose {low:g}{upper}{unit}.")


def setting(
    default: Any,
    text: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[Any, ...] = (),
    **more: Any,
) -> Any:
    """Declare a field of a dataclass as a setting; `Setting` says what `more` can hold.

    A type as default is called for each object, as the default of a dictionary must be.
    """
    if isinstance(default, type):
        told = Setting("", default(), text, kind=default, **more)
        return field(default_factory=default, metadata={_KEY: told})
    kind = more.pop("kind", type(default))
    told = Setting("", default, text, minimum, maximum, choices, kind, **more)
    return field(default=default, metadata={_KEY: told})


def declared(config: type) -> Mapping[str, Setting]:
    """Return the settings of a dataclass by name; fields that are none are left out."""
    found: dict[str, Setting] = {}
    for each in dataclasses.fields(config):
        told: Setting | None = each.metadata.get(_KEY)
        if told is not None:
            label = told.label or each.name.replace("_", " ")
            flag = told.flag or f"--{each.name.replace('_', '-')}"
            found[each.name] = dataclasses.replace(told, name=each.name, label=label, flag=flag)
    return found


def check_settings(config: Any) -> None:
    """Refuse settings out of bounds, by ConfigError."""
    for name, each in declared(type(config)).items():
        each.check(getattr(config, name))


def check_names(config: type, names: Iterable[str]) -> None:
    """Refuse names that no field of a dataclass has, by ConfigError."""
    if unknown := sorted(set(names) - {each.name for each in dataclasses.fields(config)}):
        raise ConfigError(f"There is no setting {unknown[0]!r}.")


def changed_settings(config: Any, usual: Any = None) -> dict[str, Any]:
    """Return the settings that differ from the usual ones; from the defaults without these."""
    usual = type(config)() if usual is None else usual
    values = {name: getattr(config, name) for name in declared(type(config))}
    return {name: value for name, value in values.items() if value != getattr(usual, name)}


def as_text(value: Any) -> str:
    """Return a value as it is typed: the members of a tuple with commas between them."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _finite(value: Any) -> float:
    """Return a number as Python has it; NaN where it is none, not finite, or too large.

    NumPy would compare its own numbers in their precision, in which a bound may be infinite.
    """
    try:
        return float(value) if math.isfinite(value) else math.nan
    except (OverflowError, TypeError):
        return math.nan


def _either(choices: tuple[Any, ...]) -> str:
    *first, last = map(str, choices)
    return f"{', '.join(first)} or {last}" if first else last
