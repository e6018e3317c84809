"""Compare the network of another program with what its own package says that it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from napari_unet.data.frames import Frame
from napari_unet.errors import ModelFileError, ModelMismatchError
from napari_unet.model.external import activated, raw_output

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.data.intensity import IntensitySteps
    from napari_unet.external.reading import Postprocessing
    from napari_unet.model.external_config import Activation

# Numbers differ where they differ by more than this, relative to those above 1.
TOLERANCE = 1e-3
# So many of a million may differ: other libraries add up in another order.
_MOST_DIFFERING = 100e-6


class Agreement(NamedTuple):
    """How well a network agrees with an example."""

    largest: float
    """Largest difference."""
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
    post: Postprocessing,
    activation: Activation,
) -> tuple[Agreement, Tensor] | None:
    """Run an example and compare the answers; None where the network cannot take the image.

    The image is (1, C, *), normalised; `answer` is C followed by spatial axes, as the package says,
    and has passed `post`. `activation` is what is tried after the network. With the agreement comes
    what the network returned.
    """
    try:
        raw = raw_output(run, image)  # (1, C, *)
    except ModelMismatchError:
        return None
    found = activated(raw, activation)[0].numpy().astype(np.float64)
    if post.threshold is not None:
        found = (found > post.threshold).astype(np.float64)
    if found.shape != answer.shape:
        return None
    expected = answer.astype(np.float64)
    differences = np.abs(found - expected)
    wrong = ~(differences <= TOLERANCE * np.maximum(1, np.abs(expected)))  # also NaN
    return Agreement(float(np.nanmax(differences)), float(wrong.mean())), raw
