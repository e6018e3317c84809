"""Objects linked over time, or through z, by their overlap: the same object, the same number.

One frame after the other is read, linked to those before it and passed on; no more than the few
frames in which an object may be missing are held.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_unet.data.labels import check_labels
from napari_unet.errors import ConfigError, LabelsError
from napari_unet.objects.drift import drift_between, shared_part
from napari_unet.objects.overlaps import (
    NO_OVERLAPS,
    Overlaps,
    best_links,
    concatenated,
    divisions_among,
    overlaps_between,
)
from napari_unet.settings import check_settings, setting

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    IntArray = NDArray[np.integer[Any]]
    Numbered = NDArray[np.int32]
    Table = NDArray[np.float64]
    Place = tuple[int, ...]
    Places = tuple[tuple[Place, Place], ...]

LinkAxis = Literal["T", "Z"]
_FEW = 2**24  # numbers up to here are looked up in a table, larger ones are sorted
_ENDED = -1  # where a track was last seen: a mother, or not yet in any frame
_LONGEST_GAP = 1000  # frames: as many are held in memory


@dataclass(frozen=True)
class LinkConfig:
    """How objects are linked; ConfigError if a value is out of its range.

    Each setting documents itself, as those of `PredictConfig` do.
    """

    axis: LinkAxis | None = setting(
        None,
        "Link over time (T): cells keep their numbers, daughters know their mother. Or through the "
        "slices (Z): what was found slice by slice becomes whole objects.",
        choices=("T", "Z"),
        kind=str,
        unset="time, if any, else z",
        words={"T": "time", "Z": "slices (z)"},
        label="Along",
    )
    minimum_overlap: float = setting(
        0.1,
        "Objects that overlap less are not linked: pixels of both, divided by pixels of either "
        "(IoU, 0 to 1).",
        0,
        1,
        label="Overlap",
    )
    gap: int = setting(
        1,
        "In how many frames in a row an object may be missing; through slices at most 1.",
        0,
        _LONGEST_GAP,
        unit="frame(s)",
        label="Gap",
    )
    divisions: bool = setting(
        True,
        "Cells divide: daughters get numbers of their own and know their mother. Only over time.",
        label="Divisions",
    )
    follow_drift: bool = setting(
        True,
        "Follow the shift of the whole field from frame to frame. Only over time.",
        label="Follow drift",
        flag="--drift",
    )

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_settings(self)
        if self.axis == "Z" and self.gap > 1:
            raise ConfigError(f"gap is {self.gap}; choose 0 or 1 through slices.")

    def along(self, axes: str) -> LinkConfig:
        """Return how labels of some axes are linked, where the axis is for them to say.

        Raises ConfigError if the gap is too long for slices.
        """
        return replace(self, axis=self.axis or ("T" if "T" in axes else "Z"))


@dataclass(frozen=True)
class Known:
    """What is known of links from elsewhere, for example from who has corrected them.

    A place is the index of a pixel in the labels: it stands for the object that lies there. In each
    pair the earlier place comes first. Where one of both holds no object, a pair says nothing.
    """

    must: Places = ()
    """Pairs that are the same object, whatever their overlap and however long it was missing."""
    cannot: Places = ()
    """Pairs that are not, unless `must` says so: the first ends there, or goes on as another."""

    @classmethod
    def of(
        cls, must: Iterable[Iterable[Iterable[int]]], cannot: Iterable[Iterable[Iterable[int]]]
    ) -> Known:
        """Put pairs into order; LabelsError where one is not of two frames."""
        return cls(*(tuple(sorted(_in_order(pair) for pair in pairs)) for pairs in (must, cannot)))

    def within(self, at: int) -> Known:
        """Return what is known of one index of the first axis, without that axis."""
        kept = ([(a[1:], b[1:]) for a, b in pairs if a[0] == b[0] == at] for pairs in self)
        return Known(*map(tuple, kept))

    def __iter__(self) -> Iterator[Places]:
        return iter((self.must, self.cannot))


def _in_order(pair: Iterable[Iterable[int]]) -> tuple[Place, Place]:
    places = sorted(tuple(int(at) for at in place) for place in pair)
    if len(places) != 2 or len(places[0]) != len(places[1]) or places[0] == places[1]:
        raise LabelsError(
            f"{places} is no pair of places: give the index of a pixel in each of two frames, as "
            "((0, 20, 30), (1, 22, 31))."
        )
    return places[0], places[1]


@dataclass(frozen=True, eq=False)
class Linked:
    """What is known of the objects once all frames are linked."""

    n_tracks: int
    """How many objects there are; their numbers are 1..n_tracks."""
    tracks: Table
    """One row per object and frame, float64, sorted: its number, the position of the frame, and its
    centroid (``[z,] y, x``) in pixels of the labels. What napari's Tracks layer takes.
    """
    sizes: IntArray
    """Of each row: how many pixels the object has in that frame."""
    parents: Mapping[int, int] = field(default_factory=dict)
    """The mother of each object that came from a division."""


def link_frames(
    frames: Iterable[IntArray], config: LinkConfig, known: Known | None = None
) -> Generator[Numbered, None, Linked]:
    """Link the objects of frames that come one after the other, over time where no axis is named.

    Frames are labels ``[Z]YX`` (``YX`` through z), all of one shape and any integer dtype: 0 is
    background, the other numbers need not mean the same from frame to frame. Yields the same
    objects as int32, with the numbers that they keep over the frames: these count up in the order
    in which objects appear, by frame, and in it by their first pixel, daughters first. What is
    `known` has places of ``(frame, [z,] y, x)``.

    Raises LabelsError if a frame is not of integers, has negative numbers, or is of another shape
    than the first.
    """
    linker = _Linker(config, known or Known())
    for position, frame in enumerate(frames):
        yield linker.add(position, np.asarray(frame))
    return linker.result()


class _Linker:
    """Holds the frames that an object may still be linked to, and the tracks so far."""

    def __init__(self, config: LinkConfig, known: Known) -> None:
        self._config, self._known = config, known
        self._track_at: dict[Place, int] = {}  # of places that something is known of
        self._over_time = config.axis != "Z"
        self._planes: deque[Numbered] = deque(maxlen=config.gap + 1)
        self._shifts: list[tuple[int, ...]] = []  # from each plane to the newest frame
        self._last_seen = np.full(1, _ENDED)  # by track
        self._rows: list[Table] = []
        self._sizes: list[IntArray] = [np.zeros(0, np.int64)]  # of each row
        self._parents: dict[int, int] = {}

    def add(self, position: int, frame: IntArray) -> Numbered:
        """Link one more frame, and return it with the numbers of its tracks."""
        self._check_shape(frame)
        objects = numbered(check_labels(frame))
        sizes = np.bincount(objects.ravel(), minlength=1)
        self._shifts = self._shifts_to(objects)
        track_of = np.zeros(sizes.size, np.int32)
        overlaps = self._overlaps(position, objects, sizes)
        must, cannot = (self._pairs_at(position, objects, pairs) for pairs in self._known)
        overlaps = self._force(must, overlaps, track_of)
        if self._config.divisions and self._over_time:
            self._divide(position, overlaps, track_of, cannot)
        self._continue(overlaps.where(~overlaps.are_among(cannot)), track_of)
        fresh = np.flatnonzero(track_of[1:] == 0) + 1
        track_of[fresh] = self._new_tracks(fresh.size)

        labels: Numbered = track_of[objects]
        self._last_seen[[track for track, _ in cannot]] = _ENDED  # unless it is here
        self._last_seen[track_of[1:]] = position
        for place in {place for pairs in self._known for pair in pairs for place in pair}:
            if place[0] == position:
                self._track_at[place] = _at(labels, place)
        self._rows.append(rows_of(position, objects, track_of, sizes))
        self._sizes.append(sizes[1:])
        self._planes.append(labels)
        self._shifts.append((0,) * labels.ndim)
        return labels.copy()  # callers may write into it

    def result(self) -> Linked:
        """Return all tracks."""
        rows = np.concatenate(self._rows) if self._rows else np.zeros((0, 4))
        order = np.lexsort((rows[:, 1], rows[:, 0]))
        sizes = np.concatenate(self._sizes)[order].astype(np.int64)
        return Linked(self._last_seen.size - 1, rows[order], sizes, self._parents)

    def _check_shape(self, frame: IntArray) -> None:
        if frame.ndim not in ((2, 3) if self._over_time else (2,)):
            raise LabelsError(
                f"Labels of shape {frame.shape} are no frame: give YX or, over time, ZYX."
            )
        if self._planes and frame.shape != self._planes[-1].shape:
            raise LabelsError(
                f"A frame has shape {frame.shape}, those before {self._planes[-1].shape}; "
                "link frames of one size."
            )

    def _shifts_to(self, objects: Numbered) -> list[tuple[int, ...]]:
        """Add the drift since the last frame to what each plane held has drifted so far."""
        shifts = self._shifts[-len(self._planes) :]
        if not (self._planes and self._over_time and self._config.follow_drift):
            return shifts
        drift = drift_between(self._planes[-1] > 0, objects > 0)
        return [tuple(a + b for a, b in zip(shift, drift, strict=True)) for shift in shifts]

    def _overlaps(self, position: int, objects: Numbered, sizes: IntArray) -> Overlaps:
        """List the overlaps of each track, where it was last seen, with the objects."""
        found, first = [NO_OVERLAPS], position - len(self._planes)
        for at, (labels, shift) in enumerate(zip(self._planes, self._shifts, strict=True), first):
            previous, following = shared_part(labels, objects, shift)
            overlaps = overlaps_between(previous, following, np.bincount(labels.ravel()), sizes)
            last = self._last_seen[overlaps.previous] == at
            found.append(overlaps.where(last & (overlaps.iou >= self._config.minimum_overlap)))
        return concatenated(found)

    def _pairs_at(
        self, position: int, objects: Numbered, pairs: Places
    ) -> dict[tuple[int, int], None]:
        """Return pairs that something is known of: a track so far, and an object of this frame."""
        found = (
            (self._track_at.get(first, 0), _at(objects, second))
            for first, second in pairs
            if second[0] == position
        )
        return {(track, number): None for track, number in found if track and number}

    def _force(
        self, must: Iterable[tuple[int, int]], overlaps: Overlaps, track_of: Numbered
    ) -> Overlaps:
        """Continue tracks as it is known; return the overlaps of all others."""
        forced: dict[int, int] = {}
        for track, number in must:
            if track not in forced and not track_of[number]:
                forced[track] = number
                track_of[number] = track
        for daughter in [each for each, mother in self._parents.items() if mother in forced]:
            del self._parents[daughter]  # she lives on
        free = ~np.isin(overlaps.previous, list(forced)) & (track_of[overlaps.following] == 0)
        return overlaps.where(free)

    def _divide(
        self,
        position: int,
        overlaps: Overlaps,
        track_of: Numbered,
        cannot: Iterable[tuple[int, int]],
    ) -> None:
        """Give daughters numbers of their own; their mothers end here.

        An object that is most like one that was missing has come back: it is nobody's daughter.
        """
        likest = np.zeros(track_of.size)
        np.maximum.at(likest, overlaps.following, overlaps.iou)
        was_there = self._last_seen[overlaps.previous] == position - 1
        came_back = np.zeros(track_of.size, bool)
        likest_was_missing = ~was_there & (overlaps.iou == likest[overlaps.following])
        came_back[overlaps.following[likest_was_missing]] = True
        found = divisions_among(overlaps.where(was_there & ~came_back[overlaps.following]))
        track_of[found.following] = self._new_tracks(found.following.size)
        related = found.where(~found.are_among(cannot))
        daughters = track_of[related.following].tolist()
        self._parents |= dict(zip(daughters, related.previous.tolist(), strict=True))
        self._last_seen[found.previous] = _ENDED

    def _continue(self, overlaps: Overlaps, track_of: Numbered) -> None:
        """Continue tracks that have not ended, as objects that have no track yet."""
        goes_on = self._last_seen[overlaps.previous] != _ENDED
        tracks, numbers = best_links(overlaps.where(goes_on & (track_of[overlaps.following] == 0)))
        track_of[numbers] = tracks

    def _new_tracks(self, n: int) -> Numbered:
        first = self._last_seen.size
        self._last_seen = np.concatenate([self._last_seen, np.full(n, _ENDED)])
        return np.arange(first, first + n, dtype=np.int32)


def _at(labels: IntArray, place: Place) -> int:
    """Return which object of a frame lies at a place; 0 where it lies outside."""
    pixel = place[1:]
    inside = len(pixel) == labels.ndim and all(
        0 <= at < size for at, size in zip(pixel, labels.shape, strict=True)
    )
    return int(labels[pixel]) if inside else 0


def numbered(frame: IntArray) -> Numbered:
    """Renumber the objects of a frame 1..N, in the order in which their first pixels lie.

    So the numbers that come in decide nothing, not even between equally good links.
    """
    flat = frame.ravel()
    inside = np.flatnonzero(flat)
    largest = int(frame.max(initial=0))
    if largest < _FEW:
        first = np.full(largest + 1, frame.size)
        first[flat[inside[::-1]].astype(np.intp)] = inside[::-1]  # the last one written stays
        values = np.flatnonzero(first < frame.size)
        table = np.zeros(largest + 1, np.int32)
        table[values[np.argsort(first[values])]] = np.arange(1, values.size + 1)
        found: Numbered = table[frame]
        return found
    _, starts, inverse = np.unique(flat[inside], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(starts)).astype(np.int32) + 1
    found = np.zeros(frame.shape, np.int32)
    found.ravel()[inside] = rank[inverse]
    return found


def rows_of(position: int, objects: Numbered, track_of: Numbered, sizes: IntArray) -> Table:
    """Return a row per object of a frame: its track, the frame, its centroid."""
    inside = np.flatnonzero(objects)
    of = objects.ravel()[inside]
    rows = np.empty((sizes.size - 1, 2 + objects.ndim))
    rows[:, 0], rows[:, 1] = track_of[1:], position
    for axis, coordinate in enumerate(np.unravel_index(inside, objects.shape)):
        rows[:, 2 + axis] = np.bincount(of, coordinate, sizes.size)[1:] / sizes[1:]
    return rows
