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
from napari_unet.objects.overlaps import (
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
    Mask = NDArray[np.bool_]

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
    frames: Iterable[IntArray], config: LinkConfig
) -> Generator[Numbered, None, Linked]:
    """Link the objects of frames that come one after the other, over time where no axis is named.

    Frames are labels ``[Z]YX`` (``YX`` through z), all of one shape and any integer dtype: 0 is
    background, the other numbers need not mean the same from frame to frame. Yields the same
    objects as int32, with the numbers that they keep over the frames: these count up in the order
    in which objects appear, by frame, and in it by their first pixel, daughters first.

    Raises LabelsError if a frame is not of integers, has negative numbers, or is of another shape
    than the first.
    """
    linker = _Linker(config)
    for position, frame in enumerate(frames):
        yield linker.add(position, np.asarray(frame))
    return linker.result()


class _Linker:
    """Holds the frames that an object may still be linked to, and the tracks so far."""

    def __init__(self, config: LinkConfig) -> None:
        self._config = config
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
        objects = _numbered(check_labels(frame))
        sizes = np.bincount(objects.ravel(), minlength=1)
        self._shifts = self._shifts_to(objects)
        track_of = np.zeros(sizes.size, np.int32)
        overlaps = self._overlaps(position, objects, sizes)
        if self._config.divisions and self._over_time:
            self._divide(position, overlaps, track_of)
        self._continue(overlaps, track_of)
        fresh = np.flatnonzero(track_of[1:] == 0) + 1
        track_of[fresh] = self._new_tracks(fresh.size)

        labels: Numbered = track_of[objects]
        self._last_seen[track_of[1:]] = position
        self._rows.append(_rows(position, labels, objects, track_of, sizes))
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
        return joined(found)

    def _divide(self, position: int, overlaps: Overlaps, track_of: Numbered) -> None:
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


# --- How far a whole frame has moved since the one before, for example because the stage drifts ---

_LARGEST = 2**22  # pixels whose correlation is computed; larger masks are read in steps
# A lesser gain may be chance: cells that move on their own also fit a little better elsewhere.
_LEAST_GAIN = 1.1


def drift_between(previous: Mask, following: Mask) -> tuple[int, ...]:
    """Find the shift of a foreground, ``[Z]YX``, that brings most of it onto the next one.

    Returns whole pixels per axis to add to positions in `previous`; zeros where a shift gains less
    than a tenth of overlap. Masks of more than 4 million pixels are read in steps along Y and X:
    the shift is then a multiple of the step.
    """
    nowhere = (0,) * previous.ndim
    if not previous.any() or not following.any():
        return nowhere
    step = 1
    while previous.size / step**2 > _LARGEST:
        step += 1
    thinned = (..., slice(None, None, step), slice(None, None, step))
    overlap = _overlap_at_each_shift(previous[thinned], following[thinned])
    best = np.unravel_index(int(overlap.argmax()), overlap.shape)
    if overlap[best] < _LEAST_GAIN * overlap[nowhere]:
        return nowhere
    steps = [1] * (previous.ndim - 2) + [step, step]
    return tuple(
        each * (int(at) - size if at > size // 2 else int(at))
        for at, size, each in zip(best, overlap.shape, steps, strict=True)
    )


def _overlap_at_each_shift(previous: Mask, following: Mask) -> NDArray[np.float32]:
    """Correlate circularly: pixels that two masks share once the first is shifted.

    As scikit-image's `phase_cross_correlation`, but of real numbers and in sizes that are fast.
    """
    import scipy.fft  # on use: windows open without it

    shape = tuple(scipy.fft.next_fast_len(size, real=True) for size in previous.shape)
    first = scipy.fft.rfftn(previous.astype(np.float32), shape)
    second = scipy.fft.rfftn(following.astype(np.float32), shape)
    overlap: NDArray[np.float32] = scipy.fft.irfftn(first.conj() * second, shape)
    return overlap


def shared_part(
    previous: NDArray[Any], following: NDArray[Any], shift: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the parts of two frames that lie on each other once the first is shifted.

    They are views of one shape, empty where the shift is larger than the frame.
    """
    here, there = [], []
    for size, by in zip(previous.shape, shift, strict=True):
        length = max(size - abs(by), 0)
        here.append(slice(max(-by, 0), max(-by, 0) + length))
        there.append(slice(max(by, 0), max(by, 0) + length))
    return previous[tuple(here)], following[tuple(there)]
