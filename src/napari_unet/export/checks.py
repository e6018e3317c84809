"""Compare an exported file, run by the program of others, with our own prediction."""

from __future__ import annotations

import warnings
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet.errors import ModelMismatchError
from napari_unet.export.config import ExportCheck
from napari_unet.export.graphs import require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.export.facts import Facts
    from napari_unet.export.sample import Sample

    Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]

# What an export may differ by: in float32 the order of additions changes some last digits.
LARGEST_DIFFERENCE = 1e-4
LEAST_AGREEMENT = 0.9999
# A tile of a check keeps about so many pixels along each axis.
_KEPT = 32


def sample_sides(facts: Facts) -> tuple[int, ...]:
    """Return the size of a sample in which tiles have neighbours, along ``[Z]YX``; no multiple."""
    kept = _kept(facts)
    return tuple(2 * each + halo + 1 for each, halo in zip(kept, facts.halos, strict=True))


def compare_with_ours(
    program: str,
    way: str,
    sample: Sample,
    ours: NDArray[np.float32],
    theirs: NDArray[np.float32],
) -> ExportCheck:
    """Compare probabilities, both C[Z]YX.

    Raises ModelMismatchError if they differ by more than rounding; the text holds the figures.
    """
    if ours.shape != theirs.shape:
        raise ModelMismatchError(
            f"Nothing was exported: {program} gives {theirs.shape} where our own prediction gives "
            f"{ours.shape} ({way}). Please report this."
        )
    difference = np.abs(ours - theirs)
    largest = float(difference.max()) if np.isfinite(difference).all() else float("inf")
    agreement = float(np.mean(sample.labels(ours) == sample.labels(theirs)))
    check = ExportCheck(program, way, int(ours[0].size), largest, agreement)
    if not (largest <= LARGEST_DIFFERENCE and agreement >= LEAST_AGREEMENT):
        raise ModelMismatchError(
            "Nothing was exported: the file does not predict what the model does "
            f"({check}; allowed are {LARGEST_DIFFERENCE:.0e} and {100 * LEAST_AGREEMENT:.2f} %). "
            "Please report this."
        )
    return check


def run_in_tiles(
    run: Run, pixels: NDArray[np.float32], classes: int, facts: Facts
) -> NDArray[np.float32]:
    """Run tile by tile, as a program would that knows the facts; C[Z]YX to probabilities.

    Each tile takes the halo along as far as there is image, and its inner part is kept.
    """
    sizes = pixels.shape[1:]
    result = np.zeros((classes, *sizes), np.float32)
    along = [
        [_tile(start, kept, halo, size) for start in range(0, size, kept)]
        for size, kept, halo in zip(sizes, _kept(facts), facts.halos, strict=True)
    ]
    for tile in product(*along):
        seen, inner, own = zip(*tile, strict=True)
        answer = run(np.ascontiguousarray(pixels[(slice(None), *seen)]))
        result[(slice(None), *own)] = answer[(slice(None), *inner)]
    return result


def _kept(facts: Facts) -> Sequence[int]:
    return [step * max(1, _KEPT // step) if step > 1 else 2 for step in facts.steps]


def _tile(start: int, kept: int, halo: int, size: int) -> tuple[slice, slice, slice]:
    """Return what a tile sees of an axis, what of that it keeps, and where that belongs."""
    stop, first = min(size, start + kept), max(0, start - halo)
    seen = slice(first, min(size, stop + halo))
    return seen, slice(start - first, stop - first), slice(start, stop)


# --- Run exported files again, each by the program that others would run it with -----------------


def onnx_run(path: Path) -> tuple[str, Run]:
    """Load an ONNX file in onnxruntime; return its name and what runs it."""
    require("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def run(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {name: pixels[np.newaxis]})[0][0])

    return f"onnxruntime {onnxruntime.__version__}", run


def torchscript_run(path: Path) -> tuple[str, Run]:
    """Load a TorchScript archive that this program has just written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(  # type: ignore[no-untyped-call]
            str(path), map_location="cpu"
        )
    return f"torch.jit {torch.__version__}", _of_torch(module)


def torch_export_run(path: Path) -> tuple[str, Run]:
    """Load an archive of torch.export that this program has just written."""
    with warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")
        module = torch.export.load(file).module()
    return f"torch.export {torch.__version__}", _of_torch(module)


def _of_torch(module: Any) -> Run:
    def run(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(module(torch.from_numpy(pixels)[None])[0])

    return run
