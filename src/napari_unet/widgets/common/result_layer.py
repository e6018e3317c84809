"""The layer that shows what a network finds in an image: while it trains, and when it predicts."""

from __future__ import annotations

import warnings
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap

from napari_unet.objects.overlaps import keep_numbers
from napari_unet.tasks import FILLED, OUTLINES, TASKS
from napari_unet.tasks.classes import CLASSES
from napari_unet.widgets.common.annotation import (
    Annotation,
    annotation_of,
    annotations_in,
    image_for,
    was_painted_here,
)
from napari_unet.widgets.common.layers import METADATA_KEY, OfImage, plain_layers, unwrapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.tasks import Look, Task
    from napari_unet.training.events import ViewPredicted

HIDDEN = "The cells are hidden: press H to show them."
_KEPT_RESULTS = 4
_KEPT_PIXELS = 2**27  # of all results that are kept of one layer: half a gigabyte


@dataclass(frozen=True, eq=False)
class KeptResult:
    """What a result layer has shown before."""

    shown: NDArray[np.int32]
    predicted: NDArray[np.int32]
    """The same array where nothing was corrected."""
    taken: NDArray[np.int32] | None
    places: tuple[tuple[tuple[int, ...], Region], ...]

    @property
    def pixels(self) -> int:
        """How many it holds in memory."""
        return self.shown.size * (1 if self.shown is self.predicted else 2)


@dataclass
class Predicted(OfImage):
    """What belongs to a layer of results; kept in the layer's metadata."""

    labels: NDArray[Any]
    """As they were predicted: what differs from them was corrected."""
    ndim: int
    """Spatial dimensions of the network."""
    kind: str = "objects"
    """What the numbers stand for."""
    taken: NDArray[Any] | None = None
    """As they were when corrections were last taken into the annotation."""
    in_progress: bool = False
    """Whether a prediction still writes there: what it shows now is no one's correction."""
    places: tuple[tuple[tuple[int, ...], Region], ...] = ()
    """Frames, and the box in each, that were predicted; nothing is known of the others."""
    live: bool = False
    """Whether a training writes there what it finds on screen."""
    start: tuple[int, ...] = ()
    """Where in its image the layer begins; () where it covers all of it."""
    linked: bool = False
    """Whether a number is one object in all frames."""
    name: str = ""
    """What the layer was called: one that was renamed, or duplicated, is the user's."""
    placement: str = ""
    """How its image lay when it was shown last."""
    followed: object = ""
    """Which layer's colours it takes, by its `unique_id`."""
    earlier: list[KeptResult] = field(default_factory=list)
    later: list[KeptResult] = field(default_factory=list)

    @property
    def task(self) -> Task:
        """What was predicted; of probabilities, the likeliest class."""
        return next((task for task in TASKS.values() if task.kind == self.kind), CLASSES)

    def as_it_is(self, layer: Labels) -> KeptResult:
        """Return a copy of what the layer shows."""
        shown = np.array(layer.data)
        predicted = shown if np.array_equal(shown, self.labels) else self.labels.copy()
        return KeptResult(
            shown, predicted, None if self.taken is None else self.taken.copy(), self.places
        )

    def keep(self, result: KeptResult) -> None:
        """Keep a result that is being replaced; the oldest ones go."""
        kept = [*self.earlier, *reversed(self.later), result][-_KEPT_RESULTS:]
        while sum(each.pixels for each in kept) > _KEPT_PIXELS:
            kept.pop(0)
        self.earlier, self.later = kept, []

    def restore(self, result: KeptResult, layer: Labels) -> None:
        """Show a kept result again."""
        np.copyto(np.asarray(layer.data), result.shown)
        np.copyto(self.labels, result.predicted)
        self.taken = None if result.taken is None else result.taken.copy()
        self.places = result.places
        forget_undo(layer)
        layer.refresh()


def predicted_of(layer: Labels) -> Predicted | None:
    """Return what was predicted in a layer that covers its image; None for layers of other origin.

    The part of a large image has none: what is corrected there would land elsewhere.
    """
    found = layer.metadata.get(METADATA_KEY)
    return found if isinstance(found, Predicted) and not found.start else None


def active_labels(viewer: Viewer) -> Labels | None:
    """Return the selected layer, if it is a labels layer."""
    active = viewer.layers.selection.active
    active = unwrapped(active)
    return active if isinstance(active, Labels) else None


def result_to_correct(viewer: Viewer) -> Labels | None:
    """Return the selected result, or the topmost; one that is shown before one that is hidden."""
    layers = [each for each in reversed(plain_layers(viewer)) if isinstance(each, Labels)]
    results = [each for each in layers if predicted_of(each) is not None]
    active = active_labels(viewer)
    results.sort(key=lambda layer: (not layer.visible, layer is not active))
    return next(iter(results), None)


def newest_prediction(viewer: Viewer) -> Labels | None:
    """Return the topmost layer that was predicted."""
    for layer in reversed(plain_layers(viewer)):
        if isinstance(layer, Labels) and predicted_of(layer) is not None:
            return layer
    return None


def shown_result(viewer: Viewer) -> Labels | None:
    """Return the selected layer if it shows a result, else the topmost; also of a part."""
    layers = [each for each in plain_layers(viewer) if isinstance(each, Labels)]
    results = [each for each in layers if isinstance(each.metadata.get(METADATA_KEY), Predicted)]
    active = active_labels(viewer)
    return active if active in results else next(reversed(results), None)


def image_of_result(layer: Layer) -> Image | None:
    """Return the image whose result a layer shows; None for layers of other origin."""
    about = layer.metadata.get(METADATA_KEY)
    return about.image if isinstance(about, Predicted) else None


def forget_undo(layer: Labels) -> None:
    """Let napari forget the steps of a layer whose pixels were replaced under them."""
    layer.editable = False
    layer.editable = True


class ResultLayer:
    """The results of one task in one image, or in a box of it that begins at `start`.

    What was corrected stays; what was there before is kept, and comes back on request. `whole` is
    whether all of the image is predicted: its objects then keep their numbers 1..N. Else they get
    those of the objects that they replace, and numbers that are new in the layer.
    """

    def __init__(
        self,
        viewer: Viewer,
        image: Image,
        kind: str,
        ndim: int,
        shape: tuple[int, ...],
        placement: Mapping[str, Any],
        annotation: Labels | None,
        start: tuple[int, ...] = (),
        whole: bool = False,
    ) -> None:
        self._viewer, self._image, self._placement = viewer, image, placement
        self._annotation, self._whole = annotation, whole
        self._pixels: NDArray[Any] = np.zeros(shape, np.int32)
        self._about = Predicted(np.zeros(shape, np.int32), ndim, kind, start=start)
        self._about.image = image
        self._before: KeptResult | None = None
        self.layer: Labels | None = None
        part = " of a part" if start else ""
        self._name = f"{image.name} prediction{part}"

    # --- A prediction: begin, tile by tile, and its end ---------------------------------------

    def begin(self) -> None:
        """Show the layer of this image and task, or add one, and remember what it holds."""
        layer = self._known()
        if layer is None:
            self._remove_other_part()
            layer = self._add()
        else:
            self._take(layer)
            self._move(layer)
            self._show(layer)
            if self._about.places or self._pixels.any():
                self._before = self._about.as_it_is(layer)
        self._viewer.layers.selection.active = layer
        layer.editable = False  # what is painted now would be overwritten
        self._about.in_progress, self._about.live = True, False

    def show_tile(self, frame: tuple[int, ...], region: Region, labels: NDArray[Any]) -> None:
        """Show labels that are not final; corrected pixels stay."""
        box = self._box(frame, region)
        if self._before is None:
            self._pixels[box] = labels
        else:
            untouched = self._before.shown[box] == self._before.predicted[box]
            np.copyto(self._pixels[box], labels, where=untouched)

    def settle(self, frame: tuple[int, ...], region: Region, labels: NDArray[Any]) -> None:
        """Write labels that stay."""
        box = self._box(frame, region)
        self._pixels[box] = 0 if self._before is None else self._before.shown[box]
        self._put(box, labels)
        self._cover(frame, region)

    def settle_found(self, frame: tuple[int, ...], region: Region, labels: NDArray[Any]) -> None:
        """Write what was found in a frame that was not finished; elsewhere the former stays."""
        box = self._box(frame, region)
        self._pixels[box] = 0 if self._before is None else self._before.shown[box]
        above = 0 if self._about.task.named else int(self._pixels.max(initial=0))
        found = labels
        if self._before is not None or above:
            found = np.where(labels > 0, labels.astype(np.int32) + above, self._pixels[box])
        self._put(box, found)

    def end(self) -> str:
        """Let the user edit, and keep what was there before; return in words what changed."""
        before = self._leave()
        if before is None:
            return ""
        self._about.keep(before)
        return change_in_words(self._about, before.shown, self._pixels)

    def undo(self) -> None:
        """Show what was there before; a layer that was added goes."""
        before = self._leave()
        if before is not None and self.layer is not None:
            self._about.restore(before, self.layer)
        else:
            self.remove()

    def _leave(self) -> KeptResult | None:
        self._about.in_progress = False
        if self.layer is not None:
            self.layer.editable = True
            if self.layer.data is not self._pixels:  # the user gave it others
                self.layer.metadata[METADATA_KEY] = "edited"
                self._add()
            self.layer.refresh()
        return self._before

    def show_saved(self, result: KeptResult, name: str) -> Labels:
        """Add the layer with what a project holds; what was corrected is known as such."""
        self._pixels, self._name = result.shown, name
        self._about.labels, self._about.taken = result.predicted, result.taken
        self._about.places = result.places
        return self._add()

    def bring_back(self) -> None:
        """Show the layer again if it was removed on the way."""
        if self.layer is not None and self.layer not in plain_layers(self._viewer):
            self._insert(self.layer)

    def remove(self) -> None:
        """Take the layer away."""
        if self.layer is not None and self.layer in plain_layers(self._viewer):
            self._viewer.layers.remove(self.layer)

    # --- A training: what is on screen, again and again ---------------------------------------

    def show_live(self, event: ViewPredicted) -> None:
        """Write what a training finds on screen; objects keep their numbers, and so colours."""
        if not _holds(self._pixels.shape, event):
            return  # the annotation was given other pixels: nothing here is of them any more
        layer = self._known()
        if layer is None:
            chosen = set(self._viewer.layers.selection)
            layer = self._add()
            self._viewer.layers.selection = chosen
        self._take(layer)
        if self._about.in_progress:
            return
        if not self._about.live:
            self._about.live = True
            if self._about.places:
                self._about.keep(self._about.as_it_is(layer))
            self._show(layer)
        self._put((*event.frame, *event.region), event.labels)
        self._cover(event.frame, event.region)
        layer.refresh(extent=False, thumbnail=False)

    def keep_live(self) -> None:
        """Let what was shown live be a result like any other."""
        self._about.live = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the labels."""
        return self._pixels.shape

    # --- Pixels -------------------------------------------------------------------------------

    def _box(self, frame: tuple[int, ...], region: Region) -> tuple[Any, ...]:
        start = self._about.start or (0,) * self._pixels.ndim
        inside = (
            slice(part.start - own, part.stop - own)
            for part, own in zip(region, start[len(frame) :], strict=True)
        )
        return (*(at - own for at, own in zip(frame, start, strict=False)), *inside)

    def _put(self, box: tuple[Any, ...], labels: NDArray[Any]) -> None:
        """Write labels in a box, around what was corrected there."""
        about, shown, predicted = self._about, self._pixels[box], self._about.labels[box]
        largest = 0 if about.task.named else int(self._pixels.max(initial=0))
        if not about.task.named and not self._whole:
            labels = _numbered(labels, shown, largest)
        stays = predicted != shown
        if stays.any():
            unused = 1 + max(largest, int(labels.max(initial=0)), int(about.labels.max(initial=0)))
            labels, stays = about.task.keep_corrections(labels, predicted, shown, unused)
            np.copyto(predicted, labels, where=~stays, casting="same_kind")
        else:
            predicted[...] = labels
        if about.taken is not None:
            np.copyto(about.taken[box], labels, where=~stays, casting="same_kind")
        shown[...] = labels

    def _cover(self, frame: tuple[int, ...], region: Region) -> None:
        """Remember that a box is predicted: those that lie within it need no mention more."""
        if not any(at == frame and _within(region, box) for at, box in self._about.places):
            others = [(a, b) for a, b in self._about.places if a != frame or not _within(b, region)]
            self._about.places = (*others, (frame, region))

    # --- The layer ----------------------------------------------------------------------------

    def _known(self) -> Labels | None:
        """Find the layer of this image and task; one that the user has renamed is the user's."""
        for layer in reversed(plain_layers(self._viewer)):
            about = layer.metadata.get(METADATA_KEY)
            if not isinstance(layer, Labels) or not isinstance(about, Predicted):
                continue
            same = about.image is self._image and about.kind == self._about.kind
            same = same and about.start == self._about.start and about.name == layer.name
            if same and _fits(layer.data, self._pixels) and _fits(about.labels, self._pixels):
                return layer
        return None

    def _remove_other_part(self) -> None:
        """Take away the part that was predicted before, unless someone has corrected it."""
        for layer in plain_layers(self._viewer):
            about = layer.metadata.get(METADATA_KEY)
            if not self._about.start or not isinstance(about, Predicted) or not about.start:
                continue
            ours = about.image is self._image and about.name == layer.name
            if ours and np.array_equal(about.labels, layer.data):
                self._viewer.layers.remove(layer)

    def _take(self, layer: Labels) -> None:
        self.layer = layer
        self._pixels, self._about = layer.data, layer.metadata[METADATA_KEY]

    def _move(self, layer: Labels) -> None:
        """Lay it where the image lies now; each part of that would draw it anew."""
        if self._about.placement != repr(self._placement):
            self._about.placement = repr(self._placement)
            for name, value in self._placement.items():
                setattr(layer, name, value)

    def _add(self) -> Labels:
        look = first_look(self._about.task, self._pixels.shape)
        layer = self.layer = Labels(
            self._pixels,
            name=self._name,
            metadata={METADATA_KEY: self._about},
            opacity=look.opacity,
            **self._placement,
        )
        layer.contour = look.outline
        # In 3D napari shows objects as they are, and would say so at every refresh.
        warnings.filterwarnings("ignore", "Contours are not displayed during 3D")
        if not self._about.task.named:
            layer.colormap = bright_colours()
        self._about.followed, self._about.placement = "", repr(self._placement)
        self._insert(layer)
        self._about.name = layer.name
        return layer

    def _insert(self, layer: Labels) -> None:
        self._viewer.layers.insert(self._place(), layer)
        self._show(layer)

    def _show(self, layer: Labels) -> None:
        """Show it between image and paint, in the colours of what is painted."""
        layer.visible = True
        layers = plain_layers(self._viewer)
        at, place = layers.index(layer), self._place()
        if at > place or (self._image in layers and at < layers.index(self._image)):
            self._viewer.layers.move(at, place)
        paint = [each for each in self._paint() if annotation_of(each).kind == self._about.kind]
        if self._about.task.named:
            _follow_colours(layer, self._about, paint[-1] if paint else None)

    def _place(self) -> int:
        """Return where in the list of layers the result belongs: above its image, below paint."""
        layers = plain_layers(self._viewer)
        above = layers.index(self._image) + 1 if self._image in layers else 0
        return max(above, min((layers.index(each) for each in self._paint()), default=len(layers)))

    def _paint(self) -> list[Labels]:
        """List the layers in which this image is painted, the lowest first."""
        return [
            each
            for each in annotations_in(self._viewer)
            if each is self._annotation or was_painted_here(each)
            if image_for(self._viewer, each) is self._image
        ]


def _fits(array: Any, pixels: NDArray[Any]) -> bool:
    same = isinstance(array, np.ndarray) and array.dtype == pixels.dtype
    return same and array.shape == pixels.shape


def _within(inner: Region, outer: Region) -> bool:
    pairs = zip(inner, outer, strict=True)
    return all(b.start <= a.start and a.stop <= b.stop for a, b in pairs)


def _holds(shape: tuple[int, ...], event: ViewPredicted) -> bool:
    """Return whether a prediction lies within labels of a shape."""
    ends = (*(at + 1 for at in event.frame), *(part.stop for part in event.region))
    return len(ends) == len(shape) and all(
        end <= size for end, size in zip(ends, shape, strict=True)
    )


def _numbered(labels: NDArray[Any], shown: NDArray[Any], largest: int) -> NDArray[np.int32]:
    """Give objects the numbers of those that they replace; the others come after `largest`."""
    kept, before = keep_numbers(labels, shown), int(shown.max(initial=0))
    return np.where(kept > before, kept + np.int32(largest - before), kept)


# --- Colours, and what the keys do ---------------------------------------------------------------

_N_COLOURS = 60
_DIMMEST, _LIGHTEST = 0.25, 0.6  # luminance of outlines that are seen on black and on white
_N_CLASSES = 255
_LARGEST_OUTLINED, _LARGEST_COUNTED = 2**22, 2**24  # pixels


def bright_colours() -> CyclicLabelColormap:
    """Return colours for outlines, of which neighbours differ most and none is dark or white."""
    hues = np.arange(_N_COLOURS) * 0.618 % 1
    rgb = np.clip(np.abs((hues[:, np.newaxis] * 6 + [0, 4, 2]) % 6 - 3) - 1, 0, 1)
    luminance = (rgb @ [0.2126, 0.7152, 0.0722])[:, np.newaxis]
    lift = np.clip((_DIMMEST - luminance) / (1 - luminance), 0, 1)
    rgb = (rgb + lift * (1 - rgb)) * np.minimum(1, _LIGHTEST / luminance)
    seen = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)  # sRGB
    colours = np.zeros((_N_COLOURS + 1, 4), np.float32)  # the first is the background's
    colours[1:] = np.hstack([seen, np.ones((_N_COLOURS, 1))])
    return CyclicLabelColormap(colors=colours)


def _follow_colours(layer: Labels, about: Predicted, annotation: Labels | None) -> None:
    """Show classes in the colours that they are painted in, now and when these change."""
    if annotation is None:
        layer.colormap = _class_colours(Annotation())
        return
    shown, paint = weakref.ref(layer), annotation

    def recolour(event: object = None) -> None:
        known = shown()
        if known is not None:
            known.colormap = _class_colours(annotation_of(paint))

    recolour()
    if about.followed != paint.unique_id:
        about.followed = paint.unique_id
        paint.events.colormap.connect(recolour)


def _class_colours(annotation: Annotation) -> DirectLabelColormap:
    """Return the colour of each class, also of those that get their names later."""
    values = {*range(1, _N_CLASSES + 1), *annotation.names}
    colours: dict[int | None, Any] = {None: "#999999", 0: "transparent"}
    colours |= {value: annotation.colour_of(value) for value in values}
    return DirectLabelColormap(color_dict=colours)


def first_look(task: Task, shape: tuple[int, ...]) -> Look:
    """Return how a new layer is shown: in a large plane napari takes seconds for outlines."""
    return FILLED if shape[-2] * shape[-1] > _LARGEST_OUTLINED else task.look


def change_in_words(about: Predicted, before: NDArray[Any], after: NDArray[Any]) -> str:
    """Return how many objects there were and are: "146 → 133 objects".

    Nothing of classes, and where counting would take long.
    """
    if about.task.named or after.size > _LARGEST_COUNTED:
        return ""
    counts = [_n_objects(labels, about.ndim) for labels in (before, after)]
    return f"{counts[0]:,} → {counts[1]:,} {about.task.things}"


def count_in_words(layer: Labels) -> str:
    """Return how many objects a result shows: "133 objects"; nothing as in `change_in_words`."""
    about: Predicted = layer.metadata[METADATA_KEY]
    labels = np.asarray(layer.data)
    if about.task.named or labels.size > _LARGEST_COUNTED:
        return ""
    count = len(np.unique(labels[labels > 0])) if about.linked else _n_objects(labels, about.ndim)
    return f"{count:,} {about.task.things if count != 1 else about.task.thing}"


def _n_objects(labels: NDArray[Any], ndim: int) -> int:
    frames = labels.reshape(-1, *labels.shape[labels.ndim - ndim :])
    return sum(int(np.count_nonzero(np.bincount(frame.ravel())[1:])) for frame in frames)


def step_through_results(layer: Labels, by: int) -> str:
    """Show the result before (-1) or after (1) the one in a layer; return what changed."""
    about: Predicted = layer.metadata[METADATA_KEY]
    if about.in_progress or about.live:
        return f"{layer.name} is being written to: stop that first."
    taken, left = (about.earlier, about.later) if by < 0 else (about.later, about.earlier)
    if not taken:
        return f"There is no {'earlier' if by < 0 else 'later'} result of {layer.name}."
    now = about.as_it_is(layer)
    left.append(now)
    about.restore(taken.pop(), layer)
    layer.visible = True
    place = f"Result {len(about.earlier) + 1} of {len(about.earlier) + len(about.later) + 1}"
    change = change_in_words(about, now.shown, np.asarray(layer.data))
    return f"{place}: {change}." if change else f"{place}."


def change_look(layer: Labels) -> str:
    """Show a result as outlines, then filled, then not at all; return which."""
    if not layer.visible:
        look, text = OUTLINES, "outlines"
    elif layer.contour:
        look, text = FILLED, "filled"
    else:
        layer.visible = False
        return f"{layer.name}: hidden."
    layer.visible, layer.contour, layer.opacity = True, look.outline, look.opacity
    return f"{layer.name}: {text}."
