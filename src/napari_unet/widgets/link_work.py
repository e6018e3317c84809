"""Link the objects of labels beside the window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.data.link_arrays import linked_planes
from napari_unet.run import Run

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.data.linking import LinkConfig, Linked


@dataclass(frozen=True, eq=False)
class ToLink:
    """Labels, and how their objects are linked.

    Parameters
    ----------
    labels : ArrayLike
        Lazy ones are read in the worker, plane by plane.
    axes : {"TYX", "ZYX", "TZYX"}
        What their axes are.
    config : LinkConfig
        How they are linked.
    """

    labels: ArrayLike
    axes: str
    config: LinkConfig

    @property
    def n_planes(self) -> int:
        """How many planes, or frames, are linked one by one."""
        through_all = self.config.axis == "Z" and "T" in self.axes
        return int(np.prod(self.labels.shape[: 2 if through_all else 1]))


@dataclass(frozen=True)
class PlaneLinked:
    """One more plane, or frame, is linked.

    Parameters
    ----------
    number, total : int
        Which one, from 1; and of how many.
    """

    number: int
    total: int


@dataclass(frozen=True, eq=False)
class LinkedLabels:
    """What came out.

    Parameters
    ----------
    labels : ndarray
        int32, of the shape of what was linked.
    linked : Linked
        The tracks.
    over_time : bool
        Whether they are tracks in time, and not objects of a stack.
    """

    labels: NDArray[np.int32]
    linked: Linked
    over_time: bool


def linking_events(
    task: ToLink, stop: threading.Event
) -> Generator[PlaneLinked, None, LinkedLabels | None]:
    """Link the objects of labels, in a worker thread.

    Yields
    ------
    PlaneLinked
        After each plane.

    Returns
    -------
    LinkedLabels or None
        None if it was stopped.

    Raises
    ------
    LabelsError
        The labels are no integers, some are negative, or the axes do not fit.
    """
    found = np.zeros(tuple(task.labels.shape), np.int32)
    planes = Run(linked_planes(task.labels, task.axes, task.config))
    for number, (index, plane) in enumerate(planes, start=1):
        found[index] = plane
        yield PlaneLinked(number, task.n_planes)
        if stop.is_set():
            return None
    return LinkedLabels(found, planes.result, task.config.axis == "T")
