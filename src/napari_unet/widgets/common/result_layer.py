"""A layer of results: what belongs to it, which one is meant, how it looks, what it was before."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap

from napari_unet.data.labels import bands_of, pixels_per_number
from napari_unet.objects.tracks import LinkMemory
from napari_unet.tasks import FILLED, OUTLINES, TASKS
from napari_unet.tasks.classes import CLASSES
from napari_unet.widgets.common.annotation import Annotation, annotation_of
from napari_unet.widgets.common.layers import METADATA_KEY, OfImage, plain_layers, unwrapped

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.tasks import Look, Task

HIDDEN = "The cells are hidden: press H to show them."
_KEPT_RESULTS = 4
_KEPT_PIXELS = 2**27  # of all results that are kept of one layer: half a gigabyte


@dataclass(frozen=True, eq=False)
class KeptResult:
    """What a result layer has shown before."""

    shown: NDArray[Any]
    predicted: NDArray[Any]
    """The same array where nothing was corrected."""
    taken: NDArray[Any] | None
    places: tuple[tuple[tuple[int, ...], Region], ...]

    @property
    def pixels(self) -> int:
        """How many it holds in memory."""
        return self.shown.size * (1 if self.shown is self.predicted else 2)


class Replaced:
    """What a layer shows before it is written over: copied band by band, each before it is written.

    To copy all of a large image at once would stop the window.
    """

    def __init__(self, about: Predicted, layer: Labels) -> None:
        self._sources = [np.asarray(layer.data), about.labels]
        self._sources += [] if about.taken is None else [about.taken]
        self._copies = [np.empty_like(each) for each in self._sources]
        self._places = about.places
        self._left, self._saved = [band for band, _ in bands_of(self._sources[0])], list[slice]()
        self._corrected = False

    def save(self, first: int | slice) -> None:
        """Copy the bands that a part of the first axis touches."""
        part = first if isinstance(first, slice) else slice(first, first + 1)
        for band in [b for b in self._left if b.start < part.stop and part.start < b.stop]:
            self._copy(band)

    def save_more(self) -> None:
        """Copy one more band: so little is left at the end."""
        if self._left:
            self._copy(self._left[-1])

    def _copy(self, band: slice) -> None:
        (shown, predicted, *_), (shown_copy, predicted_copy, *_) = self._sources, self._copies
        if not self._corrected and not np.array_equal(shown[band], predicted[band]):
            self._corrected = True
            for saved in self._saved:  # until now one copy was enough
                predicted_copy[saved] = shown_copy[saved]
        self._left.remove(band)
        self._saved.append(band)
        for number, (source, copy) in enumerate(zip(self._sources, self._copies, strict=True)):
            if number != 1 or self._corrected:
                copy[band] = source[band]

    def shown(self, box: tuple[Any, ...]) -> NDArray[Any]:
        """Return what was shown in a box."""
        self.save(box[0])
        shown: NDArray[Any] = self._copies[0][box]
        return shown

    def corrected(self, box: tuple[Any, ...]) -> NDArray[np.bool_]:
        """Return where a box was corrected: a mask, or one False for all of it."""
        self.save(box[0])
        if not self._corrected:
            return np.zeros((), bool)
        differs: NDArray[np.bool_] = self._copies[0][box] != self._copies[1][box]
        return differs

    def put_back(self, about: Predicted) -> None:
        """Show again what was written over."""
        for band in self._saved:
            for number, source in enumerate(self._sources):
                source[band] = self._copies[number if self._corrected or number != 1 else 0][band]
        about.places, about.replaced = self._places, None

    def kept(self) -> KeptResult:
        """Copy the rest; what was not written over may have been corrected meanwhile."""
        for band in list(self._left):
            self._copy(band)
        shown, predicted = self._copies[:2]
        taken = self._copies[2] if len(self._copies) > 2 else None
        predicted = predicted if self._corrected else shown
        return KeptResult(shown, predicted, taken, self._places)


def _task_of(kind: str) -> Task:
    return next((task for task in TASKS.values() if task.kind == kind), CLASSES)


def empty_result(kind: str, shape: tuple[int, ...], largest: int = 0) -> NDArray[Any]:
    """Return zeros for a result of a kind; `largest` is the largest number of a class.

    Classes are in 16 bits where that is enough, since napari draws those at once. Of more bits it
    looks up the colour of every pixel: a second and a half for 6,000 x 6,000.
    """
    small = _task_of(kind).named and largest <= np.iinfo(np.uint16).max
    return np.zeros(shape, np.uint16 if small else np.int32)


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
    """Whether a number is one object in all frames; where `stale`, it is to be again."""
    stale: bool = False
    """Whether numbers were written since objects were linked."""
    memory: LinkMemory = field(default_factory=LinkMemory)
    """What is remembered of links, also while objects are not linked."""
    name: str = ""
    """What the layer was called: one that was renamed, or duplicated, is the user's."""
    part: str = ""
    """Of overlapping classes the one that is shown: each has a layer of its own."""
    placement: str = ""
    """How its image lay when it was shown last."""
    followed: object = ""
    """Which layer's colours it takes, by its `unique_id`."""
    earlier: list[KeptResult] = field(default_factory=list)
    later: list[KeptResult] = field(default_factory=list)
    replaced: Replaced | None = None
    """What is being written over now."""

    @property
    def task(self) -> Task:
        """What was predicted; of probabilities, the likeliest class."""
        return _task_of(self.kind)

    def copied(self, layer: Labels) -> Predicted:
        """Return the same for a layer that was just copied; nothing writes there."""
        made = super().copied(layer)
        made.live, made.followed = False, ""
        layer.contour = first_look(self.task, np.shape(layer.data)).outline  # napari forgets it
        if made.in_progress:  # what was not final there is no one's correction
            made.in_progress, made.labels, made.taken = False, np.array(layer.data), None
        return made

    def as_it_is(self, layer: Labels) -> KeptResult:
        """Return a copy of what the layer shows."""
        return Replaced(self, layer).kept()

    def keep(self, result: KeptResult) -> None:
        """Keep a result that is being replaced; the oldest ones go."""
        kept = [*self.earlier, *reversed(self.later), result][-_KEPT_RESULTS:]
        while sum(each.pixels for each in kept) > _KEPT_PIXELS:
            kept.pop(0)
        self.earlier, self.later = kept, []

    def end_live(self) -> None:
        """Let what a training has shown be a result like any other."""
        self.live = False
        self.keep_replaced()

    def keep_replaced(self) -> KeptResult | None:
        """Keep what was written over, and return it."""
        replaced, self.replaced = self.replaced, None
        if replaced is None:
            return None
        self.keep(result := replaced.kept())
        return result

    def restore(self, result: KeptResult, layer: Labels) -> None:
        """Show a kept result again."""
        np.copyto(np.asarray(layer.data), result.shown)
        np.copyto(self.labels, result.predicted)
        self.taken = None if result.taken is None else result.taken.copy()
        self.places, self.stale = result.places, True
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
    active = unwrapped(viewer.layers.selection.active)
    return active if isinstance(active, Labels) else None


def _results_in(viewer: Viewer) -> list[Labels]:
    """List the layers of results, the topmost first; also of parts."""
    layers = [each for each in reversed(plain_layers(viewer)) if isinstance(each, Labels)]
    return [each for each in layers if isinstance(each.metadata.get(METADATA_KEY), Predicted)]


def result_to_correct(viewer: Viewer) -> Labels | None:
    """Return the selected result, or the topmost; one that is shown before one that is hidden."""
    active = active_labels(viewer)
    results = [each for each in _results_in(viewer) if predicted_of(each) is not None]
    results.sort(key=lambda layer: (not layer.visible, layer is not active, _is_copy(layer)))
    return next(iter(results), None)


def newest_prediction(viewer: Viewer) -> Labels | None:
    """Return the topmost layer that was predicted, a copy only where there is no other."""
    results = [each for each in _results_in(viewer) if predicted_of(each) is not None]
    return min(results, key=_is_copy, default=None)


def shown_result(viewer: Viewer) -> Labels | None:
    """Return the selected layer if it shows a result, else the topmost; also of a part.

    A copy, in which nothing new is shown, only where there is no other.
    """
    results, active = _results_in(viewer), active_labels(viewer)
    return active if active in results else min(results, key=_is_copy, default=None)


def _is_copy(layer: Labels) -> bool:
    """Return whether a result was duplicated, or renamed: it is the user's, and stays as it is."""
    about = layer.metadata[METADATA_KEY]
    return bool(about.name and about.name != layer.name)


def image_of_result(layer: Layer) -> Image | None:
    """Return the image whose result a layer shows; None for layers of other origin."""
    about = layer.metadata.get(METADATA_KEY)
    return about.image if isinstance(about, Predicted) else None


def forget_undo(layer: Labels) -> None:
    """Let napari forget the steps of a layer whose pixels were replaced under them."""
    layer.editable = False
    layer.editable = True


def forget_newest(layer: Labels) -> None:
    """Forget what a result layer showed last."""
    about = layer.metadata.get(METADATA_KEY)
    if isinstance(about, Predicted) and about.earlier:
        about.earlier.pop()


# --- Colours, and what the keys do ---------------------------------------------------------------

_N_COLOURS, _N_CLASSES = 60, 255
_DIMMEST, _LIGHTEST = 0.25, 0.6  # luminance of outlines that are seen on black and on white
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


def draw_unseen() -> None:
    """Draw labels that nobody sees: the first ones take napari a quarter of a second of compiling.

    A worker does, so that the window need not; no layer of a viewer is touched.
    """
    Labels(np.zeros((1, 1), np.int32), colormap=bright_colours())


def follow_colours(layer: Labels, about: Predicted, annotation: Labels | None) -> None:
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
    was, now = (count_objects_in(labels, about.ndim)[1] for labels in (before, after))
    return f"{was:,} → {now:,} {about.task.things}"


def count_in_words(layer: Labels) -> str:
    """Return how many objects a result shows: "133 objects"; nothing as in `change_in_words`."""
    about: Predicted = layer.metadata[METADATA_KEY]
    labels = np.asarray(layer.data)
    if about.task.named or labels.size > _LARGEST_COUNTED:
        return ""
    _, count = count_objects_in(labels, about.ndim, about.linked)
    return f"{count:,} {about.task.things if count != 1 else about.task.thing}"


def count_objects_in(
    labels: NDArray[Any], ndim: int, linked: bool = False
) -> tuple[dict[tuple[int, ...], int], int]:
    """Count the objects of each frame, and all: where they are linked a number is one in all.

    Examples
    --------
    >>> count_objects_in(np.array([[[0, 3]], [[3, 7]]]), 2)
    ({(0,): 1, (1,): 2}, 3)
    >>> count_objects_in(np.array([[[0, 3]], [[3, 7]]]), 2, linked=True)
    ({(0,): 1, (1,): 2}, 2)
    """
    found = {
        at: np.flatnonzero(pixels_per_number(labels[at])[1:])
        for at in np.ndindex(labels.shape[: labels.ndim - ndim])
    }
    counts = {at: len(numbers) for at, numbers in found.items()}
    together = len(np.unique(np.concatenate([*found.values()]))) if linked and found else 0
    return counts, together if linked else sum(counts.values())


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
