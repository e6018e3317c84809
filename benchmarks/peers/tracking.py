"""Links between the bacteria of a time-lapse: ours by overlap, and those of trackers from PyPI.

All are given the same objects. Between divisions the bacteria have the same order in each frame;
who came from whom at divisions was read from places and sizes, the drift taken out: the data set
itself does not say it (as in `tests/objects/test_linking_real.py`).
"""

from __future__ import annotations

import json
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from environments import run_peer

import napari_unet as nu
from napari_unet.objects.drift import drift_between

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from rows import Row, Rows

    Labels = NDArray[np.integer[Any]]
    # (frame, number in it, number in the next frame)
    Link = tuple[int, int, int]
    Links = set[Link]

_SET = "bacteria_timelapse"
_OURS = "napari-unet-paint"
_TRACKERS = ("laptrack", "trackpy")
# fmt: off
_CAME_FROM = {
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


def add_links(rows: Rows, options: argparse.Namespace) -> None:
    """Measure all trackers on the movie as it is, and with its drift taken out beforehand."""
    paths = sorted((options.data / _SET / "labels").glob("*.tif"))
    movie = [tifffile.imread(path).astype(np.int32) for path in paths]
    truth = true_links(movie)
    for run, frames in (("as it is", movie), ("drift taken out", without_drift(movie))):
        rows.measure(("tracking", _SET, run, _OURS), None, partial(_ours, frames, truth))
        for peer in _TRACKERS:
            ways = _by_peer(peer, frames, options.environments)
            for way, found in ways["links"].items():
                scores = scores_of({tuple(link) for link in found}, truth)
                key = ("tracking", _SET, run, f"{peer}, {way}")
                rows.measure(key, None, partial(dict, scores, versions=ways["versions"]))


def true_links(movie: Sequence[Labels]) -> tuple[Links, Links]:
    """Return the links between the same bacterium, and those from mothers to daughters."""
    same: Links = set()
    born: Links = set()
    for frame, (before, after) in enumerate(pairwise(_numbers(labels) for labels in movie)):
        mothers = before if len(before) == len(after) else [_CAME_FROM[n] for n in after]
        for mother, number in zip(mothers, after, strict=True):
            (same if mothers.count(mother) == 1 else born).add((frame, mother, number))
    return same, born


def scores_of(found: Links, truth: tuple[Links, Links]) -> Row:
    """Return the shares of true links and of daughters found, and how many links are false."""
    same, born = truth
    return {
        "links": len(found & same) / len(same),
        "daughters": len(found & born) / len(born),
        "false": len(found - same - born),
    }


def without_drift(movie: Sequence[Labels]) -> Sequence[Labels]:
    """Shift each frame back by the drift since the first one; nothing is cut off."""
    shifts = [np.zeros(2, int)]
    for before, after in pairwise(movie):
        shifts.append(shifts[-1] + np.array(drift_between(before > 0, after > 0), int))
    most = np.abs(shifts).max(axis=0)
    padded = [np.pad(labels, [(edge, edge) for edge in most]) for labels in movie]
    return [np.roll(labels, -shift, (0, 1)) for labels, shift in zip(padded, shifts, strict=True)]


def _ours(movie: Sequence[Labels], truth: tuple[Links, Links]) -> Row:
    began = time.process_time()
    linked, result = nu.link(np.stack(movie))
    seconds = time.process_time() - began
    found: Links = set()
    for frame, (before, after) in enumerate(pairwise(range(len(movie)))):
        were = _tracks(movie[before], linked[before])
        for number, track in _tracks(movie[after], linked[after]).items():
            held = {t: n for n, t in were.items()}
            origin = held.get(track, held.get(result.parents.get(track, -1)))
            if origin is not None:
                found.add((frame, origin, number))
    return {**scores_of(found, truth), "processor_seconds": seconds}


def _tracks(labels: Labels, linked: Labels) -> dict[int, int]:
    """Return the track of each object of a frame."""
    return {number: int(linked[labels == number][0]) for number in _numbers(labels)}


def _by_peer(peer: str, movie: Sequence[Labels], environments: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as made:
        np.savez(Path(made) / "movie.npz", labels=np.stack(movie))
        run_peer(peer, Path(made), environments)
        found: dict[str, Any] = json.loads((Path(made) / "links.json").read_text())
        return found


def _numbers(labels: Labels) -> list[int]:
    return [int(number) for number in np.unique(labels) if number]
