"""Axes shown as letters, and corrected."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import Qt

from napari_unet.widgets.common.axes_row import AxesRow, alternatives

from .conftest import HAND, Desk, disks
from .test_predict import predict_with, untrained


@pytest.mark.parametrize(
    ("shape", "rgb", "expected"),
    [
        ((8, 8), False, ("YX",)),
        ((8, 8, 8), False, ("ZYX", "TYX", "CYX", "YXC")),
        ((8, 8, 3), True, ("YXC",)),
        ((5, 8, 8, 3), True, ("ZYXC", "TYXC")),
    ],
    ids=["plane", "stack", "colour", "stack of colour"],
)
def test_only_axes_that_make_sense_are_offered(
    shape: tuple[int, ...], rgb: bool, expected: tuple[str, ...]
) -> None:
    assert alternatives(Image(np.zeros(shape, np.uint8), rgb=rgb)) == expected


@pytest.mark.fault(23)
def test_what_the_model_would_guess_is_shown_as_guessed(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(np.stack([disks()] * 2))
    desk.predict._session.set_model(untrained(channels=2), "two channels")

    assert desk.predict.options.axes_row.currentText() == "CYX (guessed)"


@pytest.mark.fault(23)
def test_chosen_axes_become_the_axis_labels_of_the_layer(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(np.stack([disks()] * 3))
    row = desk.predict.options.axes_row

    HAND.keyClick(row, Qt.Key.Key_Down)

    assert desk.image.axis_labels == ("z", "y", "x")
    assert row.currentText() == "ZYX"
    assert row.known


def test_axis_labels_changed_elsewhere_are_shown(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(np.stack([disks()] * 3))

    desk.image.axis_labels = ("c", "y", "x")

    assert desk.predict.options.axes_row.currentText() == "CYX"


@pytest.mark.fault(22, 23)
def test_axes_of_a_colour_image_are_fixed(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(np.stack([disks()] * 3, axis=-1), rgb=True)
    row = desk.predict.options.axes_row
    row.activated.emit(1)

    assert row.axes == "YXC"
    assert desk.image.axis_labels == ("y", "x")
    assert not row.isEnabled()


def test_an_image_that_no_model_can_read_has_no_axes() -> None:
    from napari_unet.errors import ImageError

    def refuse(image: Image) -> str:
        raise ImageError("no")

    assert AxesRow(refuse).axes is None


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("axes", "labels_shape"), [("TCYX", (3, 96, 96)), ("CTYX", (3, 96, 96))], ids=["TC", "CT"]
)
def test_equal_sizes_are_told_apart_by_the_axes(
    make_desk: Callable[..., Desk], axes: str, labels_shape: tuple[int, ...]
) -> None:
    desk = make_desk(np.stack([np.stack([disks()] * 3)] * 3), scale=(2, 5, 0.5, 0.5))
    desk.image.axis_labels = tuple(axes.lower())

    predict_with(desk, untrained(channels=3))

    result = desk.viewer.layers["disks prediction"]
    assert result.data.shape == labels_shape
    assert result.scale[0] == desk.image.scale[axes.index("T")]
    assert result.axis_labels == ("t", "y", "x")
