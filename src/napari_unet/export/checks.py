"""Compare an exported file, run by the program of others, with our own prediction of a sample."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from scipy import ndimage as ndi

from napari_unet.data.axes import SPATIAL_AXES
from napari_unet.data.intensity import IntensityRange
from napari_unet.errors import ModelMismatchError
from napari_unet.export.config import ExportCheck
from napari_unet.export.graphs import require
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.pipeline import make_runner, predict_tile
from napari_unet.prediction.plan import plan_prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.data.frames import Frame
    from napari_unet.export.description import Facts
    from napari_unet.model.trained import TrainedNetwork

    Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]

# What an export may differ by: in float32 the order of additions changes some last digits.
LARGEST_DIFFERENCE = 1e-4
LEAST_AGREEMENT = 0.9999
# A tile of a check keeps about so many pixels along each axis.
_KEPT = 32
_CPU = torch.device("cpu")
# Of a texture that looks like cells, in pixels of the network.
_BLOB = 4.0


def sample_sides(facts: Facts) -> tuple[int, ...]:
    """Return the size of a sample in which tiles have neighbours, along ``[Z]YX``; no multiple."""
    kept = _kept(facts)
    return tuple(2 * each + halo + 1 for each, halo in zip(kept, facts.halos, strict=True))


def compare_with_ours(
    program: str, way: str, sample: Sample, ours: NDArray[np.float32], theirs: NDArray[np.float32]
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


# --- What an export is checked on: a piece of image, and our own prediction of it ----------------


@dataclass(frozen=True)
class Sample:
    """A piece of image, and what predicts it."""

    pixels: NDArray[np.float32]
    """C[Z]YX, float32, as the microscope gives them; the channels of all timepoints."""
    trained: TrainedNetwork
    views: int
    origin: Literal["the image", "a texture"] = "the image"
    """Where the pixels come from."""

    def answer(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict the probabilities of a piece by the tiles of our own prediction; C[Z]YX."""
        record = self.trained.record
        window, ndim = record.network.window, record.network.ndim
        timepoints = pixels.reshape(window, -1, *pixels.shape[1:])
        image, axes = (timepoints, "TC") if window > 1 else (timepoints[0], "C")
        config = PredictConfig(
            "probabilities",
            axes + SPATIAL_AXES[ndim],
            device="cpu",
            views=self.views,
            precision="float32",
        )
        plan = plan_prediction(record, image, config)
        runner = make_runner(self.trained, plan, _CPU)
        frame = plan.frame(image, window // 2)
        intensity = intensity_of(pixels, self.trained)
        result = np.zeros((record.network.out_channels, *plan.shape), np.float32)
        for tile in plan.tiles:
            result[(slice(None), *tile)] = predict_tile(runner, frame, intensity, tile, plan)
        return result

    def scaled(self) -> NDArray[np.float32]:
        """Return the pixels as an exported graph takes them: percentiles at 0 and 1, unclipped."""
        intensity = intensity_of(self.pixels, self.trained)
        shape = (-1,) + (1,) * (self.pixels.ndim - 1)
        low = np.array(intensity.low, np.float32).reshape(shape)
        high = np.array(intensity.high, np.float32).reshape(shape)
        return np.asarray((self.pixels - low) / (high - low), np.float32)

    def labels(self, probabilities: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return the class of each pixel."""
        record = self.trained.record
        return record.classes.decide(probabilities, record.threshold)


def make_sample(
    trained: TrainedNetwork,
    image: ArrayLike | None,
    axes: str | None,
    sides: Sequence[int],
    views: int,
) -> Sample:
    """Cut a piece of so many pixels along ``[Z]YX`` from the middle of an image, or draw a texture.

    A texture is drawn where there is no image, where a channel of its middle has one value alone,
    and where a starting model would see a mean of channels. A smaller image is mirrored beyond its
    borders. Raises ModelMismatchError or ImageError if the image does not fit the model.
    """
    frame = None if image is None else _middle_frame(trained, image, axes)
    if frame is not None and frame.channels == trained.record.network.in_channels:
        shape = frame.spatial_shape
        box = tuple(
            slice((size - side) // 2, (size - side) // 2 + side) if size > side else slice(0, size)
            for size, side in zip(shape, sides, strict=True)
        )
        # other programs take no block that is smaller than the package says
        more = [(0, max(0, side - size)) for size, side in zip(shape, sides, strict=True)]
        pixels = np.pad(frame.read(box).astype(np.float32), [(0, 0), *more], mode="symmetric")
        sample = Sample(pixels, trained, views)
        intensity = intensity_of(sample.pixels, trained)
        visible = all(low < high for low, high in zip(intensity.low, intensity.high, strict=True))
        if visible and np.isfinite(sample.pixels).all():
            return sample
    return Sample(_texture(trained, sides), trained, views, "a texture")


def _middle_frame(trained: TrainedNetwork, image: ArrayLike, axes: str | None) -> Frame:
    plan = plan_prediction(trained.record, image, PredictConfig(axes=axes, device="cpu"))
    return plan.frame(image, plan.n_frames // 2)


def _texture(trained: TrainedNetwork, sides: Sequence[int]) -> NDArray[np.float32]:
    """Draw bright blobs on noise, in each channel others."""
    rng = np.random.default_rng(0)
    config = trained.record.network
    bands = []
    for _ in range(config.input_bands):
        fine = rng.normal(size=tuple(sides))
        blobs = ndi.gaussian_filter(fine, _BLOB * trained.record.binning, mode="mirror")
        bands.append(blobs / blobs.std() + 0.2 * rng.normal(size=tuple(sides)))
    return np.asarray(300 + 100 * np.stack(bands), np.float32)


def intensity_of(pixels: NDArray[np.float32], trained: TrainedNetwork) -> IntensityRange:
    """Measure the percentiles of each channel on all pixels, as other programs do."""
    normalization = trained.record.intensity
    wanted = (normalization.low_percentile, normalization.high_percentile, 50)
    flat = pixels.reshape(len(pixels), -1)
    low, high, median = (tuple(map(float, row)) for row in np.percentile(flat, wanted, axis=1))
    return IntensityRange(low, high, median)


def cropped(sample: Sample, multiples: Sequence[int]) -> Sample:
    """Return the sample cut to sizes that are multiples, along ``[Z]YX``."""
    box = tuple(
        slice(0, max(size // step, 1) * step)
        for size, step in zip(sample.pixels.shape[1:], multiples, strict=True)
    )
    return replace(sample, pixels=sample.pixels[(slice(None), *box)])
