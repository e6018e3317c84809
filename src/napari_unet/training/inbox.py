"""What the window tells a running training: newly painted labels, and what is on screen."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from napari_unet.data.axes import Region
    from napari_unet.training.dataset import AnnotatedImage

Value = TypeVar("Value")


class Mailbox(Generic[Value]):
    """Holds the newest value that one thread has for another; older ones are forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: Value | None = None

    def put(self, value: Value | None) -> None:
        """Leave a value, in place of the one that may lie there."""
        with self._lock:
            self._value = value

    def take(self) -> Value | None:
        """Take the value out; None where there is none."""
        with self._lock:
            value, self._value = self._value, None
        return value

    def look(self) -> Value | None:
        """Return the value and leave it."""
        with self._lock:
            return self._value


@dataclass(frozen=True)
class View:
    """What is on screen."""

    image: int
    """Number of the annotated image."""
    frame: tuple[int, ...]
    """Index on its frame axes."""
    region: Region
    """The visible box, in ``[Z]YX``."""


@dataclass(frozen=True)
class Inbox:
    """The mailboxes of one training; any thread may write, the training reads between steps."""

    annotations: Mailbox[tuple[AnnotatedImage, ...]] = field(default_factory=Mailbox)
    """The annotated images as they are painted now: all of them, in the order of the start."""
    view: Mailbox[View] = field(default_factory=Mailbox)
    """What to predict now and then."""
    checkpoint_wanted: threading.Event = field(default_factory=threading.Event)
    """Set it to have a checkpoint made after the present step."""
    checkpoint_saved: threading.Event = field(default_factory=threading.Event)
    """Set by whoever has written it down."""
