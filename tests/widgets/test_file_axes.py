"""Axes and pixel sizes that files name, on the layers that show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels

from napari_unet.widgets.common.axes_row import AxesChip
from napari_unet.widgets.common.file_axes import (
    ImageDescription,
    axes_in_layer,
    describe_image,
    describe_layer,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytestqt.qtbot import QtBot

STACK = np.zeros((3, 12, 14), np.uint16)
IMAGEJ: dict[str, Any] = {"imagej": True, "resolution": (5, 5)}


@pytest.fixture
def viewer(make_viewer: Callable[[], Any]) -> Any:
    """Give a viewer without a canvas."""
    return make_viewer()


@pytest.mark.parametrize("axes", ["ZYX", "TYX", "CYX"])
def test_a_file_describes_itself_without_its_pixels(axes: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, metadata={"axes": axes, "unit": "um", "spacing": 2.0}, **IMAGEJ)
    found = describe_image(path)
    assert found is not None
    assert (found.shape, found.axes) == (STACK.shape, axes)
    assert found.pixel_size["Y"] == pytest.approx(0.2)


def test_a_damaged_file_describes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"no image")
    assert describe_image(path) is None


def test_axes_and_calibration_are_put_on_the_layer_and_told(viewer: Any) -> None:
    image = viewer.add_image(STACK)
    found = ImageDescription(STACK.shape, "ZYX", {"Z": 2.0, "Y": 0.2, "X": 0.2})
    told = describe_layer(viewer, image, found)
    assert image.axis_labels == ("z", "y", "x")
    assert list(image.scale) == [2.0, 0.2, 0.2]
    assert {str(unit) for unit in image.units} == {"micrometer"}
    assert told == "depth before Y and X, 2 x 0.2 x 0.2 µm per pixel"


def test_what_is_set_already_stays(viewer: Any) -> None:
    image = viewer.add_image(STACK, axis_labels=("t", "y", "x"), scale=(1, 3, 3))
    found = ImageDescription(STACK.shape, "ZYX", {"Y": 0.2, "X": 0.2})
    assert describe_layer(viewer, image, found) == ""
    assert image.axis_labels == ("t", "y", "x")
    assert list(image.scale) == [1, 3, 3]


def test_an_image_with_paint_on_it_is_not_moved_away_from_it(viewer: Any) -> None:
    image = viewer.add_image(STACK)
    viewer.add_labels(STACK)
    told = describe_layer(viewer, image, ImageDescription(STACK.shape, "ZYX", {"Y": 0.2, "X": 0.2}))
    assert list(image.scale) == [1, 1, 1]
    assert "not set" in told


@pytest.mark.parametrize(
    ("layer", "file", "axes", "expected"),
    [
        ((3, 12, 14), (3, 12, 14), "CYX", "CYX"),
        ((3, 12, 14), (2, 3, 12, 14), "CZYX", "ZYX"),
        ((3, 12, 14), (4, 12, 14), "ZYX", None),
        ((3, 12, 14), (3, 12, 14), None, None),
    ],
    ids=["same", "one of two channels", "another image", "unknown"],
)
def test_axes_are_those_of_what_the_layer_shows(
    layer: tuple[int, ...], file: tuple[int, ...], axes: str | None, expected: str | None
) -> None:
    image = Image(np.zeros(layer, np.uint8))
    assert axes_in_layer(image, ImageDescription(file, axes)) == expected


# --- in the dock -------------------------------------------------------------------------------


def test_a_stack_of_channels_from_a_file_is_shown_as_channels(
    make_viewer: Callable[[], Any], qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_unet.widgets.segment import suggest
    from napari_unet.widgets.segment.dock import SegmentWidget

    monkeypatch.setattr(suggest, "_DELAY_MS", 10_000_000)
    path = tmp_path / "channels.tif"
    tifffile.imwrite(path, STACK, metadata={"axes": "CYX"}, imagej=True)
    viewer = make_viewer()
    dock = SegmentWidget(viewer)
    viewer.window.add_dock_widget(dock)
    viewer.open(path, plugin="napari")
    qtbot.waitUntil(lambda: dock.axes_chip.currentText() == "Channels", timeout=20_000)
    assert viewer.layers[0].axis_labels == ("c", "y", "x")


def test_a_result_that_napari_has_read_as_an_image_is_shown_as_labels(
    make_viewer: Callable[[], Any], qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_unet.cli.main import main
    from napari_unet.widgets.segment import suggest
    from napari_unet.widgets.segment.dock import SegmentWidget

    monkeypatch.setattr(suggest, "_DELAY_MS", 10_000_000)
    tifffile.imwrite(tmp_path / "cells.tif", np.zeros((32, 32), np.uint8))
    order = ("predict", "cells", tmp_path / "cells.tif", "--output", tmp_path / "out")
    assert main([*map(str, order), "--device", "cpu"]) == 0
    viewer = make_viewer()
    viewer.window.add_dock_widget(SegmentWidget(viewer))
    viewer.open(tmp_path / "cells.tif", plugin="napari")
    viewer.open(tmp_path / "out" / "cells.tif", plugin="napari", name="result")
    qtbot.waitUntil(lambda: isinstance(viewer.layers["result"], Labels), timeout=20_000)
    assert [type(layer) for layer in viewer.layers] == [Image, Labels]


def test_what_no_file_tells_is_asked_in_words(qtbot: QtBot) -> None:
    chip = AxesChip(lambda image: "TYX")
    qtbot.addWidget(chip)
    image = Image(STACK)
    chip.show_image(image)
    assert [chip.itemText(n) for n in range(4)] == ["Time? Choose", "Depth", "Time", "Channels"]
    chip.activated.emit(1)
    assert image.axis_labels == ("z", "y", "x")
    assert chip.currentText() == "Depth"


def test_the_axes_of_a_plane_need_no_chip(qtbot: QtBot) -> None:
    chip = AxesChip(lambda image: "YX")
    qtbot.addWidget(chip)
    chip.show_image(Image(STACK[0]))
    assert not chip.needed
