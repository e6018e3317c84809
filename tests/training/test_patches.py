"""Random patches: they hold paint, they keep off held-back blocks, and chance is repeatable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.data.labels import UNLABELLED
from napari_unet.model.config import Padding
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage, TrainingData
from napari_unet.training.patches import Batch, PatchSampler
from napari_unet.training.preparation import prepare_training

from .builders import UNDEFORMED, cells, data_of, painted_cells, tiny_config

Array = Any


def draw(data: TrainingData, config: TrainConfig, n: int) -> list[Batch]:
    sampler = PatchSampler(data, config)
    return [sampler.draw([7, number]) for number in range(n)]


def two_dots(size: int = 96) -> tuple[Array, Array]:
    image = np.random.default_rng(0).random((size, size), dtype=np.float32)
    labels = np.zeros((size, size), np.uint8)
    labels[40:44, 40:44] = 1
    labels[0:4, 0:4] = 2
    return image, labels


def same(one: Batch, other: Batch) -> bool:
    return (
        torch.equal(one.images, other.images)
        and torch.equal(one.classes, other.classes)
        and torch.equal(one.weights, other.weights)
    )


def test_a_batch_has_the_shapes_and_types_of_the_network() -> None:
    config = tiny_config(batch_size=3)
    batch = PatchSampler(cells(config), config).draw([1])
    assert (batch.images.shape, batch.images.dtype) == ((3, 1, 32, 32), torch.float32)
    assert (batch.classes.shape, batch.classes.dtype) == ((3, 32, 32), torch.int64)
    assert (batch.weights.shape, batch.weights.dtype) == ((3, 32, 32), torch.float32)


def test_channels_are_kept() -> None:
    image, labels = painted_cells()
    config = tiny_config()
    data = data_of(np.stack([image, image, image], axis=-1), labels, config)
    assert PatchSampler(data, config).draw([1]).images.shape == (2, 3, 32, 32)


def test_volumes_are_cut_into_cubes_no_thicker_than_they_are() -> None:
    image, labels = painted_cells(48)
    config = tiny_config(ndim=3, patch_size=16, elastic_sigma=1.0)
    data = data_of(np.stack([image] * 6), np.stack([labels] * 6), config)
    batch = PatchSampler(data, config).draw([1])
    assert batch.images.shape == (2, 1, 8, 16, 16)  # six slices, and poolings of 4
    assert batch.classes.shape == (2, 8, 16, 16)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_unpadded_networks_get_larger_images_around_their_targets(depth: int) -> None:
    config = tiny_config(padding="valid", depth=depth, patch_size=36, elastic_sigma=1.0)
    data = cells(config)
    batch = PatchSampler(data, config).draw([1])
    halo = config.network(1, 2).halo
    assert batch.classes.shape == (2, 36, 36)
    assert batch.images.shape == (2, 1, 36 + 2 * halo, 36 + 2 * halo)


def test_the_geometry_of_the_paper_is_388_of_572() -> None:
    config = TrainConfig.preset("paper", base_channels=2, elastic_sigma=1.0, validation_share=0.0)
    image, labels = painted_cells(400)
    batch = PatchSampler(data_of(image, labels, config), config).draw([1])
    assert batch.images.shape[2:] == (572, 572)
    assert batch.classes.shape[1:] == batch.weights.shape[1:] == (388, 388)


@pytest.mark.parametrize(("padding", "size"), [("same", 192), ("valid", 196)])
def test_patches_are_no_larger_than_the_largest_frame(padding: Padding, size: int) -> None:
    config = tiny_config(padding=padding, patch_size=size)
    image, labels = painted_cells(96)
    batch = PatchSampler(data_of(image, labels, config), config).draw([1])
    assert batch.classes.shape[1:] == (96, 96)


def test_targets_lie_in_the_middle_of_unpadded_images() -> None:
    config = tiny_config(padding="valid", patch_size=36, rotate=False, intensity_jitter=0.0)
    image, labels = painted_cells(160)
    labels = np.where(labels == 0, 1, labels).astype(np.uint16)
    batch = PatchSampler(data_of(image, labels, config), config).draw([5])
    margin = config.network(1, 2).halo
    inner = batch.images[:, 0, margin:-margin, margin:-margin]
    bright, dark = inner[batch.classes == 1], inner[batch.classes == 0]
    assert bright.mean() > dark.mean() + 0.5


def test_a_batch_is_a_function_of_its_seed() -> None:
    config = tiny_config()
    data = cells(config)
    sampler = PatchSampler(data, config)
    sampler.draw([0, 3, 1])
    later = sampler.draw([0, 3, 2])
    assert same(later, PatchSampler(data, config).draw([0, 3, 2]))


def test_another_seed_draws_another_batch() -> None:
    config = tiny_config()
    first, second = draw(cells(config), config, 2)
    assert not same(first, second)


def test_the_patches_of_a_batch_differ() -> None:
    config = tiny_config()
    batch = PatchSampler(cells(config), config).draw([1])
    assert not torch.equal(batch.images[0], batch.images[1])


def test_drawing_leaves_the_global_chance_alone() -> None:
    config = tiny_config()
    data = cells(config)
    before = torch.get_rng_state()
    PatchSampler(data, config).draw([1])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("config", [tiny_config(batch_size=8)], ids=["default deformation"])
def test_every_patch_holds_paint(config: TrainConfig) -> None:
    for batch in draw(data_of(*two_dots(), config), config, 40):
        assert (batch.classes != UNLABELLED).flatten(1).any(dim=1).all()


@pytest.mark.fault(14)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_patch_shows_paint_however_little_there_is(data: st.DataObject) -> None:
    size = data.draw(st.integers(20, 70), "size")
    labels = np.zeros((size, size), np.uint8)
    for number in (1, 2):  # two dots of a pixel each
        row, column = (data.draw(st.integers(0, size - 1)) for _ in range(2))
        labels[row, column] = number
    if len(np.unique(labels)) < 3:
        return
    config = tiny_config(
        patch_size=16,
        batch_size=2,
        validation_share=0.0,
        zoom=data.draw(st.sampled_from([0.0, 0.15, 0.9])),
        elastic_sigma=data.draw(st.sampled_from([0.0, 4.0, 30.0])),
        seed=data.draw(st.integers(0, 1000)),
    )
    sampler = PatchSampler(data_of(labels.astype(np.float32), labels, config), config)
    for number in range(6):
        batch = sampler.draw([number])
        for classes, weights in zip(batch.classes, batch.weights, strict=True):
            assert bool(((classes != UNLABELLED) & (weights > 0)).any())


def test_every_patch_holds_paint_however_far_it_zooms() -> None:
    config = tiny_config(batch_size=8, zoom=0.9, elastic_sigma=0.0)
    for batch in draw(data_of(*two_dots(), config), config, 40):
        assert (batch.classes != UNLABELLED).flatten(1).any(dim=1).all()


def test_every_class_is_met_although_one_is_rare() -> None:
    image, labels = painted_cells()
    labels = np.where(labels > 1, 1, labels)
    labels[80:82, 80:82] = 9
    config = tiny_config(kind="classes", validation_share=0.0)
    met = [
        bool((batch.classes == 1).any())
        for batch in draw(data_of(image, labels, config), config, 20)
    ]
    assert np.mean(met) > 0.5


def test_every_frame_is_met() -> None:
    config = tiny_config(**UNDEFORMED, validation_share=0.0, batch_size=8)
    image, labels = painted_cells()
    half = np.zeros_like(labels)
    half[:, :48] = labels[:, :48]
    data = prepare_training(
        [AnnotatedImage("dark", 0 * image, half), AnnotatedImage("bright", image, half)], config
    )
    batch = PatchSampler(data, config).draw([3])
    dark = batch.images.flatten(1).abs().amax(dim=1) == 0
    assert 0 < dark.sum() < 8


def test_unlabelled_pixels_of_patches_weigh_nothing() -> None:
    config = tiny_config(batch_size=4)
    for batch in draw(cells(config), config, 10):
        assert not batch.weights[batch.classes == UNLABELLED].any()
        assert (batch.weights[batch.classes != UNLABELLED] > 0).all()


def test_what_lies_beyond_the_image_is_unlabelled() -> None:
    config = tiny_config(**UNDEFORMED, validation_share=0.0, unpainted="background")
    image = np.random.default_rng(0).random((20, 20), dtype=np.float32)
    labels = np.zeros((20, 20), np.uint8)
    labels[5:9, 5:9] = 1
    for batch in draw(data_of(image, labels, config), config, 5):
        labelled = (batch.classes != UNLABELLED).flatten(1).sum(dim=1)
        assert (labelled <= 20 * 20).all()


@pytest.mark.parametrize("ndim", [2, 3])
def test_held_back_blocks_never_weigh_in_any_patch(ndim: int) -> None:
    """Held-back pixels carry classes and weights of their own, which must never turn up."""
    config = tiny_config(
        ndim=ndim, patch_size=32 if ndim == 2 else 16, batch_size=8, validation_share=0.4
    )
    image, labels = painted_cells()
    if ndim == 3:
        image, labels = np.stack([image] * 8), np.stack([labels] * 8)
    data = data_of(image, labels, config)
    assert data.blocks
    frame = data.frames[0]
    marked = frame.weights
    marked[...] = 1
    marked[frame.held_back] = 1000
    for batch in draw(data, config, 40 if ndim == 2 else 10):
        assert batch.weights.max() <= 1


def test_labels_of_held_back_blocks_never_turn_up() -> None:
    config = tiny_config(batch_size=8, validation_share=0.4)
    data = cells(config)
    assert data.blocks
    frame = data.frames[0]
    frame.target.classes[frame.held_back] = 99
    for batch in draw(data, config, 40):
        assert batch.classes.max() < 99


def test_without_deformation_a_patch_is_a_cut_of_the_labels() -> None:
    config = tiny_config(**UNDEFORMED, kind="classes", validation_share=0.0)
    image = np.random.default_rng(0).random((96, 96), dtype=np.float32)
    labels = np.ones((96, 96), np.uint8)
    labels[:, 1::2] = 2  # stripes of one pixel
    batch = PatchSampler(data_of(image, labels, config), config).draw([1])
    line = batch.classes[0, 16]
    line = line[line != UNLABELLED]
    assert (line[1:] != line[:-1]).all()


def test_without_deformation_a_patch_is_a_cut_of_the_image() -> None:
    config = tiny_config(**UNDEFORMED, kind="classes", validation_share=0.0)
    image = np.random.default_rng(0).integers(0, 2, (96, 96)).astype(np.float32)
    labels = np.ones((96, 96), np.uint8)
    labels[::2] = 2
    batch = PatchSampler(data_of(image, labels, config), config).draw([1])
    assert len(np.unique(batch.images.numpy().round(3))) == 2
