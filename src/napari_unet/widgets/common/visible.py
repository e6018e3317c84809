"""What part of an image is on screen, in the pixels of its labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import ImageError
from napari_unet.widgets.common.layers import channel_axis_of, pixels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image, Labels, Layer
    from napari.viewer import Viewer

    from napari_unet.data.axes import Region

_PIXELS_SEEN = 160  # at a place that is looked at, about
_VIEW_WIDTH = 600  # screen pixels that a canvas has at least, about


def visible_box(viewer: Viewer, image: Image, labels_shape: Sequence[int]) -> Region:
    """Return the box of labels of an image that is on screen, one slice per axis of the labels.

    It is never empty: one index on axes that have a slider, the whole plane where the image is out
    of sight.
    """
    return box_on_screen(viewer, image, label_axes(image, labels_shape))


def box_on_screen(viewer: Viewer, image: Image, keep: Sequence[int]) -> Region:
    """Return the box on screen of labels with the axes `keep` of an image; see `visible_box`."""
    offset = viewer.dims.ndim - image.ndim
    displayed = [axis - offset for axis in viewer.dims.displayed if axis >= offset]
    corners = np.asarray(image.corner_pixels, float)
    if image.multiscale:
        corners = corners * image.downsample_factors[image.data_level]
    point = image.world_to_data(np.asarray(viewer.dims.point)[offset:])
    shape = pixels_of(image).shape
    box = []
    for axis in keep:
        size = shape[axis]
        if axis not in displayed:
            at = int(np.clip(round(float(point[axis])), 0, size - 1))
            box.append(slice(at, at + 1))
            continue
        start, stop = max(0, int(corners[0, axis])), min(size, int(corners[1, axis]) + 1)
        box.append(slice(start, stop) if stop - start > 1 else slice(0, size))
    return tuple(box)


def check_planes(viewer: Viewer, layer: Layer, axes: Sequence[int]) -> None:
    """Refuse, by ImageError, a layer of which other planes are on screen than its last two axes'.

    What is done to a plane is done to the one that is seen, or to none.
    """
    offset = viewer.dims.ndim - layer.ndim
    shown = viewer.dims.displayed
    if {axis - offset for axis in shown} == set(axes[-2:]):
        return
    solid = len(shown) > 2
    seen = "in 3D" if solid else "from another side"
    remedy = "switch 3D off (Ctrl+Y)" if solid else "roll the axes (Ctrl+E) until they are seen"
    raise ImageError(
        f"{layer.name} is shown {seen}, and its cells are found plane by plane. Show these planes: "
        f"{remedy}."
    )


def label_axes(image: Image, labels_shape: Sequence[int]) -> list[int]:
    """Return the axes of an image layer that its labels have too: by name, else by their sizes."""
    shape = tuple(pixels_of(image).shape[: image.ndim])
    if len(shape) == len(labels_shape):
        return list(range(image.ndim))
    named = channel_axis_of(image)
    for channel in reversed(range(image.ndim)) if named is None else (named,):
        if shape[:channel] + shape[channel + 1 :] == tuple(labels_shape):
            return [axis for axis in range(image.ndim) if axis != channel]
    return list(range(image.ndim))[-len(labels_shape) :]


def frame_and_region(box: Region, ndim: int) -> tuple[tuple[int, ...], Region]:
    """Split a box of labels into the index of its frame and the region in its `ndim` last axes."""
    lead = len(box) - ndim
    return tuple(part.start for part in box[:lead]), box[lead:]


def camera_of(viewer: Viewer) -> Any:
    """Return the camera, which napari 0.9 moved to the scene."""
    return getattr(viewer, "scene", viewer).camera


def look_at(
    viewer: Viewer,
    image: Image | Labels,
    keep: Sequence[int],
    position: Sequence[int],
    pixels: int = _PIXELS_SEEN,
) -> None:
    """Move sliders and camera so that the pixel at `position` in labels of a layer is central.

    The labels have the axes `keep` of the layer; about so many pixels are to be seen.
    """
    at = np.zeros(image.ndim)
    at[list(keep)] = position
    world = np.asarray(image.data_to_world(at), float)
    offset = viewer.dims.ndim - image.ndim
    for axis in keep:
        if axis + offset not in viewer.dims.displayed:
            viewer.dims.set_point(axis + offset, world[axis])
    camera = camera_of(viewer)
    shown = [axis - offset for axis in viewer.dims.displayed]
    camera.center = tuple(world[axis] for axis in shown)
    extent = pixels * float(np.asarray(image.scale)[shown[-1]])
    camera.zoom = max(camera.zoom, _VIEW_WIDTH / extent)
