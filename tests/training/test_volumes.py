"""Training on stacks with thick slices, of which perhaps few are painted."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_unet.errors import ImageError, LabelsError, ModelMismatchError
from napari_unet.model import starting
from napari_unet.model.trained import TrainedNetwork, save_compact_network
from napari_unet.tasks import ClassTable, target_of
from napari_unet.training.checkpoint import load_state, save_state, settings_to_continue
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage, TrainingData
from napari_unet.training.patches import PatchSampler
from napari_unet.training.preparation import prepare_training
from napari_unet.training.sources import record_of
from napari_unet.training.targets import pixel_weights, smallest_painted_object
from napari_unet.training.trainer import Trainer

from .builders import run, tiny_config

if TYPE_CHECKING:
    from pathlib import Path

CPU = torch.device("cpu")
VOXEL = {"Z": 1.2, "Y": 0.2, "X": 0.2}


def balls(depth: int = 16, size: int = 48, anisotropy: float = 4.0) -> tuple[Any, Any]:
    """Bright balls that appear flattened, since slices are thick; background is painted 1."""
    z, y, x = np.mgrid[:depth, :size, :size]
    labels = np.ones((depth, size, size), np.uint16)
    number = 2
    for cz in range(3, depth, 6):
        for cy in range(8, size, 16):
            for cx in range(8, size, 16):
                far = ((z - cz) * anisotropy) ** 2 + (y - cy) ** 2 + (x - cx) ** 2
                labels[far <= 36] = number
                number += 1
    noise = np.random.default_rng(0).normal(0, 0.05, labels.shape)
    return ((labels > 1) + noise).astype(np.float32), labels


def volume_config(**changes: Any) -> TrainConfig:
    return tiny_config(**{"ndim": 3, "patch_size": 16, "elastic_sigma": 1.0, **changes})


def prepared(
    labels: Any, image: Any, config: TrainConfig, pixel_size: dict[str, float] | None = None
) -> TrainingData:
    return prepare_training(
        [AnnotatedImage("a", image, labels, pixel_size=pixel_size or {})], config
    )


@pytest.mark.parametrize(
    ("z", "flat_levels"),
    [(0.1, 0), (0.2, 0), (0.56, 0), (0.57, 1), (1.1, 1), (1.2, 2), (3.0, 2)],
)
def test_flat_levels_follow_the_voxel_size(z: float, flat_levels: int) -> None:
    image, labels = balls()
    data = prepared(labels, image, volume_config(), {**VOXEL, "Z": z})
    assert data.flat_levels == flat_levels
    assert data.pixel_size == {**VOXEL, "Z": z}


def test_without_a_voxel_size_there_are_none_and_a_notice_tells_how_to_give_one() -> None:
    image, labels = balls()
    data = prepared(labels, image, volume_config())
    assert data.flat_levels == 0
    assert any("scale" in notice and "flat_levels" in notice for notice in data.notices)


def test_a_setting_goes_before_the_voxel_size() -> None:
    image, labels = balls()
    assert prepared(labels, image, volume_config(flat_levels=1), VOXEL).flat_levels == 1


def test_of_several_images_the_median_decides_and_the_extremes_are_named() -> None:
    image, labels = balls()
    images = [
        AnnotatedImage(str(z), image.copy(), labels, pixel_size={**VOXEL, "Z": z})
        for z in (0.2, 1.2, 1.3)
    ]
    data = prepare_training(images, volume_config())
    assert data.flat_levels == 2
    assert data.pixel_size == VOXEL
    assert any("from 0.2 to 1.3 micrometres along Z" in notice for notice in data.notices)


def test_pixel_sizes_that_hardly_differ_need_no_notice() -> None:
    image, labels = balls()
    images = [
        AnnotatedImage(str(z), image.copy(), labels, pixel_size={**VOXEL, "Z": z})
        for z in (1.2, 1.204)
    ]
    assert not any("micrometres" in n for n in prepare_training(images, volume_config()).notices)


def test_a_pixel_size_that_one_image_lacks_is_not_that_of_the_model() -> None:
    image, labels = balls()
    images = [
        AnnotatedImage("a", image, labels, pixel_size=VOXEL),
        AnnotatedImage("b", image.copy(), labels),
    ]
    assert prepare_training(images, volume_config()).pixel_size == {}


def test_what_was_chosen_stays_while_more_is_painted() -> None:
    image, labels = balls()
    config = volume_config()
    previous = prepared(labels, image, config, VOXEL)
    joined = prepare_training([AnnotatedImage("a", image, labels)], config, previous)
    assert joined.flat_levels == previous.flat_levels == 2


def test_the_record_and_the_state_tell_what_was_chosen(tmp_path: Any) -> None:
    image, labels = balls()
    config = volume_config(steps=2)
    data = prepared(labels, image, config, VOXEL)
    _, result = run(data, config)
    record = result.trained.record
    assert record.network.flat_levels == record.training["flat_levels"] == 2
    assert record.pixel_size == VOXEL
    save_state(result.state, tmp_path / "s.safetensors")
    assert load_state(tmp_path / "s.safetensors").flat_levels == 2


def test_a_model_is_trained_further_with_its_own_flat_levels() -> None:
    image, labels = balls()
    config = volume_config(steps=2)
    _, first = run(prepared(labels, image, config, VOXEL), config)
    unscaled = AnnotatedImage("a", image, labels)
    data = prepare_training([unscaled], config, first.trained)
    _, second = run(data, config, resume=first.trained)
    assert second.trained.record.network == first.trained.record.network


@pytest.mark.parametrize(("flat_levels", "slices"), [(0, 16), (1, 16), (2, 8)])
def test_patches_of_thick_slices_have_fewer(flat_levels: int, slices: int) -> None:
    image, labels = balls(32)
    config = volume_config(flat_levels=flat_levels, patch_size=32)
    config = config.changed(patch_size=16 if flat_levels == 0 else 32)
    batch = PatchSampler(prepared(labels, image, config), config).draw([1])
    assert batch.images.shape[2] == batch.classes.shape[1] == slices


@pytest.mark.parametrize("flat_levels", [0, 1, 2])
def test_unpadded_networks_get_their_halo_along_each_axis(flat_levels: int) -> None:
    image, labels = balls(12, 32)
    config = volume_config(padding="valid", depth=2, patch_size=20, flat_levels=flat_levels)
    batch = PatchSampler(prepared(labels, image, config), config).draw([1])
    lost = np.subtract(batch.images.shape[2:], batch.classes.shape[1:])
    assert tuple(lost) == tuple(2 * halo for halo in config.network(1, 2).halos)


def test_the_gap_between_objects_is_measured_in_pixels_of_the_plane() -> None:
    labels = np.zeros((8, 3, 3), np.uint8)
    labels[0], labels[4] = 1, 2
    target = target_of(labels, ClassTable("objects", "background"))
    balance = np.ones(2, np.float32)
    near = pixel_weights(target, balance, volume_config(), anisotropy=1.0)[2, 1, 1]
    far = pixel_weights(target, balance, volume_config(), anisotropy=4.0)[2, 1, 1]
    assert near == pytest.approx(1 + 10 * math.exp(-(4**2) / 50), rel=1e-4)
    assert far == pytest.approx(1 + 10 * math.exp(-(16**2) / 50), rel=1e-4)


# --- a few painted slices ----------------------------------------------------------------------


def few_slices(labels: Any, painted: tuple[int, ...] = (3, 9, 15, 21)) -> Any:
    sparse = np.zeros_like(labels)
    sparse[list(painted)] = labels[list(painted)]
    return sparse


def test_nothing_is_said_of_the_slices_between() -> None:
    image, labels = balls(24)
    (frame,) = prepared(few_slices(labels), image, volume_config(), VOXEL).frames
    unpainted = np.setdiff1d(np.arange(24), (3, 9, 15, 21))
    assert (frame.weights[unpainted] == 0).all()
    assert (frame.target.classes[unpainted] == -1).all()


def test_blocks_hold_painted_slices_and_leave_some() -> None:
    image, labels = balls(24, 96)
    data = prepared(few_slices(labels), image, volume_config(), VOXEL)
    (frame,) = data.frames
    painted = frame.target.painted
    assert data.blocks
    assert all(painted[block.region].any() for block in data.blocks)
    assert frame.trained_on.sum() > 0.5 * painted.sum()


def test_debris_is_measured_against_whole_objects_not_against_their_sections() -> None:
    _, labels = balls(24)
    table = ClassTable("objects", "unlabelled")
    whole = smallest_painted_object([(target_of(labels, table), 4.0)], "unlabelled")
    sparse = smallest_painted_object([(target_of(few_slices(labels), table), 4.0)], "unlabelled")
    section = (labels[3] == 2).sum() // 2
    assert sparse > 1.3 * section
    assert sparse == pytest.approx(whole, rel=0.35)


def test_a_flat_object_that_is_painted_as_one_counts_its_voxels() -> None:
    labels = np.ones((3, 8, 8), np.uint8)
    labels[1, 2:6, 2:6] = 2
    table = ClassTable("objects", "unlabelled")
    assert smallest_painted_object([(target_of(labels, table), 1.0)], "unlabelled") == 8


def test_a_few_slices_train_a_network_of_finite_weights() -> None:
    image, labels = balls(24)
    config = volume_config(steps=4)
    _, result = run(prepared(few_slices(labels), image, config, VOXEL), config)
    assert result.state.step == 4
    assert all(bool(t.isfinite().all()) for t in result.trained.network.state_dict().values())


# --- axes, channels, time ----------------------------------------------------------------------


def plane() -> Any:
    labels = np.ones((40, 48), np.uint8)
    labels[10:20, 10:20] = 2
    return labels


def test_chosen_channels_are_those_of_the_record() -> None:
    config = tiny_config(channels="2,0", steps=1)
    image = np.random.default_rng(0).random((3, 40, 48), dtype=np.float32)
    data = prepare_training([AnnotatedImage("a", image, plane())], config)
    _, result = run(data, config)
    assert result.trained.record.used_channels == (2, 0)
    assert result.trained.record.network.in_channels == 2


def test_a_channel_that_is_not_there_is_refused_with_both_numbers() -> None:
    image = np.zeros((3, 40, 48), np.float32)
    with pytest.raises(ImageError, match=r"Channels \[3\] .* the image has 3"):
        prepare_training([AnnotatedImage("a", image, plane())], tiny_config(channels="3"))


def test_a_model_of_other_channels_is_not_trained_further_and_both_numbers_are_named() -> None:
    config = tiny_config(steps=1)
    image = np.random.default_rng(0).random((3, 40, 48), dtype=np.float32)
    _, result = run(prepare_training([AnnotatedImage("a", image, plane())], config), config)
    other = prepare_training([AnnotatedImage("a", image[0], plane())], config)
    with pytest.raises(ModelMismatchError, match=r"takes 3 channel.* images have 1"):
        run(other, config, resume=result.trained)


def test_given_axes_go_before_a_guess() -> None:
    image = np.random.default_rng(0).random((40, 2, 48), dtype=np.float32)
    given = AnnotatedImage("a", image, plane(), axes="YCX")
    assert prepare_training([given], tiny_config()).channels == 2


def test_time_may_stand_last() -> None:
    image = np.random.default_rng(0).random((40, 48, 3), dtype=np.float32)
    labels = np.zeros((40, 48, 3), np.uint8)
    labels[..., 1] = plane()
    data = prepare_training([AnnotatedImage("a", image, labels, axes="YXT")], tiny_config())
    (frame,) = data.frames
    assert frame.frame.index == (1,)
    np.testing.assert_array_equal(frame.labels, plane())


def test_labels_that_do_not_fit_the_given_axes_are_refused_with_both_shapes() -> None:
    image = AnnotatedImage("a", np.zeros((40, 2, 48)), np.ones((40, 2), np.uint8), axes="YCX")
    with pytest.raises(LabelsError, match=r"Labels \(40, 2\) .*\(40, 2, 48\) with axes YCX"):
        prepare_training([image], tiny_config())


def test_a_window_trains_on_a_time_lapse_and_stands_in_the_record() -> None:
    movie = np.random.default_rng(0).random((4, 40, 48), dtype=np.float32)
    labels = np.zeros((4, 40, 48), np.uint8)
    labels[0] = plane()  # the first: what was before is mirrored
    config = tiny_config(window=3, steps=2)
    data = prepare_training([AnnotatedImage("a", movie, labels)], config)
    assert PatchSampler(data, config).draw([1]).images.shape[1] == 3
    assert data.channels == 1
    _, result = run(data, config)
    assert result.trained.record.network.window == 3


def test_a_window_without_time_is_refused() -> None:
    with pytest.raises(ImageError, match=r"3 neighbouring frames .* no T axis"):
        prepare_training([AnnotatedImage("a", np.zeros((40, 48)), plane())], tiny_config(window=3))


# --- larger than memory ------------------------------------------------------------------------


class Counting:
    """A lazy image of any size that counts the pixels that are read."""

    dtype = np.dtype(np.uint16)

    def __init__(self, *shape: int) -> None:
        self.shape = shape
        self.read = 0

    def __getitem__(self, key: Any) -> Any:
        shape = [
            len(range(*part.indices(size))) for part, size in zip(key, self.shape, strict=False)
        ]
        self.read += math.prod(shape)
        return np.zeros(shape, np.uint16)


def test_of_a_huge_lazy_image_a_sample_is_hashed() -> None:
    image = Counting(1000, 4000, 4000)
    labels = np.ones((1, 1), np.uint8)
    one = record_of(0, AnnotatedImage("a", image, labels), None)
    other = record_of(0, AnnotatedImage("a", Counting(1000, 4000, 4000), labels), None)
    assert 0 < image.read < 2**23
    assert one.image_sha256 == other.image_sha256


def test_how_thick_slices_are_is_enough_where_the_voxel_size_is_not_known() -> None:
    image, labels = balls()
    alike = AnnotatedImage("a", image, labels, anisotropy=6.0)
    data = prepare_training([alike], volume_config())
    assert data.flat_levels == 2
    assert not any("voxel size is not known" in text for text in data.notices)
    assert data.pixel_size == {}


# --- A starting model in 3D -----------------------------------------------------------------------


@pytest.fixture
def in_3d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainedNetwork:
    """Return a starting model that stands beside the bundled one."""
    image, labels = balls()
    config = volume_config(start="random", flat_levels=0, steps=2)
    model = run(prepared(labels, image, config), config)[1].latest
    shutil.copy(starting.STARTING_MODELS["cells"].path, tmp_path)
    monkeypatch.setattr(starting, "_WEIGHTS", tmp_path)
    monkeypatch.setitem(starting.STARTING_MODELS, "cells_3d", starting._VOLUMES)
    save_compact_network(model, starting._VOLUMES.path)
    return model


@pytest.mark.parametrize("pixel_size", [{}, VOXEL], ids=["unknown", "thick slices"])
def test_a_training_of_its_shape_begins_with_its_weights(
    in_3d: TrainedNetwork, pixel_size: dict[str, float]
) -> None:
    image, labels = balls()
    config = volume_config(start="cells")
    trainer = Trainer(prepared(labels, image, config, pixel_size), config, CPU, None)
    stored = starting.load_starting_model("cells_3d").network.state_dict()
    assert trainer.take_notices() == []
    for name, weights in trainer.network.state_dict().items():
        torch.testing.assert_close(weights, stored[name])


def test_flat_levels_that_are_set_stay_and_begin_at_random(in_3d: TrainedNetwork) -> None:
    image, labels = balls()
    config = volume_config(start="cells", flat_levels=1)
    trainer = Trainer(prepared(labels, image, config, VOXEL), config, CPU, None)
    assert trainer.network_config.flat_levels == 1
    assert "begins with random weights" in trainer.take_notices()[0].text


def test_trained_further_by_name_it_has_the_settings_of_the_preset_3d(
    in_3d: TrainedNetwork,
) -> None:
    record = starting.load_model_or_starting_model("cells_3d").record
    config = settings_to_continue(None, record)
    assert (config.ndim, config.patch_size) == (3, TrainConfig.preset("3d").patch_size)


@pytest.mark.skipif(not starting._VOLUMES.path.is_file(), reason="not trained yet")
def test_the_preset_3d_begins_with_the_bundled_one() -> None:
    config = TrainConfig.preset("3d")
    assert config.start == "cells"
    assert starting.flat_levels_to_begin_with(config.network(1, 2), "cells") is not None
