"""The loss: each painted pixel by its weight, unlabelled ones not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from napari_unet.tasks.losses import weighted_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


def scene(seed: int = 0, n_classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, classes (about a third unlabelled) and weights of two small patches."""
    chance = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, n_classes, 5, 6, generator=chance)
    classes = torch.randint(-1, n_classes, (2, 5, 6), generator=chance)
    classes[0, 0, 0] = 0
    classes[0, 0, 1] = -1
    weights = torch.rand(2, 5, 6, generator=chance) + 0.1
    return logits, classes, torch.where(classes < 0, torch.zeros(()), weights)


@given(seed=st.integers(0, 1000), n_classes=st.integers(2, 6))
def test_with_all_weights_one_it_is_the_cross_entropy_of_torch(seed: int, n_classes: int) -> None:
    logits, classes, _ = scene(seed, n_classes)
    expected = functional.cross_entropy(logits, classes, ignore_index=-1)
    loss = weighted_cross_entropy(logits, classes, torch.ones(classes.shape))
    torch.testing.assert_close(loss, expected)


def test_it_is_the_weighted_sum_over_the_number_of_painted_pixels() -> None:
    logits, classes, weights = scene()
    painted = classes >= 0
    of_true_class = logits.softmax(1).gather(1, classes.clamp(min=0)[:, None])[:, 0]
    expected = -(weights * of_true_class.log())[painted].sum() / painted.sum()
    torch.testing.assert_close(weighted_cross_entropy(logits, classes, weights), expected)


def test_a_weight_twice_as_high_counts_twice() -> None:
    logits, classes, weights = scene()
    once = weighted_cross_entropy(logits, classes, weights)
    torch.testing.assert_close(weighted_cross_entropy(logits, classes, 2 * weights), 2 * once)


@pytest.mark.parametrize("value", [-1e30, -50.0, 0.0, 3e4, 1e30])
def test_logits_of_unlabelled_pixels_do_not_matter(value: float) -> None:
    logits, classes, weights = scene()
    changed = torch.where((classes < 0)[:, None], torch.tensor(value), logits)
    torch.testing.assert_close(
        weighted_cross_entropy(changed, classes, weights),
        weighted_cross_entropy(logits, classes, weights),
    )


@pytest.mark.parametrize("value", [-1e30, 0.0, 1e30])
def test_unlabelled_pixels_have_no_gradient(value: float) -> None:
    logits, classes, weights = scene()
    unlabelled = (classes < 0)[:, None].expand_as(logits)
    logits = torch.where(unlabelled, torch.tensor(value), logits).requires_grad_()
    weighted_cross_entropy(logits, classes, weights).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert not logits.grad[unlabelled].any()
    assert logits.grad[~unlabelled].any()


def test_a_painted_pixel_of_weight_zero_has_no_gradient() -> None:
    logits, classes, weights = scene()
    weights[0, 0, 0] = 0
    logits.requires_grad_()
    weighted_cross_entropy(logits, classes, weights).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert not logits.grad[0, :, 0, 0].any()


@pytest.mark.fault(14)
def test_where_nothing_is_painted_the_loss_is_zero() -> None:
    logits, classes, weights = scene()
    loss = weighted_cross_entropy(logits, torch.full_like(classes, -1), 0 * weights)
    assert loss.item() == 0


@pytest.mark.fault(14)
def test_where_nothing_is_painted_the_gradient_is_zero() -> None:
    logits, classes, weights = scene()
    logits.requires_grad_()
    loss = weighted_cross_entropy(logits, torch.full_like(classes, -1), 0 * weights)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_reduced_precision_is_summed_in_float32() -> None:
    logits, classes, weights = scene()
    loss = weighted_cross_entropy(logits.bfloat16(), classes, weights)
    assert loss.dtype == torch.float32


def test_volumes_are_summed_like_planes() -> None:
    logits, classes, weights = scene()
    flat = weighted_cross_entropy(logits, classes, weights)
    volume = weighted_cross_entropy(
        logits.reshape(2, 3, 5, 2, 3),
        classes.reshape(2, 5, 2, 3),
        weights.reshape(2, 5, 2, 3),
    )
    torch.testing.assert_close(volume, flat)
