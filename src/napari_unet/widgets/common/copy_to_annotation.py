"""Write what is right in a prediction into the annotation, so that the next training learns it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels

from napari_unet.errors import LabelsError
from napari_unet.objects.corrections import annotation_number_for, copy_region
from napari_unet.tasks import task_of
from napari_unet.widgets.common.annotation import (
    annotation_of,
    annotations_in,
    fits,
    image_for,
    new_annotation,
)
from napari_unet.widgets.common.layers import labels_of, plain_layers
from napari_unet.widgets.common.mouse_edits import FramePath, disk, path_in_frame, write_edit
from napari_unet.widgets.common.result_layer import Predicted, predicted_of
from napari_unet.widgets.common.session import session_of

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from napari_unet.objects.corrections import Edit


class AnnotationCopier:
    """Copies from the predictions of a viewer into its annotations."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._session = session_of(viewer)

    def annotation_for(self, prediction: Labels) -> Labels:
        """Return the layer to copy into; made where there is none."""
        shape, predicted = prediction.data.shape, predicted_of(prediction)
        image = predicted.image if predicted else None
        known = annotations_in(self._viewer)
        chosen = self._session.annotation
        for found in ([chosen] if chosen in known else []) + known:
            same_image = image is None or image_for(self._viewer, found) is image
            if found is not None and labels_of(found).shape == shape and same_image:
                return found
        made = new_annotation(self._viewer, self._image_of(prediction))
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

    def copy_object(self, prediction: Labels, path: FramePath, number: int) -> Labels:
        """Copy a whole object into the annotation, from the frame of a path; return the layer.

        Raises
        ------
        LabelsError
            The data type of the annotation does not hold the object's new number.
        """
        annotation = self.annotation_for(prediction)
        painted = np.asarray(labels_of(annotation))[path.frame]
        numbers = _numbers_in(painted, path, [number])
        edit = copy_region(path.labels, painted, np.nonzero(path.labels == number), numbers)
        _teach(annotation, path.frame, edit)
        return annotation

    def copy_under_brush(self, prediction: Labels, at: NDArray[np.floating[Any]]) -> None:
        """Copy what lies under the annotation's brush, background included.

        The centre of the brush is `at`, of shape (axes of the layer,), in pixels.

        Raises
        ------
        LabelsError
            The data type of the annotation does not hold a new number.
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
                taught += self._teach_layer(layer, predicted)
        return taught

    def _teach_layer(self, layer: Labels, predicted: Predicted) -> int:
        before = predicted.labels if predicted.taken is None else predicted.taken
        after = np.asarray(layer.data)
        if np.array_equal(before, after):
            return 0
        annotation = self.annotation_for(layer)
        taught = 0
        with annotation.block_history():
            for frame in np.ndindex(*after.shape[: after.ndim - predicted.ndim]):
                if np.array_equal(before[frame], after[frame]):
                    continue
                painted = np.asarray(labels_of(annotation))[frame]
                edit = task_of(predicted.kind).corrections(before[frame], after[frame], painted)
                _teach(annotation, frame, edit)
                taught += int(edit.values.size)
        predicted.taken = after.copy()
        return taught


def _numbers_in(painted: NDArray[Any], path: FramePath, numbers: list[int]) -> dict[int, int]:
    """Return what predicted numbers are called in the annotation: classes as they are painted."""
    if path.classes is not None:
        return {number: int(path.classes[number]) for number in numbers}
    return {n: annotation_number_for(painted, path.labels, n) for n in numbers}


def _teach(annotation: Labels, frame: tuple[int, ...], edit: Edit) -> None:
    """Write an edit, and remember its pixels: they count more in the next training."""
    write_edit(annotation, frame, edit)
    state = annotation_of(annotation)
    shape = labels_of(annotation).shape
    if state.corrected is None or state.corrected.shape != shape:
        state.corrected = np.zeros(shape, bool)
    state.corrected[frame][edit.indices] = True
