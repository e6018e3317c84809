"""Start a prediction of an image: into a layer for all of it, for a part of it, or into a file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from napari.layers import Image

from napari_unet.io.zarr_files import ZARR_SUFFIX
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.results import RESULT_TYPES
from napari_unet.widgets.common.controls import single_shot
from napari_unet.widgets.common.layers import METADATA_KEY, pixels_of, plain_layers
from napari_unet.widgets.common.pairs import paint_on
from napari_unet.widgets.common.placement import moved_to, placement_along
from napari_unet.widgets.common.result_layer import forget_newest
from napari_unet.widgets.common.result_writing import ResultLayer, labels_of_parts
from napari_unet.widgets.common.stored_layers import show_stored
from napari_unet.widgets.common.task import Finished, Outcome
from napari_unet.widgets.common.visible import box_on_screen, check_planes, frame_and_region
from napari_unet.widgets.predict.work import (
    Source,
    check_size,
    is_large,
    predict_with_card,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari.layers import Labels, Layer
    from napari.viewer import Viewer

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig, ResultKind
    from napari_unet.prediction.results import BlockSeparated, Prediction, TilePredicted
    from napari_unet.provenance.card import PredictionCard
    from napari_unet.tasks import Task
    from napari_unet.widgets.common.session import Session

Keep = tuple[int, ...]


def scoped(
    viewer: Viewer, image: Image, keep: Sequence[int], ndim: int, config: PredictConfig, scope: str
) -> PredictConfig:
    """Choose what of an image is predicted, "view", "slice" or "whole", by what is on screen.

    `keep` are the axes of the image that the result has, in its order, `config` is how the whole
    image is predicted. ImageError if a view or slice of other planes is on screen than the network
    sees, or the result would not fit into memory.
    """
    if ndim == 2 and scope != "whole":
        check_planes(viewer, image, keep)
    frame, view = frame_and_region(box_on_screen(viewer, image, keep), ndim)
    shape = tuple(pixels_of(image).shape[axis] for axis in keep)
    plane = _whole_plane(viewer, image, keep, view)
    region = {"view": view, "slice": plane}.get(scope)
    check_size(shape if region is None else tuple(part.stop - part.start for part in region))
    near = (*frame, *((part.start + part.stop) / 2 for part in view))
    if region is None:
        return replace(config, near=near)
    return replace(config, near=near, frames=(frame,), region=region)


def _whole_plane(viewer: Viewer, image: Image, keep: Sequence[int], view: Region) -> Region:
    """Widen a view to all of the axes that are on screen."""
    shown = {axis - viewer.dims.ndim + image.ndim for axis in viewer.dims.displayed}
    sizes = pixels_of(image).shape
    axes = zip(keep[-len(view) :], view, strict=True)
    return tuple(slice(0, sizes[axis]) if axis in shown else part for axis, part in axes)


def predict_into_layer(
    viewer: Viewer,
    session: Session,
    model: TrainedNetwork,
    image: Image,
    keep: Keep,
    config: PredictConfig,
    before: ShownPrediction | None = None,
) -> None:
    """Predict in the background; the result appears as it comes.

    `keep` are the axes of the image that the result has, in its order; `scoped` makes `config`. Of
    what was predicted `before` other objects are separated.
    """
    source, known = Source.of(session.model_name, image), None if before is None else before.done
    painted = paint_on(viewer, image, model.record.classes.task)
    if painted is not None:  # it has the axes of the image in their order
        painted = painted.transpose([sorted(keep).index(axis) for axis in keep])
    session.result = ShownPrediction(viewer, session, image, keep, config, model, before)
    work = partial(predict_with_card, source, model, pixels_of(image), config, None)
    beside = session.beside(model)
    session.prediction.start(partial(work, before=known, beside=beside, painted=painted))


def separate_with(session: Session, viewer: Viewer, config: PredictConfig) -> bool:
    """Separate the objects of the newest result with the threshold and size of other settings.

    Return whether they are not so already, and can be without asking the network.
    """
    shown = session.result
    if shown is None or shown.done is None or shown.done.foreground is None:
        return False
    if session.model is not shown.model:
        return False
    asked = replace(shown.config, threshold=config.threshold, smallest=config.smallest)
    there = shown.layer in plain_layers(viewer) and shown.image in plain_layers(viewer)
    if asked == shown.config or not there:
        return False
    predict_into_layer(viewer, session, shown.model, shown.image, shown.keep, asked, shown)
    return True


def predict_into_file(
    viewer: Viewer,
    session: Session,
    model: TrainedNetwork,
    image: Image,
    keep: Keep,
    config: PredictConfig,
    path: Path,
) -> None:
    """Predict into an OME-Zarr in the background, and show it when it is whole.

    As `predict_into_layer`; the suffix is added to `path` where it lacks.
    """
    path = path if path.suffix == ZARR_SUFFIX else path.with_name(path.name + ZARR_SUFFIX)
    source, task = Source.of(session.model_name, image), session.prediction
    placement = placement_along(image, keep)

    def show(outcome: Outcome) -> None:
        task.ended.disconnect(show)
        result: Any = outcome.result if isinstance(outcome, Finished) else None
        if result is not None and result.complete:
            show_stored(viewer, result.path, result.kind, result.axes, placement)

    task.ended.connect(show)
    task.start(partial(predict_with_card, source, model, pixels_of(image), config, path))


# --- Show a prediction as it comes ---------------------------------------------------------------

CARD_KEY = "napari-unet-paint run card"
_REFRESH_MS = 100


class ShownPrediction:
    """Follows the next prediction of a session: labels or uncertainty as they come.

    Probabilities come at the end. Of an image for which a whole result would be a waste of memory,
    a part gets a layer that covers that part alone.
    """

    def __init__(
        self,
        viewer: Viewer,
        session: Session,
        image: Image,
        keep: Sequence[int],
        config: PredictConfig,
        model: TrainedNetwork,
        before: ShownPrediction | None = None,
    ) -> None:
        self._viewer, self._session, self._image = viewer, session, image
        self.config: Final = config
        self.model: Final = model
        self.keep: Final = tuple(keep)
        # What the network said stays known where objects are separated anew, and that is cancelled.
        self.done: Prediction | None = None if before is None else before.done
        self._is_tuned = before is not None
        self._keeps_earlier = before is None or not before._is_tuned
        self._active = viewer.layers.selection.active if before is not None else None
        self._ndim = model.record.network.ndim
        self._placement = placement_along(image, keep)
        self._start: tuple[int, ...] = ()
        self._shape: tuple[int, ...] = ()
        self._whole, part = config.region is None, ""
        if config.frames is not None and config.region is not None and is_large(image, keep):
            frame, region, part = config.frames[0], config.region, " of a part"
            self._start = (*frame, *(each.start for each in region))
            self._shape = (*(1 for _ in frame), *(each.stop - each.start for each in region))
            self._placement = moved_to(self._placement, self._start)
        self._name, self._unsure = (f"{image.name} {what}{part}" for what in _NAMES)
        self._labels: dict[str, ResultLayer] = {}  # of classes in layers one for each
        self._image_layer: Image | None = None
        self._finished: set[tuple[int, ...]] = set()
        self._covered: dict[tuple[int, ...], Region] = {}  # of each frame, where there are tiles
        self._card: PredictionCard | None = None
        self._timer = single_shot(None, _REFRESH_MS, self._refresh)
        session.prediction.happened.connect(self._on_event)
        session.prediction.ended.connect(self._on_ended)

    @property
    def image(self) -> Image:
        """The image that is predicted."""
        return self._image

    @property
    def layer(self) -> Layer | None:
        """Where the result appears."""
        shown = [result.layer for result in self._labels.values()]
        return shown[0] if shown else self._image_layer

    def _on_event(self, event: Any) -> None:
        from napari_unet.prediction.results import (
            BlockSeparated,
            FrameFinished,
            PredictionStarted,
            TilePredicted,
        )
        from napari_unet.provenance.card import PredictionCard

        if isinstance(event, PredictionStarted):
            self._begin(self._shape or event.shape, event.kind)
        elif isinstance(event, TilePredicted | BlockSeparated):
            self._write(event)
            self._covered[event.frame] = _around(self._covered.get(event.frame), event.region)
        elif isinstance(event, FrameFinished) and self._labels:
            for part, labels in labels_of_parts(event.labels, self._task, self._names).items():
                self._labels[part].settle(event.frame, event.region, labels)
            self._finished.add(event.frame)
            self._refresh_soon()
        elif isinstance(event, PredictionCard):
            self._card = event

    def _begin(self, shape: tuple[int, ...], kind: ResultKind) -> None:
        if not RESULT_TYPES[kind].shows_labels:
            self._image_layer = uncertainty_layer(
                self._viewer, shape, self._unsure, self._placement
            )
            return
        for part in self._names or ("",):
            self._labels[part] = ResultLayer(
                self._viewer,
                self._image,
                self._task.layer_kind if part else kind,
                self._ndim,
                shape,
                self._placement,
                self._learned_from(),
                self._start,
                self._whole,
                part,
                max(self.model.record.classes.painted, default=0),
            )
            self._labels[part].begin()

    @property
    def _names(self) -> tuple[str, ...]:
        return self.model.record.classes.names

    @property
    def _task(self) -> Task:
        return self.model.record.classes.task

    def _learned_from(self) -> Labels | None:
        run = self._session.run
        pairs = run.pairs if run is not None else ()
        return next((pair.annotation for pair in pairs if pair.image is self._image), None)

    def _write(self, tile: TilePredicted | BlockSeparated) -> None:
        if self._labels:
            for part, labels in labels_of_parts(tile.labels, self._task, self._names).items():
                self._labels[part].show_tile(tile.frame, tile.region, labels)
        elif self._image_layer is not None:
            start = self._start or (0,) * self._image_layer.ndim
            self._image_layer.data[_box(tile.frame, tile.region, start)] = tile.labels
        self._refresh_soon()

    def _on_ended(self, outcome: Outcome) -> None:
        self._session.prediction.happened.disconnect(self._on_event)
        self._session.prediction.ended.disconnect(self._on_ended)
        if isinstance(outcome, Finished):
            self._end(outcome.result)
        elif self._labels:
            for result in self._labels.values():
                result.undo()
        elif self._image_layer is not None and self._image_layer in plain_layers(self._viewer):
            self._viewer.layers.remove(self._image_layer)
        if self._card is not None:
            for layer in self._layers():
                layer.metadata[CARD_KEY] = self._card  # frozen

    def _layers(self) -> list[Layer]:
        found = [self._image_layer, *(result.layer for result in self._labels.values())]
        return [layer for layer in found if layer is not None]

    def _end(self, result: Prediction) -> None:
        if result.type.is_per_class:
            for shown in self._labels.values():
                shown.remove()
            array = result.array if self._start else result.whole()
            show_probabilities(self._viewer, array, result.axes, self._name, self._placement)
        elif self._labels:
            self._settle_unfinished(result)
            change = "".join([shown.end() for shown in self._labels.values()])
            self.done = result if result.complete else self.done
            for shown in self._labels.values():
                if not self._keeps_earlier and shown.layer is not None:
                    forget_newest(shown.layer)  # of many thresholds tried, that before stays
            if self._active is not None and self._active in self._viewer.layers:
                self._viewer.layers.selection.active = self._active
            for shown in self._labels.values() if result.complete else ():
                shown.bring_back()
            if change:
                self._session.told_of_result.emit(f"{said_of(result, change)} {_WAY_BACK}")
        self._refresh()

    def _settle_unfinished(self, result: Prediction) -> None:
        """Settle what was found in frames that were not finished, where there are tiles of them."""
        start = [part.start for part in result.box]
        for frame, region in self._covered.items():
            if frame not in self._finished and self._labels:
                found = np.asarray(result.array[_box(frame, region, start)])[(0,) * len(frame)]
                for part, labels in labels_of_parts(found, self._task, self._names).items():
                    self._labels[part].settle_found(frame, region, labels)

    def _refresh_soon(self) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _refresh(self) -> None:
        for layer in self._layers():
            layer.refresh()


def _box(frame: tuple[int, ...], region: Region, start: Sequence[int]) -> Region:
    """Return where a region of a frame is in what begins at a pixel."""
    at = (*(slice(i, i + 1) for i in frame), *region)
    return tuple(slice(a.start - s, a.stop - s) for a, s in zip(at, start, strict=True))


def _around(one: Region | None, other: Region) -> Region:
    """Return the box around two boxes."""
    if one is None:
        return other
    pairs = zip(one, other, strict=True)
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in pairs)


_NAMES = ("prediction", "uncertainty")
_WAY_BACK = "The comma key brings the earlier result back."


def said_of(result: Prediction, objects: str = "") -> str:
    """Return what became of a prediction, and how one into a file goes on that was cancelled.

    `objects` is how many there are, if that is known better.
    """
    if result.path is None and not result.complete:
        text = "Cancelled; what is finished is kept."
    elif result.path is None:
        text = "Done."
    elif not result.complete:
        return f"Cancelled. To go on where it was, choose {result.path.name} again."
    else:
        text = f"Done: {result.path.name} is written."
    objects = objects or ("" if result.objects is None else f"{result.objects:,} objects")
    return f"{text} {objects}." if objects else text


def uncertainty_layer(
    viewer: Viewer, shape: tuple[int, ...], name: str, placement: dict[str, Any]
) -> Image:
    """Return the layer that shows, over an image, how unsure the model is: from 0 to 1.

    That of the last time goes on where it covers the same pixels, else it goes.
    """
    for layer in plain_layers(viewer):
        if layer.name == name and layer.metadata.get(METADATA_KEY) == "uncertainty":
            here = np.array_equal(layer.translate, placement["translate"])
            if here and layer.data.shape == shape:
                found: Image = layer
                return found
            viewer.layers.remove(layer)
    layer = Image(
        np.zeros(shape, np.float32),
        name=name,
        colormap="magma",
        blending="additive",
        opacity=0.6,
        contrast_limits=(0, 1),
        metadata={METADATA_KEY: "uncertainty"},
        **placement,
    )
    viewer.add_layer(layer)
    return layer


def show_probabilities(
    viewer: Viewer, values: ArrayLike, axes: str, name: str, placement: dict[str, Any]
) -> None:
    """Show the probability of each class, along the axis C of an array, in a layer of its own."""
    for number, of_class in enumerate(np.moveaxis(np.asarray(values), axes.index("C"), 0)):
        layer = Image(
            of_class,
            name=f"{name}, probability of class {number}",
            contrast_limits=(0, 1),
            metadata={METADATA_KEY: "probabilities"},
            **placement,
        )
        viewer.add_layer(layer)
