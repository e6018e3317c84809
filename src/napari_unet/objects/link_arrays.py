"""Link the objects of label images that have axes: which planes come one after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.errors import ARRAY, NUMBER, TEXT, LabelsError, accepting, list_of
from napari_unet.objects.linking import Known, LinkConfig, Linked, link_frames
from napari_unet.run import Run

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.objects.linking import LinkAxis

    Index = tuple[int, ...]
    Pair = tuple[Index, Index]
    Numbered = NDArray[np.int32]
    LinkedPlanes = Generator[tuple[Index, Numbered], None, Linked]

LINKABLE_AXES = ("TYX", "ZYX", "TZYX")
_PAIRS = list_of(list_of(list_of(NUMBER)))


@accepting(labels=ARRAY, axes=TEXT, must_link=_PAIRS, cannot_link=_PAIRS)
def link(
    labels: ArrayLike,
    axes: str = "TYX",
    *,
    axis: LinkAxis | None = None,
    minimum_overlap: float = 0.1,
    gap: int = 1,
    divisions: bool = True,
    follow_drift: bool = True,
    must_link: Sequence[Pair] = (),
    cannot_link: Sequence[Pair] = (),
) -> tuple[Numbered, Linked]:
    """Give the same object the same number over time, or through z.

    Parameters
    ----------
    labels : ArrayLike
        Integers, 0 background: the objects of each frame have numbers of their own. Lazy arrays
        are read frame by frame.
    axes : {"TYX", "ZYX", "TZYX"}
        What the axes of `labels` are.
    axis : {"T", "Z"}, optional
        Along which objects are linked: time where there is time, else slices.
    minimum_overlap : float
        IoU below which two objects are not linked.
    gap : int
        In how many frames in a row an object may be missing; through slices at most 1.
    divisions : bool
        Whether objects that lie in one of the frame before are its daughters. Only over time.
    follow_drift : bool
        Whether the shift of the whole frame is taken out first. Only over time. Where all cells
        vanish and others appear elsewhere, that is a shift too.
    must_link, cannot_link : sequence of pairs, optional
        What is known to be the same object, and what is known not to be: each pair names two of
        them by the index of a pixel inside, as ``((0, 20, 30), (1, 22, 31))`` of "TYX". A pair
        says nothing where one of its pixels is background.

    Returns
    -------
    tuple of (ndarray, Linked)
        int32 labels of the same shape, numbered 1..N; and the tracks.

    Raises
    ------
    ConfigError
        A setting is out of range.
    LabelsError
        The labels are no integers, some are negative, the axes do not fit, or a pair names no two
        pixels.
    """
    config = LinkConfig(axis, minimum_overlap, gap, divisions, follow_drift)
    return link_labels(labels, axes, config, Known.of(must_link, cannot_link))


def link_labels(
    labels: ArrayLike, axes: str, config: LinkConfig, known: Known | None = None
) -> tuple[Numbered, Linked]:
    """Link the objects of a label image; see :func:`link`.

    Where there is time and z, linking through z takes each timepoint by itself, and numbers are
    never used twice.
    """
    linked = np.zeros(tuple(labels.shape), np.int32)
    planes = Run(linked_planes(labels, axes, config, known))
    for index, plane in planes:
        linked[index] = plane
    return linked, planes.result


def linked_planes(
    labels: ArrayLike, axes: str, config: LinkConfig, known: Known | None = None
) -> LinkedPlanes:
    """Link the objects of a label image plane by plane.

    Yields where each plane (through z) or frame (over time) lies, and its linked labels, int32.
    Returns the tracks; through z with several timepoints their rows are number, time, z, y, x.
    Raises LabelsError if the labels are no integers, some are negative, or the axes do not fit;
    ConfigError if the gap is too long for slices.
    """
    config = config.along(axes)
    _check_axes(labels, axes, config)
    known = known or Known()
    if config.axis == "T" or "T" not in axes:
        return (yield from _linked_run(labels, (), config, known, 0))
    parts, first = [], 0
    for time in range(labels.shape[0]):
        found = yield from _linked_run(labels, (time,), config, known.within(time), first)
        rows = np.insert(found.tracks, 1, time, axis=1)
        rows[:, 0] += first
        parts.append(replace(found, tracks=rows))
        first += found.n_tracks
    if not parts:
        return Linked(0, np.zeros((0, 5)), np.zeros(0, np.int64))
    tracks, sizes = ([getattr(part, name) for part in parts] for name in ("tracks", "sizes"))
    return Linked(first, np.concatenate(tracks), np.concatenate(sizes))


def _linked_run(
    labels: ArrayLike, at: Index, config: LinkConfig, known: Known, first: int
) -> LinkedPlanes:
    """Link the planes along the axis behind `at`; numbers start above `first`."""
    n_planes = labels.shape[len(at)]
    frames = (np.asarray(labels[(*at, n)]) for n in range(n_planes))
    planes = Run(link_frames(frames, config, known))
    for number, plane in enumerate(planes):
        plane[plane > 0] += first
        yield (*at, number), plane
    return planes.result


def _check_axes(labels: ArrayLike, axes: str, config: LinkConfig) -> None:
    if axes not in LINKABLE_AXES or len(axes) != len(labels.shape):
        raise LabelsError(
            f"Labels of axes {axes!r} and shape {tuple(labels.shape)} cannot be linked; use "
            f"{', '.join(LINKABLE_AXES)}, in this order and without channels."
        )
    if (config.axis or "") not in axes:
        raise LabelsError(
            f"Labels of axes {axes} have no {config.axis}; link along {axes[0]} instead."
        )
