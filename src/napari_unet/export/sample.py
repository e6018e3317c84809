"""What an export is checked on: a piece of image, and our own prediction of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from scipy import ndimage as ndi

from napari_unet.data.axes import SPATIAL_AXES
from napari_unet.data.intensity import IntensityRange
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.plan import plan_prediction
from napari_unet.prediction.work import make_runner, predict_tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.data.frames import Frame
    from napari_unet.model.trained import TrainedNetwork

_CPU = torch.device("cpu")
# Of a texture that looks like cells, in pixels of the network.
_BLOB = 4.0


@dataclass(frozen=True)
class Sample:
    """A piece of image, and what predicts it."""

    pixels: NDArray[np.float32]
    """C[Z]YX, float32, as the microscope gives them; the channels of all timepoints."""
    trained: TrainedNetwork
    views: int
    """Views to average."""
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
    """Cut a piece from the middle of an image, or draw a texture.

    Parameters
    ----------
    image : ArrayLike or None
        One that the model can predict; a texture is drawn where there is none, where a channel
        of its middle has one value alone, and where a starting model would see a mean of channels.
    sides : sequence of int
        Size along ``[Z]YX``; a smaller image is mirrored beyond its borders.
    views : int
        Views to average.

    Raises
    ------
    ModelMismatchError, ImageError
        The image does not fit the model.
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
