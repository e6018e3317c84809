from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_unet.data.axes import Frame
from napari_unet.data.intensity import IntensityNormalization, measure_intensity
from napari_unet.errors import ConfigError

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(100, 4000, (200, 200)).astype(np.uint16)


def normalised(image: NDArray[Any]) -> NDArray[np.float32]:
    frame = Frame(image, "YX", 2)
    intensity = measure_intensity(frame, IntensityNormalization())
    result: NDArray[np.float32] = intensity.normalise(frame.read((slice(None), slice(None))))[0]
    return result


def test_the_percentiles_become_zero_and_one() -> None:
    low, high = np.percentile(normalised(IMAGE), (1, 99.8))
    assert (low, high) == (pytest.approx(0, abs=1e-3), pytest.approx(1, abs=1e-3))


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(IMAGE.astype(">u2"), id="big-endian"),
        pytest.param(IMAGE[::-1, ::-1].copy()[::-1, ::-1], id="negative strides"),
        pytest.param(IMAGE.astype(np.uint32), id="uint32"),
        pytest.param(IMAGE.astype(np.int64), id="int64"),
        pytest.param(IMAGE.astype(np.float64), id="float64"),
        pytest.param(np.asfortranarray(IMAGE), id="Fortran order"),
    ],
)
def test_the_type_of_the_pixels_does_not_matter(same: NDArray[Any]) -> None:
    np.testing.assert_array_equal(normalised(same), normalised(IMAGE))


@pytest.mark.parametrize("dtype", [bool, np.float16])
def test_narrow_types_are_read_too(dtype: type) -> None:
    assert np.isfinite(normalised((IMAGE > 2000).astype(dtype))).all()


@pytest.mark.parametrize("value", [0, 7, 65535])
def test_a_constant_image_becomes_zero(value: int) -> None:
    assert not normalised(np.full((30, 30), value, np.uint16)).any()


def test_two_saturated_pixels_change_the_others_by_less_than_a_thousandth() -> None:
    hot = IMAGE.copy()
    hot[3, 3] = hot[100, 150] = 65535
    others = hot == IMAGE
    assert np.abs(normalised(hot) - normalised(IMAGE))[others].max() < 1e-3


def test_a_hot_pixel_is_clipped() -> None:
    hot = IMAGE.astype(np.float32)
    hot[3, 3] = 1e9
    assert normalised(hot).max() <= 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf], ids=str)
def test_pixels_that_are_not_finite_become_the_median(bad: float) -> None:
    broken = IMAGE.astype(np.float32)
    broken[3:6, 3:6] = bad
    result = normalised(broken)
    assert np.isfinite(result).all()
    assert result[4, 4] == pytest.approx(np.median(result), abs=0.01)


def test_an_image_of_nothing_but_nan_becomes_finite() -> None:
    assert np.isfinite(normalised(np.full((9, 9), np.nan, np.float32))).all()


def test_a_nearly_empty_image_keeps_its_few_bright_pixels() -> None:
    sparse = np.zeros((100, 100), np.uint16)
    sparse[50, 50:54] = 1000
    assert normalised(sparse).max() == pytest.approx(1)


def test_each_channel_has_its_own_range() -> None:
    frame = Frame(np.stack([IMAGE, IMAGE * 2]), "CYX", 2)
    low, high = np.array(measure_intensity(frame, IntensityNormalization()).low)
    assert high == pytest.approx(2 * low)


def test_percentiles_out_of_order_are_refused() -> None:
    with pytest.raises(ConfigError, match="not in order"):
        IntensityNormalization(90, 10)
