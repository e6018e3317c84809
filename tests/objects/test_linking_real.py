"""Linking on real movies and volumes: the numbers of each frame are shuffled, the truth is known.

The bacteria's numbers begin anew in every frame. Between divisions their order is the same from
frame to frame; at divisions the table below says who came from whom: we read it from places and
sizes once the drift is taken out; the data set itself does not say it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_unet.objects.linking import LinkConfig

from .linking_builders import (
    Link,
    divisions_found,
    drained,
    links_between_equal_numbers,
    links_found,
    numbers_in,
    shared_labels,
    with_other_numbers,
)

pytestmark = pytest.mark.shared

Labels = NDArray[np.integer[Any]]
# fmt: off
CAME_FROM: dict[int, int] = {
    17: 15, 19: 16, 20: 16,
    27: 23, 28: 24, 29: 21, 30: 21,
    43: 35, 44: 35, 45: 36, 46: 36, 47: 34, 48: 34, 49: 33, 50: 33,
    85: 71, 87: 73, 88: 74, 89: 75, 90: 76, 91: 77, 92: 78, 93: 72, 94: 72,
    109: 93, 110: 94, 111: 90, 112: 92, 113: 87, 114: 85, 115: 88, 116: 88,
    209: 85, 210: 87, 211: 89, 212: 89, 213: 90, 214: 91, 215: 91, 216: 92,
    476: 354, 477: 355, 478: 356, 479: 357, 480: 358, 481: 359, 482: 360, 483: 353, 484: 353,
    575: 453, 576: 454, 577: 455, 578: 456, 579: 457, 580: 458, 581: 459, 582: 460,
}
# fmt: on


def bacteria_truth(movie: list[Labels]) -> tuple[set[Link], set[Link]]:
    """The links, and the pairs of mother and daughter."""
    links: set[Link] = set()
    divisions: set[Link] = set()
    for position, (previous, latter) in enumerate(pairwise(movie)):
        before, after = numbers_in(previous), numbers_in(latter)
        mothers = before if len(before) == len(after) else [CAME_FROM[n] for n in after]
        for mother, daughter in zip(mothers, after, strict=True):
            kind = links if mothers.count(mother) == 1 else divisions
            kind.add(((position, mother), (position + 1, daughter)))
    return links, divisions


def share(part: set[Link], whole: set[Link]) -> float:
    return len(part & whole) / len(whole)


def test_all_links_of_drifting_bacteria_are_found() -> None:
    movie = shared_labels("bacteria_timelapse")
    shuffled = with_other_numbers(movie, seed=0)
    linked, result = drained(shuffled, LinkConfig())
    links, divisions = bacteria_truth(movie)
    found = links_found(movie, linked)
    assert share(found, links) == 1
    assert len(found - links - divisions) == 0
    assert divisions_found(movie, linked, result) == divisions


def test_without_following_the_drift_most_bacteria_are_lost() -> None:
    movie = shared_labels("bacteria_timelapse")
    linked, _ = drained(movie, LinkConfig(follow_drift=False))
    assert share(links_found(movie, linked), bacteria_truth(movie)[0]) < 0.5


@pytest.mark.parametrize("follow_drift", [True, False], ids=["drift", "no drift"])
def test_nearly_all_links_of_hela_cells_are_found(follow_drift: bool) -> None:
    movie = shared_labels("ctc_dic_hela/silver")
    linked, _ = drained(with_other_numbers(movie, seed=0), LinkConfig(follow_drift=follow_drift))
    links, found = links_between_equal_numbers(movie), links_found(movie, linked)
    assert share(found, links) >= 0.98
    assert len(found - links) / len(found) <= 0.04  # mothers of daughters are not named there


def test_hela_cells_that_are_missed_now_and_then_are_found_again() -> None:
    generator = np.random.default_rng(5)
    movie = shared_labels("ctc_dic_hela/silver")
    for frame in movie:
        missed = [number for number in numbers_in(frame) if generator.random() < 0.05]
        frame[np.isin(frame, missed)] = 0
    truth = links_between_equal_numbers(movie)
    shares = [
        share(links_found(movie, drained(movie, LinkConfig(gap=gap))[0]), truth) for gap in (0, 1)
    ]
    assert shares[0] < 0.95 < 0.98 < shares[1]


@pytest.mark.parametrize("folder", ["ovule_nuclei3d", "mouse_embryo3d", "cells3d_nuclei"])
def test_planes_of_nuclei_become_nuclei(folder: str) -> None:
    planes = list(shared_labels(folder)[0].astype(np.int32))
    linked, _ = drained(with_other_numbers(planes, seed=0), LinkConfig("Z"))
    links, found = links_between_equal_numbers(planes), links_found(planes, linked)
    assert share(found, links) >= 0.97
    assert found <= links
