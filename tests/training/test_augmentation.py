"""Deformations: the formulas against independent ones, and image and labels kept together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from napari_unet.training.augmentation import (
    Deformation,
    cubic_weights,
    jitter_intensity,
    sample_nearest,
    sample_smooth,
)
from napari_unet.training.config import TrainConfig

from .builders import UNDEFORMED, tiny_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Array = Any
CPU = torch.device("cpu")


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def random_positions(
    shape: Sequence[int], config: TrainConfig, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Positions of a random deformation, the vector last."""
    positions: NDArray[np.float32] = Deformation.drawn(config, rng).positions(shape, CPU).numpy()
    return np.moveaxis(positions, 0, -1)


def planes(places: NDArray[np.float32]) -> torch.Tensor:
    """Positions of one patch with the vector first, as sampling wants them."""
    return torch.from_numpy(places).movedim(-1, 0)[None]


def jittered(
    patch: NDArray[np.float32], strength: float, rng: np.random.Generator, window: int = 1
) -> NDArray[np.float32]:
    """A patch of other grey values."""
    image = torch.from_numpy(patch.copy())
    jitter_intensity(image[None], strength, [rng], window)
    changed: NDArray[np.float32] = image.numpy()
    return changed


def grid_around_centre(*shape: int) -> NDArray[np.int_]:
    """Whole pixels, so that undeformed patches are not blurred."""
    axes = [np.arange(size) - size // 2 for size in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def keys_kernel(distance: float) -> float:
    """Keys 1981, equation 15 (a = -1/2), written as in the article."""
    s = abs(distance)
    if s < 1:
        return 3 / 2 * s**3 - 5 / 2 * s**2 + 1
    if s < 2:
        return -1 / 2 * s**3 + 5 / 2 * s**2 - 4 * s + 2
    return 0.0


def interpolate_by_hand(nodes: Array, at: float) -> float:
    """One sample of a cubic convolution; the end nodes go on for ever."""
    total = 0.0
    for node in range(-2, len(nodes) + 2):
        value = nodes[min(max(node, 0), len(nodes) - 1)]
        total += keys_kernel(at - node) * value
    return total


def interpolate_line_by_hand(nodes: Array, size: int) -> Array:
    """`size` samples that span the nodes."""
    places = np.linspace(0, len(nodes) - 1, size)
    return np.array([interpolate_by_hand(nodes, at) for at in places])


# --- positions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(32, 32), (33, 20), (8, 10, 12)])
def test_without_deformation_each_pixel_stays_in_its_place(shape: tuple[int, ...]) -> None:
    config = tiny_config(**UNDEFORMED, ndim=len(shape))
    positions = random_positions(shape, config, generator())
    np.testing.assert_array_equal(positions, grid_around_centre(*shape).astype(np.float32))


def test_the_same_seed_draws_the_same_positions() -> None:
    config = tiny_config()
    first = random_positions((16, 16), config, generator(3))
    np.testing.assert_array_equal(first, random_positions((16, 16), config, generator(3)))


def test_another_seed_draws_other_positions() -> None:
    config = tiny_config()
    first = random_positions((16, 16), config, generator(3))
    assert np.abs(first - random_positions((16, 16), config, generator(4))).max() > 0.5


def test_positions_are_float32_planes() -> None:
    positions = Deformation.drawn(tiny_config(), generator()).positions((16, 20), CPU)
    assert positions.dtype == torch.float32
    assert positions.shape == (2, 16, 20)
    assert positions.stride(-1) == 1


@pytest.mark.parametrize("seed", range(5))
def test_flips_only_change_signs(seed: int) -> None:
    config = tiny_config(**{**UNDEFORMED, "flip": True})
    positions = random_positions((8, 8), config, generator(seed))
    np.testing.assert_array_equal(np.abs(positions), np.abs(grid_around_centre(8, 8)))


def test_flips_reach_all_four_mirror_images() -> None:
    config = tiny_config(**{**UNDEFORMED, "flip": True})
    corners = {tuple(random_positions((8, 8), config, generator(seed))[0, 0]) for seed in range(40)}
    assert len(corners) == 4


@pytest.mark.parametrize("seed", range(5))
def test_a_rotation_keeps_the_distance_from_the_centre(seed: int) -> None:
    config = tiny_config(**{**UNDEFORMED, "rotate": True})
    positions = random_positions((9, 9), config, generator(seed))
    before = np.linalg.norm(grid_around_centre(9, 9), axis=-1)
    np.testing.assert_allclose(np.linalg.norm(positions, axis=-1), before, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_a_rotation_keeps_the_handedness(seed: int) -> None:
    config = tiny_config(**{**UNDEFORMED, "rotate": True})
    positions = random_positions((3, 3), config, generator(seed))
    down, right = positions[2, 1] - positions[1, 1], positions[1, 2] - positions[1, 1]
    assert down[0] * right[1] - down[1] * right[0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_a_volume_rotates_in_the_plane_only(seed: int) -> None:
    config = tiny_config(**{**UNDEFORMED, "rotate": True}, ndim=3)
    positions = random_positions((5, 7, 7), config, generator(seed))
    np.testing.assert_array_equal(positions[..., 0], grid_around_centre(5, 7, 7)[..., 0])
    assert np.abs(positions[..., 1:] - grid_around_centre(5, 7, 7)[..., 1:]).max() > 0.1


@given(seed=st.integers(0, 10_000), zoom=st.floats(0.01, 0.9))
def test_a_zoom_scales_all_axes_alike_and_within_its_share(seed: int, zoom: float) -> None:
    config = tiny_config(**{**UNDEFORMED, "zoom": zoom})
    positions = random_positions((9, 9), config, generator(seed))
    scale = positions[0, 0, 0] / -4
    assert 1 - zoom - 1e-5 <= scale <= 1 + zoom + 1e-5
    np.testing.assert_allclose(positions, grid_around_centre(9, 9) * scale, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(17, 21), (5, 7, 9)])
def test_the_elastic_displacement_is_the_coarse_grid_interpolated(shape: tuple[int, ...]) -> None:
    config = tiny_config(**{**UNDEFORMED, "elastic_sigma": 3.0}, ndim=len(shape))
    displacement = random_positions(shape, config, generator(7)) - grid_around_centre(*shape)
    nodes = generator(7).normal(0, 3.0, (3,) * len(shape) + (len(shape),))
    expected = nodes
    for axis, size in enumerate(shape):
        expected = np.apply_along_axis(interpolate_line_by_hand, axis, expected, size)
    np.testing.assert_allclose(displacement, expected, atol=1e-4)


def test_the_elastic_displacement_passes_through_the_drawn_vectors() -> None:
    config = tiny_config(**{**UNDEFORMED, "elastic_sigma": 3.0})
    displacement = random_positions((33, 33), config, generator(7)) - grid_around_centre(33, 33)
    nodes = generator(7).normal(0, 3.0, (3, 3, 2))
    np.testing.assert_allclose(displacement[::16, ::16], nodes, atol=1e-5)


def test_the_elastic_displacement_has_the_asked_spread() -> None:
    config = tiny_config(**{**UNDEFORMED, "elastic_sigma": 5.0})
    rng = generator(0)
    centres = [random_positions((17, 17), config, rng)[8, 8] for _ in range(400)]
    assert np.std(centres) == pytest.approx(5.0, rel=0.1)


# --- cubic interpolation -----------------------------------------------------------------------


@given(n_fine=st.integers(1, 200), n_coarse=st.integers(2, 9))
def test_cubic_weights_sum_to_one(n_fine: int, n_coarse: int) -> None:
    np.testing.assert_allclose(cubic_weights(n_fine, n_coarse).sum(axis=1), 1, atol=1e-12)


@given(n_coarse=st.integers(2, 9), between=st.integers(1, 20))
def test_cubic_weights_give_the_nodes_back(n_coarse: int, between: int) -> None:
    weights = cubic_weights((n_coarse - 1) * between + 1, n_coarse)
    np.testing.assert_allclose(weights[::between], np.eye(n_coarse), atol=1e-9)


@pytest.mark.parametrize(("n_fine", "n_coarse"), [(7, 3), (50, 3), (31, 6), (2, 5)])
def test_cubic_weights_are_those_of_the_kernel(n_fine: int, n_coarse: int) -> None:
    nodes = generator(1).normal(size=n_coarse)
    expected = [interpolate_by_hand(nodes, at) for at in np.linspace(0, n_coarse - 1, n_fine)]
    np.testing.assert_allclose(cubic_weights(n_fine, n_coarse) @ nodes, expected, atol=1e-12)


def test_cubic_weights_follow_a_straight_line_between_inner_nodes() -> None:
    weights = cubic_weights(61, 7)
    at = np.linspace(0, 6, 61)
    inner = (at >= 1) & (at <= 5)
    np.testing.assert_allclose((weights @ np.arange(7.0))[inner], at[inner], atol=1e-12)


# --- sampling ----------------------------------------------------------------------------------


def sampled_places(*shape: int) -> NDArray[np.float32]:
    """Positions all over a region of odd sizes, relative to its centre, none on a tie."""
    rng = generator(5)
    half = np.array([(size - 1) / 2 for size in shape])
    places = rng.uniform(-1, 1, (11,) * len(shape) + (len(shape),)) * half
    off_ties: NDArray[np.float32] = (np.round(places * 8) / 8 + 1 / 64).astype(np.float32)
    return off_ties.clip(-half, half, dtype=np.float32)


@pytest.mark.parametrize("shape", [(21, 31), (9, 13, 11)], ids=["2D", "3D"])
def test_smooth_samples_equal_linear_interpolation_by_scipy(shape: tuple[int, ...]) -> None:
    region = generator(2).normal(size=shape).astype(np.float32)
    places = sampled_places(*shape)
    sampled = sample_smooth([torch.from_numpy(region)[None, None]], planes(places))
    where = np.moveaxis(places + np.array([(size - 1) / 2 for size in shape]), -1, 0)
    expected = ndimage.map_coordinates(region, where, order=1, mode="nearest")
    np.testing.assert_allclose(sampled[0, 0], expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(21, 31), (9, 13, 11)], ids=["2D", "3D"])
def test_nearest_samples_equal_those_of_scipy(shape: tuple[int, ...]) -> None:
    region = generator(2).integers(-1, 9, size=shape).astype(np.float32)
    places = sampled_places(*shape)
    sampled = sample_nearest([torch.from_numpy(region)[None, None]], planes(places))
    where = np.moveaxis(places + np.array([(size - 1) / 2 for size in shape]), -1, 0)
    expected = ndimage.map_coordinates(region, where, order=0, mode="nearest")
    np.testing.assert_array_equal(sampled[0, 0], expected)


def test_samples_at_whole_pixels_give_the_region_back() -> None:
    region = torch.from_numpy(generator(2).normal(size=(1, 2, 15, 17)).astype(np.float32))
    places = planes(grid_around_centre(15, 17).astype(np.float32))
    torch.testing.assert_close(sample_smooth([region], places), region, atol=1e-5, rtol=0)
    torch.testing.assert_close(sample_nearest([region], places), region, atol=0, rtol=0)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_labels_stay_on_what_they_label(seed: int, ndim: int) -> None:
    config = tiny_config(elastic_sigma=2.0, ndim=ndim)
    deformation = Deformation.drawn(config, generator(seed))
    shape = [2 * pixels + 1 for pixels in deformation.reach((16,) * ndim)]
    # How far each pixel lies inside a ball that is off the centre.
    inside = 6 - np.linalg.norm(grid_around_centre(*shape) - 3, axis=-1)
    places = deformation.positions((16,) * ndim, CPU)[None]
    image = sample_smooth([torch.from_numpy(inside.astype(np.float32))[None, None]], places)
    cells = torch.from_numpy((inside > 0).astype(np.float32))[None, None]
    labels = sample_nearest([cells], places)
    clear = image.abs() > 1.5  # a nearest pixel is less than that away
    assert 0.02 < labels.mean() < 0.98
    assert torch.equal((image > 0)[clear], (labels > 0)[clear])


# --- regions and intensity ---------------------------------------------------------------------


@given(
    shape=st.lists(st.integers(1, 48), min_size=2, max_size=3),
    zoom=st.floats(0, 0.9),
    rotate=st.booleans(),
    sigma=st.floats(0, 100),
    seed=st.integers(0, 1000),
)
def test_the_reach_holds_every_position(
    shape: list[int], zoom: float, rotate: bool, sigma: float, seed: int
) -> None:
    config = tiny_config(zoom=zoom, rotate=rotate, elastic_sigma=sigma, ndim=len(shape))
    deformation = Deformation.drawn(config, generator(seed))
    farthest = deformation.positions(shape, CPU).abs().flatten(1).amax(dim=1)
    assert (farthest <= torch.tensor(deformation.reach(shape))).all()


def test_the_reach_is_no_larger_than_a_turned_patch_needs() -> None:
    config = tiny_config(zoom=0.0, elastic_sigma=0.0)
    reaches = [Deformation.drawn(config, generator(seed)).reach((64, 64)) for seed in range(50)]
    assert 32 <= min(map(min, reaches)) <= 36
    assert 44 <= max(map(max, reaches)) <= 46


def test_no_jitter_changes_nothing() -> None:
    patch = generator().uniform(-1, 3, (2, 9, 8)).astype(np.float32)
    np.testing.assert_array_equal(jittered(patch, 0.0, generator()), patch)


def test_jitter_is_gamma_contrast_brightness_and_noise() -> None:
    patch = generator().uniform(-1, 3, (2, 9, 8)).astype(np.float32)
    chance = generator(5)
    gamma, contrast = np.exp(chance.normal(0, 0.3, (2, 2, 1, 1)))
    brightness = chance.normal(0, 0.15, (2, 1, 1))
    noise = abs(chance.normal(0, 0.075))
    expected = np.sign(patch) * np.abs(patch) ** gamma * contrast + brightness
    grain = jittered(patch, 0.3, generator(5)) - expected
    assert grain.std() == pytest.approx(noise, rel=0.3)
    np.testing.assert_allclose(grain.mean(), 0, atol=noise)
    np.testing.assert_array_equal(
        jittered(patch, 0.3, generator(5)), jittered(patch, 0.3, generator(5))
    )


def test_the_grain_is_drawn_for_each_pixel() -> None:
    changed = jittered(np.ones((1, 64, 64), np.float32), 0.3, generator())
    assert len(np.unique(changed)) > 3000


def test_jitter_leaves_the_global_chance_alone() -> None:
    before = torch.get_rng_state()
    jittered(np.ones((1, 8, 8), np.float32), 0.3, generator())
    assert torch.equal(before, torch.get_rng_state())


def test_jitter_draws_for_each_channel() -> None:
    patch = np.ones((2, 64, 64), np.float32)
    one, other = jittered(patch, 0.3, generator()).mean(axis=(1, 2))
    assert abs(one - other) > 0.01


@given(seed=st.integers(0, 10_000), strength=st.floats(0.01, 1))
def test_jitter_of_normalised_pixels_is_finite(seed: int, strength: float) -> None:
    patch = generator(seed).uniform(-1, 3, (1, 8, 8)).astype(np.float32)
    patch[0, 0, 0] = 0
    assert np.isfinite(jittered(patch, strength, generator(seed))).all()


def test_all_moments_get_the_same_contrast_and_brightness() -> None:
    patch = np.ones((6, 64, 64), np.float32)  # two channels at three timepoints
    means = jittered(patch, 0.3, generator(), window=3).mean(axis=(1, 2)).reshape(3, 2)
    np.testing.assert_allclose(means, means[[0, 0, 0]], atol=0.02)
    assert abs(means[0, 0] - means[0, 1]) > 0.03


@pytest.mark.parametrize(("flat_levels", "share"), [(0, 1.0), (1, 0.5), (2, 0.25)])
def test_thick_slices_are_displaced_by_fewer_voxels(flat_levels: int, share: float) -> None:
    config = TrainConfig.preset(
        "3d", flat_levels=flat_levels, zoom=0.0, rotate=False, flip=False, elastic_sigma=4.0
    )
    shape = (9, 33, 33)
    draws = [
        random_positions(shape, config, generator(seed)) - grid_around_centre(*shape)
        for seed in range(30)
    ]
    spread = np.std(draws, axis=(0, 1, 2, 3))
    np.testing.assert_allclose(spread[0] / spread[1:].mean(), share, rtol=0.2)


def test_a_volume_is_turned_in_the_plane_alone() -> None:
    config = TrainConfig.preset("3d", zoom=0.0, flip=False, elastic_sigma=0.0)
    positions = random_positions((5, 8, 8), config, generator())
    np.testing.assert_allclose(positions[..., 0], grid_around_centre(5, 8, 8)[..., 0])
