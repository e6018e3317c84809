"""Label images with axes: which planes are linked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import napari_unet as nu
from napari_unet.errors import LabelsError
from napari_unet.objects.link_arrays import link_labels
from napari_unet.objects.linking import LinkConfig

from .linking_builders import numbers_in, with_other_numbers

Labels = NDArray[np.integer[Any]]


def columns() -> Labels:
    """Two columns through z, of other numbers in each plane."""
    plane = np.zeros((12, 20), np.uint8)
    plane[2:8, 2:8], plane[4:10, 12:18] = 1, 2
    return np.stack(with_other_numbers([plane] * 5, seed=1))


class Lazy:
    """An array that only hands out planes, and counts them."""

    def __init__(self, array: Labels) -> None:
        self._array = array
        self.read: list[Any] = []

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> Any:
        return self._array.dtype

    def __getitem__(self, key: Any) -> Labels:
        self.read.append(key)
        plane: Labels = self._array[key]
        return plane


@pytest.mark.parametrize("axes", ["TYX", "ZYX"])
def test_planes_become_objects_of_the_stack(axes: str) -> None:
    linked, result = nu.link(columns(), axes)
    assert result.n_tracks == 2
    assert (linked == linked[0]).all()


def test_time_is_chosen_where_there_is_time_and_z() -> None:
    movie = np.stack([columns()] * 2)
    movie[:, :, :6] = np.where(movie[:, :, :6] > 0, 1, 0)
    movie = np.where(movie > 0, np.where(np.arange(20) < 10, 1, 2), 0)
    linked, result = nu.link(movie, "TZYX")
    assert (linked.shape, result.n_tracks, result.tracks.shape) == (movie.shape, 2, (4, 5))


def test_through_z_each_timepoint_has_numbers_of_its_own() -> None:
    linked, result = nu.link(np.stack([columns()] * 3), "TZYX", axis="Z")
    assert [numbers_in(moment) for moment in linked] == [[1, 2], [3, 4], [5, 6]]
    assert result.n_tracks == 6


def test_rows_through_z_name_their_moment() -> None:
    _, result = nu.link(np.stack([columns()] * 2), "TZYX", axis="Z")
    times = {(int(row[0]), int(row[1])) for row in result.tracks}
    assert times == {(1, 0), (2, 0), (3, 1), (4, 1)}
    assert result.tracks.shape == (20, 5)


def test_settings_reach_the_linking() -> None:
    movie = columns()
    movie[2] = 0
    assert [nu.link(movie, "ZYX", gap=gap)[1].n_tracks for gap in (0, 1)] == [4, 2]


def test_lazy_labels_are_read_plane_by_plane() -> None:
    lazy = Lazy(columns())
    link_labels(lazy, "TYX", LinkConfig())
    assert lazy.read == [(0,), (1,), (2,), (3,), (4,)]


@pytest.mark.parametrize(
    ("shape", "axes", "axis", "text"),
    [
        ((3, 4, 5), "TYX", "Z", "TYX have no Z"),
        ((3, 4, 5), "ZYX", "T", "ZYX have no T"),
        ((3, 2, 4, 5), "TCYX", "T", "'TCYX'"),
        ((3, 4, 5), "YXT", "T", "'YXT'"),
        ((4, 5), "TYX", "T", r"\(4, 5\)"),
    ],
    ids=["no z", "no time", "channels", "another order", "too few axes"],
)
def test_axes_that_do_not_fit_are_refused(
    shape: tuple[int, ...], axes: str, axis: Any, text: str
) -> None:
    with pytest.raises(LabelsError, match=text):
        nu.link(np.zeros(shape, int), axes, axis=axis)
