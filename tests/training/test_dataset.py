"""From images and paint to training data: what is refused, what is weighted, what is held back."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from napari_unet.data.border_weights import border_weight_map
from napari_unet.data.labels import UNLABELLED, Target
from napari_unet.errors import (
    ImageError,
    LabelsError,
    ModelMismatchError,
    NothingToLearnError,
)
from napari_unet.training.dataset import AnnotatedImage, TrainingData
from napari_unet.training.preparation import prepare_training
from napari_unet.training.targets import pixel_weights

from .builders import cells, data_of, painted_cells, painted_classes, tiny_config

Array = Any
NO_BLOCKS = "no validation score is shown"


def two_strokes(height: int = 40, width: int = 48) -> Array:
    """A stroke of background (1) above a stroke of a cell (2)."""
    labels = np.zeros((height, width), np.uint8)
    labels[5:8, 5:30] = 1
    labels[20:26, 10:20] = 2
    return labels


def noise(*shape: int) -> Array:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def weights_of(classes: Array, objects: Array | None = None, **changes: Any) -> Array:
    classes = np.asarray(classes, np.int16)
    objects = np.zeros(classes.shape, np.int32) if objects is None else objects.astype(np.int32)
    balance = np.array([1.0, 3.0], np.float32)
    return pixel_weights(Target(classes, objects), balance, tiny_config(**changes))


# --- axes and shapes ---------------------------------------------------------------------------


@pytest.mark.fault(25)
def test_labels_of_another_shape_are_refused_with_both_shapes() -> None:
    with pytest.raises(LabelsError, match=r"Labels \(40, 48\) do not match image \(40, 49\)"):
        data_of(noise(40, 49), two_strokes(), tiny_config())


@pytest.mark.parametrize(
    ("shape", "axes", "channels"),
    [((40, 48), "YX", 1), ((40, 48, 3), "YXC", 3), ((2, 40, 48), "CYX", 2)],
    ids=["no channels", "channels last", "channels first"],
)
def test_the_channel_axis_is_found(shape: tuple[int, ...], axes: str, channels: int) -> None:
    data = data_of(noise(*shape), two_strokes(), tiny_config())
    assert (data.frames[0].frame.axes, data.channels) == (axes, channels)


def test_frames_of_a_time_lapse_without_paint_are_left_out() -> None:
    labels = np.zeros((4, 40, 48), np.uint8)
    labels[1] = labels[3] = two_strokes()
    data = data_of(noise(4, 40, 48), labels, tiny_config())
    assert [frame.frame.index for frame in data.frames] == [(1,), (3,)]


def test_each_frame_reads_its_own_pixels() -> None:
    image = noise(3, 40, 48)
    labels = np.stack([two_strokes()] * 3)
    data = data_of(image, labels, tiny_config())
    for number, frame in enumerate(data.frames):
        read = frame.frame.read((slice(None), slice(None)))
        np.testing.assert_array_equal(read[0], image[number])


def test_a_time_lapse_of_stacks_is_cut_into_volumes() -> None:
    labels = np.zeros((2, 8, 40, 48), np.uint8)
    labels[:, 3] = two_strokes()
    data = data_of(noise(2, 8, 40, 48), labels, tiny_config(ndim=3))
    assert [frame.target.classes.shape for frame in data.frames] == [(8, 40, 48)] * 2


def test_a_volume_for_a_flat_network_is_read_plane_by_plane() -> None:
    labels = np.zeros((5, 40, 48), np.uint8)
    labels[2] = two_strokes()
    assert len(data_of(noise(5, 40, 48), labels, tiny_config()).frames) == 1


def test_a_plane_is_too_flat_for_a_volume_network() -> None:
    with pytest.raises(LabelsError, match=r"3D network cannot learn from labels with 2 axes"):
        data_of(noise(40, 48), two_strokes(), tiny_config(ndim=3))


def test_no_image_at_all_is_refused() -> None:
    with pytest.raises(LabelsError, match="no image to train on"):
        prepare_training([], tiny_config())


@pytest.mark.fault(19)
@pytest.mark.parametrize("shape", [(0, 48), (40, 0)])
def test_an_empty_image_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="The image is empty"):
        data_of(np.zeros(shape), np.zeros(shape, np.uint8), tiny_config())


@pytest.mark.fault(18)
def test_complex_images_are_refused_by_their_dtype() -> None:
    with pytest.raises(ImageError, match="complex128"):
        data_of(np.zeros((40, 48), complex), two_strokes(), tiny_config())


@pytest.mark.fault(18)
def test_labels_that_are_no_integers_are_refused_by_their_dtype() -> None:
    with pytest.raises(LabelsError, match="float64"):
        data_of(noise(40, 48), two_strokes().astype(float), tiny_config())


@pytest.mark.fault(26)
def test_negative_labels_are_refused() -> None:
    with pytest.raises(LabelsError, match="negative; the smallest is -2"):
        data_of(noise(40, 48), -two_strokes().astype(np.int16), tiny_config())


def test_images_of_different_channel_counts_are_refused() -> None:
    images = [
        AnnotatedImage("grey", noise(40, 48), two_strokes()),
        AnnotatedImage("colour", noise(40, 48, 3), two_strokes()),
    ]
    with pytest.raises(ModelMismatchError, match=r"different numbers of channels \(\[1, 3\]\)"):
        prepare_training(images, tiny_config())


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "uint16", ">u2", "uint32", "int64", "float16", ">f8"]
)
def test_images_of_any_real_dtype_are_accepted(dtype: str) -> None:
    image = (noise(40, 48) * 9).astype(dtype)[::-1]
    assert data_of(image, two_strokes(), tiny_config()).channels == 1


# --- what is painted ---------------------------------------------------------------------------

ONLY_BACKGROUND = np.where(two_strokes() == 1, 1, 0)
ONLY_CELL = np.where(two_strokes() == 2, 2, 0)


@pytest.mark.fault(27)
@pytest.mark.parametrize("kind", ["objects", "classes"])
@pytest.mark.parametrize(
    "labels", [ONLY_BACKGROUND, ONLY_CELL], ids=["only background", "only a cell"]
)
def test_a_single_class_is_refused(labels: Array, kind: str) -> None:
    with pytest.raises(NothingToLearnError, match=r"Paint at least two classes \(background"):
        data_of(noise(40, 48), labels, tiny_config(kind=kind))


def test_touching_cells_without_background_are_a_single_class() -> None:
    labels = np.zeros((40, 48), np.uint8)
    labels[10:20, 10:20] = 2
    labels[10:20, 20:30] = 3
    with pytest.raises(NothingToLearnError):
        data_of(noise(40, 48), labels, tiny_config())


@pytest.mark.fault(27)
def test_no_paint_is_called_so() -> None:
    with pytest.raises(NothingToLearnError, match="Nothing is painted yet"):
        data_of(noise(40, 48), np.zeros((40, 48), np.uint8), tiny_config())


def test_no_paint_is_called_so_with_classes_too() -> None:
    with pytest.raises(NothingToLearnError, match="Nothing is painted yet"):
        data_of(noise(40, 48), np.zeros((40, 48), np.uint8), tiny_config(kind="classes"))


@pytest.mark.fault(27)
@pytest.mark.parametrize("kind", ["objects", "classes"])
def test_masks_of_mere_background_are_refused(kind: str) -> None:
    config = tiny_config(kind=kind, unpainted="background")
    with pytest.raises(NothingToLearnError, match="hold a single class"):
        data_of(noise(40, 48), np.zeros((40, 48), np.uint8), config)


def test_one_image_may_show_what_the_other_lacks() -> None:
    images = [
        AnnotatedImage("one", noise(40, 48), ONLY_BACKGROUND),
        AnnotatedImage("other", noise(40, 48), ONLY_CELL),
    ]
    assert len(prepare_training(images, tiny_config()).frames) == 2


def test_painted_pixels_are_counted() -> None:
    data = data_of(noise(40, 48), two_strokes(), tiny_config())
    assert data.painted == 3 * 25 + 6 * 10


def test_in_finished_masks_every_pixel_counts() -> None:
    data = data_of(noise(40, 48), two_strokes(), tiny_config(unpainted="background"))
    assert data.painted == 40 * 48


@pytest.mark.fault(26)
def test_sparse_class_values_are_numbered() -> None:
    labels = two_strokes().astype(np.uint32) * 70_000
    labels[5:8, 5:30] = 1
    data = data_of(noise(40, 48), labels, tiny_config(kind="classes"))
    assert data.classes.painted == (1, 140_000)
    assert set(np.unique(data.frames[0].target.classes)) == {UNLABELLED, 0, 1}


def test_debris_is_smaller_than_a_painted_object_but_no_speck() -> None:
    labels = np.ones((40, 48), np.uint8)
    labels[10:20, 10:20] = 2
    assert 10 < data_of(noise(40, 48), labels, tiny_config()).smallest_object < 100


def test_classes_have_no_debris() -> None:
    assert data_of(noise(40, 48), two_strokes(), tiny_config(kind="classes")).smallest_object == 0


def test_training_data_are_frozen() -> None:
    data = data_of(noise(40, 48), two_strokes(), tiny_config())
    with pytest.raises(FrozenInstanceError):
        data.channels = 2  # type: ignore[misc]


# --- weights -----------------------------------------------------------------------------------


def touching_pair() -> tuple[Array, Array]:
    """Classes and objects of two squares with a column of background between them."""
    objects = np.zeros((21, 31), int)
    objects[5:16, 4:15] = 2
    objects[5:16, 16:27] = 3
    return (objects > 0).astype(np.int16), objects


def test_unlabelled_pixels_weigh_nothing() -> None:
    labels = painted_cells()[1]
    frame = cells(tiny_config()).frames[0]
    assert not frame.weights[labels == 0].any()


def test_painted_pixels_weigh_something() -> None:
    labels = painted_cells()[1]
    frame = cells(tiny_config()).frames[0]
    assert (frame.weights[labels > 0] > 0).all()


def test_weights_are_float32() -> None:
    assert cells(tiny_config()).frames[0].weights.dtype == np.float32


def test_without_objects_near_the_weight_is_that_of_the_class() -> None:
    weights = weights_of([[0, 0, 1], [-1, 1, 1]])
    np.testing.assert_array_equal(weights, [[1, 1, 3], [0, 3, 3]])


def test_the_gap_between_two_cells_weighs_most() -> None:
    classes, objects = touching_pair()
    weights = weights_of(classes, objects)
    row, column = np.unravel_index(weights.argmax(), weights.shape)
    assert column == 15
    assert 5 <= row < 16


def test_the_border_weight_is_that_of_the_paper() -> None:
    classes, objects = touching_pair()
    weights = weights_of(classes, objects, border_weight=7.0, border_sigma=2.0)
    # In the middle of the gap both cells are one pixel away: 7 * exp(-(1 + 1)^2 / (2 * 2^2)).
    assert weights[10, 15] == pytest.approx(1 + 7 * np.exp(-0.5), rel=1e-5)


def test_the_ridge_between_touching_cells_weighs_most() -> None:
    labels = np.ones((40, 48), np.uint8)
    labels[10:25, 10:20] = 2
    labels[10:25, 20:30] = 3
    frame = data_of(noise(40, 48), labels, tiny_config(validation_share=0)).frames[0]
    ridge = (frame.target.classes == 0) & (labels > 1)
    assert ridge.any()
    assert frame.weights[ridge].min() > frame.weights[~ridge].max()


def test_classes_have_no_border_weight() -> None:
    classes, objects = touching_pair()
    weights = weights_of(classes, objects, kind="classes")
    np.testing.assert_array_equal(weights, np.where(classes == 1, 3, 1))


@pytest.mark.parametrize("seed", range(4))
def test_a_half_painted_cell_teaches_no_gap_where_it_is_unlabelled(seed: int) -> None:
    labels = np.ones((40, 48), np.uint8)
    labels[10:25, 8:20] = 2
    labels[10:25, 30:42] = 3  # too far from the other for a sliver
    labels[np.random.default_rng(seed).random(labels.shape) < 0.4] = 0
    frame = data_of(noise(40, 48), labels, tiny_config(validation_share=0)).frames[0]
    border = border_weight_map(np.where(labels > 1, labels, 0))
    assert border[labels == 0].max() > 0.5  # there is something to leave out
    assert not frame.weights[labels == 0].any()


def test_balanced_classes_contribute_alike() -> None:
    labels = np.ones((40, 48), np.uint8)
    labels[10:20, 10:30] = 2
    config = tiny_config(kind="classes", class_balance=1.0, validation_share=0)
    frame = data_of(noise(40, 48), labels, config).frames[0]
    assert frame.weights[labels == 1].sum() == pytest.approx(frame.weights[labels == 2].sum())


def test_balanced_weights_are_one_on_average() -> None:
    labels = painted_classes()[1]
    config = tiny_config(kind="classes", class_balance=1.0, validation_share=0)
    frame = data_of(*painted_classes(), config).frames[0]
    assert frame.weights[labels > 0].mean() == pytest.approx(1, rel=1e-5)


def test_a_rare_class_weighs_no_more_than_twenty() -> None:
    labels = np.ones((96, 96), np.uint8)
    labels[50, 50] = 2
    config = tiny_config(kind="classes", class_balance=1.0, validation_share=0)
    assert data_of(noise(96, 96), labels, config).frames[0].weights.max() == 20


def test_without_balance_every_class_weighs_one() -> None:
    data = data_of(*painted_classes(), tiny_config(kind="classes", class_balance=0.0))
    assert set(np.unique(data.frames[0].weights)) == {0, 1}


# --- held back ---------------------------------------------------------------------------------


def held_back_share(data: TrainingData) -> float:
    held = sum(np.count_nonzero(f.held_back & f.target.painted) for f in data.frames)
    return held / data.painted


def test_about_the_asked_share_is_held_back() -> None:
    assert 0.05 < held_back_share(cells(tiny_config())) < 0.25


def test_the_mask_of_held_back_pixels_is_that_of_the_blocks() -> None:
    data = cells(tiny_config(validation_share=0.3))
    mask = np.zeros((96, 96), bool)
    for block in data.blocks:
        mask[block.region] = True
    np.testing.assert_array_equal(data.frames[0].held_back, mask)


def test_the_same_seed_holds_back_the_same_blocks() -> None:
    assert cells(tiny_config(seed=4)).blocks == cells(tiny_config(seed=4)).blocks


def test_no_share_holds_back_nothing() -> None:
    assert cells(tiny_config(validation_share=0)).blocks == ()


# --- notices -----------------------------------------------------------------------------------


@pytest.mark.fault(15)
def test_bad_pixels_are_counted_in_a_notice() -> None:
    image = noise(40, 48)
    image[0, :5], image[1, :2] = np.nan, np.inf
    notices = data_of(image, two_strokes(), tiny_config()).notices
    assert "7 pixels that are not finite were replaced by the median." in notices


@pytest.mark.fault(16)
def test_a_constant_image_is_noticed() -> None:
    notices = data_of(np.full((40, 48), 9), two_strokes(), tiny_config()).notices
    assert any("same value everywhere" in text for text in notices)


@pytest.mark.fault(28)
def test_of_few_cells_none_is_held_back_which_is_no_news() -> None:
    data = data_of(noise(40, 48), two_strokes(), tiny_config())
    assert (data.blocks, data.notices) == ((), ())


def test_paint_too_little_to_hold_any_back_is_noticed() -> None:
    notices = data_of(noise(40, 48), two_strokes(), tiny_config(kind="classes")).notices
    assert len(notices) == 1
    assert NO_BLOCKS in notices[0]


@pytest.mark.fault(27)
def test_an_image_without_any_paint_is_named() -> None:
    image, labels = painted_cells()
    others = [AnnotatedImage(f"image {n}", image + n, 0 * labels) for n in range(7)]
    data = prepare_training([AnnotatedImage("painted", image, labels), *others], tiny_config())
    (notice,) = data.notices
    assert notice == (
        "Nothing is painted on image 0, image 1, image 2, image 3, image 4 ...: nothing is "
        "learned from there."
    )


def test_of_finished_masks_an_empty_one_is_background() -> None:
    image, labels = painted_cells()
    images = [AnnotatedImage("cells", image, labels), AnnotatedImage("none", image + 1, 0 * labels)]
    notices = prepare_training(images, tiny_config(unpainted="background")).notices
    assert not any("Nothing is painted" in text for text in notices)


@pytest.mark.fault(22)
def test_what_was_left_out_of_an_image_is_told_with_its_name() -> None:
    image, labels = painted_cells()
    annotated = AnnotatedImage("cells.png", image, labels, notices=("Something was left out.",))
    assert (
        "cells.png: Something was left out." in prepare_training([annotated], tiny_config()).notices
    )


@pytest.mark.fault(18)
def test_what_is_no_array_is_refused_by_its_type() -> None:
    image, labels = painted_cells()
    nested: Any = image.tolist()
    with pytest.raises(ImageError, match=r"A list is no image; give an array"):
        data_of(nested, labels, tiny_config())


def test_good_data_need_no_notice() -> None:
    assert cells(tiny_config()).notices == ()


# --- records -----------------------------------------------------------------------------------


def record_of(image: Array, labels: Array) -> Any:
    return data_of(image, labels, tiny_config()).images[0]


def test_a_record_names_the_image_and_its_shape() -> None:
    record = record_of(noise(40, 48, 3), two_strokes())
    assert (record.name, record.shape) == ("an image", (40, 48, 3))


def test_the_same_pixels_have_the_same_hash() -> None:
    image = noise(40, 48)
    assert record_of(image, two_strokes()) == record_of(image.copy(order="F"), two_strokes())


def test_another_pixel_changes_the_hash_of_the_image_alone() -> None:
    image = noise(40, 48)
    before = record_of(image, two_strokes())
    image[39, 47] += 1
    after = record_of(image, two_strokes())
    assert before.image_sha256 != after.image_sha256
    assert before.labels_sha256 == after.labels_sha256


def test_another_stroke_changes_the_hash_of_the_labels_alone() -> None:
    image, labels = noise(40, 48), two_strokes()
    before = record_of(image, labels)
    labels[39, 47] = 1
    after = record_of(image, labels)
    assert before.image_sha256 == after.image_sha256
    assert before.labels_sha256 != after.labels_sha256


def test_the_same_bytes_in_another_shape_have_another_hash() -> None:
    labels = two_strokes(48, 48)
    one = record_of(np.zeros((48, 48, 2), np.uint8), labels)
    other = record_of(np.zeros((2, 48, 48), np.uint8), labels)
    assert one.image_sha256 != other.image_sha256
