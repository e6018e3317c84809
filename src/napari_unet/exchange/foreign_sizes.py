"""Sizes, steps and halos of the network of another program."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from napari_unet.errors import ModelFileError
from napari_unet.model.plain_layers import depth_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_unet.exchange.foreign_reading import Reading
    from napari_unet.model.foreign_config import ForeignConfig

_USUAL_HALO = {2: 64, 3: 16}
_SEES_ALL = (
    "it looks at all of a tile at once (or nobody knows how far it sees), so results depend a "
    "little on where tiles lie"
)


def channels_of_graph(reading: Reading, shape: tuple[int | None, ...]) -> int:
    """Return the channels of the images that a graph takes."""
    letters = reading.image.letters
    if len(shape) != len(letters):
        raise ModelFileError(
            f"The package says axes {letters!r}, but its ONNX graph takes {len(shape)} axes."
        )
    if "c" not in letters:
        return 1
    declared = reading.image.axis("c")
    found = shape[letters.index("c")] or (declared.smallest if declared else None)
    if found is None:
        raise ModelFileError(
            "The model does not say how many channels its images have. Give a bioimage.io package."
        )
    return found


def reach_of_layers(weights: Mapping[str, Tensor], ndim: int) -> tuple[int, ...]:
    """Return how many pixels a known network sees on each side."""
    reach = [0] * ndim
    depth = depth_of(weights)
    for level in range(depth + 1):
        for path in (f"contracting.{level}", f"expanding.{level}"):
            for number in count():
                weight = weights.get(f"{path}.{number}.conv.weight")
                if weight is None:
                    break
                for axis, size in enumerate(weight.shape[2:]):
                    reach[axis] += size // 2 << level
        if level < depth:  # a pooling, and an enlargement that may see neighbours
            reach = [each + (1 << level) + (2 << level) for each in reach]
    return tuple(reach)


def with_sizes(
    reading: Reading, config: ForeignConfig, step: int, reach: tuple[int, ...] | None
) -> tuple[ForeignConfig, tuple[str, ...]]:
    """Decide sizes, steps and halos: what is declared, and what the network needs.

    Parameters
    ----------
    reading : Reading
        What is declared.
    config : ForeignConfig
        What is filled in.
    step : int
        By how much its poolings shrink an image.
    reach : tuple of int or None
        Pixels that it sees on each side; None: all, or nobody knows.

    Returns
    -------
    ForeignConfig
        With sizes.
    tuple of str
        What the user should know.
    """
    inputs, outputs = reading.of_space(reading.image), reading.of_space(reading.result)
    smallest = [axis.smallest for axis in inputs]
    if None in smallest:
        raise ModelFileError("The model does not say how large its images may be.")
    known = tuple(size for size in smallest if size is not None)
    ndim = len(known)
    seen = reach if reach is not None and len(reach) == ndim else None
    wanted = [
        max(axis.halo, seen[n] if seen else _USUAL_HALO[ndim]) for n, axis in enumerate(outputs)
    ]
    if any(axis.step <= 0 for axis in inputs):
        return _of_fixed_size(config, known, wanted, seen)
    steps = tuple(math.lcm(axis.step, step) for axis in inputs)
    halos = tuple(-(-halo // each) * each for halo, each in zip(wanted, steps, strict=True))
    remarks = () if seen else (_SEES_ALL,)
    return replace(config, steps=steps, halos=halos, smallest=known), remarks


def _of_fixed_size(
    config: ForeignConfig,
    sizes: tuple[int, ...],
    wanted: list[int],
    seen: tuple[int, ...] | None,
) -> tuple[ForeignConfig, tuple[str, ...]]:
    if len(set(sizes[-2:])) > 1:
        raise ModelFileError(
            f"The model takes images of {' x '.join(map(str, sizes))} pixels alone; squares can be "
            "used. Ask its authors for one that takes any size."
        )
    halos = tuple(min(halo, size // 4) for halo, size in zip(wanted, sizes, strict=True))
    remarks = [f"it takes windows of {' x '.join(map(str, sizes))} pixels alone"]
    if seen is None or list(halos) != wanted:
        remarks.append("they are smaller than what it sees, so results depend a little on them")
    return replace(config, fixed=True, smallest=sizes, halos=halos), tuple(remarks)
