"""What is said of labels before they are learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_unet.errors import LabelsError
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.preparation import prepare_training

from .builders import tiny_config


def squares(first: int) -> NDArray[np.uint8]:
    """Twelve squares, numbered from a number on."""
    labels = np.zeros((96, 96), np.uint8)
    for number in range(12):
        row, column = divmod(number, 4)
        labels[8 + 28 * row : 20 + 28 * row, 6 + 22 * column : 18 + 22 * column] = first + number
    return labels


def notices(labels: NDArray[np.uint8], **settings: Any) -> str:
    image = AnnotatedImage("a", labels.astype(np.float32), labels)
    return " ".join(prepare_training([image], tiny_config(**settings)).notices)


def test_a_finished_mask_that_is_taken_for_paint_is_noticed() -> None:
    assert "look like finished masks" in notices(squares(1))


def test_a_finished_mask_that_is_called_one_is_right() -> None:
    assert "finished masks" not in notices(squares(1), unpainted="background")


def test_paint_with_a_stroke_of_background_is_right() -> None:
    paint = squares(2)
    paint[2:4, 4:92] = 1
    assert "finished masks" not in notices(paint)


def test_dabs_of_background_here_and_there_are_right() -> None:
    paint = squares(2)
    paint[2:6, 2:6] = paint[90:94, 90:94] = 1
    assert "finished masks" not in notices(paint)


def test_a_few_painted_cells_are_no_mask() -> None:
    labels = squares(1)
    labels[labels > 5] = 0
    assert "finished masks" not in notices(labels)


def test_a_mask_among_painted_images_is_named() -> None:
    paint = squares(2)
    paint[2:4, 4:92] = 1
    images = [
        AnnotatedImage(name, labels.astype(np.float32), labels)
        for name, labels in (("painted.tif", paint), ("mask.tif", squares(1)))
    ]
    told = " ".join(prepare_training(images, tiny_config()).notices)
    assert "The labels of mask.tif look like finished masks" in told


def test_a_grey_image_as_labels_is_noticed() -> None:
    grey = np.random.default_rng(0).integers(0, 255, (96, 96)).astype(np.uint8)
    assert "The labels of a: most pixels side by side hold different" in notices(grey)


def test_one_number_for_many_objects_is_noticed() -> None:
    mask = (squares(1) > 0) * np.uint8(255)
    assert "255, covers 12 separate pieces" in notices(mask, unpainted="background")


def test_labels_of_another_shape_name_their_image() -> None:
    images = [
        AnnotatedImage(name, squares(2).astype(np.float32), labels)
        for name, labels in (("good.tif", squares(2)), ("bad.tif", squares(2)[:50]))
    ]
    with pytest.raises(LabelsError, match=r"^bad\.tif: Labels \(50, 96\) do not match"):
        prepare_training(images, tiny_config())
