"""What is written and read again is the same, pixel for pixel and number for number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from napari_unet.io.annotations import outlines
from napari_unet.io.annotations.outlines import fill, parts_of, signed_area, trace
from napari_unet.io.annotations.reading import read_annotations
from napari_unet.io.annotations.writing import write_objects

from .builders import label_images, ring_and_neighbour

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

often = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
OUTLINES = pytest.mark.parametrize("suffix", [".zip", ".geojson", ".json"])


@OUTLINES
@often
@given(labels=label_images())
def test_a_plane_comes_back(suffix: str, labels: Any, tmp_path: Path) -> None:
    path = tmp_path / f"cells{suffix}"
    write_objects(path, labels)
    found = read_annotations(path, labels.shape)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.notices == ()


@OUTLINES
@settings(often, max_examples=20)
@given(labels=label_images(most_axes=4))
def test_stacks_and_movies_come_back(suffix: str, labels: Any, tmp_path: Path) -> None:
    path = tmp_path / f"cells{suffix}"
    write_objects(path, labels)
    np.testing.assert_array_equal(read_annotations(path, labels.shape).labels, labels)


@OUTLINES
def test_time_comes_back_as_time(suffix: str, tmp_path: Path) -> None:
    labels = np.stack([ring_and_neighbour(), np.zeros((12, 16), np.uint16), ring_and_neighbour()])
    path = tmp_path / f"cells{suffix}"
    write_objects(path, labels, axes="TYX")
    np.testing.assert_array_equal(read_annotations(path, labels.shape, "TYX").labels, labels)


@OUTLINES
def test_classes_come_back_with_their_names(suffix: str, tmp_path: Path) -> None:
    labels = ring_and_neighbour()
    path = tmp_path / f"cells{suffix}"
    write_objects(path, labels, names={1: "membrane", 2: "nucleus", 7: "membrane"})
    found = read_annotations(path, labels.shape, kind="classes")
    assert found.names == {1: "membrane", 2: "nucleus"}
    np.testing.assert_array_equal(found.labels, np.array([0, 1, 2, 0, 0, 0, 0, 1])[labels])


@OUTLINES
@pytest.mark.parametrize(
    "names",
    [
        {1: "membrane", 2: "nucleus", 7: "membrane"},
        {1: "2-cell", 2: "4-cell", 7: "8-cell"},
        {1: "CD3+", 2: "CD3-", 7: "T-1"},
    ],
    ids=["words", "digits before", "signs behind"],
)
def test_objects_keep_the_names_of_their_classes(
    names: dict[int, str], suffix: str, tmp_path: Path
) -> None:
    write_objects(tmp_path / f"cells{suffix}", ring_and_neighbour(), names=names)
    assert read_annotations(tmp_path / f"cells{suffix}", (12, 16)).names == names


def test_geojson_keeps_the_colours_of_classes(tmp_path: Path) -> None:
    path, labels = tmp_path / "cells.geojson", ring_and_neighbour()
    write_objects(path, labels, names={1: "a"}, colours={1: "#0a14ff"})
    assert read_annotations(path, labels.shape).colours == {1: "#0a14ff"}


@often
@given(labels=label_images())
def test_outlines_turn_in_every_corner_and_pass_none_twice(labels: Any) -> None:
    for rings in trace(labels).values():
        for ring in rings:
            assert len({tuple(corner) for corner in ring.tolist()}) == len(ring) >= 4
            steps = np.roll(ring, -1, axis=0) - ring
            assert np.all((steps == 0).sum(axis=1) == 1)
            assert np.all((steps != 0) != np.roll(steps != 0, 1, axis=0))


@often
@given(labels=label_images())
def test_parts_and_their_holes_have_the_area_of_the_object(labels: Any) -> None:
    for number, rings in trace(labels).items():
        parts = parts_of(rings)
        assert sum(map(signed_area, rings)) == np.count_nonzero(labels == number)
        assert all(signed_area(part[0]) > 0 for part in parts)
        for part in parts:  # a hole lies inside of its own part
            filled = fill(part, *labels.shape)
            assert filled is not None
            assert filled[2].sum() == sum(map(signed_area, part))


def test_objects_without_any_have_no_outlines() -> None:
    assert trace(np.zeros((3, 4), np.uint8)) == {}


def test_an_inner_part_keeps_the_hole_around_it(tmp_path: Path) -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[:, :] = 1
    labels[2:7, 2:7] = 0
    labels[3:6, 3:6] = 1
    labels[4, 4] = 0
    assert [len(part) for part in parts_of(trace(labels)[1])] == [2, 2]


def nested_frames() -> Any:
    """One object of ten frames in each other, each a part with a hole."""
    distance = np.minimum(*np.indices((40, 40)).clip(max=20))
    labels = np.minimum(distance, distance[::-1, ::-1]) % 2 == 0
    return labels.astype(np.uint8)


def counted(
    name: str, function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> list[object]:
    calls: list[object] = []

    def counting(*arguments: Any) -> Any:
        calls.append(arguments)
        return function(*arguments)

    monkeypatch.setattr(name, counting)
    return calls


def test_all_rings_of_an_object_are_filled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = nested_frames()
    calls = counted(
        "napari_unet.io.annotations.outlines._crossings", outlines._crossings, monkeypatch
    )
    filled = fill(trace(labels)[1], 40, 40)
    assert filled is not None
    np.testing.assert_array_equal(filled[2], labels)
    assert len(calls) == 1


def test_a_hole_is_not_compared_with_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    rings = trace(nested_frames())[1]
    calls = counted("napari_unet.io.annotations.outlines.signed_area", signed_area, monkeypatch)
    assert [len(part) for part in parts_of(rings)] == [2] * 10
    assert len(calls) <= 2 * len(rings)


@pytest.mark.parametrize("suffix", [".zip", ".geojson"])
@pytest.mark.parametrize("shape", [(50, 60), (3, 50, 60), (2, 3, 50, 60)], ids=str)
def test_what_is_read_again_without_its_image_has_its_size(
    suffix: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    labels = np.zeros(shape, np.uint16)
    labels[..., 4:9, 5:12] = 1
    write_objects(tmp_path / f"a{suffix}", labels)
    np.testing.assert_array_equal(read_annotations(tmp_path / f"a{suffix}").labels, labels)
