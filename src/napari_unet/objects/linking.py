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
from napari_unet.objects.matching import (
    NO_OVERLAPS,
    Overlaps,
    best_links,
    divisions_among,
    joined,
    overlaps_between,
)
from napari_unet.settings import check_settings, setting

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from numpy.typing import NDArray

    IntArray = NDArray[np.integer[Any]]
    Numbered = NDArray[np.int32]
    Table = NDArray[np.float64]

LinkAxis = Literal["T", "Z"]
_FEW = 2**24  # numbers up to here are looked up in a table, larger ones are sorted
_ENDED = -1  # where a track was last seen: a mother, or not yet in any frame


_LONGEST_GAP = 1000  # frames: as many are held in memory


@dataclass(frozen=True)
class LinkConfig:
    """How objects are linked.

    Each setting documents itself, as those of `PredictConfig` do.

    Raises
    ------
    ConfigError
        A value is out of its range.
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

        Raises
        ------
        ConfigError
            The gap is too long for slices.
        """
        return replace(self, axis=self.axis or ("T" if "T" in axes else "Z"))


@dataclass(frozen=True, eq=False)
class Linked:
    """What is known of the objects once all frames are linked."""

    n_tracks: int
    """How many objects there are; their numbers are 1..n_tracks."""
    tracks: Table
    """One row per object and frame, float64, sorted: its number, the position of the frame, and its
    centroid (``[z,] y, x``) in pixels of the labels. What napari's Tracks layer takes.
    """
    parents: Mapping[int, int] = field(default_factory=dict)
    """The mother of each object that came from a division."""


def link_frames(
    frames: Iterable[IntArray], config: LinkConfig
) -> Generator[Numbered, None, Linked]:
    """Link the objects of frames that come one after the other.

    Parameters
    ----------
    frames : iterable of ndarray
        Labels ``[Z]YX`` (``YX`` through z), all of one shape and any integer dtype: 0 is
        background, the other numbers need not mean the same from frame to frame.
    config : LinkConfig
        How; over time where it names no axis.

    Yields
    ------
    ndarray
        int32: the same objects, with the numbers that they keep over the frames.

    Returns
    -------
    Linked
        Numbers count up in the order in which objects appear: by frame, and in it by their first
        pixel, daughters first.

    Raises
    ------
    LabelsError
        A frame is not of integers, has negative numbers, or is of another shape than the first.
    """
    linker = _Linker(config)
    for position, frame in enumerate(frames):
        yield linker.add(position, np.asarray(frame))
    return linker.result()


@dataclass(frozen=True, eq=False)
class _Plane:
    """A linked frame; `sizes` by track, `shift` from this frame to the newest one."""

    position: int
    labels: Numbered
    sizes: NDArray[np.int64]
    shift: tuple[int, ...]


class _Linker:
    """Holds the frames that an object may still be linked to, and the tracks so far."""

    def __init__(self, config: LinkConfig) -> None:
        self._config = config
        self._over_time = config.axis != "Z"
        self._planes: deque[_Plane] = deque(maxlen=config.gap + 1)
        self._last_seen = np.full(1, _ENDED)  # by track
        self._rows: list[Table] = []
        self._parents: dict[int, int] = {}

    def add(self, position: int, frame: IntArray) -> Numbered:
        """Link one more frame, and return it with the numbers of its tracks."""
        self._check_shape(frame)
        objects = _numbered(check_labels(frame))
        sizes = np.bincount(objects.ravel(), minlength=1)
        self._move_planes(objects)
        track_of = np.zeros(sizes.size, np.int32)
        overlaps = self._overlaps(objects, sizes)
        if self._config.divisions and self._over_time:
            self._divide(overlaps, track_of)
        self._continue(overlaps, track_of)
        fresh = np.flatnonzero(track_of[1:] == 0) + 1
        track_of[fresh] = self._new_tracks(fresh.size)

        labels: Numbered = track_of[objects]
        self._last_seen[track_of[1:]] = position
        self._rows.append(_rows(position, labels, objects, track_of, sizes))
        by_track = np.zeros(self._last_seen.size, np.int64)
        by_track[track_of[1:]] = sizes[1:]
        self._planes.append(_Plane(position, labels, by_track, (0,) * labels.ndim))
        return labels.copy()  # callers may write into it

    def result(self) -> Linked:
        """Return all tracks."""
        rows = np.concatenate(self._rows) if self._rows else np.zeros((0, 4))
        rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
        return Linked(self._last_seen.size - 1, rows, self._parents)

    def _check_shape(self, frame: IntArray) -> None:
        if frame.ndim not in ((2, 3) if self._over_time else (2,)):
            raise LabelsError(
                f"Labels of shape {frame.shape} are no frame: give YX or, over time, ZYX."
            )
        if self._planes and frame.shape != self._planes[-1].labels.shape:
            raise LabelsError(
                f"A frame has shape {frame.shape}, those before {self._planes[-1].labels.shape}; "
                "link frames of one size."
            )

    def _move_planes(self, objects: Numbered) -> None:
        """Add the drift since the last frame to what each plane held has drifted so far."""
        if not (self._planes and self._over_time and self._config.follow_drift):
            return
        drift = drift_between(self._planes[-1].labels > 0, objects > 0)
        for at, plane in enumerate(self._planes):
            shift = tuple(a + b for a, b in zip(plane.shift, drift, strict=True))
            self._planes[at] = replace(plane, shift=shift)

    def _overlaps(self, objects: Numbered, sizes: NDArray[np.int64]) -> Overlaps:
        """List the overlaps of each track, where it was last seen, with the objects."""
        found = [NO_OVERLAPS]
        for plane in self._planes:
            previous, following = shared_part(plane.labels, objects, plane.shift)
            overlaps = overlaps_between(previous, following, plane.sizes, sizes)
            last = self._last_seen[overlaps.previous] == plane.position
            found.append(overlaps.where(last & (overlaps.iou >= self._config.minimum_overlap)))
        return joined(found)

    def _divide(self, overlaps: Overlaps, track_of: Numbered) -> None:
        """Give daughters numbers of their own; their mothers end here.

        An object that is most like one that was missing has come back: it is nobody's daughter.
        """
        if not self._planes:
            return
        likest = np.zeros(track_of.size)
        np.maximum.at(likest, overlaps.following, overlaps.iou)
        was_there = self._last_seen[overlaps.previous] == self._planes[-1].position
        came_back = np.zeros(track_of.size, bool)
        came_back[overlaps.following[~was_there & (overlaps.iou == likest[overlaps.following])]] = (
            True
        )

        found = divisions_among(overlaps.where(was_there & ~came_back[overlaps.following]))
        track_of[found.following] = self._new_tracks(found.following.size)
        daughters = track_of[found.following].tolist()
        self._parents |= dict(zip(daughters, found.previous.tolist(), strict=True))
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


def _numbered(frame: IntArray) -> Numbered:
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
        numbered: Numbered = table[frame]
        return numbered
    _, starts, inverse = np.unique(flat[inside], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(starts)).astype(np.int32) + 1
    numbered = np.zeros(frame.shape, np.int32)
    numbered.ravel()[inside] = rank[inverse]
    return numbered


def _rows(
    position: int, labels: Numbered, objects: Numbered, track_of: Numbered, sizes: IntArray
) -> Table:
    """Return a row per object of a frame: its track, the frame, its centroid."""
    inside = np.flatnonzero(objects)
    of = objects.ravel()[inside]
    rows = np.empty((sizes.size - 1, 2 + labels.ndim))
    rows[:, 0], rows[:, 1] = track_of[1:], position
    for axis, coordinate in enumerate(np.unravel_index(inside, objects.shape)):
        rows[:, 2 + axis] = np.bincount(of, coordinate, sizes.size)[1:] / sizes[1:]
    return rows
