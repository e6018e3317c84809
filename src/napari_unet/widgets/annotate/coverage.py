"""How much is painted, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.data.labels import fill_regions
from napari_unet.tasks import task_of
from napari_unet.widgets.common.annotation import BACKGROUND_VALUE
from napari_unet.widgets.common.layers import labels_of
from napari_unet.widgets.common.regions import regions_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Labels
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.tasks import Task

_COUNTED_PIXELS = 2**21  # counting more would be felt while painting


@dataclass(frozen=True)
class Coverage:
    """What is painted in one plane."""

    pixels: dict[int, int]
    """Painted pixels per number, of those that are painted."""
    total: int
    """Pixels of the plane."""
    components: dict[int, int]
    """With classes: connected strokes or objects per class."""
    step: int = 1
    """Distance along each axis of the pixels that were counted; 1 unless the plane is huge."""

    def pixels_of(self, *values: int) -> int:
        """Return the painted pixels of some numbers, scaled up where not all were counted."""
        return sum(self.pixels.get(value, 0) for value in values) * self.step**2

    @property
    def objects(self) -> list[int]:
        """Numbers above the background."""
        return [value for value in self.pixels if value > BACKGROUND_VALUE]


def measure_coverage(labels: NDArray[Any], task: Task, regions: Sequence[Region] = ()) -> Coverage:
    """Count what is painted in a plane: 0 unlabelled, 1 background, 2 and up objects or classes.

    Strokes of classes are counted as components. `regions` are boxes of the plane, ``YX``, in which
    unpainted is background, as it is for a training.
    """
    step = int(np.ceil(np.sqrt(max(labels.size / _COUNTED_PIXELS, 1))))
    counted = np.asarray(labels[::step, ::step])
    counted = fill_regions(counted, [_every(step, region) for region in regions])
    values, counts = np.unique(counted, return_counts=True)
    pixels = {int(v): int(n) for v, n in zip(values, counts, strict=True) if v > 0}
    components = {}
    if task.named:
        components = {value: int(ndi.label(counted == value)[1]) for value in pixels}
    return Coverage(pixels, counted.size, components, step)


def shown_plane(viewer: Viewer, layer: Labels) -> NDArray[Any]:
    """Return the plane of a labels layer that the viewer shows."""
    plane: NDArray[Any] = labels_of(layer)[_shown_index(viewer, layer)]
    return plane


def shown_regions(viewer: Viewer, layer: Labels) -> list[Region]:
    """Return the fully annotated regions in the plane that the viewer shows."""
    index = _shown_index(viewer, layer)
    return [
        tuple(part for part, at in zip(region, index, strict=True) if isinstance(at, slice))
        for region in regions_of(viewer, layer)
        if all(
            isinstance(at, slice) or part.start <= at < part.stop
            for part, at in zip(region, index, strict=True)
        )
    ]


def current_frame(viewer: Viewer, layer: Labels) -> tuple[int, ...]:
    """Return where the sliders before the last three axes of a layer stand."""
    return tuple(at for at in _shown_index(viewer, layer)[:-3] if not isinstance(at, slice))


def _shown_index(viewer: Viewer, layer: Labels) -> tuple[int | slice, ...]:
    """Return the index of the plane on screen, from whichever side; in 3D that of the last axes."""
    dims, shape = viewer.dims, labels_of(layer).shape
    shown = {axis - dims.ndim for axis in dims.displayed}
    if len(shown) != 2 or min(shown) < -layer.ndim:
        shown = {-2, -1}
    steps = dims.current_step[-layer.ndim :]
    return tuple(
        slice(None) if axis - layer.ndim in shown else min(step, size - 1)
        for axis, (step, size) in enumerate(zip(steps, shape, strict=True))
    )


def _every(step: int, region: Region) -> Region:
    """Return a region among every so manieth pixel."""
    return tuple(slice(-(-part.start // step), -(-part.stop // step)) for part in region)


def coverage_text(coverage: Coverage, task: Task) -> str:
    """Return in words what is painted and what would help most."""
    things = (task_of(task.layer_kind) if task.in_layers else task).things
    total = max(coverage.total, 1)
    foreground = sum(coverage.pixels[value] for value in coverage.objects)
    background = coverage.pixels.get(BACKGROUND_VALUE, 0)
    text = (
        f"Painted: {(background + foreground) / total:.1%} of the pixels; "
        f"{len(coverage.objects)} {things} ({foreground / total:.1%}) and background "
        f"({background / total:.1%})."
    )
    if not foreground:
        return f"{text} Paint a few {things}: each with its own number."
    if not background:
        return f"{text} Background: nothing painted yet. A stroke between cells helps most."
    if wish := task.wish(len(coverage.objects)):
        return f"{text} {wish}"
    if background < foreground / 4:
        return f"{text} Little background so far: a stroke in the open and one between cells help."
    return f"{text} Enough to train; more where the result is wrong helps most."
