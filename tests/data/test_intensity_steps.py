"""Normalisations of other programs are those of other programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_unet.data.frames import Frame
from napari_unet.data.intensity import IntensityStep, IntensitySteps
from napari_unet.errors import ConfigError

rng = np.random.default_rng(0)
IMAGE = (rng.gamma(2, 100, (2, 30, 40)) * [[[1.0]], [[5.0]]]).astype(np.float32)


def done(*steps: IntensityStep, image: Any = IMAGE) -> Any:
    scaling = IntensitySteps(steps).measure(Frame(image, "CYX", 2))
    return scaling.normalise(image)


def test_percentiles_of_each_channel_become_0_and_1() -> None:
    low, high = np.percentile(IMAGE, (1, 99), axis=(1, 2), keepdims=True)
    expected = (IMAGE - low) / (high - low + 1e-6)
    np.testing.assert_allclose(done(IntensityStep("percentiles", (1,), (99,))), expected, atol=1e-5)


def test_all_channels_are_standardised_together_where_that_is_said() -> None:
    expected = (IMAGE - IMAGE.mean()) / (IMAGE.std() + 1e-6)
    found = done(IntensityStep("standardise", jointly=True))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_step_is_measured_on_what_the_one_before_leaves() -> None:
    clipped = IMAGE.clip(0, 200)
    expected = (clipped - clipped.mean((1, 2), keepdims=True)) / (
        clipped.std((1, 2), keepdims=True) + 1e-6
    )
    found = done(IntensityStep("clip", (0,), (200,)), IntensityStep("standardise"))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gains_and_offsets_are_those_of_each_channel() -> None:
    found = done(IntensityStep("linear", (2, 3), (10, 20)))
    np.testing.assert_allclose(found, IMAGE * [[[2]], [[3]]] + [[[10]], [[20]]], rtol=1e-5)


def test_a_threshold_leaves_0_and_1() -> None:
    np.testing.assert_array_equal(done(IntensityStep("binarise", (200,))), IMAGE > 200)


def test_pixels_that_are_no_numbers_do_not_spread() -> None:
    image = IMAGE.copy()
    image[0, 3, 3] = np.nan
    assert np.isfinite(done(IntensityStep("standardise"), image=image)).all()


def test_a_constant_image_stays_finite() -> None:
    image = np.full((1, 8, 8), 7, np.uint8)
    scaling = IntensitySteps((IntensityStep("standardise", eps=0),)).measure(Frame(image, "CYX", 2))
    assert scaling.is_constant
    np.testing.assert_array_equal(scaling.normalise(image.astype(np.float32)), 0)


@pytest.mark.parametrize(
    "wrong",
    [("percentiles", (99,), (1,)), ("percentiles",), ("clip", (float("nan"),), (1,)), ("other",)],
    ids=["order", "no-figures", "nan", "unknown"],
)
def test_impossible_steps_are_refused(wrong: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigError):
        IntensityStep(*wrong)
