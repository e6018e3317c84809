"""Masks that napari opened as images are offered as annotations, pictures are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_unet.widgets.annotate.import_annotations import (
    MaskMenu,
    add_annotation_from,
    looks_like_labels,
)

from .scenes import disks, strokes_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

DISKS = (disks() * 200).astype(np.uint8)
MASK = (DISKS > 100).astype(np.uint8) * 255
NOISE = np.random.default_rng(0).integers(0, 200, (64, 64)).astype(np.uint8)
SMOOTH = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (MASK, True),
        (MASK > 0, True),
        (strokes_on(disks()).astype(np.uint16), True),
        (np.stack([MASK] * 3), True),
        (NOISE, False),
        (SMOOTH, False),
        (np.zeros((9, 9), np.uint8), False),
        (MASK / 255, False),
    ],
    ids=["0 and 255", "yes and no", "numbers", "stack", "noise", "smooth", "empty", "real numbers"],
)
def test_an_image_of_patches_of_one_number_holds_labels(
    pixels: NDArray[Any], expected: bool
) -> None:
    assert looks_like_labels(Image(pixels)) == expected


def test_a_mask_opened_as_an_image_becomes_labels_and_an_annotation(
    make_viewer: Callable[[], Any],
) -> None:
    viewer = make_viewer()
    image = viewer.add_image(disks(), name="cells", scale=(0.5, 0.5))
    viewer.add_image(MASK, name="mask", scale=(0.5, 0.5))
    taken: list[Labels] = []

    def take(mask: Labels, zero: Any) -> None:
        taken.append(add_annotation_from(viewer, mask, zero, "objects"))

    menu = MaskMenu(viewer, take)
    menu.fill()
    assert [action.text() for action in menu.actions()] == ["mask"]
    choices = menu.actions()[0].menu()
    assert choices is not None
    choices.actions()[0].trigger()
    assert isinstance(viewer.layers["mask"], Labels)
    assert [layer for layer in viewer.layers if isinstance(layer, Image)] == [image]
    assert set(np.unique(taken[0].data)) == {1, 256}
    assert list(taken[0].scale) == [0.5, 0.5]
