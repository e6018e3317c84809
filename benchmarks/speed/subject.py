"""What is predicted in the cases: a trained network of 32 base channels, and images of any size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

import napari_unet as nu

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHECKOUT = Path(__file__).resolve().parents[2]
_SAMPLES = _CHECKOUT / "sample_data"
_WORK = _CHECKOUT / "speed-work"

# Trained for a minute or three: enough that its labels are cells and not noise.
_STEPS = 120


def trained_model(base_channels: int = 32) -> nu.TrainedModel:
    """Return a network of depth 4 that learned nuclei; trained at the first call, then kept."""
    path = _WORK / f"base{base_channels}.safetensors"
    if not path.is_file():
        _WORK.mkdir(exist_ok=True)
        settings: dict[str, Any] = {
            "base_channels": base_channels,
            "depth": 4,
            "steps": _STEPS,
            "batch_size": 2,
            "start": "random",
            "unpainted": "background",
            "binning": 1,
        }
        config = nu.TrainConfig.preset("fast", **settings)
        images = [tifffile.imread(_SAMPLES / "nuclei2d_image.tif")]
        labels = [tifffile.imread(_SAMPLES / "nuclei2d_labels.tif")]
        nu.train(images, labels, config=config).save(path)
    return nu.load_model(path)


def image_of(size: int) -> NDArray[np.uint16]:
    """Return an image of cells, the sample repeated in mirror images."""
    sample = tifffile.imread(_SAMPLES / "nuclei2d_image.tif").astype(np.uint16)
    missing = [(0, max(0, size - edge)) for edge in sample.shape]
    repeated = np.pad(sample, missing, mode="symmetric")
    return np.ascontiguousarray(repeated[:size, :size])
