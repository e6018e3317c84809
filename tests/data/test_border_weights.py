from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_unet.data.border_weights import border_weight_map
from napari_unet.errors import ConfigError


def direct(
    labels: NDArray[Any], w0: float = 10, sigma: float = 5, spacing: Any = None
) -> NDArray[np.float64]:
    """Equation 2 as it stands: one distance transform per object."""
    ids = [i for i in np.unique(labels) if i]
    if len(ids) < 2:
        return np.zeros(labels.shape)
    distances = [ndi.distance_transform_edt(labels != i, sampling=spacing) for i in ids]
    nearest, second = np.sort(distances, axis=0)[:2]
    weights: NDArray[np.float64] = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    weights[labels > 0] = 0
    return weights


def blobs(shape: tuple[int, ...], count: int, radius: float, seed: int) -> NDArray[np.int64]:
    """Overlapping disks or balls, painted in order over what is free."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int64)
    grid = np.indices(shape)
    for number in range(1, count + 1):
        centre = [rng.integers(size) for size in shape]
        r = rng.uniform(0.5, radius)
        squares = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
        labels[(np.asarray(squares) < r * r) & (labels == 0)] = number
    return labels


@pytest.mark.parametrize(
    ("shape", "count", "radius", "spacing"),
    [
        pytest.param((120, 140), 200, 6, None, id="200 objects"),
        pytest.param((90, 100), 12, 15, None, id="large objects"),
        pytest.param((60, 60), 200, 1, None, id="single pixels"),
        pytest.param((80, 70), 25, 6, (0.5, 2.0), id="spacing"),
        pytest.param((20, 40, 44), 40, 6, None, id="3D"),
        pytest.param((16, 40, 44), 40, 6, (2.2, 1.0, 1.0), id="3D with spacing"),
        pytest.param((24, 40, 44), 200, 5, (2.5, 0.7, 1.0), id="200 objects in 3D"),
        pytest.param((1, 200), 20, 3, None, id="one row"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_it_equals_the_formula_of_the_paper(
    shape: tuple[int, ...], count: int, radius: float, spacing: Any, seed: int
) -> None:
    labels = blobs(shape, count, radius, seed)
    expected = direct(labels, spacing=spacing)
    np.testing.assert_allclose(border_weight_map(labels, spacing=spacing), expected, atol=1e-5)


@pytest.mark.parametrize(("w0", "sigma"), [(1.0, 2.0), (50.0, 6.0), (0.0, 5.0)])
def test_height_and_width_follow_the_formula(w0: float, sigma: float) -> None:
    labels = blobs((60, 70), 20, 5, 0)
    expected = direct(labels, w0, sigma)
    np.testing.assert_allclose(border_weight_map(labels, w0, sigma), expected, atol=1e-5)


def test_a_pixel_between_two_objects_has_the_weight_computed_by_hand() -> None:
    labels = np.array([[1, 0, 2]])
    assert border_weight_map(labels)[0, 1] == pytest.approx(10 * np.exp(-(2**2) / 50))


@pytest.mark.parametrize("ids", [[], [1]], ids=["none", "one"])
def test_fewer_than_two_objects_have_no_border(ids: list[int]) -> None:
    labels = np.zeros((9, 9), int)
    labels[4, 4 : 4 + len(ids)] = ids
    assert not border_weight_map(labels).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.int64, np.uint64])
def test_sparse_ids_of_any_type_give_the_same(dtype: Any) -> None:
    labels = blobs((40, 40), 6, 5, 3)
    sparse = np.array([0, 9, 33, 71, 120, 200, 255], dtype)[labels]
    np.testing.assert_array_equal(border_weight_map(sparse), border_weight_map(labels))


small_labels = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=3, max_side=12),
    elements=st.integers(0, 4),
)


@pytest.mark.fault(26)
@given(labels=small_labels)
def test_weights_are_finite_within_bounds_and_zero_inside_objects(
    labels: NDArray[np.uint8],
) -> None:
    weights = border_weight_map(labels)
    assert weights.dtype == np.float32
    assert np.isfinite(weights).all()
    assert ((weights >= 0) & (weights < 10)).all()
    assert not weights[labels > 0].any()


@given(labels=small_labels)
def test_any_small_image_equals_the_formula(labels: NDArray[np.uint8]) -> None:
    np.testing.assert_allclose(border_weight_map(labels), direct(labels), atol=1e-5)


@pytest.mark.parametrize(
    "settings_", [{"w0": -1}, {"sigma": 0}, {"spacing": (1,)}, {"spacing": (1, 0)}], ids=str
)
def test_settings_without_meaning_are_refused(settings_: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="border weight needs"):
        border_weight_map(np.zeros((4, 4), int), **settings_)


@given(labels=small_labels, names=st.permutations([1, 2, 3, 4]))
def test_the_names_of_the_objects_do_not_matter(
    labels: NDArray[np.uint8], names: list[int]
) -> None:
    renamed = np.array([0, *names], np.uint8)[labels]
    np.testing.assert_array_equal(border_weight_map(renamed), border_weight_map(labels))


@given(
    labels=small_labels,
    w0=st.floats(0, 1000),
    sigma=st.floats(0.1, 20),
)
def test_weights_never_exceed_the_height(
    labels: NDArray[np.uint8], w0: float, sigma: float
) -> None:
    weights = border_weight_map(labels, w0, sigma)
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    assert (weights <= np.float32(w0)).all()


@given(
    labels=hnp.arrays(np.uint8, (5, 7), elements=st.integers(0, 3)),
    spacing=st.tuples(st.floats(0.2, 4), st.floats(0.2, 4)),
)
def test_any_spacing_equals_the_formula(
    labels: NDArray[np.uint8], spacing: tuple[float, float]
) -> None:
    expected = direct(labels, spacing=spacing)
    np.testing.assert_allclose(border_weight_map(labels, spacing=spacing), expected, atol=1e-5)


@given(
    labels=hnp.arrays(
        np.uint16, hnp.array_shapes(min_dims=3, max_dims=3, max_side=9), elements=st.integers(0, 5)
    ),
    spacing=st.tuples(*[st.floats(0.2, 4)] * 3),
    sigma=st.floats(0.5, 8),
)
def test_any_volume_equals_the_formula_whatever_its_spacing_and_the_width(
    labels: NDArray[np.uint16], spacing: tuple[float, float, float], sigma: float
) -> None:
    expected = direct(labels, sigma=sigma, spacing=spacing)
    found = border_weight_map(labels, sigma=sigma, spacing=spacing)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@given(seed=st.integers(0, 10**6), count=st.integers(2, 30), radius=st.floats(1, 12))
def test_objects_far_from_each_other_and_near_equal_the_formula(
    seed: int, count: int, radius: float
) -> None:
    labels = blobs((70, 90), count, radius, seed)
    np.testing.assert_allclose(border_weight_map(labels), direct(labels), atol=1e-5)


@pytest.mark.parametrize("order", ["<i8", ">i8", ">u2", "?"])
def test_numbers_of_any_byte_order_serve(order: str) -> None:
    labels = np.array([[1, 0, 0], [0, 0, 1]])
    found = border_weight_map(labels.astype(order))
    np.testing.assert_array_equal(found, border_weight_map(labels))


def test_an_image_that_is_not_contiguous_serves() -> None:
    labels = blobs((40, 60), 12, 5, 1)
    found = border_weight_map(labels[::2, ::-3])
    np.testing.assert_allclose(found, direct(labels[::2, ::-3]), atol=1e-5)


@pytest.mark.parametrize(
    ("sigma", "spacing"), [(1e200, None), (1e-200, None), (5, (1e300, 1e-300)), (5, (1e-30, 1e30))]
)
def test_lengths_beyond_single_precision_give_finite_weights(sigma: float, spacing: Any) -> None:
    weights = border_weight_map(np.array([[1, 0, 2], [0, 0, 3]]), sigma=sigma, spacing=spacing)
    assert np.isfinite(weights).all()


@given(labels=small_labels)
def test_a_mirrored_image_has_mirrored_weights(labels: NDArray[np.uint8]) -> None:
    np.testing.assert_allclose(
        border_weight_map(np.flip(labels)), np.flip(border_weight_map(labels)), rtol=1e-6
    )


@given(labels=hnp.arrays(np.uint8, (6, 8), elements=st.integers(0, 4)))
def test_the_order_of_the_axes_does_not_matter(labels: NDArray[np.uint8]) -> None:
    np.testing.assert_allclose(border_weight_map(labels.T), border_weight_map(labels).T, rtol=1e-6)


def test_ids_of_uint64_beyond_float64_stay_apart() -> None:
    labels = np.array([[2**64 - 1, 0, 2**64 - 2]], np.uint64)
    assert border_weight_map(labels)[0, 1] == pytest.approx(10 * np.exp(-(2**2) / 50))


def test_labels_that_may_not_be_written_are_left_alone() -> None:
    labels = blobs((20, 20), 4, 5, 0)
    before = labels.copy()
    labels.setflags(write=False)
    border_weight_map(labels)
    np.testing.assert_array_equal(labels, before)


def test_two_parts_of_one_object_have_no_border_between_them() -> None:
    assert not border_weight_map(np.array([[3, 0, 3]])).any()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1)], ids=str)
def test_an_image_of_hardly_any_pixels_has_no_border(shape: tuple[int, ...]) -> None:
    weights = border_weight_map(np.zeros(shape, np.uint8))
    assert weights.shape == shape
    assert not weights.any()


@pytest.mark.parametrize(
    "settings_",
    [{"w0": float("nan")}, {"sigma": float("nan")}, {"sigma": float("inf")}],
    ids=str,
)
def test_settings_that_are_no_finite_numbers_are_refused(settings_: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="border weight needs"):
        border_weight_map(np.array([[1, 0, 2]]), **settings_)


def test_a_negative_id_does_not_turn_the_background_into_an_object() -> None:
    labels = np.array([[-1, 0, 0, 0, 2]])
    weights = border_weight_map(labels)
    np.testing.assert_allclose(weights, border_weight_map(labels % 5), atol=1e-5)
