"""Write what is right in a prediction into the annotation, so that the next training learns it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image, Labels

from napari_unet.errors import LabelsError
from napari_unet.objects.corrections import annotation_number_for, copy_region
from napari_unet.tasks import task_of, task_of_layer
from napari_unet.tasks.objects import OBJECTS
from napari_unet.widgets.common.annotation import (
    FIRST_VALUE,
    annotation_of,
    annotations_in,
    class_of_layer,
    fits,
    image_for,
    new_annotation,
)
from napari_unet.widgets.common.layers import labels_of, plain_layers
from napari_unet.widgets.common.linked_undo import Change, LinkedUndo, Taught
from napari_unet.widgets.common.mouse_edits import FramePath, disk, path_in_frame, write_edit
from napari_unet.widgets.common.result_layer import Predicted, predicted_of
from napari_unet.widgets.common.session import session_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.objects.corrections import Edit


class AnnotationCopier:
    """Copies from the predictions of a viewer into its annotations.

    `followed` is called with a result when a correction of it that was taught was undone (-1), or
    redone (1).
    """

    def __init__(
        self, viewer: Viewer, followed: Callable[[Labels, int], object] = lambda layer, by: None
    ) -> None:
        self._viewer, self._followed = viewer, followed
        self._undo: WeakKeyDictionary[Labels, LinkedUndo] = WeakKeyDictionary()
        self._session = session_of(viewer)

    def annotation_for(self, prediction: Labels) -> Labels:
        """Return the layer to copy into; made where there is none."""
        shape, predicted = prediction.data.shape, predicted_of(prediction)
        image = predicted.image if predicted else None
        known = annotations_in(self._viewer)
        chosen = self._session.annotation
        part = "" if predicted is None else predicted.part
        if part:  # each class is painted in a layer of its own
            known = [
                each
                for each in known
                if annotation_of(each).task.in_layers and class_of_layer(each) == part
            ]
        for found in ([chosen] if chosen in known else []) + known:
            same_image = image is None or image_for(self._viewer, found) is image
            if found is not None and labels_of(found).shape == shape and same_image:
                return found
        kind = OBJECTS.kind
        if predicted is not None and part:
            kind = task_of_layer(predicted.kind).kind
        made = new_annotation(self._viewer, self._image_of(prediction), kind, part)
        self._viewer.layers.selection.active = prediction
        return made

    def _image_of(self, prediction: Labels) -> Image:
        predicted = predicted_of(prediction)
        images = [each for each in plain_layers(self._viewer) if isinstance(each, Image)]
        if predicted is not None and predicted.image in images:
            return predicted.image
        for image in images:
            if fits(image, prediction.data.shape):
                return image
        raise LabelsError(
            f"The image of {prediction.name} is closed: open it again to make an annotation of it."
        )

    def copy_object(
        self, prediction: Labels, path: FramePath, number: int
    ) -> tuple[Labels, Change]:
        """Copy a whole object into the annotation, from the frame of a path.

        Return that layer, and what became of it. LabelsError if its data type does not hold the
        object's new number.
        """
        annotation = self.annotation_for(prediction)
        painted = np.asarray(labels_of(annotation))[path.frame]
        numbers = _numbers_in(painted, path, [number])
        edit = copy_region(path.labels, painted, np.nonzero(path.labels == number), numbers)
        return annotation, _teach(annotation, path.frame, edit)[0]

    def copy_under_brush(self, prediction: Labels, at: NDArray[np.floating[Any]]) -> None:
        """Copy what lies under the annotation's brush, background included.

        The centre of the brush is `at`, of shape (axes of the layer,), in pixels. LabelsError if
        the data type of the annotation does not hold a new number.
        """
        annotation = self.annotation_for(prediction)
        path = path_in_frame(prediction, at[np.newaxis])
        labels = path.labels
        painted = np.asarray(labels_of(annotation))[path.frame]
        pixels = disk(path.points[0], annotation.brush_size / 2, labels.shape)
        under = labels[pixels]
        numbers = _numbers_in(painted, path, np.unique(under[under > 0]).tolist())
        _teach(annotation, path.frame, copy_region(labels, painted, pixels, numbers))

    def copy_corrections(self) -> int:
        """Copy what was corrected in predictions since the last time; return how many pixels."""
        taught = 0
        for layer in plain_layers(self._viewer):
            predicted = predicted_of(layer) if isinstance(layer, Labels) else None
            if predicted is not None and not predicted.in_progress:
                taught += sum(seen.at[0].size for _, seen, _ in self._teach_layer(layer, predicted))
        return taught

    def teach(self, layer: Labels, correction: Change) -> None:
        """Copy what was corrected in a result, `correction` last.

        What undoes one of both undoes the other. LabelsError as for `copy_object`.
        """
        predicted = predicted_of(layer)
        assert predicted is not None
        annotation = self.annotation_for(layer)
        known = self._undo.get(layer)
        if known is None or not known.links(layer, annotation):
            known = self._undo[layer] = LinkedUndo(layer, annotation, self._followed)
        with known.paused():
            changes = self._teach_layer(layer, predicted)
        if changes:
            step = Taught(correction, *map(Change.joined, zip(*changes, strict=True)))
            if not step.result.empty and not step.paint.empty:
                known.remember(step)

    def correcting(self, layer: Labels) -> AbstractContextManager[None]:
        """Change a result by a tool meanwhile: that is no undo, even where it looks like one."""
        known = self._undo.get(layer)
        return nullcontext() if known is None else known.paused()

    def _teach_layer(
        self, layer: Labels, predicted: Predicted
    ) -> list[tuple[Change, Change, Change]]:
        """Return of each frame what `Taught` holds: paint, taken, corrected."""
        after = np.asarray(layer.data)
        changes: list[tuple[Change, Change, Change]] = []
        if np.array_equal(predicted.labels if predicted.taken is None else predicted.taken, after):
            return changes
        if predicted.taken is None:
            predicted.taken = predicted.labels.copy()
        taken = predicted.taken
        annotation = self.annotation_for(layer)
        with annotation.block_history():
            for frame in np.ndindex(*after.shape[: after.ndim - predicted.ndim]):
                if np.array_equal(taken[frame], after[frame]):
                    continue
                painted = np.asarray(labels_of(annotation))[frame]
                before, now = taken[frame], after[frame]
                if predicted.part:  # in its own layer each class is painted with the same number
                    before, now = np.minimum(before, FIRST_VALUE), np.minimum(now, FIRST_VALUE)
                edit = task_of(predicted.kind).corrections(before, now, painted)
                paint, marks = _teach(annotation, frame, edit)
                seen = Change.between(taken[frame], after[frame], frame)
                seen.write(taken)
                changes.append((paint, seen, marks))
        return changes


def _numbers_in(painted: NDArray[Any], path: FramePath, numbers: list[int]) -> dict[int, int]:
    """Return what predicted numbers are called in the annotation: classes as they are painted."""
    if path.classes is not None:
        return {number: int(path.classes[number]) for number in numbers}
    return {n: annotation_number_for(painted, path.labels, n) for n in numbers}


def _teach(annotation: Labels, frame: tuple[int, ...], edit: Edit) -> tuple[Change, Change]:
    """Write an edit, and remember its pixels: they count more in the next training.

    Return what became of the paint, and of what counts more.
    """
    state = annotation_of(annotation)
    shape = labels_of(annotation).shape
    if state.corrected is None or state.corrected.shape != shape:
        state.corrected = np.zeros(shape, bool)
    marked = state.corrected[frame]
    now = marked.copy()
    now[edit.indices] = True
    marks = Change.between(marked, now, frame)
    marks.write(state.corrected)
    return write_edit(annotation, frame, edit), marks
