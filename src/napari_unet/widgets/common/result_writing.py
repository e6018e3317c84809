"""Writing what a network finds into the layer of results: while it trains, and when it predicts."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels

from napari_unet.objects.overlaps import keep_numbers
from napari_unet.widgets.common.annotation import (
    FIRST_VALUE,
    annotation_of,
    annotations_in,
    image_for,
    was_painted_here,
)
from napari_unet.widgets.common.layers import METADATA_KEY, plain_layers
from napari_unet.widgets.common.result_layer import (
    KeptResult,
    Predicted,
    Replaced,
    bright_colours,
    change_in_words,
    empty_result,
    first_look,
    follow_colours,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.tasks import Task
    from napari_unet.training.events import ViewPredicted


class ResultLayer:
    """The results of one task in one image, or in a box of it that begins at `start`.

    What was corrected stays; what was there before is kept, and comes back on request. `whole` is
    whether all of the image is predicted: its objects then keep their numbers 1..N. Else they get
    those of the objects that they replace, and numbers that are new in the layer. `part` names the
    one of several classes in layers that is shown, `largest` the largest number of a class.
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
        part: str = "",
        largest: int = 0,
    ) -> None:
        self._viewer, self._image, self._placement = viewer, image, placement
        self._annotation, self._whole = annotation, whole
        self._pixels, predicted = (empty_result(kind, shape, largest) for _ in range(2))
        self._about = Predicted(predicted, ndim, kind, start=start, part=part)
        self._about.image = image
        self.layer: Labels | None = None
        self._name = f"{image.name}{part and f' {part}'} prediction{' of a part' if start else ''}"

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
            self._about.end_live()
            if self._about.places or self._pixels.any() or self._about.labels.any():
                self._about.replaced = Replaced(self._about, layer)
        self._viewer.layers.selection.active = layer
        layer.editable = False  # what is painted now would be overwritten
        self._about.in_progress = True

    def show_tile(self, frame: tuple[int, ...], region: Region, labels: NDArray[Any]) -> None:
        """Show labels that are not final; corrected pixels stay."""
        box = self._box(frame, region)
        np.copyto(self._pixels[box], self._cast(labels), where=~self._corrected(box))

    def settle(self, frame: tuple[int, ...], region: Region, labels: NDArray[Any]) -> None:
        """Write labels that stay."""
        box = self._box(frame, region)
        corrected = self._corrected(box)
        if corrected.any() or not self._whole:  # else all of it is written anew
            self._take_back(box)
        self._put(box, labels, corrected)
        self._cover(frame, region)

    def settle_found(self, frame: tuple[int, ...], region: Region, labels: NDArray[Any]) -> None:
        """Write what was found in a frame that was not finished; elsewhere what was there stays."""
        box = self._box(frame, region)
        self._take_back(box)
        above = 0 if self._about.task.named else int(self._pixels.max(initial=0))
        found = labels = self._cast(labels)
        if self._replaced is not None or above:
            found = np.array(self._pixels[box])
            np.add(labels, above, out=found, where=labels > 0, casting="same_kind")
        self._put(box, found, self._corrected(box))

    def end(self) -> str:
        """Let the user edit, and keep what was there before; return in words what changed."""
        self._leave()
        before = self._about.keep_replaced()
        return "" if before is None else change_in_words(self._about, before.shown, self._pixels)

    def undo(self) -> None:
        """Show what was there before; a layer that was added goes."""
        if self._replaced is not None:
            self._replaced.put_back(self._about)
            self._leave()
        else:
            self._leave()
            self.remove()

    def _leave(self) -> None:
        self._about.in_progress = False
        if self.layer is not None:
            self.layer.editable = True
            if self.layer.data is not self._pixels:  # the user gave it others
                self.layer.metadata[METADATA_KEY] = "edited"
                self._add()
            self.layer.refresh()

    @property
    def _replaced(self) -> Replaced | None:
        return self._about.replaced

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
                self._about.replaced = Replaced(self._about, layer)
            self._show(layer)
        box = self._box(event.frame, event.region)
        if self._replaced is not None:
            self._replaced.save(box[0])
            self._replaced.save_more()
        self._put(box, event.labels, self._about.labels[box] != self._pixels[box])
        self._cover(event.frame, event.region)
        layer.refresh(extent=False, thumbnail=False)

    def keep_live(self) -> None:
        """Let what was shown live be a result like any other."""
        self._about.end_live()

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

    def _corrected(self, box: tuple[Any, ...]) -> NDArray[np.bool_]:
        """Return where a box was corrected before: a mask, or one False for all of it."""
        return np.zeros((), bool) if self._replaced is None else self._replaced.corrected(box)

    def _take_back(self, box: tuple[Any, ...]) -> None:
        """Show in a box what was there before."""
        self._pixels[box] = 0 if self._replaced is None else self._replaced.shown(box)

    def _put(
        self, box: tuple[Any, ...], labels: NDArray[Any], corrected: NDArray[np.bool_]
    ) -> None:
        """Write labels in a box, around what was corrected there."""
        about, shown, predicted = self._about, self._pixels[box], self._about.labels[box]
        about.stale = True
        stays, numbered = corrected, about.task.named or self._whole
        largest = 0 if numbered and not stays.any() else int(self._pixels.max(initial=0))
        labels = self._cast(labels)
        if not numbered:
            labels = _numbered(labels, shown, largest)
        if stays.any():
            unused = 1 + max(largest, int(labels.max(initial=0)), int(about.labels.max(initial=0)))
            labels, stays = about.task.keep_corrections(labels, predicted, shown, unused)
            np.copyto(predicted, labels, where=~stays, casting="same_kind")
        else:
            predicted[...] = labels
        if about.taken is not None:
            np.copyto(about.taken[box], labels, where=~stays, casting="same_kind")
        shown[...] = labels

    def _cast(self, labels: NDArray[Any]) -> NDArray[Any]:
        return labels.astype(self._pixels.dtype, copy=False)

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
            same = same and about.part == self._about.part
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
            ours = ours and about.part == self._about.part
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
            colormap=None if self._about.task.named else bright_colours(),
            visible=False,  # until all is set: each look at a large layer draws it anew
            **self._placement,
        )
        layer.contour = look.outline
        # In 3D napari shows objects as they are, and would say so at every refresh.
        warnings.filterwarnings("ignore", "Contours are not displayed during 3D")
        self._about.followed, self._about.placement = "", repr(self._placement)
        self._insert(layer)
        self._about.name = layer.name
        return layer

    def _insert(self, layer: Labels) -> None:
        self._viewer.layers.insert(self._place(), layer)
        self._show(layer)

    def _show(self, layer: Labels) -> None:
        """Show it between image and paint, in the colours of what is painted."""
        if not layer.visible:
            layer.visible = True
        layers = plain_layers(self._viewer)
        at, place = layers.index(layer), self._place()
        if at > place or (self._image in layers and at < layers.index(self._image)):
            self._viewer.layers.move(at, place)
        paint = [each for each in self._paint() if annotation_of(each).kind == self._about.kind]
        if self._about.task.named:
            follow_colours(layer, self._about, paint[-1] if paint else None)

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


def labels_of_parts(
    labels: NDArray[Any], task: Task, names: Sequence[str]
) -> Mapping[str, NDArray[Any]]:
    """Return a result by the name of the layer that shows it; "" where one layer shows all of it.

    `names` are those of classes in layers. Of overlapping ones each has a number, and so a colour,
    of its own.
    """
    if not names:
        return {"": labels}
    layers = task.unpacked(labels, len(names))
    if not task.named:
        return dict(zip(names, layers.astype(np.int32, copy=False), strict=True))
    return {name: (FIRST_VALUE + k) * layers[k] for k, name in enumerate(names)}


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
