"""What belongs to a labels layer that is painted in: its classes, its image, its corrections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap, label_colormap
from scipy import ndimage as ndi

from napari_unet.data.rescaling import size_of_cell
from napari_unet.io.names import pair_names
from napari_unet.tasks import task_of
from napari_unet.widgets.common.layers import (
    METADATA_KEY,
    OfImage,
    channel_axis_of,
    labels_of,
    labels_shape_of,
    layers_of_others,
    pixels_of,
    placement_of,
    plain_layers,
)
from napari_unet.widgets.common.placement import (
    lies_over,
    named_axes_of,
    placement_along,
    seen_over,
    world_matrix,
)
from napari_unet.widgets.common.regions import regions_layer
from napari_unet.widgets.common.visible import label_axes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.labels import Kind
    from napari_unet.tasks import Task

ANNOTATION_KEY = "napari-unet-paint annotation"
UNLABELLED_VALUE, BACKGROUND_VALUE, FIRST_VALUE = 0, 1, 2

# Okabe and Ito's palette (Color Universal Design, 2008), background first, and two of Paul Tol's
# muted scheme (Colour Schemes, SRON/EPS/TN/09-002). Under protanopia, deuteranopia and tritanopia
# all of them stay apart: the tests measure how far.
PALETTE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#F0E442",
    "#D55E00",
    "#56B4E9",
    "#882255",
    "#332288",
)
_CYCLE = 49  # colours of objects, before they repeat


@dataclass
class Annotation(OfImage):
    """The state of one layer that is painted in; kept in the layer's metadata.

    Names and colours are of the background (1) and, with classes, of each class; a layer that is
    `used` is ticked for training.
    """

    kind: Kind = "objects"
    names: dict[int, str] = field(default_factory=lambda: {BACKGROUND_VALUE: "background"})
    colours: dict[int, str] = field(default_factory=lambda: {BACKGROUND_VALUE: PALETTE[0]})
    used: bool = True
    corrected: NDArray[np.bool_] | None = None
    """Where predictions were corrected."""
    place: bytes = b""
    """Where it lay when it last covered its image."""

    @property
    def task(self) -> Task:
        """What a network is trained for that learns from it."""
        return task_of(self.kind)

    def name_of(self, value: int) -> str:
        """Return the name of a class, or a plain one."""
        return self.names.get(value, f"class {value}")

    def colour_of(self, value: int) -> str:
        """Return the colour of a class as ``#rrggbb``."""
        return self.colours.get(value, PALETTE[(value - 1) % len(PALETTE)])


def annotation_in(layer: Labels) -> Annotation | None:
    """Return the annotation of a layer, where it has one."""
    found = layer.metadata.get(ANNOTATION_KEY)
    return found if isinstance(found, Annotation) else None


def annotation_of(layer: Labels) -> Annotation:
    """Return the annotation of a layer; a plain labels layer gets one."""
    found = annotation_in(layer)
    if found is None:
        found = layer.metadata[ANNOTATION_KEY] = Annotation()
    return found


def was_painted_here(layer: Labels) -> bool:
    """Guess whether a layer was painted: every labels layer may be listed to paint in.

    What came from a file, or from another plugin's widget, was finished when it came.
    """
    annotation = annotation_in(layer)
    listed = annotation is not None and annotation.had_image and is_annotation(layer)
    return listed and layer.source.path is None and layer.source.widget is None


def class_of_layer(layer: Labels) -> str:
    """Return which of the overlapping classes is painted in a layer: each has one of its own."""
    return annotation_of(layer).name_of(FIRST_VALUE)


def class_of_objects(layer: Labels) -> str:
    """Return the class of all objects of a layer that holds those of one class; else ""."""
    annotation = annotation_in(layer)
    if annotation is None or annotation.task.named or not annotation.task.in_layers:
        return ""
    return class_of_layer(layer)


def new_annotation(
    viewer: Viewer, image: Image, kind: Kind = "objects", class_name: str = ""
) -> Labels:
    """Add an empty labels layer that covers an image, ready to paint in.

    Of overlapping classes it is for the one that is named; by default that is numbered.
    """
    annotation = Annotation(kind)
    annotation.image = image
    if annotation.task.in_layers:
        others = [each for each in annotations_in(viewer) if annotation_of(each).image is image]
        number = sum(annotation_of(each).task.in_layers for each in others)
        class_name = class_name or f"class {number + 1}"
        annotation.names[FIRST_VALUE] = class_name
        annotation.colours[FIRST_VALUE] = PALETTE[(number + 1) % len(PALETTE)]
    layer = Labels(
        np.zeros(labels_shape_of(image), np.uint16),
        name=f"{image.name}{class_name and f' {class_name}'} annotation",
        metadata={ANNOTATION_KEY: annotation},
        **placement_of(image, channel_axis_of(image)),
    )
    viewer.add_layer(layer)
    return layer


def is_annotation(layer: Labels) -> bool:
    """Return whether a labels layer may be painted in: predictions are not."""
    return METADATA_KEY not in layer.metadata


def colour_layer(layer: Labels, values: Iterable[int]) -> None:
    """Show a layer in the colours of its classes, or its objects in colours of their own."""
    annotation = annotation_of(layer)
    if annotation.task.named:
        colours: dict[int | None, Any] = {None: "#ffffff", 0: "transparent"}
        colours |= {value: annotation.colour_of(value) for value in values}
        _colour_anew(layer, DirectLabelColormap(color_dict=colours))
    else:
        _colour_anew(layer, object_colours(annotation.colour_of(BACKGROUND_VALUE)))


def _colour_anew(layer: Labels, wanted: CyclicLabelColormap | DirectLabelColormap) -> None:
    """Show a layer in other colours; napari then draws all of it anew, so not in the same ones."""
    shown = layer.colormap
    if isinstance(wanted, CyclicLabelColormap):
        same = isinstance(shown, CyclicLabelColormap) and np.array_equal(
            shown.colors, wanted.colors
        )
    else:
        same = isinstance(shown, DirectLabelColormap) and _same_colours(
            shown.color_dict, wanted.color_dict
        )
    if not same:
        layer.colormap = wanted


def _same_colours(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[value], other[value]) for value in one
    )


def object_colours(background: str) -> CyclicLabelColormap:
    """Return colours for objects, of which the first is the background's."""
    from napari.utils.color import ColorValue

    colormap = label_colormap(_CYCLE)
    colours = colormap.colors.copy()
    colours[BACKGROUND_VALUE] = ColorValue(background)
    return CyclicLabelColormap(colors=colours)


def next_object(labels: NDArray[Any]) -> int:
    """Return a number for the next object: above all others, and not in the background's colour."""
    number = max(FIRST_VALUE, int(np.max(labels, initial=0)) + 1)
    return number + 1 if number % _CYCLE == BACKGROUND_VALUE else number


# A stroke whose brush overlaps a cell by so much of its radius goes on with it.
_TOUCHES = 0.75
# Less paint than this share of a typical cell is a part of one, to which another stroke may belong
# that is so near, in diameters of a cell.
_PART, _NEAR = 0.3, 0.35


def stroke_goes_on(
    painted: NDArray[np.intp], start: tuple[int, ...], brush: float, cell_size: float = 0.0
) -> bool:
    """Return whether a stroke that begins at a pixel goes on with the cell painted last.

    `painted` are the pixels of the cell painted last, one row each. It does where it begins inside
    or at the edge of that, or where both fit into one cell of a known size. Diameters of the brush
    and of a typical cell (0: not known) are in pixels.
    """
    if not len(painted):
        return False
    distances = np.hypot(*(painted - start).T)
    part = len(painted) < _PART * size_of_cell(cell_size, 2)
    near = distances.min() <= _NEAR * cell_size and distances.max() <= cell_size
    touches = distances.min() <= _TOUCHES * brush / 2
    return bool(touches or (part and near)) or _encloses(painted, start)


def painted_around(
    plane: NDArray[Any], places: Iterable[tuple[int, ...]], number: int, reach: int
) -> NDArray[np.intp]:
    """List the pixels of a number near some places, one row each, as far as they go on.

    Not all of the plane is looked at: that would hold up each stroke in a large image.
    """
    found: list[NDArray[np.intp]] = [np.zeros((0, 2), np.intp)]
    for place in places:
        if not any((each == place).all(axis=1).any() for each in found):
            found.append(_painted_around(plane, place, number, reach))
    return np.unique(np.concatenate(found), axis=0)


def _painted_around(
    plane: NDArray[Any], place: tuple[int, ...], number: int, reach: int
) -> NDArray[np.intp]:
    while True:
        box = tuple(slice(max(0, at - reach), at + reach + 1) for at in place)
        found: NDArray[np.intp] = np.argwhere(plane[box] == number)
        found += [part.start for part in box]
        if np.abs(found - place).max(initial=0) < reach or reach > max(plane.shape):
            return found
        reach *= 2


def _encloses(painted: NDArray[np.intp], point: tuple[int, ...]) -> bool:
    """Return whether a point is in a hole of what is painted."""
    first = painted.min(axis=0)
    inside = np.zeros(painted.max(axis=0) - first + 1, bool)
    inside[tuple((painted - first).T)] = True
    at = tuple(point - first)
    within = all(0 <= i < size for i, size in zip(at, inside.shape, strict=True))
    return within and bool(ndi.binary_fill_holes(inside)[at])


def annotations_in(viewer: Viewer) -> list[Labels]:
    """List the layers of a viewer that can be painted in, the oldest first."""
    layers = plain_layers(viewer)
    return [layer for layer in layers if isinstance(layer, Labels) and is_annotation(layer)]


def image_for(viewer: Viewer, layer: Labels) -> Image | None:
    """Return the image that a layer annotates, pixel by pixel.

    That is the one it was made for, or lies over, or of several of these the one whose name its own
    contains. Where the image it was made for is closed, one of the same name is. None where this is
    not clear: see `question_about`.
    """
    state = annotation_of(layer)
    known = state.image
    if known is not None and known in plain_layers(viewer):
        _move_along(viewer, layer, known)
        return known if covers(layer, known) else None
    images = [each for each in images_of_its_shape(viewer, layer) if covers(layer, each)]
    if state.had_image:  # which is closed, or was opened again
        return next((each for each in images if each.name == state.image_name), None)
    if len(images) < 2:
        return next(iter(images), None)
    names = [image.name for image in images]
    pairs = pair_names([layer.name], names) or pair_names(_names_like(viewer, layer), names)
    return next((each for each in images if each.name == pairs.get(layer.name)), None)


def _names_like(viewer: Viewer, layer: Labels) -> list[str]:
    """Return the names of all layers of this shape of which no one has said what they annotate."""
    like = [e for e in annotations_in(viewer) if labels_of(e).shape == labels_of(layer).shape]
    return [each.name for each in like if not annotation_of(each).had_image]


def images_of_its_shape(viewer: Viewer, layer: Labels) -> list[Image]:
    """List the images that a layer may annotate by its shape."""
    shape = tuple(labels_of(layer).shape)
    fitting = [each for each in layers_of_others(viewer, Image) if fits(each, shape)]
    return [image for image in fitting if _tells_labels_shape(image)] or fitting


def covers(layer: Labels, image: Image) -> bool:
    """Return whether a layer has the shape of an image's labels, and lies over it so."""
    shape = tuple(labels_of(layer).shape)
    return fits(image, shape) and lies_over(layer, image, label_axes(image, shape))


def question_about(viewer: Viewer, layer: Labels) -> str:
    """Return what must be said about a layer before it is learned from; nothing where all is clear.

    It begins with the name of the layer.
    """
    if image_for(viewer, layer) is not None:
        return ""
    images = images_of_its_shape(viewer, layer)
    names = " or ".join(repr(image.name) for image in images if covers(layer, image))
    if names:
        return f"{layer.name!r} may be painted on {names}. {_CHOOSE}"
    if images:
        return (
            f"{layer.name!r} has the shape of {images[0].name!r}, but lies elsewhere, or its "
            f"pixels have another size. {_CHOOSE}"
        )
    return ""


_CHOOSE = "Choose its image in the Train widget, under 'painted on'."


def lay_on(viewer: Viewer, layer: Labels, image: Image, as_seen: bool) -> None:
    """Let a layer annotate an image, pixel by pixel from now on.

    Where it lies elsewhere it is moved over the image, or, `as_seen`, gets the image's pixels with
    what is seen there.
    """
    state, labels = annotation_of(layer), labels_of(layer)
    keep = label_axes(image, labels.shape)
    if not covers(layer, image):
        if as_seen:
            seen = seen_over(layer, image, keep, np.asarray(labels))
            if state.corrected is not None:
                state.corrected = seen_over(layer, image, keep, state.corrected)
            layer.data = seen
        _lay(viewer, layer, image, with_regions=not as_seen)
    state.image = image


def _move_along(viewer: Viewer, layer: Labels, image: Image) -> None:
    """Lay a layer that lay over its image there again, where the image was moved or scaled."""
    state, place = annotation_of(layer), world_matrix(layer, range(layer.ndim)).tobytes()
    if covers(layer, image):
        state.place = place
    elif state.place == place:
        _lay(viewer, layer, image, with_regions=True)


def _lay(viewer: Viewer, layer: Labels, image: Image, with_regions: bool) -> None:
    regions = regions_layer(viewer, layer) if with_regions else None
    placement = placement_along(image, label_axes(image, labels_of(layer).shape))
    for name, value in placement.items():
        for each in (layer, regions):
            if each is not None:
                setattr(each, name, value)


def fits(image: Image, shape: tuple[int, ...]) -> bool:
    """Return whether labels of a shape may belong to an image: without its channel axis, if any.

    Which axis that is, is guessed by the sizes where the image has no names for its axes.
    """
    if _tells_labels_shape(image):
        return labels_shape_of(image) == shape
    sizes = tuple(pixels_of(image).shape)
    return sizes == shape or any(sizes[:i] + sizes[i + 1 :] == shape for i in range(len(sizes)))


def _tells_labels_shape(image: Image) -> bool:
    """Return whether it is known which axis of an image holds channels, or that none does."""
    return image.rgb or channel_axis_of(image) is not None or named_axes_of(image) is not None
