"""Two classes that are cells and the membranes between them: what makes them so, and the cells.

Of such classes not the single pixel matters but whether membranes are closed: one gap joins two
cells. So the threshold is chosen by the cells, and the cells can be predicted as objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

from napari_unet.tasks.validation import cells_between

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.data.labels import Target
    from napari_unet.tasks import ClassTable

# Of all pixels of the frames so many are painted: cells between strokes have no outlines.
_DENSE = 0.5
# A membrane is the smaller part, and nearly all of it lies within so many pixels of a cell, in the
# plane.
_THIN, _NEARLY_ALL = 8, 0.9
# There are so many cells of at least so many pixels ...
_MANY, _SMALLEST = 10, 50
# ... and the largest of each frame hold at most this share: ground with holes is no tissue.
_LARGEST_SHARE = 0.5


def membrane_class(targets: Sequence[Target], table: ClassTable) -> int | None:
    """Find the class that is a thin network whose removal parts the other one into many cells.

    None unless there are two classes. Where both would do it is class 1: `evaluate`, too, takes the
    class of the lower value for the inside of cells.
    """
    if not table.may_hold_membrane or not targets:
        return None
    painted = sum(int(target.painted.sum()) for target in targets)
    if painted < _DENSE * sum(target.classes.size for target in targets):
        return None
    for number in (1, 0):
        if _parts_cells(number, targets) and _is_thin(number, targets):
            return number
    return None


def _parts_cells(number: int, targets: Sequence[Target]) -> bool:
    n_cells, largest, pixels = 0, 0, 0
    for target in targets:
        cells, _ = cells_between(target.classes, number)
        areas = np.bincount(cells.ravel())[1:]
        n_cells += int(np.count_nonzero(areas >= _SMALLEST))
        largest += int(areas.max(initial=0))
        pixels += int(areas.sum())
    return n_cells >= _MANY and largest <= _LARGEST_SHARE * pixels


def _is_thin(number: int, targets: Sequence[Target]) -> bool:
    near = pixels = painted = 0
    for target in targets:
        membrane = target.classes == number
        around = (1,) * (membrane.ndim - 2) + (2 * _THIN + 1,) * 2
        reached = ndi.maximum_filter(target.classes == 1 - number, around)
        near += int(np.count_nonzero(membrane & reached))
        pixels += int(np.count_nonzero(membrane))
        painted += int(np.count_nonzero(target.painted))
    return 0 < pixels <= painted / 2 and near >= _NEARLY_ALL * pixels
