"""Linked objects corrected: broken, joined, given to another track; and remembered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_unet as nu
from napari_unet.errors import LabelsError
from napari_unet.objects.link_arrays import link_labels
from napari_unet.objects.linking import Known, LinkConfig
from napari_unet.objects.tracks import (
    LinkMemory,
    Swap,
    broken,
    given,
    joined,
    renumbered_like,
    separated,
    tracks_of,
)

Labels = NDArray[np.integer[Any]]


def movie(*rows: list[int]) -> Labels:
    """Frames of squares, one below the other: a row has the numbers of one square over time."""
    frames = np.zeros((len(rows[0]), 10 * len(rows), 12), np.int32)
    for place, numbers in enumerate(rows):
        for time, number in enumerate(numbers):
            frames[time, 10 * place + 1 : 10 * place + 9, 2:10] = number
    return frames


def rows(labels: Labels) -> list[list[int]]:
    """What `movie` was made of."""
    found: list[list[int]] = labels[:, 5::10, 5].T.tolist()
    return found


def corrected(labels: Labels, swap: Swap, memory: LinkMemory | None = None) -> LinkMemory:
    """Correct labels in place; return what is remembered."""
    after = (memory or LinkMemory()).after(swap, labels)
    swap.apply(labels)
    return after


def linked_anew(labels: Labels, memory: LinkMemory) -> list[list[int]]:
    return rows(link_labels(labels, "TYX", LinkConfig(), memory.known)[0])


# --- What becomes of the numbers -----------------------------------------------------------------


def test_from_a_frame_on_a_broken_cell_is_another() -> None:
    labels = movie([1, 1, 1, 1], [2, 2, 2, 2])
    broken(labels, 1, 2, unused=7).apply(labels)
    assert rows(labels) == [[1, 1, 7, 7], [2, 2, 2, 2]]


def test_joined_tracks_have_the_number_of_the_first() -> None:
    labels = movie([4, 4, 0, 0], [0, 0, 0, 2])
    joined(labels, 2, 4).apply(labels)
    assert rows(labels) == [[4, 4, 0, 0], [0, 0, 0, 4]]


def test_tracks_that_share_a_frame_cannot_be_joined() -> None:
    with pytest.raises(LabelsError, match=r"Both cells are in frame 1.*Merge them"):
        joined(movie([1, 1, 0], [0, 2, 2]), 1, 2)


def test_a_cell_given_to_a_track_changes_places_with_the_cell_that_is_there() -> None:
    labels = movie([1, 2, 1, 1], [2, 1, 2, 2])
    given(labels, 1, 2, 1).apply(labels)
    assert rows(labels) == [[1, 1, 1, 1], [2, 2, 2, 2]]


def test_a_cell_is_given_to_a_track_with_all_that_follows() -> None:
    labels = movie([1, 1, 2, 2], [2, 2, 1, 1])
    given(labels, 2, 2, 1, onwards=True).apply(labels)
    assert rows(labels) == [[1, 1, 1, 1], [2, 2, 2, 2]]


def test_what_is_in_a_track_cannot_be_given_to_it() -> None:
    with pytest.raises(LabelsError, match="already"):
        given(movie([1, 1]), 0, 1, 1)
    with pytest.raises(LabelsError, match="already"):
        joined(movie([1, 1]), 1, 1)


@settings(max_examples=40, deadline=None)
@examples(st.lists(st.permutations([0, 1, 2, 3]), min_size=2, max_size=5), st.data())
def test_a_correction_made_twice_is_none(frames: list[list[int]], data: st.DataObject) -> None:
    labels = movie(*np.array(frames).T.tolist())
    a, b = data.draw(st.sampled_from([(1, 2), (2, 3), (3, 1)]))
    swap = Swap(tuple(data.draw(st.sets(st.integers(0, len(frames) - 1)))), (a, b))
    other = labels.copy()
    swap.apply(other)
    swap.apply(other)
    np.testing.assert_array_equal(other, labels)


# --- Mothers -------------------------------------------------------------------------------------


def test_the_daughters_of_a_broken_mother_are_those_of_her_later_part() -> None:
    labels = movie([1, 1, 1, 2], [0, 0, 0, 3])
    memory = corrected(labels, broken(labels, 1, 1, 9), LinkMemory({2: 1, 3: 1}))
    assert memory.parents == {2: 9, 3: 9}


def test_a_daughter_that_is_broken_where_she_begins_has_no_mother() -> None:
    labels = movie([1, 1, 2, 2], [0, 0, 3, 3])
    memory = corrected(labels, broken(labels, 3, 2, 9), LinkMemory({2: 1, 3: 1}))
    assert memory.parents == {2: 1}
    _, anew = nu.link(labels, must_link=memory.known.must, cannot_link=memory.known.cannot)
    assert not set(anew.parents) - {2}


def test_a_mother_that_is_joined_with_a_daughter_lives_on_and_has_none() -> None:
    labels = movie([1, 1, 2, 2], [0, 0, 3, 3])
    memory = corrected(labels, joined(labels, 1, 2), LinkMemory({2: 1, 3: 1}))
    assert rows(labels)[0] == [1, 1, 1, 1]
    assert memory.parents == {}


# --- What is remembered stays when objects are linked anew ---------------------------------------


def test_what_was_broken_stays_so() -> None:
    labels = movie([1, 1, 1, 1], [2, 2, 2, 2])
    memory = corrected(labels, broken(labels, 1, 2, 7))
    assert linked_anew(labels, memory) == [[1, 1, 3, 3], [2, 2, 2, 2]]


def test_what_was_joined_stays_so_however_far_apart_it_lies() -> None:
    labels = movie([1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 2, 2])
    memory = corrected(labels, joined(labels, 1, 2))
    assert linked_anew(labels, memory) == [[1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1]]


def test_what_was_given_to_a_track_stays_so() -> None:
    labels = movie([1, 1, 1, 1, 1], [2, 2, 2, 2, 2])
    memory = corrected(labels, given(labels, 2, 2, 1))
    assert linked_anew(labels, memory) == [[1, 1, 2, 1, 1], [2, 2, 1, 2, 2]]
    labels = movie([1, 1, 1, 1], [2, 2, 2, 2])
    memory = corrected(labels, given(labels, 2, 2, 1, onwards=True))
    assert linked_anew(labels, memory) == [[1, 1, 2, 2], [2, 2, 1, 1]]


def test_the_last_word_counts() -> None:
    labels = movie([1, 1, 1, 1])
    memory = corrected(labels, broken(labels, 1, 2, 7))
    memory = corrected(labels, joined(labels, 1, 7), memory)
    assert linked_anew(labels, memory) == [[1, 1, 1, 1]]
    memory = corrected(labels, broken(labels, 1, 2, 8), memory)
    assert linked_anew(labels, memory) == [[1, 1, 2, 2]]
    assert not memory.known.must


def test_what_is_remembered_of_an_object_that_is_gone_says_nothing() -> None:
    labels = movie([1, 1, 1, 1], [2, 2, 2, 2])
    memory = corrected(labels, broken(labels, 1, 2, 7))
    labels[memory.known.cannot[0][1]] = 0
    assert linked_anew(labels, memory) == [[1, 1, 1, 1], [2, 2, 2, 2]]


@settings(max_examples=60, deadline=None)
@examples(st.lists(st.permutations([0, 1, 2, 3]), min_size=3, max_size=6), st.data())
def test_links_that_were_made_hold_and_those_that_were_cut_do_not(
    frames: list[list[int]], data: st.DataObject
) -> None:
    labels, _ = nu.link(movie(*np.array(frames).T.tolist()))
    frame = data.draw(st.integers(0, len(labels) - 1))
    here = sorted(set(np.unique(labels[frame]).tolist()) - {0})
    number = data.draw(st.sampled_from(here))
    other = data.draw(st.sampled_from([n for n in range(1, labels.max() + 2) if n != number]))
    swap = given(labels, frame, number, other, data.draw(st.booleans()))
    memory = corrected(labels, swap)
    anew, _ = link_labels(labels, "TYX", LinkConfig(), memory.known)
    assert all(anew[a] == anew[b] > 0 for a, b in memory.known.must)
    assert all(anew[a] != anew[b] for a, b in memory.known.cannot if labels[a] != labels[b])


# --- From Python ---------------------------------------------------------------------------------


def test_pairs_of_pixels_are_linked_or_not_from_python() -> None:
    labels = movie([1, 1, 1], [0, 0, 2])
    linked, _ = nu.link(
        labels, must_link=[((1, 5, 5), (2, 15, 5))], cannot_link=[((2, 5, 5), (1, 5, 5))]
    )
    assert rows(linked) == [[1, 1, 2], [0, 0, 1]]


def test_through_the_slices_of_each_timepoint_pairs_are_of_that_timepoint() -> None:
    stack = movie([1, 1, 1])
    linked, _ = nu.link(
        np.stack([stack, stack]), "TZYX", axis="Z", cannot_link=[((1, 0, 5, 5), (1, 1, 5, 5))]
    )
    assert [rows(each)[0] for each in linked] == [[1, 1, 1], [2, 3, 3]]


@pytest.mark.parametrize("pair", [[(0, 5, 5)], [(0, 5, 5), (1, 5)], [(0, 5, 5), (0, 5, 5)]])
def test_what_is_no_pair_of_places_is_refused(pair: list[tuple[int, ...]]) -> None:
    with pytest.raises(LabelsError, match="is no pair of places"):
        nu.link(movie([1, 1]), must_link=[pair])  # type: ignore[list-item]


def test_a_place_outside_the_labels_says_nothing() -> None:
    pair = ((0, 500, 5), (1, 5, 5))
    assert rows(nu.link(movie([1, 1]), cannot_link=[pair])[0]) == [[1, 1]]


# --- Tables and numbers --------------------------------------------------------------------------


def test_tracks_of_linked_labels_are_those_that_linking_found() -> None:
    rng = np.random.default_rng(0)
    labels, found = nu.link(rng.integers(0, 5, (4, 9, 12)))
    again = tracks_of(labels, found.parents)
    np.testing.assert_allclose(again.tracks, found.tracks)
    np.testing.assert_array_equal(again.sizes, found.sizes)
    assert (again.n_tracks, again.parents) == (found.n_tracks, found.parents)


def test_a_mother_that_is_gone_is_named_no_more() -> None:
    assert tracks_of(movie([0, 2]), {2: 1}).parents == {}
    assert tracks_of(movie([1, 1], [0, 2]), {2: 1, 1: 2}).parents == {}


def test_objects_are_separated_again_frame_by_frame() -> None:
    assert rows(separated(movie([7, 0, 7], [9, 9, 3]), 1)) == [[1, 0, 1], [2, 1, 2]]


def test_what_differed_differs_still_under_other_numbers() -> None:
    before, after = movie([1, 1], [2, 2]), movie([5, 6], [7, 8])
    predicted = movie([1, 1], [3, 2])
    assert rows(renumbered_like(predicted, before, after, 1)) == [[5, 6], [9, 8]]


def test_nothing_is_known_at_first() -> None:
    assert LinkMemory() == LinkMemory({}, Known((), ()))
