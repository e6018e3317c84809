"""Short memory: errors that mean it, and boxes that are computed in halves, else on the CPU.

Each device words its errors otherwise. A box is halved on the network's own pooling grid, out of
pixels that are read already, so that the halves together are what the whole would have been.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch

from napari_unet.errors import NotEnoughMemoryError, first_line
from napari_unet.io.limits import free_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.model.external import ReadyNetwork

    Compute = Callable[[ReadyNetwork, Tensor], Tensor]

Result = TypeVar("Result")

# What the errors of CUDA, cuDNN, cuBLAS, MPS and torch's allocator on the CPU have in common.
_TELLTALE = re.compile(
    r"out of memory|can't allocate memory|not enough memory|_ALLOC_FAILED|bad_alloc", re.IGNORECASE
)
_TRIED = re.compile(r"tried to allocate (?P<number>[\d.]+) (?P<unit>bytes|[KMGT]iB)", re.IGNORECASE)
_BYTES = {"bytes": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_HELD = 3  # feature maps of the first level at once, in float32: 1.2 to 2.9 were measured
_IN_PARTS = "Memory is short: tiles are computed in parts."


@dataclass(frozen=True)
class Shortage:
    """How much memory was lacking; holds neither the error nor the tensors that it held."""

    device: torch.device
    needed: int | None
    """Bytes that the work would have held; None: unknown."""
    free: int | None
    """Bytes that are free; None: unknown."""

    def __str__(self) -> str:
        """Return a sentence without its full stop."""
        kind = "memory" if self.device.type == "cpu" else "GPU memory"
        needed = "" if self.needed is None else f"needs about {self.needed / 1e9:.1f} GB"
        free = "" if self.free is None else f"{self.free / 1e9:.1f}{'' if needed else ' GB'} free"
        told = ", ".join(filter(None, (needed, free)))
        return f"Not enough {kind}" + (f" ({told})" if told else "")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory is short, on whatever device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and bool(_TELLTALE.search(str(error)))


def within_memory(work: Callable[[], Result], device: torch.device) -> Result | Shortage:
    """Do something on a device; where memory is short return how short, and free what was taken.

    An error holds, by its traceback, every tensor of the work that failed: it is let go before
    anybody tries again.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        needed = _needed(error, device)
    free_unused(device)
    return Shortage(device, needed, _free(device))


def free_unused(device: torch.device) -> None:
    """Give back what torch keeps of a GPU's memory for later."""
    with suppress(RuntimeError):  # a GPU that has failed has nothing to give
        if device.type == "cuda":
            torch.cuda.empty_cache()
        elif device.type == "mps":
            torch.mps.empty_cache()


def _needed(error: BaseException, device: torch.device) -> int | None:
    """Return what was held when the error was raised, and what was asked for on top."""
    found = _TRIED.search(str(error))
    if found is None:
        return None
    tried = int(float(found["number"]) * _BYTES[found["unit"].lower()])
    return tried + (torch.cuda.memory_allocated(device) if device.type == "cuda" else 0)


def _free(device: torch.device) -> int | None:
    with suppress(RuntimeError):
        if device.type == "cuda":
            return int(torch.cuda.mem_get_info(device)[0])
        if device.type == "cpu":
            return free_memory()
    return None


class _Cut(NamedTuple):
    """Where a box is halved: the second half begins at `start` and repeats `overlap` pixels."""

    axis: int
    start: int
    overlap: int


class Fallback:
    """Computes boxes by one network after the other, and remembers what did not fit.

    `spare` makes the same network ready on the CPU, once, where the device fails or has no memory
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
        """Compute one box: C_in and the network's input, to C and its output; float32.

        `compute` is what a network does with (1, C_in, *), to give (1, C, *'). Raises
        NotEnoughMemoryError if the smallest box does not fit and there is no spare.
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
        lacking = self._lacking(pixels)
        if lacking is not None:
            return lacking

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

    def _lacking(self, pixels: NDArray[np.float32]) -> Shortage | None:
        """Return how much memory of the computer a box would lack, as far as that is known.

        A container that is full gets no error: it is killed without a word.
        """
        maps = _HELD * getattr(self.network.config, "base_channels", 0)
        needed = maps * pixels[0].size * np.dtype(np.float32).itemsize
        if self.network.device.type != "cpu" or needed <= (free := free_memory()):
            return None
        return Shortage(self.network.device, needed, free)

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
