"""The errors a user can cause: each text names the value that is wrong and the remedy."""

from __future__ import annotations

import inspect
import os
import reprlib
from collections.abc import Callable, Mapping
from functools import wraps
from numbers import Real
from typing import Any, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class NapariUNetError(Exception):
    """Base of all errors that are shown to the user as one readable text."""


class ConfigError(NapariUNetError):
    """A setting has a value that cannot work."""


class ImageError(NapariUNetError):
    """An image cannot be used: empty, of a wrong dtype, or of axes that do not fit."""


class UnreadableError(ImageError):
    """A part of an image cannot be read: a damaged chunk, or a network that fails."""


class LabelsError(NapariUNetError):
    """Labels cannot be used: not integers, negative, or of another shape than their image."""


class NothingToLearnError(LabelsError):
    """The labels hold too little to train on, for example a single class."""


class ModelFileError(NapariUNetError):
    """A model file is missing, damaged, or made by something else."""


class ModelMismatchError(NapariUNetError):
    """A model and an image do not fit together."""


class FileProblemError(NapariUNetError):
    """A file or folder cannot be read or written."""


class DeviceError(NapariUNetError):
    """The chosen computing device does not exist or does not work."""


class NotEnoughMemoryError(DeviceError):
    """The computing device has too little memory, however little is asked of it at once."""


class RemoteError(NapariUNetError):
    """Another machine does not answer, or cannot do what it is to do."""


class AlreadyToldError(NapariUNetError):
    """Another process of this training tells the user what is wrong."""


class EvaluationError(NapariUNetError):
    """Predictions and truth cannot be compared."""


def first_line(error: BaseException) -> str:
    """Return what an error of others says, as far as a user can read it."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def reason_of(error: BaseException) -> str:
    """Return what any error says: ours are sentences, of others the type is told."""
    if isinstance(error, NapariUNetError):
        return str(error)
    if isinstance(error, MemoryError):
        return "It needs more memory than is free; crop it, or use a machine with more."
    reason = (str(error).splitlines() or [""])[0]
    return f"unexpected {type(error).__name__}: {reason}"


# --- Arguments of Python functions ---------------------------------------------------------------

# What an argument may be, and that in words
Accepted = tuple[Callable[[Any], bool], str]

PATH: Accepted = (
    lambda value: (
        isinstance(value, str)
        or (isinstance(value, os.PathLike) and isinstance(os.fspath(value), str))
    ),
    "a path, such as 'cells.tif'",
)
TEXT: Accepted = (lambda value: isinstance(value, str), "a text")
AXES: Accepted = (
    lambda value: isinstance(value, str) and set(value) <= set("TCZYX"),
    "a letter of TCZYX for each axis, such as 'ZYX'",
)
ARRAY: Accepted = (
    lambda value: hasattr(value, "shape") and hasattr(value, "dtype"),
    "an array (NumPy, dask, Zarr)",
)
NUMBER: Accepted = (lambda value: isinstance(value, Real), "a number")
MAPPING: Accepted = (lambda value: isinstance(value, Mapping), "a dictionary")
SEVERAL: Accepted = (
    lambda value: hasattr(value, "__iter__") and not isinstance(value, (str, bytes, Mapping)),
    "a list",
)
CALLED: Accepted = (callable, "a function of one argument")


def list_of(one: Accepted) -> Accepted:
    """Accept a list of what `one` accepts, or of None."""
    fits, words = one

    def fits_all(value: Any) -> bool:
        return SEVERAL[0](value) and all(each is None or fits(each) for each in value)

    return fits_all, f"a list: for each {words}"


def either(one: Accepted, other: Accepted) -> Accepted:
    """Accept one or the other."""
    return lambda value: one[0](value) or other[0](value), f"{one[1]}, or {other[1]}"


def accepting(
    **accepted: Accepted,
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Let a function refuse, by ConfigError, arguments of a wrong type; None where it is usual."""

    def checked(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        signature = inspect.signature(function)

        @wraps(function)
        def call(*arguments: Parameters.args, **named: Parameters.kwargs) -> Result:
            try:
                given = signature.bind(*arguments, **named).arguments
            except TypeError:  # too many, or unknown: Python says so of the function itself
                return function(*arguments, **named)
            for name, (fits, words) in accepted.items():
                value = given.get(name)
                usual = name not in given or (
                    value is None and signature.parameters[name].default is None
                )
                if not usual and not fits(value):
                    raise ConfigError(f"{name} is {reprlib.repr(value)}; give {words}.")
            return function(*arguments, **named)

        return call

    return checked
