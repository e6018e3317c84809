"""Prediction: any size in and the same size out, whatever the tiles; lazily, and stoppable."""

from __future__ import annotations

import re
import threading
from dataclasses import FrozenInstanceError, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device import DEVICE_NAME
from napari_unet.errors import (
    ConfigError,
    ImageError,
    ModelMismatchError,
    NotEnoughMemoryError,
)
from napari_unet.model.inference import InferenceNetwork
from napari_unet.prediction import in_memory
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predictor import predict_image
from napari_unet.prediction.results import FrameFinished, PredictionStarted, TilePredicted
from napari_unet.run import Run
from napari_unet.tasks import ClassTable

from .builders import OBJECTS, a_model, noise, predict, see_the_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.model.trained import TrainedNetwork

Array = Any

MODEL = a_model()
THREE_CLASSES = ClassTable("classes", "unlabelled", (1, 4, 300))
CLASS_MODEL = a_model(THREE_CLASSES)
VOLUME_MODEL = a_model(ndim=3, depth=1)


class CountingImage:
    """An image that notes what is asked of it."""

    def __init__(self, pixels: Array) -> None:
        self.pixels = pixels
        self.largest_read = 0
        self.frames_read: list[int] = []

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.pixels.shape)

    @property
    def dtype(self) -> Any:
        return self.pixels.dtype

    def __getitem__(self, key: Any, /) -> Any:
        part = self.pixels[key]
        self.largest_read = max(self.largest_read, part.size)
        if self.pixels.ndim == 3:
            self.frames_read.append(key[0])
        return part


def of_type(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_what_is_beside_the_network_has_its_say_of_each_tile() -> None:
    def the_second(said: Array, frame: Any, intensity: Any, region: Any) -> Array:
        assert said.shape[1:] == tuple(part.stop - part.start for part in region)
        return np.stack([0 * said[0], 1 + 0 * said[0], 0 * said[0]])

    config = PredictConfig(device=DEVICE_NAME, tile_size=64)
    run = Run(
        predict_image(CLASS_MODEL, noise(90, 70), config, threading.Event(), beside=the_second)
    )
    list(run)

    assert np.unique(run.result.whole()).tolist() == [4]


def stop_after(stop: threading.Event, tiles: int) -> Callable[[object], None]:
    def watch(event: object) -> None:
        if isinstance(event, TilePredicted) and event.number == tiles:
            stop.set()

    return watch


def squares(n: int, pitch: int = 4) -> Array:
    """A sheet of n x n bright squares, none touching another."""
    image = np.zeros((n * pitch, n * pitch), np.float32)
    for row in range(pitch - 1):
        for column in range(pitch - 1):
            image[row::pitch, column::pitch] = 1
    return image


# --- sizes -------------------------------------------------------------------------------------


@pytest.mark.fault(19, 20)
@pytest.mark.parametrize("size", range(1, 81))
def test_every_size_comes_back_as_it_went_in(size: int) -> None:
    shape = (size, 81 - size)
    assert predict(MODEL, noise(*shape))[1].array.shape == shape


@pytest.mark.fault(20, 21)
@given(height=st.integers(1, 40), width=st.integers(1, 40), tile=st.integers(4, 50))
def test_any_size_comes_back_with_any_tiles(height: int, width: int, tile: int) -> None:
    _, result = predict(MODEL, noise(height, width), tile_size=tile, result="probabilities")
    assert result.array.shape == (2, height, width)
    assert result.complete


@pytest.mark.fault(19, 20)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 9, 9), (3, 5, 7), (17, 4, 2), (10, 20, 12)], ids=str
)
def test_volumes_of_any_size_come_back_as_they_went_in(shape: tuple[int, ...]) -> None:
    assert predict(VOLUME_MODEL, noise(*shape))[1].array.shape == shape


@pytest.mark.fault(19)
@pytest.mark.parametrize("depth", [1, 3, 4])
@pytest.mark.parametrize("size", [1, 5, 33])
def test_networks_of_any_depth_take_small_images(depth: int, size: int) -> None:
    assert predict(a_model(depth=depth), noise(size, size))[1].array.shape == (size, size)


@pytest.mark.fault(19)
@pytest.mark.parametrize("shape", [(0, 8), (8, 0), (0, 8, 8)], ids=str)
def test_an_empty_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="The image is empty"):
        predict(MODEL, np.zeros(shape))


# --- tiles do not show -------------------------------------------------------------------------

TILES = [4, 12, 20, 33, 64]


@pytest.mark.fault(21)
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("normalization", ["batch", "none"])
def test_tiled_probabilities_equal_untiled_ones(
    tile: int, padding: str, normalization: str
) -> None:
    model = a_model(padding=padding, normalization=normalization)
    image = noise(75, 90)
    whole = predict(model, image, result="probabilities")[1].array
    tiled = predict(model, image, result="probabilities", tile_size=tile)[1].array
    assert np.ptp(whole) > 1e-3
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


@pytest.mark.fault(21)
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("model", [MODEL, CLASS_MODEL], ids=["objects", "classes"])
def test_tiled_labels_equal_untiled_ones(model: Any, tile: int) -> None:
    image = noise(75, 90)
    whole = predict(model, image)[1].array
    assert len(np.unique(whole)) > 1
    np.testing.assert_array_equal(predict(model, image, tile_size=tile)[1].array, whole)


@pytest.mark.fault(21)
@pytest.mark.parametrize("tile", [2, 7, 16])
def test_tiled_volumes_equal_untiled_ones(tile: int) -> None:
    image = noise(14, 20, 17)
    whole = predict(VOLUME_MODEL, image, result="probabilities")[1].array
    tiled = predict(VOLUME_MODEL, image, result="probabilities", tile_size=tile)[1].array
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


@pytest.mark.fault(21)
def test_a_deep_network_shows_no_tiles_either() -> None:
    model = a_model(depth=4)
    image = noise(70, 83)
    whole = predict(model, image, result="probabilities")[1].array
    tiled = predict(model, image, result="probabilities", tile_size=16)[1].array
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


@pytest.mark.fault(21)
@pytest.mark.parametrize("tile", [4, 16])
def test_an_object_on_a_seam_stays_one(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    see_the_image(monkeypatch)
    image = np.zeros((40, 40), np.float32)
    image[10:30, 10:30] = 1
    assert predict(MODEL, image, tile_size=tile)[1].array.max() == 1


# --- results -----------------------------------------------------------------------------------


def test_objects_are_numbered_without_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    see_the_image(monkeypatch)
    labels = predict(MODEL, squares(5))[1].array
    assert set(np.unique(labels)) == set(range(26))


@pytest.mark.fault(29)
@pytest.mark.parametrize(("n", "dtype"), [(5, "uint8"), (17, "uint16"), (258, "uint32")])
def test_many_objects_never_wrap(monkeypatch: pytest.MonkeyPatch, n: int, dtype: str) -> None:
    see_the_image(monkeypatch)
    labels = predict(MODEL, squares(n, pitch=3 if n > 100 else 4))[1].array
    assert (labels.max(), labels.dtype.name) == (n * n, dtype)


def test_background_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    see_the_image(monkeypatch)
    image = np.zeros((30, 30), np.float32)
    image[3:9, 3:9] = image[17:25, 3:9] = image[5:20, 16:25] = 1
    np.testing.assert_array_equal(predict(MODEL, image)[1].array > 0, image > 0)


def test_an_image_without_objects_is_all_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    see_the_image(monkeypatch)
    assert not predict(MODEL, np.zeros((20, 20), np.float32))[1].array.any()


def test_small_objects_are_dropped_as_the_model_says(monkeypatch: pytest.MonkeyPatch) -> None:
    see_the_image(monkeypatch)
    image = np.zeros((30, 30), np.float32)
    image[2:4, 2:4] = image[10:20, 10:20] = 1
    assert predict(a_model(smallest_object=5), image)[1].array.max() == 1
    assert predict(a_model(smallest_object=4), image)[1].array.max() == 2


def test_the_smallest_size_can_be_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    see_the_image(monkeypatch)
    assert predict(a_model(smallest_object=99), squares(3), smallest=0)[1].array.max() == 9


def test_the_threshold_decides_what_is_foreground(monkeypatch: pytest.MonkeyPatch) -> None:
    see_the_image(monkeypatch)
    image = squares(2) * np.float32(0.6)
    assert predict(MODEL, image)[1].array.max() == 4
    assert predict(MODEL, image, threshold=0.7)[1].array.max() == 0


@pytest.mark.fault(26)
@pytest.mark.fault(53)
def test_a_result_that_memory_does_not_hold_is_refused_before_a_tile_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_memory, "free_memory", lambda: 500_000)
    with pytest.raises(NotEnoughMemoryError, match=r"take 1\.0 MB of memory, 0\.5 MB are free"):
        predict(a_model(), noise(500, 500))


def test_classes_come_back_with_their_painted_values() -> None:
    labels = predict(CLASS_MODEL, noise(40, 40))[1].array
    assert set(np.unique(labels)) <= {0, 4, 300}
    assert len(np.unique(labels)) > 1


def test_classes_are_the_most_probable_ones() -> None:
    image = noise(40, 40)
    probabilities = predict(CLASS_MODEL, image, result="probabilities")[1].array
    expected = np.array([0, 4, 300])[probabilities.argmax(axis=0)]
    np.testing.assert_array_equal(predict(CLASS_MODEL, image)[1].array, expected)


def test_of_two_classes_the_threshold_is_that_of_the_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    see_the_image(monkeypatch)
    image, model = noise(40, 40), a_model(ClassTable("classes", "unlabelled", (1, 2)))
    lower = replace(model, record=replace(model.record, threshold=0.3))
    for labels, expected in (
        (predict(model, image)[1].array, image > 0.5),
        (predict(lower, image)[1].array, image > 0.3),
        (predict(lower, image, threshold=0.7)[1].array, image > 0.7),
    ):
        np.testing.assert_array_equal(labels, np.where(expected, 2, 0))


def test_in_finished_masks_one_is_a_class_like_others() -> None:
    model = a_model(ClassTable("classes", "background", (0, 1, 2)))
    assert set(np.unique(predict(model, noise(40, 40))[1].array)) <= {0, 1, 2}


def test_an_object_model_can_give_its_foreground_as_a_class() -> None:
    image = noise(40, 40)
    probabilities = predict(MODEL, image, result="probabilities")[1].array
    classes = predict(MODEL, image, result="classes")[1].array
    np.testing.assert_array_equal(classes, probabilities[1] > 0.5)


def test_a_class_model_cannot_separate_objects() -> None:
    with pytest.raises(ModelMismatchError, match="trained on classes and cannot separate objects"):
        predict(CLASS_MODEL, noise(20, 20), result="objects")


def between_membranes(membrane: int, threshold: float) -> TrainedNetwork:
    model = a_model(ClassTable("classes", "unlabelled", (1, 2)))
    return replace(model, record=replace(model.record, membrane=membrane, threshold=threshold))


@pytest.mark.parametrize(("membrane", "threshold"), [(1, 0.3), (0, 0.7)])
def test_what_membranes_enclose_are_objects(
    membrane: int, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    see_the_image(monkeypatch)
    walls = np.zeros((60, 60), np.float32)
    for first in range(14, 60, 20):  # nine cells, behind walls that are above 0.3
        walls[first : first + 6] = walls[:, first : first + 6] = 0.4
    image = walls if membrane == 1 else 1 - walls
    model = between_membranes(membrane, threshold)
    cells = predict(model, image, result="objects")[1].array
    np.testing.assert_array_equal(cells > 0, walls == 0)
    assert cells.max() == 9
    assert predict(model, image, result="objects", threshold=0.5)[1].array.max() == 1
    expected = np.where((walls > 0) == (membrane == 1), 2, 0)
    np.testing.assert_array_equal(predict(model, image)[1].array, expected)


@pytest.mark.parametrize("wrong", [{"membrane": 2}, {"classes": OBJECTS, "membrane": 1}])
def test_a_record_of_an_impossible_membrane_is_refused(wrong: dict[str, Any]) -> None:
    record = between_membranes(1, 0.5).record
    with pytest.raises(ConfigError, match="only one of two classes"):
        replace(record, **wrong)


@pytest.mark.parametrize("model", [MODEL, CLASS_MODEL], ids=["objects", "classes"])
def test_probabilities_sum_to_one(model: Any) -> None:
    array = predict(model, noise(30, 35), result="probabilities")[1].array
    np.testing.assert_allclose(array.sum(axis=0), 1, atol=1e-5)
    assert array.dtype == np.float32


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    "dtype",
    [
        *("uint8", "uint16", ">u2", "uint32", "uint64", "int8", "int16", ">i4", "int64"),
        *("float16", ">f4", "float64", "longdouble", "bool"),
    ],
)
def test_the_dtype_of_the_image_does_not_matter(dtype: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (30, 30))
    expected = predict(MODEL, pixels.astype(np.float32), result="probabilities")[1].array
    found = predict(MODEL, pixels.astype(dtype), result="probabilities")[1].array
    np.testing.assert_array_equal(found, expected)


@pytest.mark.fault(18)
@pytest.mark.parametrize("dtype", ["c8", "O", "M8[s]", "S3", [("a", "u1"), ("b", "f4")]], ids=str)
def test_what_is_no_grey_value_is_refused_by_its_dtype(dtype: Any) -> None:
    image = np.zeros((20, 20), dtype)
    with pytest.raises(ImageError, match=f"Images of dtype {re.escape(str(image.dtype))} cannot"):
        predict(MODEL, image)


@pytest.mark.fault(18)
def test_a_nested_list_is_refused_with_the_remedy() -> None:
    with pytest.raises(ImageError, match=r"A list is no image; give an array"):
        predict(MODEL, noise(9, 9).tolist())


@pytest.mark.fault(18)
@pytest.mark.parametrize("view", ["flipped", "every other", "turned", "read-only"])
def test_a_view_is_read_as_it_looks(view: str) -> None:
    image = noise(30, 30)
    image.setflags(write=False)
    seen = {
        "flipped": image[::-1, ::-1],
        "every other": np.repeat(image, 2, axis=0)[::2],
        "turned": image.T,
        "read-only": image,
    }[view]
    expected = predict(MODEL, seen.copy(), result="probabilities")[1].array
    np.testing.assert_array_equal(predict(MODEL, seen, result="probabilities")[1].array, expected)


def test_the_scale_of_the_grey_values_does_not_matter() -> None:
    image = noise(30, 30)
    expected = predict(MODEL, image, result="probabilities")[1].array
    found = predict(MODEL, 1000 * image + 77, result="probabilities")[1].array
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.fault(15)
def test_bad_pixels_do_not_spread() -> None:
    image = noise(60, 60)
    image[5, 5], image[6, 6] = np.nan, np.inf
    assert np.isfinite(predict(MODEL, image, result="probabilities")[1].array).all()


# --- axes --------------------------------------------------------------------------------------


@pytest.mark.fault(23)
def test_a_colour_image_for_a_grey_model_is_refused_with_both_numbers() -> None:
    with pytest.raises(ModelMismatchError, match=r"Model expects 1 channel\(s\), image has 3"):
        predict(MODEL, noise(20, 24, 3))


@pytest.mark.fault(23)
def test_a_grey_image_for_a_colour_model_is_refused() -> None:
    with pytest.raises(ModelMismatchError, match=r"Model expects 3 channel\(s\), image has 1"):
        predict(a_model(in_channels=3), noise(20, 24))


@pytest.mark.fault(23)
def test_channels_are_found_first_or_last() -> None:
    model = a_model(in_channels=2)
    image = noise(2, 20, 24)
    first = predict(model, image, result="probabilities")[1].array
    last = predict(model, np.moveaxis(image, 0, -1), result="probabilities")[1].array
    np.testing.assert_array_equal(first, last)


@pytest.mark.fault(23)
def test_a_single_channel_at_the_end_is_a_channel() -> None:
    assert predict(MODEL, noise(20, 24, 1))[1].array.shape == (20, 24)


def test_frames_of_a_time_lapse_are_predicted_one_by_one() -> None:
    film = noise(3, 20, 24)
    together = predict(MODEL, film, result="probabilities")[1]
    assert (together.axes, together.array.shape) == ("TCYX", (3, 2, 20, 24))
    for number, frame in enumerate(film):
        alone = predict(MODEL, frame, result="probabilities")[1].array
        np.testing.assert_array_equal(together.array[number], alone)


def test_objects_of_different_frames_have_different_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    see_the_image(monkeypatch)
    labels = predict(MODEL, np.stack([squares(3)] * 2))[1].array
    np.testing.assert_array_equal(labels[0] > 0, labels[1] > 0)
    assert (labels[0].max(), labels[1].max()) == (9, 18)


def test_a_stack_for_a_flat_network_is_looped_over() -> None:
    result = predict(MODEL, noise(2, 3, 10, 12), axes="TZYX")[1]
    assert (result.axes, result.array.shape) == ("TZYX", (2, 3, 10, 12))


def test_named_axes_may_stand_in_any_order() -> None:
    image = noise(10, 12)
    expected = predict(MODEL, image, result="probabilities")[1].array
    turned = predict(MODEL, image.T, axes="XY", result="probabilities")[1].array
    np.testing.assert_array_equal(turned, expected)


@pytest.mark.fault(23)
@pytest.mark.parametrize("axes", ["YXC", "TC"])
def test_axes_that_do_not_fit_are_named(axes: str) -> None:
    with pytest.raises(ImageError, match=axes):
        predict(MODEL, noise(10, 12), axes=axes)


@pytest.mark.parametrize("axes", ["YY", "QX"])
def test_texts_that_are_no_axes_are_a_wrong_setting(axes: str) -> None:
    with pytest.raises(ConfigError, match=axes):
        predict(MODEL, noise(10, 12), axes=axes)


# --- events and stop ---------------------------------------------------------------------------


def test_as_many_tiles_are_told_as_were_planned() -> None:
    events, _ = predict(MODEL, noise(2, 40, 40), tile_size=16)
    tiles = of_type(events, TilePredicted)
    assert events[0] == PredictionStarted("CPU", 18, (2, 40, 40), "objects")
    assert [tile.number for tile in tiles] == list(range(1, 19))


def test_each_tile_tells_its_labels() -> None:
    image = noise(40, 40)
    events, result = predict(CLASS_MODEL, image, tile_size=16)
    for tile in of_type(events, TilePredicted):
        np.testing.assert_array_equal(tile.labels, result.array[tile.region])


def test_each_finished_frame_tells_its_final_labels() -> None:
    events, result = predict(MODEL, noise(2, 20, 20))
    finished = of_type(events, FrameFinished)
    assert [event.frame for event in finished] == [(0,), (1,)]
    for event in finished:
        np.testing.assert_array_equal(event.labels, result.array[event.frame])


@pytest.mark.parametrize("kind", [PredictionStarted, TilePredicted, FrameFinished])
def test_events_are_frozen(kind: type) -> None:
    event = of_type(predict(MODEL, noise(9, 9))[0], kind)[0]
    with pytest.raises(FrozenInstanceError):
        event.frame = ()


@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_a_stop_keeps_the_finished_tiles(kind: str) -> None:
    image = noise(40, 40)
    whole = predict(CLASS_MODEL, image, tile_size=16, result=kind)[1].array
    stop = threading.Event()
    events, result = predict(
        CLASS_MODEL, image, tile_size=16, result=kind, stop=stop, watch=stop_after(stop, 4)
    )
    done = np.zeros((40, 40), bool)
    for tile in of_type(events, TilePredicted):
        done[tile.region] = True
    assert 0 < done.mean() < 1
    np.testing.assert_array_equal(result.array, np.where(done, whole, 0))
    assert not result.complete


def test_a_stop_keeps_the_objects_of_the_finished_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    see_the_image(monkeypatch)
    stop = threading.Event()
    _, result = predict(MODEL, squares(10), tile_size=16, stop=stop, watch=stop_after(stop, 3))
    assert 0 < result.array.max() < 100
    assert not result.complete


def test_a_stop_ends_before_the_next_tile() -> None:
    stop = threading.Event()
    events, _ = predict(MODEL, noise(3, 40, 40), tile_size=16, stop=stop, watch=stop_after(stop, 2))
    assert len(of_type(events, TilePredicted)) == 2
    assert not of_type(events, FrameFinished)


def test_a_stop_does_not_wait_for_the_other_views_of_a_tile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop, seen = threading.Event(), list[Any]()
    right = InferenceNetwork.probabilities

    def probabilities(self: InferenceNetwork, images: Any) -> Any:
        seen.append(images.shape)
        if len(seen) == 6:  # the second view of the second tile
            stop.set()
        return right(self, images)

    monkeypatch.setattr(InferenceNetwork, "probabilities", probabilities)
    events, result = predict(MODEL, noise(40, 40), tile_size=16, views=4, stop=stop)
    assert len(seen) == 6
    assert len(of_type(events, TilePredicted)) == 1
    assert not result.complete


def test_a_stop_keeps_the_frames_before() -> None:
    film = noise(3, 20, 20)
    whole = predict(CLASS_MODEL, film)[1].array
    stop = threading.Event()
    result = predict(CLASS_MODEL, film, stop=stop, watch=stop_after(stop, 2))[1]
    np.testing.assert_array_equal(result.array[:2], whole[:2])
    assert not result.array[2].any()


def test_a_stop_before_the_first_tile_predicts_nothing() -> None:
    stop = threading.Event()
    stop.set()
    events, result = predict(MODEL, noise(20, 20), stop=stop)
    assert not of_type(events, TilePredicted)
    assert not result.array.any()
    assert not result.complete


def test_a_stop_after_the_last_tile_changes_nothing() -> None:
    image = noise(20, 20)
    stop = threading.Event()
    result = predict(MODEL, image, stop=stop, watch=stop_after(stop, 1))[1]
    assert result.complete
    np.testing.assert_array_equal(result.array, predict(MODEL, image)[1].array)


# --- lazy images -------------------------------------------------------------------------------


@pytest.mark.fault(31)
def test_a_large_image_is_never_read_at_once() -> None:
    image = CountingImage(np.random.default_rng(0).integers(0, 99, (1100, 1100), np.uint8))
    model = a_model(base_channels=1, depth=1)
    assert predict(model, image, tile_size=128, result="classes")[1].complete
    assert image.largest_read < 0.3 * 1100 * 1100


@pytest.mark.fault(31)
def test_a_time_lapse_is_read_frame_by_frame() -> None:
    film = CountingImage(noise(5, 20, 24))
    predict(MODEL, film)
    assert film.largest_read <= 20 * 24
    assert film.frames_read == sorted(film.frames_read)


@pytest.mark.fault(31)
def test_a_lazy_image_gives_the_result_of_its_pixels() -> None:
    pixels = noise(40, 44)
    lazy = predict(MODEL, CountingImage(pixels), tile_size=16, result="probabilities")[1].array
    eager = predict(MODEL, pixels, tile_size=16, result="probabilities")[1].array
    np.testing.assert_array_equal(lazy, eager)


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"result": "cells"}, "result is 'cells'; choose objects, classes"),
        ({"threshold": 0.0}, "threshold is 0.0; choose a value between 0 and 1"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"smallest": -1}, "smallest is -1; choose 0 or more"),
    ],
    ids=["result", "threshold 0", "threshold NaN", "smallest"],
)
def test_a_setting_out_of_range_is_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        PredictConfig(**changes)


def test_tiles_too_small_for_the_network_are_refused() -> None:
    with pytest.raises(ConfigError, match="choose at least 4"):
        predict(MODEL, noise(20, 20), tile_size=3)
