"""What looks like no label image is said so; what is one is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.data.labels import label_pieces, oddity_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


def squares(numbers: list[int], dtype: Any = np.uint8) -> NDArray[Any]:
    labels = np.zeros((40, 20 * len(numbers)), dtype)
    for at, number in enumerate(numbers):
        labels[10:30, 20 * at + 5 : 20 * at + 15] = number
    return labels


def grey() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)


def test_one_number_on_twelve_pieces_is_said() -> None:
    found = oddity_of(squares([255] * 12), one_by_one=True)
    assert "one number, 255, covers 12 separate pieces" in found


@pytest.mark.parametrize("numbers", [[1], [1, 2, 3], [7, 7, 8], []])
def test_instance_masks_are_right(numbers: list[int]) -> None:
    labels = squares(numbers) if numbers else np.zeros((9, 9), np.uint8)
    assert not oddity_of(labels, one_by_one=True)


def test_classes_in_many_pieces_are_right() -> None:
    assert not oddity_of(squares([1, 1, 1]), one_by_one=False)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_grey_image_is_noticed(one_by_one: bool) -> None:
    assert "looks like a grey image" in oddity_of(grey(), one_by_one)


def test_touching_cells_are_no_grey_image() -> None:
    labels = np.arange(1, 65, dtype=np.uint16).reshape(8, 8).repeat(12, 0).repeat(12, 1)
    assert not oddity_of(labels, one_by_one=True)


def test_pieces_of_one_number_become_objects() -> None:
    assert np.unique(label_pieces(squares([255] * 12))).tolist() == list(range(13))


def test_an_instance_mask_keeps_its_numbers() -> None:
    labels = squares([4, 4, 9])
    assert label_pieces(labels) is labels
