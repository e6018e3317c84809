"""The weights that are shown are those that batches are drawn with, at the pixels of the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_unet.training.dataset import AnnotatedImage, TrainingData
from napari_unet.training.patches import _read_target
from napari_unet.training.preparation import prepare_training
from napari_unet.training.targets import weights_in_image

from .builders import painted_cells, tiny_config

SHAPE = (96, 96)
IMAGE, LABELS = painted_cells()


def data_of(image: Any, labels: Any, corrected: Any = None, **changes: Any) -> TrainingData:
    annotated = AnnotatedImage("cells", image, labels, corrected=corrected)
    return prepare_training([annotated], tiny_config(**changes))


def as_drawn(data: TrainingData, number: int = 0) -> Any:
    """All of a frame, as a batch reads it."""
    frame = data.frames[number]
    sizes = frame.frame.spatial_shape
    middle = np.array([size // 2 for size in sizes])
    target = _read_target(frame, middle, [size // 2 for size in sizes], lambda *_: None)
    return target[1][tuple(slice(0, size) for size in sizes)]


def corrected_mask() -> Any:
    corrected = np.zeros(SHAPE, bool)
    corrected[20:40, 20:40] = True
    return corrected


@pytest.mark.parametrize(
    "changes",
    [
        {"binning": 1.0},
        {"binning": 1.0, "border_sigma": 1.5},
        {"binning": 1.0, "class_balance": 1.0},
        {"binning": 1.0, "border_weight": 50.0},
        {"binning": 1.0, "correction_weight": 9.0},
        {"binning": 1.0, "unpainted": "background"},
        {"binning": 1.0, "kind": "classes"},
    ],
    ids=lambda changes: "-".join(list(changes)[1:]) or "plain",
)
def test_they_are_to_the_bit_what_is_drawn(changes: dict[str, Any]) -> None:
    labels = np.minimum(LABELS, 2) if changes.get("kind") == "classes" else LABELS
    data = data_of(IMAGE, labels, corrected_mask(), **changes)

    shown = weights_in_image(data, 0, (), SHAPE)

    assert shown.dtype == np.float32
    assert shown.any()
    np.testing.assert_array_equal(shown, as_drawn(data))


@pytest.mark.parametrize("binning", [2.0, 0.5])
def test_a_pixel_shows_what_the_pixel_of_the_network_counts(binning: float) -> None:
    data = data_of(IMAGE, LABELS, binning=binning)

    shown = weights_in_image(data, 0, (), SHAPE)

    drawn = as_drawn(data)
    wide = drawn.repeat(2, 0).repeat(2, 1) if binning == 2 else drawn[1::2, 1::2]
    np.testing.assert_array_equal(shown, wide)


def test_of_a_stack_the_frame_that_is_asked_for_is_shown() -> None:
    labels = np.stack([np.zeros(SHAPE, np.uint16), LABELS])
    data = data_of(np.stack([IMAGE] * 2), labels, binning=1.0)

    np.testing.assert_array_equal(weights_in_image(data, 0, (1,), SHAPE), as_drawn(data))
    assert not weights_in_image(data, 0, (0,), SHAPE).any()


def test_of_a_large_frame_what_lies_around_the_paint_is_shown_in_its_place() -> None:
    image, labels = np.zeros((2304, 2304), np.float32), np.zeros((2304, 2304), np.uint16)
    image[1500:1596, 1500:1596] = IMAGE
    labels[1500:1596, 1500:1596] = LABELS
    data = data_of(image, labels, binning=1.0)
    assert data.frames[0].frame.spatial_shape != image.shape

    shown = weights_in_image(data, 0, (), image.shape)

    assert np.count_nonzero(shown) == np.count_nonzero(as_drawn(data))
    assert np.count_nonzero(shown[1490:1606, 1490:1606]) == np.count_nonzero(shown)
