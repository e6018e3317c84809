"""What is updated where the paint changed is what all of it would have been computed to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.data.labels import Target, marked_boxes
from napari_unet.tasks import class_table
from napari_unet.training import targets
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.preparation import prepare_training
from napari_unet.training.targets import border_term, frame_target, updated_target

from .builders import tiny_config

Array = Any
CONFIG = tiny_config(border_sigma=1.0)  # reaches 6 pixels


def cells_on(shape: tuple[int, ...], rng: np.random.Generator, dtype: Any = np.uint16) -> Array:
    """Boxes of many numbers on painted background, with unpainted stripes."""
    labels = np.ones(shape, dtype)
    for number in range(2, 40):
        corner = [int(rng.integers(0, size)) for size in shape]
        labels[tuple(slice(c, c + int(rng.integers(2, 9))) for c in corner)] = number
    labels[..., ::7] = 0
    return labels


def repainted(labels: Array, rng: np.random.Generator, strokes: int) -> Array:
    labels = labels.copy()
    for _ in range(strokes):
        corner = [int(rng.integers(0, size)) for size in labels.shape]
        box = tuple(slice(c, c + int(rng.integers(1, 12))) for c in corner)
        labels[box] = rng.choice([0, 1, 3, 90])
    return labels


def assert_equal(one: Target, other: Target) -> None:
    np.testing.assert_array_equal(one.classes, other.classes)
    np.testing.assert_array_equal(one.objects, other.objects)
    assert one.border is not None
    assert other.border is not None
    np.testing.assert_allclose(one.border, other.border, atol=2e-6, rtol=0)


@given(
    seed=st.integers(0, 10_000),
    strokes=st.integers(0, 3),
    shape=st.sampled_from([(150, 170), (6, 100, 90)]),
    unpainted=st.sampled_from(["unlabelled", "background"]),
    anisotropy=st.sampled_from([1.0, 3.0]),
)
def test_updating_equals_computing_all(
    seed: int, strokes: int, shape: tuple[int, ...], unpainted: Any, anisotropy: float
) -> None:
    rng = np.random.default_rng(seed)
    config = CONFIG.changed(unpainted=unpainted, ndim=len(shape), patch_size=16)
    before = cells_on(shape, rng)
    now = repainted(before, rng, strokes)
    table = class_table([before, now], config.kind, config.unpainted)
    known = frame_target(before, table, config, anisotropy)
    updated = updated_target(known, before, now, table, config, anisotropy)
    assert_equal(updated, frame_target(now, table, config, anisotropy))


def painted(size: int = 200) -> tuple[Array, Array, Any]:
    """Paint, the same with one more stroke, and what it means."""
    before = cells_on((size, size), np.random.default_rng(0))
    now = before.copy()
    now[100:104, 100:110] = 77
    return before, now, class_table([before, now], CONFIG.kind, CONFIG.unpainted)


def test_a_stroke_computes_its_surroundings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before, now, table = painted()
    known = frame_target(before, table, CONFIG, 1.0)
    computed = []

    def counting(target: Any, config: TrainConfig, anisotropy: float) -> Any:
        computed.append(target.classes.size)
        return border_term(target, config, anisotropy)

    monkeypatch.setattr(targets, "border_term", counting)
    updated_target(known, before, now, table, CONFIG, 1.0)
    assert sum(computed) < 0.25 * now.size


def test_the_same_paint_is_the_same_target() -> None:
    before, _, table = painted()
    known = frame_target(before, table, CONFIG, 1.0)
    assert updated_target(known, before, before.copy(), table, CONFIG, 1.0) is known


def test_the_previous_target_stays_as_it_was() -> None:
    before, now, table = painted()
    known = frame_target(before, table, CONFIG, 1.0)
    updated_target(known, before, now, table, CONFIG, 1.0)
    assert_equal(known, frame_target(before, table, CONFIG, 1.0))


def test_very_large_ids_are_renewed_too() -> None:
    before, now, table = painted()
    now = now.astype(np.int32)
    now[20:30, 20:30] = 10**9
    known = frame_target(before, table, CONFIG, 1.0)
    updated = updated_target(known, before, now, table, CONFIG, 1.0)
    assert_equal(updated, frame_target(now, table, CONFIG, 1.0))


def test_classes_are_renewed_without_border_weights() -> None:
    config = CONFIG.changed(kind="classes")
    before, now, _ = painted()
    table = class_table([before, now], config.kind, config.unpainted)
    known = frame_target(before, table, config, 1.0)
    updated = updated_target(known, before, now, table, config, 1.0)
    assert updated.border is None
    np.testing.assert_array_equal(updated.classes, frame_target(now, table, config, 1.0).classes)


def test_strokes_far_apart_are_boxes_of_their_own() -> None:
    before = np.zeros((300, 300), np.uint8)
    now = before.copy()
    now[5, 5] = now[290, 290] = 1
    boxes = marked_boxes(before != now)
    assert boxes == [(slice(0, 32), slice(0, 32)), (slice(288, 300), slice(288, 300))]


@pytest.mark.parametrize("balance", [0.0, 1.0], ids=["alike", "balanced"])
def test_joined_strokes_give_the_weights_of_a_new_training(balance: float) -> None:
    config = CONFIG.changed(class_balance=balance, validation_share=0.0)
    before, now, _ = painted()
    image = np.random.default_rng(0).random(now.shape, dtype=np.float32)
    previous = prepare_training([AnnotatedImage("a", image, before)], config)
    joined = prepare_training([AnnotatedImage("a", image, now)], config, previous).frames[0]
    anew = prepare_training([AnnotatedImage("a", image, now)], config).frames[0]
    np.testing.assert_allclose(joined.weights, anew.weights, atol=1e-5, rtol=0)


def test_another_balance_needs_no_new_border_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG.changed(class_balance=1.0, validation_share=0.0)
    labels, more, _ = painted()
    image = np.zeros(labels.shape, np.float32)
    images = [AnnotatedImage("a", image, labels), AnnotatedImage("b", image.copy(), labels)]
    previous = prepare_training(images, config)
    images[1] = AnnotatedImage("b", images[1].image, more)
    monkeypatch.setattr(targets, "_MOST", 1.0)
    data = prepare_training(images, config, previous)
    assert data.frames[0].target.border is previous.frames[0].target.border
    assert not np.array_equal(data.frames[0].weights, previous.frames[0].weights)
