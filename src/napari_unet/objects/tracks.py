"""Linked objects corrected: a track broken, two joined, an object given to another track.

Each of these swaps two numbers in some frames, and so is its own way back. What it says of links is
remembered as places, and so outlives another linking. Labels have frames along their first axis.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import LabelsError
from napari_unet.objects.linking import Known, Linked, numbered, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    Labels = NDArray[np.integer[Any]]
    Object = tuple[int, int]  # frame, and number in it
    Links = set[tuple[Object, Object]]


@dataclass(frozen=True)
class Swap:
    """Two numbers that change places."""

    frames: tuple[int, ...]
    numbers: tuple[int, int]
    starts: bool = False
    """Whether what gets the second number has no mother, and was linked to nothing before."""

    def apply(self, labels: Labels) -> None:
        """Change labels in place; again, it is the way back."""
        first, second = self.numbers
        for frame in self.frames:
            plane = labels[frame]
            was_first, was_second = plane == first, plane == second
            plane[was_first], plane[was_second] = second, first

    def of(self, at: Object) -> Object:
        """Return what an object is called afterwards."""
        frame, number = at
        if frame in self.frames and number in self.numbers:
            return frame, self.numbers[1 - self.numbers.index(number)]
        return at


@dataclass(frozen=True)
class LinkMemory:
    """What is remembered of the links in a result."""

    parents: Mapping[int, int] = field(default_factory=dict)
    """The mother of each daughter."""
    known: Known = field(default_factory=Known)
    """What was corrected: it is kept when objects are linked anew."""

    def after(self, swap: Swap, labels: Labels) -> LinkMemory:
        """Return what is remembered once numbers are swapped in `labels`, as they are before."""
        numbers = {n for pair in self.parents.items() for n in pair} | set(swap.numbers)
        frames = frames_with(labels, numbers)
        moved: dict[int, list[Object]] = {number: [] for number in numbers}
        for at in sorted((frame, number) for number in numbers for frame in frames[number]):
            moved[swap.of(at)[1]].append(at)
        parents, lost = self._related(swap, frames, moved)
        before = {((a, n), (b, n)) for n in swap.numbers for a, b in pairwise(frames[n])}
        after = {link for number in swap.numbers for link in pairwise(moved[number])}
        made = after - before
        cut = (before | lost) - after
        kept = (
            {pair for pair in pairs if _objects_at(labels, pair) not in gone}
            for pairs, gone in zip(self.known, (cut, made), strict=True)
        )
        told = ({_places_of(labels, link) for link in links} for links in (made, cut))
        both = (old | new for old, new in zip(kept, told, strict=True))
        return LinkMemory(parents, Known.of(*both))

    def _related(
        self, swap: Swap, frames: Mapping[int, list[int]], moved: Mapping[int, list[Object]]
    ) -> tuple[dict[int, int], Links]:
        """Return whose daughter each is afterwards, and which daughters lose their mother.

        A mother ends before her daughter begins: `moved` has the objects of each number afterwards.
        """
        kept, lost = {}, set()
        for daughter, mother in self.parents.items():
            if not frames[daughter] or not frames[mother]:
                continue
            last, first = (frames[mother][-1], mother), (frames[daughter][0], daughter)
            own, other = swap.of(first)[1], swap.of(last)[1]
            freed = swap.starts and own == swap.numbers[1] and first[0] in swap.frames
            if moved[other][-1] == last and moved[own][0] == first and not freed:
                kept[own] = other
            else:
                lost.add((last, first))
        return kept, lost


def frames_with(labels: Labels, numbers: Iterable[int]) -> dict[int, list[int]]:
    """Return in which frames objects are."""
    found: dict[int, list[int]] = {number: [] for number in numbers}
    for frame, plane in enumerate(labels):
        counts = np.bincount(plane.ravel())
        for number in found:
            if number < counts.size and counts[number]:
                found[number].append(frame)
    return found


def _objects_at(labels: Labels, pair: tuple[tuple[int, ...], ...]) -> tuple[Object, ...]:
    return tuple((place[0], int(labels[place])) for place in pair)


def _places_of(labels: Labels, link: tuple[Object, Object]) -> tuple[tuple[int, ...], ...]:
    return tuple((frame, *_middle(labels[frame] == number)) for frame, number in link)


def _middle(inside: NDArray[np.bool_]) -> Iterator[int]:
    """Return the pixel of an object that is nearest to its centroid."""
    pixels = np.argwhere(inside)
    distance = ((pixels - pixels.mean(axis=0)) ** 2).sum(axis=1)
    return map(int, pixels[distance.argmin()])


# --- What can be said of links -------------------------------------------------------------------


def broken(labels: Labels, number: int, frame: int, unused: int) -> Swap:
    """Make an object another one from a frame on, which is numbered `unused`.

    In the first frame of a daughter, she has no mother more.
    """
    frames = tuple(at for at in frames_with(labels, [number])[number] if at >= frame)
    return Swap(frames, (number, unused), starts=True)


def joined(labels: Labels, number: int, other: int) -> Swap:
    """Make two objects one, of the number of which begins first.

    Raises LabelsError where both are in one frame.
    """
    frames = frames_with(labels, (number, other))
    both = sorted(set(frames[number]) & set(frames[other]))
    if number == other or both:
        raise LabelsError(
            "That is one track already."
            if number == other
            else f"Both cells are in frame {both[0]}: one track has one cell in each frame. Break "
            "one of them first, or Merge them."
        )
    first, second = sorted((number, other), key=lambda each: frames[each])
    return Swap(tuple(frames[second]), (second, first))


def given(labels: Labels, frame: int, number: int, track: int, onwards: bool = False) -> Swap:
    """Give an object of a frame to a track; an object of the track there gets its number.

    With `onwards` also in all later frames. Raises LabelsError where it is in that track already.
    """
    if number == track:
        raise LabelsError("It belongs to that track already.")
    either = frames_with(labels, (number, track))
    later = sorted({at for frames in either.values() for at in frames if at > frame})
    return Swap((frame, *(later if onwards else ())), (number, track))


# --- Tracks of labels that are linked already ----------------------------------------------------


def tracks_of(labels: Labels, parents: Mapping[int, int]) -> Linked:
    """Return the tracks of linked labels, and the mothers that end before their daughters begin."""
    rows, sizes = [np.zeros((0, 1 + labels.ndim))], [np.zeros(0, np.int64)]
    for frame, plane in enumerate(labels):
        objects = numbered(plane)
        pixels = np.bincount(objects.ravel(), minlength=1)
        track_of = np.zeros(pixels.size, np.int32)
        track_of[objects] = plane
        rows.append(rows_of(frame, objects, track_of, pixels))
        sizes.append(pixels[1:])
    table, counts = np.concatenate(rows), np.concatenate(sizes)
    order = np.lexsort((table[:, 1], table[:, 0]))
    ids = table[order, 0].astype(int)
    firsts: dict[int, float] = {}
    lasts: dict[int, float] = {}
    for number, frame in zip(ids.tolist(), table[order, 1].tolist(), strict=True):
        firsts.setdefault(number, frame)
        lasts[number] = frame
    known = {
        own: mother
        for own, mother in parents.items()
        if lasts.get(mother, np.inf) < firsts.get(own, -1)
    }
    return Linked(len(firsts), table[order], counts[order], known)


# --- Labels under other numbers ------------------------------------------------------------------


def separated(labels: Labels, n_leading: int) -> NDArray[np.int32]:
    """Give the objects of each frame numbers 1..N again; frames lie along the first axes."""
    found = np.zeros(labels.shape, np.int32)
    for at in np.ndindex(labels.shape[:n_leading]):
        found[at] = numbered(labels[at])
    return found


def renumbered_like(
    others: Labels, before: Labels, after: Labels, n_leading: int
) -> NDArray[np.int32]:
    """Renumber labels as others were, from `before` to `after`, frame by frame.

    Numbers that are not in `before` get some that `after` has nowhere: what differed differs still.
    """
    found = np.zeros(others.shape, np.int32)
    unused = int(after.max(initial=0)) + 1
    for at in np.ndindex(others.shape[:n_leading]):
        size = 1 + max(int(others[at].max(initial=0)), int(before[at].max(initial=0)))
        table = np.zeros(size, np.int32)
        table[before[at]] = after[at]
        odd = np.flatnonzero((np.bincount(others[at].ravel(), minlength=size) > 0) & (table == 0))
        odd = odd[odd > 0]
        table[odd] = unused + np.arange(odd.size)
        found[at] = table[others[at]]
    return found
