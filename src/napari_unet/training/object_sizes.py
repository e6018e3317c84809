"""How small an object can be: half of nearly the smallest one that was painted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_unet.data.labels import Target, Unpainted

# Dropped is what is smaller than this share of nearly the smallest object that was painted.
_SMALLEST_SHARE, _SMALLEST_PERCENTILE = 0.5, 5
# A ball of volume V has a largest section of area A: V = 4 / (3 sqrt(pi)) * A ** 1.5.
_BALL_OF_SECTION = 4 / (3 * np.sqrt(np.pi))


def smallest_painted_object(targets: Iterable[tuple[Target, float]], unpainted: Unpainted) -> int:
    """Return the number of pixels below which an object is dropped; 0 without objects.

    With each target comes how many times as long along Z as wide a voxel is. In volumes of which
    some slices are painted, an object that is seen in a single slice counts as the ball of which
    that is the section.
    """
    sizes: list[NDArray[Any]] = [np.zeros(0)]
    for target, anisotropy in targets:
        objects = target.objects
        if objects.ndim == 3 and unpainted == "unlabelled":
            sizes.append(_volumes(objects, target.painted, anisotropy))
        else:
            sizes.append(np.bincount(objects.ravel())[1:])
    painted = np.concatenate(sizes)
    painted = painted[painted > 0]
    if painted.size == 0:
        return 0
    return int(_SMALLEST_SHARE * np.percentile(painted, _SMALLEST_PERCENTILE))


def _volumes(
    objects: NDArray[np.int32], painted: NDArray[np.bool_], anisotropy: float
) -> NDArray[Any]:
    """Count the voxels of each object, and guess those of objects with one painted section."""
    sections = [np.bincount(plane.ravel(), minlength=objects.max() + 1) for plane in objects]
    areas = np.array(sections)[:, 1:]  # (Z, objects)
    volumes: NDArray[Any] = areas.sum(axis=0).astype(np.float64)
    for number in np.flatnonzero(np.count_nonzero(areas, axis=0) == 1):
        section = int(areas[:, number].argmax())
        inside = objects[section] == number + 1
        neighbours = [z for z in (section - 1, section + 1) if 0 <= z < len(objects)]
        if neighbours and not any(painted[z][inside].any() for z in neighbours):
            volumes[number] = _BALL_OF_SECTION * areas[section, number] ** 1.5 / anisotropy
    return volumes
