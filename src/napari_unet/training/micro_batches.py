"""Micro-batches: how much of a batch is computed at once where memory is short."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_unet.errors import NotEnoughMemoryError
from napari_unet.training.config import fitting_patch
from napari_unet.training.patches import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.model.memory import Shortage
    from napari_unet.training.config import TrainConfig

# Patches of fewer pixels along an axis show too little to learn from.
_SMALLEST_PATCH = 16


class MicroBatcher:
    """Divides batches into micro-batches that fit, and remembers for all steps what did not."""

    def __init__(self, config: TrainConfig) -> None:
        self._config, self._at_once = config, config.batch_size

    @property
    def config(self) -> TrainConfig:
        """The settings, with the patch size that fits as far as is known."""
        return self._config

    def split(self, batch: Batch) -> Iterator[Batch]:
        """Divide a batch: its gradient is the sum of those of its micro-batches."""
        if self._at_once >= len(batch.images):
            yield batch
            return
        for start in range(0, len(batch.images), self._at_once):
            part = slice(start, start + self._at_once)
            yield Batch(batch.images[part], batch.classes[part], batch.weights[part])

    def take_less(self, shortage: Shortage, edge: int) -> str:
        """Compute less at once from now on: half the patches, in the end half the patch.

        Patches have `edge` pixels along each axis of the plane. Returns what the user should know.
        Raises NotEnoughMemoryError if the smallest patch alone does not fit.
        """
        if self._at_once > 1:
            self._at_once = (self._at_once + 1) // 2
            return (
                f"{shortage}: {self._at_once} of {self._config.batch_size} patches are computed "
                "at a time, each step learns from all of them."
            )
        smaller = self._half_of(edge)
        if smaller is None:
            remedy = "Continue on CPU or use a smaller patch."
            if shortage.device.type == "cpu":
                remedy = "Close other programs, or use a smaller network."
            raise NotEnoughMemoryError(f"{shortage}. {remedy}")
        self._config = replace(self._config, patch_size=smaller)
        return (
            f"{shortage}: patches have {smaller} instead of {edge} pixels along each axis, and are "
            "computed one at a time."
        )

    def _half_of(self, edge: int) -> int | None:
        """Return the patch size that the network takes next to half of one; None: too small."""
        factor = self._config.network(1, 2).pooling_factor
        # two pixels at the bottom: the statistics of one are none
        smallest = fitting_patch(max(_SMALLEST_PATCH, 2 * factor), factor, self._config)
        smaller = fitting_patch(edge // 2, factor, self._config)
        return smaller if smallest <= smaller < edge else None
