"""Objects linked over frames that come one after the other."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_unet.errors import ConfigError, LabelsError
from napari_unet.objects.linking import LinkConfig, link_frames

from .linking_builders import drained, numbers_in, with_other_numbers

Labels = NDArray[np.integer[Any]]
movies = hnp.arrays(np.int64, (4, 5, 9), elements=st.integers(0, 4))
configs = st.builds(
    LinkConfig,
    axis=st.sampled_from(["T", "Z"]),
    minimum_overlap=st.sampled_from([0.05, 0.3]),
    gap=st.sampled_from([0, 1]),
    divisions=st.booleans(),
    follow_drift=st.booleans(),
)
examples = settings(max_examples=60, deadline=None)


def squares(*corners: tuple[int, int], size: int = 10) -> Labels:
    """A frame of squares, numbered from the first to the last."""
    frame = np.zeros((40, 60), np.uint16)
    for number, (row, column) in enumerate(corners, start=1):
        frame[row : row + size, column : column + size] = number
    return frame


def partition(frame: Labels) -> set[frozenset[int]]:
    """The objects of a frame as sets of pixels, whatever their numbers."""
    flat = frame.ravel()
    return {frozenset(np.flatnonzero(flat == number).tolist()) for number in numbers_in(frame)}


@examples
@given(movies, configs)
def test_linking_leaves_the_objects_of_each_frame_as_they_are(
    movie: Labels, config: LinkConfig
) -> None:
    linked, _ = drained(movie, config)
    for before, after in zip(movie, linked, strict=True):
        assert partition(after) == partition(before)


@examples
@given(movies, configs)
def test_tracks_are_numbered_without_gaps(movie: Labels, config: LinkConfig) -> None:
    linked, result = drained(movie, config)
    assert numbers_in(np.stack(linked)) == list(range(1, result.n_tracks + 1))


@examples
@given(movies, configs)
def test_the_table_has_a_row_per_object_and_frame(movie: Labels, config: LinkConfig) -> None:
    linked, result = drained(movie, config)
    rows = [(n, t) for t, frame in enumerate(linked) for n in numbers_in(frame)]
    assert result.tracks[:, :2].astype(int).tolist() == [list(row) for row in sorted(rows)]


@examples
@given(movies, configs)
def test_a_mother_ends_before_her_daughters_begin(movie: Labels, config: LinkConfig) -> None:
    _, result = drained(movie, config)
    times = {n: result.tracks[result.tracks[:, 0] == n, 1] for n in range(1, result.n_tracks + 1)}
    assert all(times[m].max() + 1 == times[d].min() for d, m in result.parents.items())


@examples
@given(movies, configs, st.integers(0, 99))
def test_the_numbers_that_come_in_do_not_matter(
    movie: Labels, config: LinkConfig, seed: int
) -> None:
    linked, result = drained(movie, config)
    others, other = drained(with_other_numbers(list(movie), seed), config)
    np.testing.assert_array_equal(others, linked)
    np.testing.assert_array_equal(other.tracks, result.tracks)
    assert other.parents == result.parents


@examples
@given(hnp.arrays(np.uint8, (6, 7), elements=st.integers(0, 9)), st.integers(0, 99), configs)
def test_a_static_movie_has_as_many_tracks_as_objects(
    frame: Labels, seed: int, config: LinkConfig
) -> None:
    movie = with_other_numbers([frame] * 4, seed)
    _, result = drained(movie, config)
    assert result.n_tracks == len(numbers_in(frame))


def test_objects_keep_their_numbers_while_they_move() -> None:
    movie = [squares((5, 5), (20, 30)), squares((21, 33), (6, 8)), squares((7, 11), (22, 36))]
    linked, _ = drained(movie, LinkConfig())
    assert [(frame[10, 14], frame[25, 38]) for frame in linked] == [(1, 2)] * 3


def test_the_table_holds_centroids() -> None:
    _, result = drained([squares((5, 5)), squares((6, 8))], LinkConfig())
    assert result.tracks.tolist() == [[1, 0, 9.5, 9.5], [1, 1, 10.5, 12.5]]


def test_the_table_of_volumes_holds_z() -> None:
    volume = np.zeros((4, 40, 60), np.uint8)
    volume[1:3] = squares((5, 5))
    _, result = drained([volume, volume], LinkConfig())
    assert result.tracks.tolist() == [[1, 0, 1.5, 9.5, 9.5], [1, 1, 1.5, 9.5, 9.5]]


@pytest.mark.parametrize(("gap", "n_tracks"), [(0, 3), (1, 2), (2, 1)])
def test_a_gap_is_bridged_up_to_its_length(gap: int, n_tracks: int) -> None:
    there, empty = squares((5, 5)), squares()
    movie = [there, empty, there, empty, empty, there]
    _, result = drained(movie, LinkConfig(gap=gap))
    assert result.n_tracks == n_tracks


def test_an_object_that_is_merged_for_a_moment_comes_back() -> None:
    apart, merged = squares((5, 5), (5, 15)), squares((5, 5), (5, 15))
    merged[merged == 2] = 1
    linked, _ = drained([apart, merged, apart], LinkConfig(gap=1))
    np.testing.assert_array_equal(linked[2], linked[0])


def halves() -> tuple[Labels, Labels]:
    """A cell, and the two that it becomes."""
    mother = squares((5, 5), size=20)
    daughters = mother.copy()
    daughters[5:25, 15:] *= 2
    daughters[5:25, 14] = 0
    return mother, daughters


def test_daughters_know_their_mother() -> None:
    linked, result = drained(halves(), LinkConfig())
    assert result.parents == {2: 1, 3: 1}
    assert numbers_in(linked[1]) == [2, 3]


@pytest.mark.parametrize(
    "config", [LinkConfig(divisions=False), LinkConfig("Z")], ids=["not wanted", "through z"]
)
def test_without_divisions_the_better_half_goes_on(config: LinkConfig) -> None:
    linked, result = drained(halves(), config)
    assert result.parents == {}
    assert numbers_in(linked[1]) == [1, 2]


def with_a_sister_at(column: int, width: int = 10) -> tuple[Labels, Labels]:
    """A cell, and the next frame: one lies in it, 12 wide, and another begins at a column."""
    mother, after = np.zeros((2, 30, 60), np.uint8)
    mother[5:25, 5:25] = 1
    after[5:25, 5:17] = 1
    after[5:25, column : column + width] = 2
    return mother, after


def test_a_sister_that_has_moved_half_out_of_her_mother_is_a_daughter() -> None:
    _, result = drained(with_a_sister_at(21), LinkConfig())
    assert result.parents == {2: 1, 3: 1}


@pytest.mark.parametrize(
    ("column", "width"), [(23, 10), (22, 11), (17, 16)], ids=["beside", "hardly in", "too large"]
)
def test_what_lies_beside_a_cell_or_is_as_large_is_no_daughter(column: int, width: int) -> None:
    _, result = drained(with_a_sister_at(column, width), LinkConfig(minimum_overlap=0))
    assert result.parents == {}


def test_a_crumb_is_no_daughter() -> None:
    whole = squares((5, 5), size=20)
    crumbled = whole.copy()
    crumbled[5:25, 22:25] = 2
    linked, result = drained([whole, crumbled], LinkConfig())
    assert result.parents == {}
    assert linked[1][10, 10] == 1


def test_a_drift_longer_than_the_cells_is_followed() -> None:
    movie = [squares((5, 25 - t), (20, 33 - t)) for t in (0, 13, 24)]
    _, result = drained(movie, LinkConfig())
    assert result.n_tracks == 2


def test_without_following_the_drift_such_cells_are_lost() -> None:
    movie = [squares((5, 25 - t), (20, 33 - t)) for t in (0, 13, 24)]
    _, result = drained(movie, LinkConfig(follow_drift=False))
    assert result.n_tracks == 6


def test_large_and_sparse_numbers_are_fine() -> None:
    frame = squares((5, 5), (20, 30)).astype(np.uint64)
    frame[frame == 2] = 2**63
    linked, result = drained([frame, squares((5, 5), (20, 30))], LinkConfig())
    assert (result.n_tracks, numbers_in(linked[0]), str(linked[0].dtype)) == (2, [1, 2], "int32")


def test_frames_are_read_one_by_one() -> None:
    read = []

    def frames() -> Any:
        for number in range(3):
            read.append(number)
            yield squares((5, 5))

    planes = link_frames(frames(), LinkConfig())
    next(planes)
    assert read == [0]


def test_only_a_few_frames_are_held() -> None:
    def size_after(n_frames: int) -> int:
        tracemalloc.start()
        frames = (np.kron(squares((5, 5)), np.ones((10, 10), int)) for _ in range(n_frames + 1))
        planes = link_frames(frames, LinkConfig())
        for _ in range(n_frames):
            next(planes)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return held

    size_after(2)  # what is imported and cached on first use
    assert size_after(30) - size_after(5) < 400 * 600 * 4  # one frame as int32


@pytest.mark.slow
def test_ten_thousand_objects_a_frame_are_linked_in_seconds() -> None:
    square = np.kron(np.arange(1, 10_001).reshape(100, 100), np.ones((20, 20), np.int64))
    grid = np.where(np.indices(square.shape).max(axis=0) % 20 < 18, square, 0)
    movie = [np.roll(grid, (2 * step, -step), (0, 1)) for step in range(3)]
    planes = link_frames(with_other_numbers(movie, seed=0), LinkConfig())
    next(planes)
    started = time.perf_counter()
    next(planes)
    assert time.perf_counter() - started < 5  # about 0.3 s on an idle core


def test_no_frames_have_no_tracks() -> None:
    _, result = drained([], LinkConfig())
    assert (result.n_tracks, len(result.tracks)) == (0, 0)


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ([np.zeros((4, 4))], "dtype float64"),
        ([np.full((4, 4), -3)], "-3"),
        ([np.zeros(4, int)], r"\(4,\)"),
        ([np.zeros((4, 4), int), np.zeros((4, 5), int)], r"\(4, 5\).*\(4, 4\)"),
    ],
    ids=["no integers", "negative", "a line", "another size"],
)
def test_wrong_frames_are_refused(frames: list[Labels], text: str) -> None:
    with pytest.raises(LabelsError, match=text):
        drained(frames, LinkConfig())


@pytest.mark.parametrize(("axes", "axis"), [("TYX", "T"), ("ZYX", "Z"), ("TZYX", "T")])
def test_where_no_axis_is_named_time_comes_first(axes: str, axis: str) -> None:
    assert LinkConfig().along(axes).axis == axis
    assert LinkConfig("Z").along(axes).axis == "Z"


def test_a_gap_too_long_for_slices_is_refused_where_the_labels_have_no_time() -> None:
    with pytest.raises(ConfigError, match="choose 0 or 1 through slices"):
        LinkConfig(gap=3).along("ZYX")


def test_with_a_minimum_overlap_of_0_all_that_touch_are_linked() -> None:
    movie = [squares((5, 5)), squares((13, 13))]
    _, apart = drained(movie, LinkConfig(follow_drift=False))
    _, linked = drained(movie, LinkConfig(minimum_overlap=0, follow_drift=False))
    assert (apart.n_tracks, linked.n_tracks) == (2, 1)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"axis": "C"}, "axis is 'C'; choose T or Z"),
        ({"minimum_overlap": -0.1}, "minimum_overlap is -0.1; choose 0 to 1"),
        ({"minimum_overlap": 1.5}, "minimum_overlap is 1.5; choose 0 to 1"),
        ({"gap": -1}, "gap is -1; choose 0 to 1000 frame"),
        ({"gap": 1.5}, "gap is 1.5; choose a whole number"),
        ({"axis": "Z", "gap": 2}, "gap is 2; choose 0 or 1 through slices"),
    ],
    ids=["axis", "low overlap", "high overlap", "negative gap", "half a frame", "gap through z"],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        LinkConfig(**settings)
