"""What the network of another program answers: whether as its package says, and what it means."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from napari_unet.data.frames import Frame
from napari_unet.errors import ModelFileError, ModelMismatchError
from napari_unet.model.external import activated, raw_output
from napari_unet.tasks import ClassTable
from napari_unet.tasks.overlapping_classes import (
    MOST_CLASSES,
    OVERLAPPING_CLASSES,
    painted_values,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.data.intensity import IntensitySteps
    from napari_unet.model.record import Activation, ExternalConfig, Meaning

# Numbers differ where they differ by more than this, relative to those above 1.
_TOLERANCE = 1e-3
# So many of a million may differ: other libraries add up in another order.
_MOST_DIFFERING = 100e-6
_BOUNDARY = re.compile(r"boundar|border|contour|outline|edge")
_OBJECTS = re.compile(r"foreground|nucle|cell|object|interior|inside|mask|^fg$")
_BACKGROUND = re.compile(r"background|^bg$")
# What such networks return are no probabilities, and they are no plain U-Nets.
_OTHERS = re.compile(r"stardist|cellpose|affinit|embedding|distance|flow|offset|denois|regress")
_SLACK = 1e-3
_MOST_CLASSES = 254


class Agreement(NamedTuple):
    """How well a network agrees with an example."""

    largest: float
    share: float
    """Share of the numbers that differ."""

    @property
    def is_good(self) -> bool:
        """Whether it is the same function."""
        return self.share <= _MOST_DIFFERING


def in_order(array: NDArray[Any], axes: str, ndim: int, what: str) -> NDArray[Any]:
    """Return the first sample of a test tensor as C followed by the spatial axes.

    Raises ModelFileError if `what` has other axes than is said.
    """
    if array.ndim != len(axes) or not array.size:
        raise ModelFileError(f"The {what} of the package has the shape {array.shape}, not {axes}.")
    if "b" in axes:
        array = array.take(0, axis=axes.index("b"))
        axes = axes.replace("b", "")
    if "c" not in axes:
        array, axes = array[np.newaxis], "c" + axes
    wanted = "c" + "zyx"[-ndim:]
    return array.transpose([axes.index(axis) for axis in wanted])


def normalised(image: NDArray[Any], steps: IntensitySteps) -> Tensor:
    """Normalise C followed by spatial axes as a whole; returns (1, C, *)."""
    ndim = image.ndim - 1
    axes = "C" + "ZYX"[-ndim:]
    scaling = steps.measure(Frame(image, axes, ndim))
    pixels = image if image.dtype.kind == "f" else image.astype(np.float64)
    return torch.from_numpy(scaling.normalise(pixels))[None]


@torch.inference_mode()
def compare_with_example(
    run: Callable[[Tensor], Tensor],
    image: Tensor,
    answer: NDArray[Any],
    threshold: float | None,
    activation: Activation,
) -> tuple[Agreement, Tensor] | None:
    """Run an example and compare the answers; None where the network cannot take the image.

    The image is (1, C, *), normalised; `answer` is C followed by spatial axes, as the package says,
    behind its threshold, if any. `activation` is what is tried after the network. With the
    agreement comes what the network returned.
    """
    try:
        raw = raw_output(run, image)  # (1, C, *)
    except ModelMismatchError:
        return None
    found = activated(raw, activation)[0].numpy().astype(np.float64)
    if threshold is not None:
        found = (found > threshold).astype(np.float64)
    if found.shape != answer.shape:
        return None
    expected = answer.astype(np.float64)
    differences = np.abs(found - expected)
    wrong = ~(differences <= _TOLERANCE * np.maximum(1, np.abs(expected)))  # also NaN
    return Agreement(float(np.nanmax(differences)), float(wrong.mean())), raw


def understand(
    config: ExternalConfig,
    raw: Tensor,
    activation: Activation,
    names: Sequence[str],
    labels: Sequence[str],
) -> tuple[ExternalConfig, list[str]]:
    """Decide what a network returns, and describe it; with what was decided, for people.

    `raw` (B, C, *) is what it returned of an example, before the activation that is known to
    follow. `names` are those of its channels, if any, `labels` tags and names of the model, lower
    case. Raises ModelFileError for what are no probabilities.
    """
    remarks: list[str] = []
    channels = raw.shape[1]
    if not 1 <= channels <= _MOST_CLASSES:
        raise ModelFileError(f"The model returns {channels} channels; 1 to {_MOST_CLASSES} can be.")
    outside = float(raw.min()) < -_SLACK or float(raw.max()) > 1 + _SLACK
    if activation == "none" and outside:
        told = next((label for label in labels if _OTHERS.search(label)), None)
        if told is not None:
            raise ModelFileError(
                f"The model ({told[:60]}) returns numbers from {float(raw.min()):.3g} to "
                f"{float(raw.max()):.3g}, no probabilities. Use it in the program it was made for."
            )
        activation = "sigmoid" if channels == 1 else "softmax"
        remarks.append(
            f"its numbers reach beyond 0 to 1 and were taken as scores of a {activation}"
        )
    maps = activated(raw, activation)
    exclusive = channels > 1 and float((maps.sum(dim=1) - 1).abs().max()) < 0.01
    words = [name.lower() for name in names] if len(names) == channels else [""] * channels
    pair = _with_boundary(words, labels, exclusive)
    meaning: Meaning
    foreground, boundary = pair or (0, 0)
    if channels == 1:
        meaning = "foreground"
        remark = "its one map was taken as the probability of objects"
    elif pair is not None:
        meaning = "boundary"
        remark = (
            f"objects are channel {foreground} minus their outlines in channel {boundary}, "
            "counted from 0"
        )
    elif exclusive:
        meaning = "exclusive"
        remark = f"its {channels} maps exclude each other; the first is the background"
    else:
        meaning = "overlapping" if channels <= MOST_CLASSES else "independent"
        what = "a pixel is of each class whose map is above a half, of several at once or of none"
        if channels > MOST_CLASSES:
            what = "the highest one above a half is a pixel's class, else there is background"
        remark = f"its {channels} maps do not exclude each other: {what}"
    understood = replace(
        config,
        raw_channels=channels,
        activation=activation,
        meaning=meaning,
        foreground=foreground,
        boundary=boundary,
    )
    return understood, [*remarks, remark]


def _with_boundary(
    words: Sequence[str], labels: Sequence[str], exclusive: bool
) -> tuple[int, int] | None:
    """Find a channel of objects and one of their outlines."""
    channels = len(words)
    outlines = [number for number, word in enumerate(words) if _BOUNDARY.search(word)]
    if len(outlines) == 1 and channels > 1:
        others = [
            number
            for number, word in enumerate(words)
            if number not in outlines and not _BACKGROUND.search(word)
        ]
        named = [number for number in others if _OBJECTS.search(words[number])]
        found = named or others
        if len(found) == 1:
            return found[0], outlines[0]
    told = any(_BOUNDARY.search(label) for label in labels)
    if channels == 2 and told and not exclusive and not any(words):
        return 0, 1
    return None


def external_classes(config: ExternalConfig) -> ClassTable:
    """Return what predictions of such a network hold."""
    if config.meaning in ("foreground", "boundary") or (
        config.meaning == "exclusive" and config.out_channels == 2
    ):
        return ClassTable("objects", "background")
    if config.meaning == "overlapping":
        values = painted_values(config.out_channels)
        return ClassTable(OVERLAPPING_CLASSES.kind, "background", values)
    return ClassTable("classes", "background", tuple(range(config.out_channels)))
