"""What each program makes of ten painted cells, and of finished masks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import here  # noqa: F401  (finds the modules of the other benchmarks)
import numpy as np
from datasets import field_of_interest, load_dataset
from jobs import Segmentation
from painted_images import IMAGES
from painter import number_to_paint, paint_cells

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from datasets import Labels, Sample
    from jobs import Pair
    from rows import Rows

    Box = tuple[slice, slice]

SEGMENTING = ("napari-unet-paint", "random forest", "StarDist", "Cellpose 3")
_FROM_PAINT = SEGMENTING[:2]
_PAINTED_SETS = ("dsb2018_fluo", "dsb2018_other", "usiigaci_phc", "ctc_dic_hela")
_FINISHED_SETS = ("dsb2018_fluo", "usiigaci_phc")
_SMALLEST_CROP = 48
_GROWTH = 8


def add_painted(rows: Rows, options: argparse.Namespace) -> None:
    """Ten cells painted in one image; who needs complete labels gets a crop of as many cells."""
    for name in options.sets or _PAINTED_SETS:
        dataset = load_dataset(name, options.data)
        samples = {s.name: s for split in dataset.splits for s in split.test}
        chosen = [samples[number] for number in IMAGES[name][: options.images]]
        for draw in range(options.draws):
            for sample in chosen:
                for peer in options.peers:
                    unpainted = "unlabelled" if peer in _FROM_PAINT else "background"
                    job = Segmentation(
                        peer,
                        [_given(sample, dataset.border, draw, peer)],
                        [sample],
                        _settings(options, "fast", unpainted, draw),
                        dataset.border,
                    )
                    key = ("painted", name, f"image {sample.name}, draw {draw}", peer)
                    rows.measure(key, options.seconds, partial(job.measured, options.environments))


def _given(sample: Sample, border: int, draw: int, peer: str) -> Pair:
    """Return what a program learns from: paint, or the crop that is completely painted."""
    known = field_of_interest(sample.labels.shape, border)
    count = number_to_paint(sample.labels)
    paint = paint_cells(sample.labels, count, draw, known=known)
    if peer in _FROM_PAINT:
        return sample.image, paint
    box = crop_of(sample.labels, paint, count, border)
    return sample.image[box], sample.labels[box]


def crop_of(truth: Labels, paint: Labels, count: int, border: int = 0) -> Box:
    """Return the square around the first painted cell with the middles of as many cells in it.

    Parameters
    ----------
    truth, paint : ndarray
        ``YX``; the painted cells are numbered from 2.
    count : int
        Cells to reach; the square grows until then.
    border : int
        Of the image, that it stays out of.
    """
    middle = np.argwhere(paint == paint[paint > 1].min()).mean(axis=0)
    middles = [np.argwhere(truth == cell).mean(axis=0) for cell in np.unique(truth[truth > 0])]
    box = (slice(0, 0), slice(0, 0))
    for edge in range(_SMALLEST_CROP, max(truth.shape) + _GROWTH, _GROWTH):
        rows, columns = (
            _side(int(at), min(edge, size - 2 * border), border, size - border)
            for at, size in zip(middle, truth.shape, strict=True)
        )
        box = (rows, columns)
        if sum(_contains(rows, y) and _contains(columns, x) for y, x in middles) >= count:
            break
    return box


def _contains(side: slice, at: float) -> bool:
    return bool(side.start <= at < side.stop)


def _side(at: int, edge: int, low: int, high: int) -> slice:
    start = min(max(low, at - edge // 2), high - edge)
    return slice(start, start + edge)


def add_finished(rows: Rows, options: argparse.Namespace) -> None:
    """Finished masks: a third of the images (of the mosaics) is tested, the others are learned."""
    for name in options.sets or _FINISHED_SETS:
        learned, tested = _split(name, options.data)
        tested = tested[:: max(1, -(-len(tested) // options.tested))]
        given = [(sample.image, sample.labels) for sample in learned]
        settings = _settings(options, "accurate", "background", options.seed)
        for peer in options.peers:
            job = Segmentation(peer, given, tested, settings)
            key = ("finished", name, f"seed {options.seed}", peer)
            rows.measure(key, options.seconds, partial(job.measured, options.environments))


def _split(name: str, data: Path) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Return what is learned and what is tested: the set's own split, else every third image."""
    split = load_dataset(name, data).splits[-1]
    if split.train:
        return split.train, split.test
    tested = [sample for sample in split.test if int(sample.name) % 3 == 2]
    return [sample for sample in split.test if int(sample.name) % 3 != 2], tested


def _settings(
    options: argparse.Namespace, preset: str, unpainted: str, seed: int
) -> dict[str, Any]:
    return {
        "seconds": options.seconds,
        "seed": seed,
        "preset": preset,
        "unpainted": unpainted,
        "large": options.large,
        "weights": options.weights,
    }
