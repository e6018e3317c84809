"""Lazy, multiscale, 3D and time-lapse layers in the Annotate and Train docks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array
import numpy as np
import psutil
import pytest
from napari.components import ViewerModel

from data.counting import CountingArray
from napari_unet.widgets.common.annotation import new_annotation
from napari_unet.widgets.common.pairs import LayerPair, annotated_image
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.train import run as training_run

from .conftest import Desk, disks, strokes_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_SIDE, _AT = 3072, 1536


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_unet.data.intensity._STRIDED_PIXELS", 2**20)
    monkeypatch.setattr(training_run, "_JOIN_DELAY_MS", 100)


def lazy(counting: CountingArray) -> Any:
    da: Any = dask.array
    return da.from_array(counting, chunks=counting.chunks, name=False, asarray=True)


def pyramid() -> tuple[list[Any], CountingArray]:
    """A multiscale image with cells everywhere, and the count of its full resolution."""
    pixels = np.tile(disks(), (_SIDE // 96, _SIDE // 96))
    full = CountingArray(pixels, (256, 256))
    coarse = [lazy(CountingArray(pixels[::k, ::k], (256, 256))) for k in (4, 16)]
    return [lazy(full), *coarse], full


@pytest.mark.canvas
@pytest.mark.fault(30, 31)
def test_a_stroke_and_a_training_on_a_multiscale_layer_never_read_all_of_it(
    make_desk: Callable[..., Desk],
) -> None:
    levels, full = pyramid()
    desk = make_desk(levels, multiscale=True, contrast_limits=(0, 255))
    desk.click(desk.annotate.new_button)
    layer = desk.annotate.target.annotation
    assert layer is not None
    layer.data[_AT : _AT + 96, _AT : _AT + 96] = strokes_on(disks())
    desk.stroke((100, 100), (100, 900))
    desk.train_tiny(5)
    before, full.chunks_touched = full.pixels, set()

    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    assert session_of(desk.viewer).model is not None
    assert full.largest < full.shape[0] * full.shape[1]
    assert full.pixels > before


@pytest.fixture
def film(make_desk: Callable[..., Desk]) -> Desk:
    """A time-lapse of eight frames, of which three are painted."""
    frames = np.stack([np.roll(disks(), shift, axis=1) for shift in range(8)])
    desk = make_desk(frames, axis_labels=("t", "y", "x"))
    desk.click(desk.annotate.new_button)
    assert desk.annotate.target.annotation is not None
    for moment in (0, 3, 7):
        strokes = np.roll(strokes_on(disks()), moment, axis=1)
        desk.annotate.target.annotation.data[moment] = strokes
    desk.train_tiny(20)
    return desk


@pytest.mark.slow
def test_a_network_that_sees_three_moments_trains_and_predicts_a_time_lapse(film: Desk) -> None:
    film.train.form.set_value(film.train.config().changed(window=3))

    film.click(film.train.train_button)
    film.wait_until_idle()
    film.click(film.predict.predict_button)
    film.wait_until_idle()

    model = session_of(film.viewer).model
    assert model is not None
    assert (model.record.network.window, model.record.network.in_channels) == (3, 1)
    assert film.viewer.layers["disks prediction"].data.shape == (8, 96, 96)


def test_a_volume_trains_with_flat_levels_of_its_voxel_size(make_desk: Callable[..., Desk]) -> None:
    volume = np.stack([disks(48)] * 12)
    placement = {"scale": (4, 0.25, 0.25), "units": ("um",) * 3, "axis_labels": ("z", "y", "x")}
    desk = make_desk(volume, **placement)
    desk.click(desk.annotate.new_button)
    assert desk.annotate.target.annotation is not None
    desk.annotate.target.annotation.data[3:9:2] = strokes_on(disks(48))
    _choose_3d(desk)

    desk.click(desk.train.train_button)
    desk.wait_until_idle()

    model = session_of(desk.viewer).model
    assert model is not None
    assert (model.record.network.ndim, model.record.network.flat_levels) == (3, 2)
    assert model.record.pixel_size == {"Z": 4.0, "Y": 0.25, "X": 0.25}


def _choose_3d(desk: Desk) -> None:
    desk.train.preset_box.setCurrentText("3d")
    tiny = {"base_channels": 2, "depth": 2, "patch_size": 16, "batch_size": 1}
    desk.train.form.set_value(desk.train.config().changed(**tiny))
    desk.train.steps_box.setValue(3)


def _stack(n: int = 12) -> NDArray[np.uint8]:
    return np.stack([disks(48)] * n)


@pytest.mark.parametrize(
    ("image", "axes", "preset", "said"),
    [
        (_stack(), ("z", "y", "x"), "fast", "preset 3d"),
        (_stack(), None, "fast", "preset 3d"),
        (_stack(), ("z", "y", "x"), "3d", "voxel size is not known"),
        (disks(), None, "3d", "No chosen image has a Z axis"),
    ],
    ids=["a stack", "perhaps a stack", "unknown voxel size", "a plane"],
)
def test_the_preset_says_what_would_fit_better(
    make_desk: Callable[..., Desk],
    image: NDArray[np.uint8],
    axes: tuple[str, ...] | None,
    preset: str,
    said: str,
) -> None:
    desk = make_desk(image, **({} if axes is None else {"axis_labels": axes}))
    desk.click(desk.annotate.new_button)

    desk.train.preset_box.setCurrentText(preset)

    assert said in desk.train.preset_note.text()


@pytest.mark.parametrize("axes", [("t", "y", "x"), ("y", "x")], ids=["film", "plane"])
def test_nothing_is_said_of_3d_where_there_is_no_depth(
    make_desk: Callable[..., Desk], axes: tuple[str, ...]
) -> None:
    desk = make_desk(_stack() if len(axes) == 3 else disks(), axis_labels=axes)
    desk.click(desk.annotate.new_button)

    assert "3d" not in desk.train.preset_note.text()


def test_a_little_paint_on_a_gigapixel_takes_little_memory() -> None:
    viewer: Any = ViewerModel()
    da: Any = dask.array
    pixels = da.zeros((32_768, 32_768), chunks=1024, dtype=np.uint16)
    image = viewer.add_image([pixels, pixels[::32, ::32]], multiscale=True, contrast_limits=(0, 1))
    process = psutil.Process()
    before = process.memory_info().rss

    layer = new_annotation(viewer, image)
    layer.data_setitem((np.arange(5000, 5030), np.arange(5000, 5030)), 2)
    annotated_image(viewer, LayerPair(image, layer))

    assert process.memory_info().rss - before < 300e6
