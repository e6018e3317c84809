from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from napari_unet.data.frames import Frame, scaled_frame
from napari_unet.data.intensity import (
    IntensityNormalization,
    IntensityRange,
)
from napari_unet.errors import ConfigError

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(100, 4000, (200, 200)).astype(np.uint16)


def normalised(image: NDArray[Any]) -> NDArray[np.float32]:
    frame = Frame(image, "YX", 2)
    intensity = IntensityNormalization().measure(frame)
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


@pytest.mark.fault(16)
@pytest.mark.parametrize("value", [0, 7, 65535])
def test_a_constant_image_becomes_zero(value: int) -> None:
    assert not normalised(np.full((30, 30), value, np.uint16)).any()


@pytest.mark.fault(17)
def test_two_saturated_pixels_change_the_others_by_less_than_a_thousandth() -> None:
    hot = IMAGE.copy()
    hot[3, 3] = hot[100, 150] = 65535
    others = hot == IMAGE
    assert np.abs(normalised(hot) - normalised(IMAGE))[others].max() < 1e-3


def test_a_hot_pixel_is_clipped() -> None:
    hot = IMAGE.astype(np.float32)
    hot[3, 3] = 1e9
    assert normalised(hot).max() <= 3


@pytest.mark.fault(15)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf], ids=str)
def test_pixels_that_are_not_finite_become_the_median(bad: float) -> None:
    broken = IMAGE.astype(np.float32)
    broken[3:6, 3:6] = bad
    result = normalised(broken)
    assert np.isfinite(result).all()
    assert result[4, 4] == pytest.approx(np.median(result), abs=0.01)


@pytest.mark.fault(15)
def test_an_image_of_nothing_but_nan_becomes_finite() -> None:
    assert np.isfinite(normalised(np.full((9, 9), np.nan, np.float32))).all()


def test_a_nearly_empty_image_keeps_its_few_bright_pixels() -> None:
    sparse = np.zeros((100, 100), np.uint16)
    sparse[50, 50:54] = 1000
    assert normalised(sparse).max() == pytest.approx(1)


def test_each_channel_has_its_own_range() -> None:
    frame = Frame(np.stack([IMAGE, IMAGE * 2]), "CYX", 2)
    low, high = np.array(IntensityNormalization().measure(frame).low)
    assert high == pytest.approx(2 * low)


@pytest.mark.parametrize(
    ("high", "constant"), [((5.0, 7.0), True), ((5.0, 8.0), False)], ids=["all", "one differs"]
)
def test_a_range_is_constant_where_every_channel_is(
    high: tuple[float, ...], constant: bool
) -> None:
    assert IntensityRange((5.0, 7.0), high, (5.0, 7.0)).is_constant is constant


def test_percentiles_out_of_order_are_refused() -> None:
    with pytest.raises(ConfigError, match="not in order"):
        IntensityNormalization(90, 10)


@pytest.mark.parametrize(
    ("low", "high"), [(-1, 99), (1, 101), (50, 50), (float("nan"), 99)], ids=str
)
def test_percentiles_that_are_none_are_refused(low: float, high: float) -> None:
    with pytest.raises(ConfigError, match="choose 0 <= low < high <= 100"):
        IntensityNormalization(low, high)


def test_a_mask_of_booleans_becomes_zero_and_one() -> None:
    mask = IMAGE > 2000
    np.testing.assert_array_equal(normalised(mask), mask)


def test_float16_is_normalised_as_the_same_values_in_float32() -> None:
    narrow = (IMAGE / 100).astype(np.float16)
    np.testing.assert_array_equal(normalised(narrow), normalised(narrow.astype(np.float32)))


@given(
    image=hnp.arrays(
        st.sampled_from([np.uint8, np.int16, np.uint16]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    )
)
def test_any_integer_image_keeps_its_order_within_the_limits(image: NDArray[Any]) -> None:
    result = normalised(image)
    assert ((result >= -1) & (result <= 3)).all()
    ascending = np.argsort(image, axis=None, kind="stable")
    assert (np.diff(result.ravel()[ascending]) >= 0).all()


@given(
    image=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(-(2.0**100), 2.0**100, width=32)
        | st.sampled_from([np.nan, np.inf, -np.inf]),
    )
)
def test_any_real_image_becomes_finite(image: NDArray[np.float32]) -> None:
    assert np.isfinite(normalised(image)).all()


@pytest.mark.parametrize("fill", [np.nan, 4.0], ids=["NaN", "constant"])
def test_a_useless_channel_leaves_the_others_alone(fill: float) -> None:
    good = IMAGE.astype(np.float32)
    frame = Frame(np.stack([np.full_like(good, fill), good]), "CYX", 2)
    intensity = IntensityNormalization().measure(frame)
    result = intensity.normalise(frame.read((slice(None), slice(None))))
    np.testing.assert_array_equal(result[1], normalised(good))


def test_a_tile_is_normalised_by_the_range_of_the_whole() -> None:
    frame = Frame(IMAGE, "YX", 2)
    intensity = IntensityNormalization().measure(frame)
    tile = intensity.normalise(frame.read((slice(20, 30), slice(40, 60))))
    np.testing.assert_array_equal(tile[0], normalised(IMAGE)[20:30, 40:60])


def test_the_stated_range_becomes_zero_and_one() -> None:
    pixels = np.array([[10, 20, 15, np.nan]], np.float32)[np.newaxis]
    result = IntensityRange((10.0,), (20.0,), (12.0,)).normalise(pixels)
    np.testing.assert_allclose(result[0], [[0, 1, 0.5, 0.2]], rtol=1e-6)


def test_of_a_large_image_only_a_sample_is_measured() -> None:
    class Counting:
        shape = (8_000, 10_000)
        dtype = np.dtype(np.uint8)
        asked = 0

        def __getitem__(self, key: Any, /) -> Any:
            part = np.broadcast_to(np.uint8(1), self.shape)[key]
            self.asked += part.size
            return part

    image = Counting()
    IntensityNormalization().measure(Frame(image, "YX", 2))
    assert 2**18 < image.asked <= 2**20


@pytest.mark.fault(18)
@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.uint64, np.float64])
@pytest.mark.parametrize("offset", [2**31, -(2**30)], ids=["high", "low"])
def test_an_offset_does_not_swallow_the_grey_values(offset: int, dtype: type) -> None:
    levels = np.random.default_rng(0).integers(0, 200, (50, 50))
    offset = abs(offset) if np.dtype(dtype).kind == "u" else offset
    np.testing.assert_allclose(
        normalised((levels + offset).astype(dtype)), normalised(levels), atol=1e-6
    )


@pytest.mark.fault(18)
@pytest.mark.parametrize("factor", [2, 1.5, 0.7])
def test_an_offset_does_not_swallow_the_grey_values_on_another_grid(factor: float) -> None:
    levels = np.random.default_rng(0).integers(0, 200, (60, 60)).astype(np.uint32)

    def seen(image: NDArray[Any]) -> NDArray[np.float32]:
        frame = Frame(image, "YX", 2)
        scaled = scaled_frame(frame, (factor, factor))
        whole = tuple(slice(0, size) for size in scaled.spatial_shape)
        return IntensityNormalization().measure(frame).normalise(scaled.read(whole))

    np.testing.assert_allclose(seen(levels + np.uint32(2**31)), seen(levels), atol=1e-5)


@pytest.mark.fault(18)
@pytest.mark.parametrize("ends", [(-3.4e38, 3.4e38), (-1e300, 1e300)], ids=["float32", "float64"])
def test_two_values_as_far_apart_as_can_be_become_zero_and_one(ends: tuple[float, float]) -> None:
    image = np.array([ends] * 4, np.float32 if max(ends) < 1e39 else np.float64)
    np.testing.assert_array_equal(normalised(image), [[0, 1]] * 4)


@pytest.mark.fault(17, 18)
def test_a_hot_pixel_beyond_all_bounds_is_clipped_without_a_warning() -> None:
    hot = IMAGE.astype(np.float32) * np.float32(1e-4)
    hot[3, 3] = 3e38
    assert normalised(hot)[3, 3] == 3


@pytest.mark.fault(18)
def test_an_image_that_spans_all_of_float32_becomes_finite() -> None:
    span = np.linspace(-3.4e38, 3.4e38, 100, dtype=np.float64).reshape(10, 10)
    assert np.isfinite(normalised(span.astype(np.float32))).all()
