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

LABEL_AXES = ("YX", "ZYX", "TYX", "TZYX")
AXES_OF = {2: "YX", 3: "ZYX", 4: "TZYX"}  # where they are not named


@dataclass(frozen=True)
class Annotations:
    """Labels that came out of a file of another program."""

    labels: NDArray[np.integer[Any]]
    """``YX``, ``ZYX``, ``TYX`` or ``TZYX`` integers: 0 is what is not drawn, and objects or classes
    count from 1.
    """
    kind: Kind
    """What a number stands for."""
    names: dict[int, str] = field(default_factory=dict)
    """Class of each number, where the file names it."""
    colours: dict[int, str] = field(default_factory=dict)
    """Colour of each number as ``#rrggbb``, where the file has one."""
    unlabelled: tuple[tuple[int, ...], ...] = ()
    """Positions on the axes before ``YX`` of planes (or before ``ZYX`` of frames) that the file
    says nothing about: 0 means unlabelled there, whatever it means elsewhere.
    """
    notices: tuple[str, ...] = ()
    """What the user should know: what was left out, or lies on top of something else."""


@dataclass(frozen=True)
class Drawn:
    """One object, or a part of one, in one plane."""

    parts: tuple[tuple[Ring, ...], ...] = ()
    """Parts that may overlap, each of rings: closed lines of shape (points, 2), x and y. (0, 0) is
    the outer corner of the first pixel, whose centre is (0.5, 0.5). Inside of a part is what an
    odd number of its rings surrounds.
    """
    runs: NDArray[np.integer[Any]] | None = None
    """In place of parts: (first, length) of runs of pixels, column after column of a plane of
    `run_height` rows, as COCO has them.
    """
    run_height: int = 0
    number: int | None = None
    """The object's own number, where the file has one."""
    name: str = ""
    """Its class; empty where the file has none."""
    colour: str = ""
    """That of its class as ``#rrggbb``; empty where the file has none."""
    z: int | None = None
    """Plane, counted from 0."""
    t: int | None = None
    """Frame, counted from 0."""

    @property
    def rings(self) -> tuple[Ring, ...]:
        """Those of all parts."""
        return tuple(ring for part in self.parts for ring in part)


def axes_for(shape: Sequence[int], axes: str | None) -> str:
    """Return the letters of the axes of labels.

    Fewer than two or more than four axes, or letters that do not fit them, raise LabelsError.
    """
    axes = axes or AXES_OF.get(len(shape), "")
    if axes not in LABEL_AXES or len(axes) != len(shape):
        raise LabelsError(
            f"Objects cannot be drawn in labels of shape {tuple(shape)} and axes {axes!r}; use "
            "YX, ZYX, TYX or TZYX, without channels."
        )
    return axes
