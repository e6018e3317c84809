"""The volumes that a starting model in 3D learns from."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from synthetic_volumes import LOOKS, synthetic_volume

each_look = pytest.mark.parametrize("look", sorted(set(LOOKS)))
SHAPE = (24, 40, 40)


@each_look
def test_the_same_seed_draws_the_same_volume(look: str) -> None:
    one, other = (synthetic_volume(np.random.default_rng(3), SHAPE, look) for _ in range(2))
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.labels, other.labels)


@each_look
def test_cells_are_numbered_without_gaps(look: str) -> None:
    labels = synthetic_volume(np.random.default_rng(3), SHAPE, look).labels
    np.testing.assert_array_equal(np.unique(labels[labels > 0]), np.arange(1, labels.max() + 1))


@each_look
def test_images_are_finite_and_of_the_shape_that_was_asked_for(look: str) -> None:
    image = synthetic_volume(np.random.default_rng(3), SHAPE, look).image
    assert image.shape == SHAPE
    assert image.dtype == np.float32
    assert np.isfinite(image).all()


def test_in_thick_slices_cells_cover_fewer_of_them() -> None:
    def slices_of_a_cell(thick: float) -> float:
        drawn = [
            synthetic_volume(np.random.default_rng(seed), (48, 64, 64), "nuclei", thick).labels
            for seed in range(3)
        ]
        covered = [
            np.unique(np.nonzero(labels == number)[0]).size
            for labels in drawn
            for number in range(1, labels.max() + 1, 5)
        ]
        return float(np.median(covered))

    assert slices_of_a_cell(5.0) < slices_of_a_cell(1.0) / 2


def test_nuclei_are_brighter_than_what_lies_around() -> None:
    scene = synthetic_volume(np.random.default_rng(3), SHAPE, "nuclei", 1.0)
    inside = scene.labels > 0
    assert scene.image[inside].mean() > scene.image[~inside].mean() + 0.1


def test_walls_are_brighter_than_what_they_enclose() -> None:
    scene = synthetic_volume(np.random.default_rng(3), SHAPE, "membranes", 1.0)
    wall = np.diff(scene.labels, axis=2, prepend=scene.labels[:, :, :1]) != 0
    assert scene.image[wall].mean() > scene.image[~wall].mean() + 0.05
