"""A pixel classifier learns classes from a few strokes, wherever they are seen."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_unet.training.pixel_classifier import PixelClassifier, features_in

from .builders import data_of, tiny_config

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.training.dataset import TrainingData

Array = Any


def texture(size: int = 128) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Smooth ground (1), rough ground of the same brightness (2), and bright bars (3)."""
    row, column = np.mgrid[:size, :size]
    noise = np.random.default_rng(0).normal(0, 1, (size, size))
    truth = np.where(column < size // 2, 1, 2)
    image = np.where(truth == 1, 0.02, 0.3) * noise
    bars = row % 32 < 6
    return np.where(bars, 2.0, image).astype(np.float32), np.where(bars, 3, truth).astype(np.uint16)


def strokes(truth: Array) -> NDArray[np.uint16]:
    painted: NDArray[np.uint16] = np.zeros(truth.shape, np.uint16)
    for column in (20, 40, 84, 104):
        painted[10:118, column : column + 3] = truth[10:118, column : column + 3]
    return painted


def painted_texture(**settings: Any) -> TrainingData:
    image, truth = texture()
    config = tiny_config(kind="classes", validation_share=0.0, **settings)
    return data_of(image, strokes(truth), config)


@cache
def trained() -> tuple[TrainingData, PixelClassifier]:
    data = painted_texture()
    return data, PixelClassifier.fitted(data, seed=0)


def predicted(region: tuple[slice, ...]) -> Array:
    data, classifier = trained()
    frame = data.frames[0]
    return classifier.probabilities(frame.frame, frame.intensity, region)


def everything() -> tuple[slice, ...]:
    return tuple(slice(0, size) for size in trained()[0].frames[0].frame.spatial_shape)


def test_most_unpainted_pixels_get_their_class() -> None:
    labels = 1 + predicted(everything()).argmax(axis=0)
    truth = texture()[1][: labels.shape[0], : labels.shape[1]]
    assert np.mean(labels == truth) > 0.8


def test_probabilities_add_up_to_one() -> None:
    np.testing.assert_allclose(predicted(everything()).sum(axis=0), 1, atol=1e-5)


def test_a_pixel_has_the_same_probabilities_in_any_region() -> None:
    whole, part = predicted(everything()), predicted((slice(20, 50), slice(33, 61)))
    np.testing.assert_allclose(part, whole[:, 20:50, 33:61], atol=1e-4)


def test_the_same_seed_learns_the_same() -> None:
    data, classifier = trained()
    again = PixelClassifier.fitted(data, seed=0)
    pairs = zip(classifier.network.parameters(), again.network.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_torchs_chance_is_left_alone() -> None:
    before = torch.get_rng_state()
    PixelClassifier.fitted(trained()[0], seed=0)
    assert torch.equal(before, torch.get_rng_state())


def test_a_class_that_is_painted_a_third_but_rare_in_the_image_counts_less() -> None:
    truth = np.ones((128, 128), np.uint16)
    truth[:, 60:68] = 2
    image = (truth == 2) + np.random.default_rng(0).normal(0, 0.2, truth.shape)
    painted = np.zeros_like(truth)
    for column in (4, 62, 120):
        painted[10:118, column : column + 3] = truth[10:118, column : column + 3]
    data = data_of(
        image.astype(np.float32), painted, tiny_config(kind="classes", validation_share=0.0)
    )
    common, rare = PixelClassifier.fitted(data, seed=0).shares.tolist()
    assert common + rare == pytest.approx(1)
    assert 1 / 16 < rare < 0.3


def test_what_is_held_back_is_not_learned() -> None:
    image, truth = texture()
    data = data_of(image, strokes(truth), tiny_config(kind="classes", validation_share=0.3))
    frame = data.frames[0]
    assert (frame.held_back & frame.target.painted).any()
    classes = np.where(frame.held_back & frame.target.painted, 2, frame.target.classes)
    target = replace(frame.target, classes=classes.astype(np.int16))
    misled = replace(data, frames=(replace(frame, target=target),))
    one, other = (PixelClassifier.fitted(each, seed=0) for each in (data, misled))
    pairs = zip(one.network.parameters(), other.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_slices_of_a_volume_are_described_one_by_one() -> None:
    volume = np.random.default_rng(0).normal(size=(3, 48, 48)).astype(np.float32)
    labels = np.zeros(volume.shape, np.uint16)
    labels[1, 5:20, 5:20], labels[1, 25:40, 25:40] = 1, 2
    config = tiny_config(
        kind="classes", ndim=3, depth=1, patch_size=16, validation_share=0.0, flat_levels=0
    )
    frame = data_of(volume, labels, config).frames[0]
    depth = frame.frame.spatial_shape[0]
    box = (slice(0, depth), slice(8, 24), slice(8, 24))
    features = features_in(frame.frame, frame.intensity, box)
    for z in range(depth):
        alone = features_in(frame.frame, frame.intensity, (slice(z, z + 1), *box[1:]))
        np.testing.assert_allclose(features[:, z], alone[:, 0], atol=1e-5)


def test_a_coarser_grid_is_brought_back_to_the_image() -> None:
    data = painted_texture(binning=2.0)
    classifier = PixelClassifier.fitted(data, seed=0)
    seen = replace(classifier, factors=(2.0, 2.0))
    source = trained()[0].frames[0]
    shape = seen.probabilities(source.frame, source.intensity, (slice(3, 44), slice(10, 51))).shape
    assert shape == (3, 41, 41)
