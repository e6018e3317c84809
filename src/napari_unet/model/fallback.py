"""Run a network on boxes of any size: in halves where memory is short, else on the CPU.

A box is halved on the network's own pooling grid, out of pixels that are read already, so that the
halves together are what the whole would have been.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from napari_unet.errors import NotEnoughMemoryError, first_line
from napari_unet.model.memory import Shortage, within_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.model.external import ReadyNetwork

    Compute = Callable[[ReadyNetwork, Tensor], Tensor]


_IN_PARTS = "Memory is short: tiles are computed in parts."


class _Cut(NamedTuple):
    """Where a box is halved: the second half begins at `start` and repeats `overlap` pixels."""

    axis: int
    start: int
    overlap: int


class Fallback:
    """Computes boxes by one network after the other, and remembers what did not fit.

    Parameters
    ----------
    spare : callable, optional
        Makes the same network ready on the CPU, once, where the device fails or has no memory
        even for the smallest box. Without it those are errors.
    """

    def __init__(
        self, network: ReadyNetwork, spare: Callable[[], ReadyNetwork] | None = None
    ) -> None:
        self.network = network
        self._spare = spare
        self._too_large: int | None = None  # pixels of the smallest box that did not fit
        self._notices: list[str] = []
        self._told: set[str] = set()

    def note_once(self, notice: str) -> None:
        """Remember what the user should know, unless it was noted before."""
        if notice not in self._told:
            self._told.add(notice)
            self._notices.append(notice)

    def take_notices(self) -> list[str]:
        """Return what the user should know, once."""
        told, self._notices = self._notices, []
        return told

    def compute(self, pixels: NDArray[np.float32], compute: Compute) -> NDArray[np.float32]:
        """Compute one box; NotEnoughMemoryError if the smallest does not fit and there is no spare.

        Parameters
        ----------
        pixels : ndarray
            Shape C_in followed by the network's input; float32.
        compute : callable
            What a network does with (1, C_in, *), to give (1, C, *').

        Returns
        -------
        ndarray
            Shape C followed by the network's output; float32.
        """
        cut = self._cut(pixels.shape[1:])
        if cut is not None and self._too_large is not None and pixels.size >= self._too_large:
            return self._in_halves(pixels, compute, cut)
        result = self._tried(pixels, compute)
        if not isinstance(result, Shortage):
            return result
        self._too_large = pixels.size
        if cut is not None:
            return self._in_halves(pixels, compute, cut)
        if self._spare is None:
            raise NotEnoughMemoryError(f"{result}. Close other programs, or use a smaller network.")
        self._go_on_with_spare(f"{result}: the rest is computed on the CPU.")
        return self.compute(pixels, compute)

    def _tried(
        self, pixels: NDArray[np.float32], compute: Compute
    ) -> NDArray[np.float32] | Shortage:
        """Compute a box as a whole; a device that fails is given up."""

        def work() -> NDArray[np.float32]:
            image = torch.from_numpy(pixels)[None].to(self.network.device)  # (1, C_in, *)
            result: NDArray[np.float32] = compute(self.network, image)[0].cpu().numpy()
            return result

        try:
            return within_memory(work, self.network.device)
        except RuntimeError as error:  # also an operation that Apple's GPUs lack
            if self._spare is None:
                raise
            reason = first_line(error)
        self._go_on_with_spare(f"The GPU failed ({reason}): the rest is computed on the CPU.")
        return within_memory(work, self.network.device)

    def _go_on_with_spare(self, notice: str) -> None:
        assert self._spare is not None
        self.network, self._spare = self._spare(), None
        self._too_large = None
        # that tiles are computed in parts is over before it was reported
        self._notices = [*(told for told in self._notices if told != _IN_PARTS), notice]

    def _in_halves(
        self, pixels: NDArray[np.float32], compute: Compute, cut: _Cut
    ) -> NDArray[np.float32]:
        self.note_once(_IN_PARTS)
        axis, halo = cut.axis, self.network.config.halos[cut.axis]
        first = [slice(None)] * pixels.ndim
        second, kept = first.copy(), first.copy()
        first[axis + 1] = slice(0, cut.start + cut.overlap + 2 * halo)
        second[axis + 1] = slice(cut.start, None)
        kept[axis + 1] = slice(cut.overlap, None)
        one = self.compute(pixels[tuple(first)], compute)
        other = self.compute(pixels[tuple(second)], compute)
        return np.concatenate([one, other[tuple(kept)]], axis=axis + 1)

    def _cut(self, shape: tuple[int, ...]) -> _Cut | None:
        """Find where an input of this shape is halved, across its longest axis that can be."""
        config, best, longest = self.network.config, None, 0
        for axis, (size, halo, factor, shortest) in enumerate(
            zip(shape, config.halos, config.pooling_factors, config.shortest_outputs, strict=True)
        ):
            overlap = shortest if shortest > 1 else 0
            steps = (size - 2 * halo - overlap) // factor  # of the pooling grid
            if steps >= 2 and size > longest:
                best, longest = _Cut(axis, steps // 2 * factor, overlap), size
        return best
