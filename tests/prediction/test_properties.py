"""What holds for any image, of any size and dtype, in any tiles."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device import DEVICE_NAME
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predictor import predict_image
from napari_unet.prediction.tiles import TilePlan
from napari_unet.run import Run
from napari_unet.tasks import ClassTable

from .builders import a_model, predict

Array = Any

FLAT = a_model()
CLASSES = a_model(ClassTable("classes", "unlabelled", (1, 4, 300)))
TWO_CHANNELS = a_model(in_channels=2)
VOLUME = a_model(ndim=3, depth=1)
REAL_DTYPES = [
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64", ">u2", ">i4", ">f4", ">f8"),
]
ANY = settings(deadline=None, max_examples=40, derandomize=True)
SIZES = st.integers(1, 40)
TILES = st.integers(4, 48)


def picture(shape: tuple[int, ...], dtype: str) -> Array:
    """Noise over what a dtype holds, a part of it not finite where it can be."""
    rng = np.random.default_rng(sum(shape))
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random(shape) > 0.5
    if kind == "f":
        image = rng.normal(0, 100, shape).astype(dtype)
        image[rng.random(shape) < 0.05] = np.nan
        return image
    limits = np.iinfo(dtype)
    native = np.dtype(dtype).newbyteorder("=")
    return rng.integers(limits.min, limits.max, shape, native, endpoint=True).astype(dtype)


@pytest.mark.fault(15, 18, 19, 20)
@given(height=SIZES, width=SIZES, dtype=st.sampled_from(REAL_DTYPES), tile=TILES)
@ANY
def test_a_result_has_the_size_of_its_image(height: int, width: int, dtype: str, tile: int) -> None:
    image = picture((height, width), dtype)
    labels = predict(FLAT, image, tile_size=tile)[1].array
    assert labels.shape == image.shape
    assert labels.dtype.kind == "u"
    probabilities = predict(FLAT, image, tile_size=tile, result="probabilities")[1].array
    assert probabilities.shape == (2, *image.shape)
    assert np.isfinite(probabilities).all()


@pytest.mark.fault(19, 20, 23)
@given(frames=st.integers(1, 3), height=SIZES, width=SIZES, last=st.booleans())
@ANY
def test_frames_stay_and_channels_go_wherever_they_stand(
    frames: int, height: int, width: int, last: bool
) -> None:
    image = picture((frames, 2, height, width), "uint16")
    shown = np.moveaxis(image, 1, -1) if last else image
    axes = "TYXC" if last else "TCYX"
    assert predict(TWO_CHANNELS, shown, axes=axes)[1].array.shape == (frames, height, width)


@pytest.mark.fault(20, 21)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 20), st.integers(1, 20)),
    tile=st.integers(2, 20),
)
@settings(ANY, max_examples=25)
def test_a_volume_in_tiles_is_the_volume_in_one(shape: tuple[int, ...], tile: int) -> None:
    image = picture(shape, "uint16")
    whole = predict(VOLUME, image, result="probabilities")[1].array
    tiled = predict(VOLUME, image, result="probabilities", tile_size=tile)[1].array
    assert whole.shape == (2, *shape)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


@pytest.mark.fault(21)
@given(height=st.integers(1, 70), width=st.integers(1, 70), tile=TILES)
@settings(ANY, max_examples=30)
def test_in_tiles_it_is_what_it_is_in_one(height: int, width: int, tile: int) -> None:
    image = picture((height, width), "uint16")
    for model in (FLAT, CLASSES):
        whole = predict(model, image, result="probabilities")[1].array
        tiled = predict(model, image, result="probabilities", tile_size=tile)[1].array
        np.testing.assert_allclose(tiled, whole, atol=1e-5)
        # Where two classes are as good as equal the last digit decides
        unsure = np.ptp(np.sort(whole, axis=0)[-2:], axis=0) < 1e-4
        labels = predict(model, image, result="classes")[1].array
        found = predict(model, image, result="classes", tile_size=tile)[1].array
        np.testing.assert_array_equal(np.where(unsure, 0, found), np.where(unsure, 0, labels))


@pytest.mark.fault(21)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    corner=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
    share=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    tile=TILES,
)
@settings(ANY, max_examples=30)
def test_any_region_is_cut_from_the_whole(
    size: tuple[int, int], corner: tuple[float, float], share: tuple[float, float], tile: int
) -> None:
    image = picture(size, "uint8")
    starts = [int(n * at) for n, at in zip(size, corner, strict=True)]
    region = tuple(
        slice(start, start + max(1, int((n - start) * part)))
        for n, start, part in zip(size, starts, share, strict=True)
    )
    config = PredictConfig("probabilities", device=DEVICE_NAME, region=region, tile_size=tile)
    found: Any = Run(predict_image(FLAT, image, config, threading.Event())).finish()
    whole: Array = predict(FLAT, image, result="probabilities")[1].array
    np.testing.assert_allclose(found.array, whole[(..., *region)], atol=1e-5)


@pytest.mark.fault(21)
@given(
    region=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 60)), min_size=2, max_size=3),
    stride=st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30)),
)
@ANY
def test_tiles_of_any_plan_hold_each_pixel_of_its_region_once(
    region: list[tuple[int, int]], stride: tuple[int, int, int]
) -> None:
    box = tuple(slice(start, start + length) for start, length in region)
    plan = TilePlan(box, stride[: len(box)], (0,) * len(box), (0,) * len(box))
    count = np.zeros([part.stop for part in box], np.uint8)
    for tile in plan:
        count[tile] += 1
    assert (count[box] == 1).all()
    assert count.sum() == count[box].size
