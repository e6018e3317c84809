"""The border weight map: against one distance transform, and against one per object."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import numpy as np
from figures import Figure, Options, fastest
from scenes import crowded_labels
from scipy import ndimage as ndi

from napari_unet.data.border_weights import border_weight_map
from napari_unet.tasks import ClassTable, target_of
from napari_unet.training.config import TrainConfig
from napari_unet.training.targets import pixel_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_W0, _SIGMA = 10.0, 5.0
# A voxel this many times as long along Z as it is wide.
_SPACING = (2.5, 1.0, 1.0)
_STROKE = 64
_FIRST_ROUNDS = 3
_FIRST_CALL = """
import time, numpy
from napari_unet.data.border_weights import border_weight_map
began = time.perf_counter()
border_weight_map(numpy.array([[1, 0, 2]]))
print(time.perf_counter() - began)
"""


def measure(options: Options) -> Iterator[Figure]:
    """Compare on a crowded image, on larger ones and in 3D; time the first call of a process."""
    size, count = (128, 60) if options.quick else (512, 1000)
    yield from _against_the_loop(size, count, options.rounds)
    for shape, number in _others(quick=options.quick):
        yield from _against_one_transform(crowded_labels(shape, number), number, options.rounds)
    yield from _in_training(size, count, options.rounds)
    yield from _first_call()


def _others(*, quick: bool) -> Sequence[tuple[tuple[int, ...], int]]:
    if quick:
        return [((128, 128), 2), ((16, 32, 32), 20)]
    return [((512, 512), 10), ((2048, 2048), 5000), ((64, 256, 256), 500)]


def _against_the_loop(size: int, count: int, rounds: int) -> Iterator[Figure]:
    labels = crowded_labels((size, size), count)
    seconds = _beside_one_transform(labels, None, rounds)
    began = time.perf_counter()
    expected = direct_formula(labels)
    loop = time.perf_counter() - began
    error = float(np.abs(border_weight_map(labels, _W0, _SIGMA) - expected).max())
    what = f"{size}x{size}, {count} objects"
    yield Figure(f"{what}: border weights", 1000 * seconds["ours"], "ms")
    yield Figure(f"{what}: one scipy distance transform", 1000 * seconds["scipy"], "ms")
    yield Figure.at_most(
        f"{what}: time over one scipy distance transform",
        seconds["ours"] / seconds["scipy"],
        "x",
        1,
    )
    yield Figure(f"{what}: a transform per object, as everyone copies it (one round)", loop, "s")
    yield Figure.at_least(
        f"{what}: faster than a transform per object", loop / seconds["ours"], "x", 1000
    )
    yield Figure.at_most(f"{what}: error against the direct formula", error, "", 1e-5)


def _against_one_transform(labels: NDArray[np.int32], count: int, rounds: int) -> Iterator[Figure]:
    spacing = _SPACING if labels.ndim == 3 else None
    seconds = _beside_one_transform(labels, spacing, rounds)
    what = f"{'x'.join(map(str, labels.shape))}, {count} objects"
    yield Figure(f"{what}: border weights", 1000 * seconds["ours"], "ms")
    ratio = seconds["ours"] / seconds["scipy"]
    yield Figure(f"{what}: time over one scipy distance transform", ratio, "x")


def _beside_one_transform(
    labels: NDArray[np.int32], spacing: tuple[float, ...] | None, rounds: int
) -> dict[str, float]:
    background = labels == 0
    return fastest(
        {
            "ours": lambda: border_weight_map(labels, _W0, _SIGMA, spacing),
            "scipy": lambda: ndi.distance_transform_edt(background, sampling=spacing),
        },
        rounds,
    )


def direct_formula(labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Equation 2 as it stands: the two smallest of one distance transform per object.

    The usual code stacks all transforms and sorts them; keeping two is kinder to the peer.
    """
    first = np.full(labels.shape, np.inf)
    second = first.copy()
    for number in np.unique(labels[labels > 0]):
        distance = ndi.distance_transform_edt(labels != number)
        np.minimum(second, np.maximum(first, distance), out=second)
        np.minimum(first, distance, out=first)
    weights: NDArray[np.float64] = _W0 * np.exp(-((first + second) ** 2) / (2 * _SIGMA**2))
    weights[labels > 0] = 0
    return weights


def _in_training(size: int, count: int, rounds: int) -> Iterator[Figure]:
    """Time all pixel weights: of a frame painted through, and of one stroke in a large frame."""
    labels = crowded_labels((size, size), count)
    full = target_of(labels + 1, ClassTable("objects", "unlabelled"))
    painted = np.zeros((4 * size, 4 * size), np.int32)
    painted[size : size + _STROKE, size : size + _STROKE] = labels[:_STROKE, :_STROKE] + 1
    stroke = target_of(painted, ClassTable("objects", "unlabelled"))
    config, balance = TrainConfig(kind="objects"), np.ones(2, np.float32)
    seconds = fastest(
        {
            "full": lambda: pixel_weights(full, balance, config),
            "stroke": lambda: pixel_weights(stroke, balance, config),
        },
        rounds,
    )
    yield Figure(f"{size}x{size} painted through: all pixel weights", 1000 * seconds["full"], "ms")
    yield Figure(
        f"{4 * size}x{4 * size}, paint in {_STROKE}x{_STROKE}: all pixel weights",
        1000 * seconds["stroke"],
        "ms",
    )


def _first_call() -> Iterator[Figure]:
    """Time the first weights of a process: with nothing compiled yet, and ever after."""
    cold, warm = [], []
    for _ in range(_FIRST_ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(_seconds_of_first_call(folder))
            warm.append(_seconds_of_first_call(folder))
    yield Figure("first call on a machine: numba imported, compiled", min(cold), "s")
    yield Figure("first call of a process: numba imported, compiled code read", min(warm), "s")


def _seconds_of_first_call(cache_folder: str) -> float:
    result = subprocess.run(
        [sys.executable, "-c", _FIRST_CALL],
        env={**os.environ, "NUMBA_CACHE_DIR": cache_folder},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(result.stdout)
