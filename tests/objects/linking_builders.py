"""Small movies of labels, and links as pairs that can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_unet.objects.linking import LinkConfig, Linked, link_frames
from napari_unet.run import Run

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

Labels = NDArray[np.integer[Any]]
Place = tuple[int, int]  # frame, number in that frame
Link = tuple[Place, Place]


def drained(frames: Iterable[Labels], config: LinkConfig) -> tuple[list[Labels], Linked]:
    """Link all frames; return them with what is known of the tracks."""
    run = Run(link_frames(frames, config))
    return list(run), run.result


def with_other_numbers(frames: Sequence[Labels], seed: int) -> list[Labels]:
    """Shuffle the numbers of each frame by itself."""
    generator = np.random.default_rng(seed)
    shuffled = []
    for frame in frames:
        table = np.zeros(int(frame.max(initial=0)) + 1, frame.dtype)
        numbers = numbers_in(frame)
        table[numbers] = generator.permutation(len(numbers)).astype(frame.dtype) + 1
        shuffled.append(table[frame])
    return shuffled


def numbers_in(frame: Labels) -> list[int]:
    return [int(number) for number in np.unique(frame) if number > 0]


def links_between_equal_numbers(frames: Sequence[Labels]) -> set[Link]:
    """The links of frames in which equal numbers are the same object."""
    links: set[Link] = set()
    last: dict[int, int] = {}
    for position, frame in enumerate(frames):
        for number in numbers_in(frame):
            if number in last:
                links.add(((last[number], number), (position, number)))
            last[number] = position
    return links


def links_found(frames: Sequence[Labels], linked: Sequence[Labels]) -> set[Link]:
    """The links that were made, told by the numbers that the objects had before."""
    links: set[Link] = set()
    last: dict[int, Place] = {}
    for position, (frame, tracks) in enumerate(zip(frames, linked, strict=True)):
        for track, number in _pairs(tracks, frame):
            if track in last:
                links.add((last[track], (position, number)))
            last[track] = position, number
    return links


def divisions_found(
    frames: Sequence[Labels], linked: Sequence[Labels], result: Linked
) -> set[Link]:
    """The pairs of mother and daughter, told by the numbers that the objects had before."""
    first: dict[int, Place] = {}
    last: dict[int, Place] = {}
    for position, (frame, tracks) in enumerate(zip(frames, linked, strict=True)):
        for track, number in _pairs(tracks, frame):
            first.setdefault(track, (position, number))
            last[track] = position, number
    return {(last[mother], first[daughter]) for daughter, mother in result.parents.items()}


def _pairs(tracks: Labels, frame: Labels) -> Iterator[tuple[int, int]]:
    inside = tracks > 0
    pairs = np.unique(np.stack([tracks[inside], frame[inside].astype(tracks.dtype)]), axis=1)
    yield from ((int(track), int(number)) for track, number in pairs.T)


def shared_labels(folder: str) -> list[Labels]:
    """Read the label images of a set in ../shared/data; skip the test where it is missing."""
    paths = sorted((SHARED / folder / "labels").glob("*.tif"))
    if not paths:
        pytest.skip(f"needs ../shared/data/{folder}")
    return [tifffile.imread(path) for path in paths]
