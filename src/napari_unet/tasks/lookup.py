"""All tasks there are, by their kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.errors import ConfigError
from napari_unet.tasks.classes import CLASSES
from napari_unet.tasks.objects import OBJECTS

if TYPE_CHECKING:
    from napari_unet.data.labels import Kind
    from napari_unet.tasks.base import Task

TASKS: dict[Kind, Task] = {task.kind: task for task in (OBJECTS, CLASSES)}


def task_of(kind: str) -> Task:
    """Return the task of a kind.

    Raises ConfigError if there is no such kind.
    """
    for task in TASKS.values():
        if task.kind == kind:
            return task
    raise ConfigError(f"kind is {kind!r}; choose {' or '.join(map(repr, TASKS))}.")
