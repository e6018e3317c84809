"""The errors a user can cause: each text names the value that is wrong and the remedy."""

from __future__ import annotations


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
