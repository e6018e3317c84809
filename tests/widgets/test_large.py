"""Images that are larger than memory: a view of them, and prediction into a file."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from napari.layers import Image, Labels
from qtpy.QtWidgets import QFileDialog

from napari_unet.prediction.results import TilePredicted
from napari_unet.widgets.common import stored_layers
from napari_unet.widgets.common.layers import METADATA_KEY, LayerComboBox
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.common.visible import camera_of
from napari_unet.widgets.predict import runs as predict_runs

from .conftest import Desk, disks
from .test_predict import untrained
from .test_scopes import eager

HUGE = 200_000


class Counted:
    """A lazy image that remembers its largest read; only a small level may be read whole."""

    def __init__(self, array: Any) -> None:
        self._array, self.largest = array, 0
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.size = math.prod(self.shape)

    def __getitem__(self, key: Any, /) -> Any:
        key = key if isinstance(key, tuple) else (key,)
        spans = [
            range(size)[part] if isinstance(part, slice) else [part]
            for part, size in zip(key, self.shape, strict=False)
        ]
        spans += [range(size) for size in self.shape[len(key) :]]
        self.largest = max(self.largest, math.prod(map(len, spans)))
        return self._array[key]

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        assert self.size <= 1024**2, "a whole level was read"
        self.largest = self.size
        return np.asarray(self._array[...], *arguments)


@pytest.fixture
def huge(make_desk: Callable[..., Desk]) -> Desk:
    """An image of 40 gigapixels in four levels, of which nothing is stored but the middle."""
    desk = make_desk()
    desk.viewer.layers.clear()
    levels = []
    for step in (1, 8, 64, 512):
        size = HUGE // step
        level = zarr.create_array(
            zarr.storage.MemoryStore(),
            shape=(size, size),
            chunks=(256, 256),
            dtype="uint8",
            fill_value=30,
        )
        middle = slice(size // 2, size // 2 + 96)
        level[middle, middle] = disks()
        levels.append(Counted(level))
    layer = Image(levels, multiscale=True, name="huge", contrast_limits=(0, 255))
    layer.translate, layer.scale = (10, 20), (2, 2)
    desk.viewer.add_layer(layer)
    session_of(desk.viewer).set_model(eager(), "eager")
    camera = camera_of(desk.viewer)
    camera.zoom = 2
    camera.center = (0, HUGE + 106, HUGE + 116)  # world: scale 2
    desk.qtbot.wait(200)
    return desk


def pixels_of_levels(desk: Desk) -> Any:
    layer: Any = desk.viewer.layers["huge"]
    return layer.data


@pytest.mark.canvas
@pytest.mark.fault(30, 31)
def test_a_view_of_a_huge_image_takes_memory_for_the_view_alone(huge: Desk) -> None:
    tracemalloc.start()

    huge.click(huge.predict.view_button)
    huge.wait_until_idle()

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    result = huge.viewer.layers["huge prediction of a part"]
    assert result.data.any()
    assert result.data.size < 4e6
    assert peak < 300e6
    assert pixels_of_levels(huge)[0].largest < 4e6


@pytest.mark.parametrize("scope", ["view", "slice"])
def test_the_uncertainty_of_a_part_of_a_large_image_is_an_image(
    desk: Desk, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict_runs, "is_large", lambda image, keep: True)
    session_of(desk.viewer).set_model(untrained(), "unsure")
    desk.predict.options.form.editors["result"].show("uncertainty")

    for _ in range(2):  # the second takes the place of the first
        desk.click(getattr(desk.predict, f"{scope}_button"))
        desk.wait_until_idle()

    assert desk.predict.status.text().startswith("Done.")
    (layer,) = (each for each in desk.viewer.layers if "of a part" in each.name)
    assert isinstance(layer, Image)
    assert layer.name == "disks uncertainty of a part"
    assert layer.colormap.name == "magma"
    assert tuple(layer.contrast_limits) == (0, 1)
    assert 0 < layer.data.max() <= 1


@pytest.mark.canvas
@pytest.mark.fault(24)
def test_the_part_lies_where_it_was_seen(huge: Desk) -> None:
    huge.click(huge.predict.view_button)
    huge.wait_until_idle()

    result = huge.viewer.layers["huge prediction of a part"]
    middle = HUGE // 2 + 48
    world = huge.viewer.layers["huge"].data_to_world((middle, middle))
    row, column = result.world_to_data(world)
    assert 0 <= row < result.data.shape[0]
    assert 0 <= column < result.data.shape[1]
    np.testing.assert_array_equal(result.scale, (2, 2))


@pytest.mark.canvas
def test_a_second_view_replaces_the_untouched_first(huge: Desk) -> None:
    for _ in range(2):
        huge.click(huge.predict.view_button)
        huge.wait_until_idle()

    assert sum(isinstance(layer, Labels) for layer in huge.viewer.layers) == 1


@pytest.mark.canvas
def test_what_was_painted_in_a_part_stays(huge: Desk) -> None:
    huge.click(huge.predict.view_button)
    huge.wait_until_idle()
    part = huge.viewer.layers["huge prediction of a part"]
    part.data[:3] = 77

    huge.click(huge.predict.view_button)
    huge.wait_until_idle()

    assert (part.data[:3] == 77).all()
    assert sum(isinstance(layer, Labels) for layer in huge.viewer.layers) == 1


@pytest.mark.canvas
def test_a_part_elsewhere_leaves_a_painted_one_alone(huge: Desk) -> None:
    huge.click(huge.predict.view_button)
    huge.wait_until_idle()
    huge.viewer.layers["huge prediction of a part"].data[:3] = 77
    camera_of(huge.viewer).center = (0, HUGE + 126, HUGE + 136)
    huge.qtbot.wait(200)

    huge.click(huge.predict.view_button)
    huge.wait_until_idle()

    assert sum(isinstance(layer, Labels) for layer in huge.viewer.layers) == 2


@pytest.mark.parametrize("button", ["predict_button", "slice_button"])
def test_what_is_too_large_for_memory_asks_for_a_file(huge: Desk, button: str) -> None:
    huge.click(getattr(huge.predict, button))

    assert "too large a result for memory" in huge.predict.status.text()
    assert "To file…" in huge.predict.status.text()
    assert not huge.predict.task.running


def test_spots_of_a_huge_image_are_refused_in_words(huge: Desk) -> None:
    huge.click(huge.predict.spots.show_button)

    assert "too large a result for memory" in huge.last_notice


def test_a_slice_of_a_long_stack_covers_that_slice_alone(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    stack = zarr.create_array(
        zarr.storage.MemoryStore(), shape=(10_000, 96, 96), chunks=(1, 96, 96), dtype="uint8"
    )
    stack[500] = disks()
    layer = desk.viewer.add_image(stack, name="long", contrast_limits=(0, 255), scale=(3, 1, 1))
    desk.predict.options.image_box.layer = layer
    session_of(desk.viewer).set_model(eager(), "eager")
    desk.viewer.dims.set_current_step(0, 500)

    desk.click(desk.predict.slice_button)
    desk.wait_until_idle()

    result = desk.viewer.layers["long prediction of a part"]
    assert result.data.shape == (1, 96, 96)
    assert result.translate[0] == 1500


# --- into a file -------------------------------------------------------------------------------


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is chosen in the dialog."""
    path = tmp_path / "result.zarr"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(path), ""))
    return path


def predict_into_file(desk: Desk) -> None:
    session_of(desk.viewer).set_model(eager(), "eager")
    desk.click(desk.predict.file_button)
    desk.wait_until_idle()


def test_a_result_in_a_file_is_shown_where_the_image_lies(
    make_desk: Callable[..., Desk], target: Path
) -> None:
    desk = make_desk(scale=(0.5, 0.25), translate=(3, 4), rotate=30, units=("um", "um"))

    predict_into_file(desk)

    layer = desk.viewer.layers["result"]
    assert isinstance(layer, Labels)
    assert target.is_dir()
    assert np.asarray(layer.data).any()
    np.testing.assert_allclose(layer.data_to_world((5, 6)), desk.image.data_to_world((5, 6)))
    assert layer.units == desk.image.units
    assert not layer.editable


def test_a_result_in_a_file_has_levels_where_it_is_large(
    make_desk: Callable[..., Desk], target: Path
) -> None:
    desk = make_desk(np.tile(disks(), (12, 22)))

    predict_into_file(desk)

    layer: Any = desk.viewer.layers["result"]
    assert layer.multiscale
    assert [level.shape for level in layer.data] == [(1152, 2112), (576, 1056), (288, 528)]


def test_a_stored_result_is_not_offered_for_annotation(
    make_desk: Callable[..., Desk], target: Path
) -> None:
    desk = make_desk()
    predict_into_file(desk)

    assert LayerComboBox(desk.viewer, Labels).count() == 0
    assert desk.viewer.layers["result"].metadata[METADATA_KEY] == stored_layers.STORED


def test_predicting_into_the_same_file_again_shows_it_once(
    make_desk: Callable[..., Desk], target: Path
) -> None:
    desk = make_desk()
    predict_into_file(desk)
    predict_into_file(desk)

    assert [layer.name for layer in desk.viewer.layers] == ["disks", "result"]


def test_a_cancelled_file_goes_on_under_the_same_name(
    make_desk: Callable[..., Desk], target: Path
) -> None:
    desk = make_desk(np.stack([disks()] * 60))
    cancel = desk.predict.task.happened.connect(
        lambda event: desk.predict.cancel() if isinstance(event, TilePredicted) else None
    )
    predict_into_file(desk)
    assert "choose result.zarr again" in desk.predict.status.text()
    assert not target.exists()
    desk.predict.task.happened.disconnect(cancel)
    tiles: list[int] = []
    desk.predict.task.happened.connect(
        lambda event: tiles.append(event.number) if isinstance(event, TilePredicted) else None
    )

    desk.click(desk.predict.file_button)
    desk.wait_until_idle()

    assert 0 < len(tiles) < 60
    assert "goes on where an earlier prediction" in desk.predict.status.text()
    assert desk.viewer.layers["result"].data.shape == (60, 96, 96)


def test_probabilities_in_a_file_come_as_lazy_image_layers(
    make_desk: Callable[..., Desk], target: Path
) -> None:
    desk = make_desk()
    box = desk.predict.options.form.editors["result"].widget
    box.setCurrentIndex(box.findData("probabilities"))

    predict_into_file(desk)

    assert desk.viewer.layers["result, probability of class 1"].data.shape == (96, 96)


@pytest.mark.fault(31)
def test_nothing_reads_a_whole_level_of_a_stored_result(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = []
    for size in (4096, 2048, 1024):
        array = zarr.create_array(
            zarr.storage.MemoryStore(), shape=(size, size), chunks=(256, 256), dtype="uint32"
        )
        levels.append(Counted(array))
    monkeypatch.setattr(stored_layers, "levels_of", lambda path: levels)
    desk.viewer.layers.clear()

    layer = stored_layers.show_stored(desk.viewer, tmp_path / "a.zarr", "objects", "YX", {})
    desk.qtbot.wait(300)
    camera_of(desk.viewer).zoom = 4
    desk.qtbot.wait(300)

    assert isinstance(layer, Labels)
    assert levels[0].largest < 4096**2 / 4
    assert levels[1].largest < 2048**2 / 2
