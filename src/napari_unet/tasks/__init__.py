"""Floor 1½: what a network is trained for; numpy alone, and torch on use.

The rest of the program asks the task, and never which one it is.
"""

from __future__ import annotations

from napari_unet.tasks.base import (
    FILLED,
    OUTLINES,
    Counts,
    Decision,
    Look,
    Task,
    ValidationScore,
)
from napari_unet.tasks.table import (
    TASKS,
    ClassTable,
    check_classes_painted,
    class_table,
    target_of,
    task_of,
)

__all__ = [
    "FILLED",
    "OUTLINES",
    "TASKS",
    "ClassTable",
    "Counts",
    "Decision",
    "Look",
    "Task",
    "ValidationScore",
    "check_classes_painted",
    "class_table",
    "target_of",
    "task_of",
]
