"""What the file of an image says of its axes and its pixel size, put on the layer that shows it."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.utils.notifications import show_info
from qtpy.QtCore import QObject

from napari_unet.errors import NapariUNetError
from napari_unet.io.limits import check_regular
from napari_unet.io.outputs import card_beside_result
from napari_unet.io.tiff_files import describe_tiff
from napari_unet.io.tiff_sets import TIFF_SUFFIXES
from napari_unet.io.zarr_files import open_zarr, split_zarr
from napari_unet.widgets.common.layers import as_labels, follow, pixels_of, plain_layers
from napari_unet.widgets.common.placement import (
    name_axes,
    named_axes_of,
    pixel_size_of,
)
from napari_unet.widgets.common.task import Finished, Outcome, task_named

if TYPE_CHECKING:
    import threading

    from napari.viewer import Viewer

    from napari_unet.data.axes import PixelSize

_ASKED: weakref.WeakSet[Image] = weakref.WeakSet()  # whose files were read, by any dock
_MEANING = {"T": "time", "C": "channels", "Z": "depth"}


@dataclass(frozen=True)
class ImageDescription:
    """What a file says of its image."""

    shape: tuple[int, ...]
    axes: str | None = None
    """Letters TCZYX where the file names its axes, else None."""
    pixel_size: PixelSize = field(default_factory=dict)
    """Micrometres along those of ``ZYX`` whose size the file gives."""
    is_result: bool = False
    """Whether its run card says that it holds labels that this program predicted."""


class FileAxes(QObject):
    """Asks the file of each image once, in the background, and tells what it has put there.

    Axes that are named already, and a scale that is set, stay.
    """

    def __init__(self, viewer: Viewer, session: QObject, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._task = task_named(session, "Reading what a file says of its axes")
        self._waiting: list[Image] = []
        self._image: Image | None = None
        self._task.ended.connect(self._on_read)
        follow(self, viewer.layers.events.inserted, self._look_at_result)

    def _look_at_result(self, event: Any) -> None:
        """Ask of a new layer, which need not be the image that a dock shows, if it is a result."""
        path = event.value.source.path
        if isinstance(event.value, Image) and path and card_beside_result(Path(path)).is_file():
            self.look(event.value)

    def is_asking(self, image: Image) -> bool:
        """Return whether the file of an image is still to answer."""
        return image is self._image or image in self._waiting

    def answer_now(self, image: Image) -> None:
        """Put on a layer what its file says, where that is still asked: something depends on it.

        The background answers once torch is imported, which takes seconds the first time.
        """
        found = describe_image(Path(image.source.path)) if self.is_asking(image) else None
        if found is not None:
            describe_layer(self._viewer, image, found)

    def look(self, image: Image | None) -> None:
        """Ask the file of an image, unless that was done."""
        path = None if image is None else image.source.path
        if image is None or not path or image in _ASKED:
            return
        _ASKED.add(image)
        self._waiting.append(image)
        self._next()

    def _next(self) -> None:
        if self._waiting and not self._task.running:
            self._image = self._waiting.pop(0)
            self._task.start(partial(describe_image, Path(self._image.source.path)))

    def _on_read(self, outcome: Outcome) -> None:
        image, self._image = self._image, None
        found: ImageDescription | None = outcome.result if isinstance(outcome, Finished) else None
        if image is not None and found is not None and image in plain_layers(self._viewer):
            told = describe_layer(self._viewer, image, found)
            # Plain TIFFs are read by napari: a plugin that would as well makes it ask who is to.
            if found.is_result and pixels_of(image).dtype.kind in "ui" and not image.rgb:
                as_labels(self._viewer, image)
                told = "a result of napari-unet-paint, shown as labels"
            if told:
                show_info(f"{image.name}, as its file says: {told}.")
        self._next()


def describe_image(path: Path, stop: threading.Event | None = None) -> ImageDescription | None:
    """Return what a TIFF or Zarr says of its image, without reading a pixel; None: nothing.

    It may still take a while, on slow disks and of files with many pages.
    """
    try:
        check_regular(path)
        if split_zarr(path) is not None:
            array, axes, pixel_size = open_zarr(path)[:3]
            return ImageDescription(tuple(array.shape), axes, pixel_size)
        if path.suffix.lower() in TIFF_SUFFIXES:
            return ImageDescription(*describe_tiff(path), is_result=_is_result(path))
    except Exception:  # damaged files raise whatever they come upon; who reads the pixels tells
        return None
    return None


def _is_result(path: Path) -> bool:
    from napari_unet.prediction.results import RESULT_TYPES  # on use, in a worker
    from napari_unet.provenance.card import PredictionCard, read_card

    try:
        card = read_card(card_beside_result(path))
    except NapariUNetError:  # there is none, or one that says nothing
        return False
    kinds = [kind for kind, result in RESULT_TYPES.items() if result.is_labels]
    return isinstance(card, PredictionCard) and card.kind in kinds


def describe_layer(viewer: Viewer, image: Image, found: ImageDescription) -> str:
    """Put axes and pixel size of a file on a layer; return in words what was put there."""
    axes, told = axes_in_layer(image, found), []
    if axes is not None and named_axes_of(image) is None:
        name_axes(image, axes)
        others = [_MEANING[letter] for letter in axes if letter in _MEANING]
        if image.ndim > 2:
            told.append(f"{' and '.join(others)} before Y and X")
    letters = axes or "YX"
    size = {letter: found.pixel_size[letter] for letter in letters if letter in found.pixel_size}
    if size and _knows_no_size(image):
        lengths = " x ".join(f"{length:.4g}" for length in size.values())
        if _can_be_calibrated(viewer, image):
            _calibrate(image, letters, size)
            viewer.reset_view()
            told.append(f"{lengths} µm per pixel")
        else:
            told.append(f"{lengths} µm per pixel (not set beside layers without a size)")
    return ", ".join(told)


def axes_in_layer(image: Image, found: ImageDescription) -> str | None:
    """Return the axes of a layer's pixels, if it shows what the file describes.

    Of channels that were opened as layers of their own, those without C.
    """
    axes, shape, pixels = found.axes, found.shape, tuple(pixels_of(image).shape)
    if axes is None:
        return None
    if image.rgb:
        return axes if axes.endswith("C") and shape[:-1] == pixels[:-1] else None
    if shape == pixels:
        return axes
    at = axes.find("C")
    return axes.replace("C", "") if at >= 0 and shape[:at] + shape[at + 1 :] == pixels else None


def _knows_no_size(image: Image) -> bool:
    return not pixel_size_of(image) and bool(np.all(np.asarray(image.scale) == 1))


def _can_be_calibrated(viewer: Viewer, image: Image) -> bool:
    """Return whether nothing lies on an image, and napari can show the others beside it."""
    others = [layer for layer in plain_layers(viewer) if layer is not image]
    return all(isinstance(layer, Image) and pixel_size_of(layer) for layer in others)


def _calibrate(image: Image, axes: str, size: PixelSize) -> None:
    """Set scale and units of the last axes; the C of colours is none of the layer's."""
    scale, units = list(image.scale), [str(unit) for unit in image.units]
    visible = axes[:-1] if image.rgb and axes.endswith("C") else axes
    for axis, letter in zip(range(-len(visible), 0), visible, strict=True):
        if letter in size:
            scale[axis], units[axis] = size[letter], "µm"
    image.scale, image.units = scale, units
