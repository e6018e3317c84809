"""Whatever numbers are painted, each comes back as it was painted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from napari_unet.data.border_weights import border_weight_map
from napari_unet.data.labels import BACKGROUND_VALUE, UNLABELLED, Unpainted, check_labels
from napari_unet.errors import LabelsError, NothingToLearnError
from napari_unet.tasks import class_table, target_of

DTYPES = ["u1", "u2", "u4", "u8", ">u2", ">u4", ">u8", "i1", "i2", "i4", "i8", ">i4"]
UNPAINTED = st.sampled_from(["unlabelled", "background"])
ANY = settings(deadline=None, max_examples=80, derandomize=True)


@st.composite
def painted(draw: st.DrawFn) -> NDArray[Any]:
    """Labels of any integer dtype with a few numbers out of all that it holds."""
    dtype: Any = np.dtype(draw(st.sampled_from(DTYPES)))
    number = st.integers(0, int(np.iinfo(dtype).max))
    ids = [*draw(st.lists(number, min_size=1, max_size=6)), 0, 1]
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=9))
    positions = draw(hnp.arrays(np.int8, shape, elements=st.integers(0, len(ids) - 1)))
    chosen: NDArray[Any] = np.array(ids, dtype)[positions]
    return chosen


@pytest.mark.fault(18, 26)
@given(labels=painted(), unpainted=UNPAINTED)
@ANY
def test_each_class_comes_back_as_it_was_painted(
    labels: NDArray[Any], unpainted: Unpainted
) -> None:
    try:
        table = class_table([labels], "classes", unpainted)
    except NothingToLearnError:
        values = {int(value) for value in np.unique(labels)}
        assert len(values - ({0} if unpainted == "unlabelled" else set())) < 2
        return
    classes = target_of(labels, table).classes
    background = BACKGROUND_VALUE[unpainted]
    for cls, value in zip(classes.ravel(), labels.ravel(), strict=True):
        if unpainted == "unlabelled" and value == 0:
            assert cls == UNLABELLED
        else:
            assert table.painted[cls] == int(value)
            assert table.results[cls] == (0 if int(value) == background else int(value))


@pytest.mark.fault(18, 26)
@given(labels=painted(), unpainted=UNPAINTED)
@ANY
def test_objects_are_alike_where_their_numbers_are(
    labels: NDArray[Any], unpainted: Unpainted
) -> None:
    table = class_table([labels], "objects", unpainted)
    objects = target_of(labels, table).objects
    is_object = labels > BACKGROUND_VALUE[unpainted]
    np.testing.assert_array_equal(objects > 0, is_object)
    pairs = {(int(a), int(b)) for a, b in zip(labels[is_object], objects[is_object], strict=True)}
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)


@pytest.mark.fault(26)
@given(labels=painted())
@settings(ANY, max_examples=40)
def test_border_weights_of_any_numbers_are_finite_and_not_negative(labels: NDArray[Any]) -> None:
    weights = border_weight_map(labels)
    assert weights.shape == labels.shape
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()


@pytest.mark.fault(26)
@given(
    labels=hnp.arrays(
        st.sampled_from([np.int8, np.int16, np.int64]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.integers(-100, 100),
    )
)
@settings(ANY, max_examples=40)
def test_negative_numbers_are_refused_with_the_smallest(labels: NDArray[Any]) -> None:
    smallest = int(labels.min())
    if smallest >= 0:
        assert check_labels(labels) is labels
        return
    with pytest.raises(LabelsError, match=f"must not be negative; the smallest is {smallest}"):
        check_labels(labels)
