"""Objects from the answer of a network, against components and one watershed."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING

import numpy as np
import psutil
from figures import Figure, Options, fastest
from scenes import answer_about, crowded_labels
from scipy import ndimage as ndi
from skimage.segmentation import watershed

from napari_unet.objects.separation import separate_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HALF, _CERTAIN = 127, 204  # of 255
_SMALLEST = 5


def measure(options: Options) -> Iterator[Figure]:
    """Compare time with what others do, and watch the memory."""
    size, count = (256, 80) if options.quick else (4096, 20_000)
    steps = answer_about(crowded_labels((size, size), count))
    floats = steps.astype(np.float32) / np.float32(255)
    inside = steps > _HALF
    markers, _ = ndi.label(steps > _CERTAIN)  # not timed
    seconds = fastest(
        {
            "ours": lambda: separate_objects(steps, _SMALLEST),
            "ours, floats": lambda: separate_objects(floats, _SMALLEST),
            "label": lambda: ndi.label(inside),
            "uint8": lambda: watershed(255 - steps, markers, mask=inside),
            "float": lambda: watershed(-floats, markers, mask=inside),
        },
        min(options.rounds, 3),
    )
    what = f"{size}x{size}, {count} cells"
    found = int(separate_objects(steps, _SMALLEST).max())
    yield Figure(f"{what}: objects found", found, "")
    yield Figure(f"{what}: objects told apart", seconds["ours"], "s")
    yield Figure(f"{what}: the same from float32", seconds["ours, floats"], "s")
    yield Figure(f"{what}: scipy's label", seconds["label"], "s")
    for name in ("uint8", "float"):
        peer = seconds["label"] + seconds[name]
        yield Figure(f"{what}: scipy's label and one watershed on {name} priorities", peer, "s")
        yield Figure.at_most(
            f"{what}: time over label and one watershed on {name} priorities",
            seconds["ours"] / peer,
            "x",
            2,
        )
    for name, foreground in (("uint8", steps), ("float32", floats)):
        added = peak_added(lambda image=foreground: separate_objects(image, _SMALLEST))  # type: ignore[misc]
        yield Figure.at_most(f"{what}: added memory, from {name}", added / 1e6, "MB", 1000)


def peak_added(action: Callable[[], object]) -> int:
    """Return by how many bytes the resident memory of this process grew, at most."""
    process, end, peak = psutil.Process(), threading.Event(), 0
    gc.collect()
    before = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not end.wait(0.003):
            peak = max(peak, process.memory_info().rss - before)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        action()
    finally:
        end.set()
        thread.join()
    return peak
