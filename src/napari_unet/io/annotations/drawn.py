"""What the formats have in common: objects that are drawn, and the labels they become."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_unet.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.data.labels import Kind

    Ring = NDArray[np.floating[Any]]

AXES_OF = {2: "YX", 3: "ZYX", 4: "TZYX"}  # where nobody names them


@dataclass(frozen=True)
class Annotations:
    """Labels that came out of a file of another program.

    Parameters
    ----------
    labels : ndarray
        ``YX``, ``ZYX``, ``TYX`` or ``TZYX`` integers: 0 is what is not drawn, and objects or
        classes count from 1.
    kind : {"objects", "classes"}
        What a number stands for.
    names : dict of int to str
        Class of each number, where the file tells it.
    colours : dict of int to str
        Colour of each number as ``#rrggbb``, where the file tells it.
    unlabelled : tuple of tuple of int
        Positions on the axes before ``YX`` of planes (or before ``ZYX`` of frames) that the file
        says nothing about: 0 means unlabelled there, whatever it means elsewhere.
    notices : tuple of str
        What the user should know: what was left out, or lies on top of something else.
    """

    labels: NDArray[np.integer[Any]]
    kind: Kind
    names: dict[int, str] = field(default_factory=dict)
    colours: dict[int, str] = field(default_factory=dict)
    unlabelled: tuple[tuple[int, ...], ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawn:
    """One object, or a part of one, in one plane.

    Parameters
    ----------
    parts : tuple of tuple of ndarray
        Parts that may overlap, each of rings: closed lines of shape (points, 2), x and y. (0, 0) is
        the outer corner of the first pixel, whose centre is (0.5, 0.5). Inside of a part is what
        an odd number of its rings surrounds.
    runs : ndarray or None
        In place of parts: (first, length) of runs of pixels, column after column of a plane of
        `run_height` rows, as COCO has them.
    run_height : int
        Rows of the plane that `runs` speaks of.
    number : int or None
        The object's own number, where the file has one.
    name, colour : str
        Its class and that one's colour ``#rrggbb``; empty where the file tells none.
    z, t : int or None
        Plane and frame, counted from 0.
    """

    parts: tuple[tuple[Ring, ...], ...] = ()
    runs: NDArray[np.integer[Any]] | None = None
    run_height: int = 0
    number: int | None = None
    name: str = ""
    colour: str = ""
    z: int | None = None
    t: int | None = None

    @property
    def rings(self) -> tuple[Ring, ...]:
        """Those of all parts."""
        return tuple(ring for part in self.parts for ring in part)


def axes_for(shape: Sequence[int], axes: str | None) -> str:
    """Return the letters of the axes of labels.

    Raises
    ------
    LabelsError
        There are fewer than two or more than four axes, or the letters do not fit them.
    """
    axes = axes or AXES_OF.get(len(shape), "")
    if axes not in ("YX", "ZYX", "TYX", "TZYX") or len(axes) != len(shape):
        raise LabelsError(
            f"Objects cannot be drawn in labels of shape {tuple(shape)} and axes {axes!r}; use "
            "YX, ZYX, TYX or TZYX, without channels."
        )
    return axes
