"""Pairs of values, and of objects, at the same pixels of two label images."""

from __future__ import annotations

from collections import Counter
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_unet.errors import LabelsError
from napari_unet.objects.overlaps import joint_counts, overlapping_pairs

Labels = NDArray[np.integer[Any]]
label_images = hnp.arrays(np.int64, (3, 7), elements=st.integers(0, 3))


@given(label_images, label_images)
def test_every_pair_of_values_is_counted(first: Labels, second: Labels) -> None:
    joint = joint_counts(first, second)
    firsts = joint.first_values[joint.first_index].tolist()
    seconds = joint.second_values[joint.second_index].tolist()
    counted = dict(zip(zip(firsts, seconds, strict=True), joint.pixels.tolist(), strict=True))
    assert counted == Counter(zip(first.ravel().tolist(), second.ravel().tolist(), strict=True))


@given(label_images, label_images)
def test_overlapping_objects_come_largest_overlap_first_then_by_number(
    first: Labels, second: Labels
) -> None:
    firsts, seconds, pixels = (found.tolist() for found in overlapping_pairs(first, second))
    rows = list(zip([-n for n in pixels], firsts, seconds, strict=True))
    assert rows == sorted(rows)
    assert all(one > 0 and other > 0 for _, one, other in rows)
    assert sum(pixels) == np.count_nonzero((first > 0) & (second > 0))


def test_different_shapes_are_refused() -> None:
    with pytest.raises(LabelsError, match=r"\(2, 2\).*\(2, 3\)"):
        joint_counts(np.zeros((2, 2), int), np.zeros((2, 3), int))
