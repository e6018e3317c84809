"""Does the result depend on where tiles lie? Tile size, offset and image size are varied."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import subject
import torch
from figures import Figure, Options

from napari_unet.data.frames import Frame
from napari_unet.model.execution import Runner
from napari_unet.prediction.tiles import plan_tiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    import napari_unet as nu
    from napari_unet.data.intensity import IntensityRange

# Nearer to the border mirrored pixels are seen: another image size shows other ones.
_BORDER = 112


def measure(options: Options) -> Iterator[Figure]:
    """Compare scores of one image in float32 between layouts, away from its border."""
    size = 700 if options.quick else 1550
    model, image = subject.trained_model(), subject.image_of(size)
    intensity = model.record.intensity.measure(Frame(image, "YX", 2, ()))
    reference = _scores(model, image, intensity, 768)
    inner = (slice(None), *(slice(_BORDER, -_BORDER),) * 2)
    layouts = {
        "tiles of 256": _scores(model, image, intensity, 256),
        "tiles of 384": _scores(model, image, intensity, 384),
        "one tile": _scores(model, image, intensity, 4096),
    }
    differences = {name: found - reference for name, found in layouts.items()}
    labels = {name: found.argmax(axis=0) for name, found in layouts.items()}
    changed = {
        name: np.mean((found != reference.argmax(axis=0))[inner[1:]])
        for name, found in labels.items()
    }
    # A crop that begins at a multiple of the pooling factor lies on the same grid.
    cut = _scores(model, image[48:, 16:-27], intensity, 512)
    within = reference[:, 48:, 16:-27]
    differences["a crop of the image"] = cut - within
    changed["a crop of the image"] = np.mean(
        (cut.argmax(axis=0) != within.argmax(axis=0))[inner[1:]]
    )
    for name, difference in differences.items():
        largest = float(np.abs(difference[inner]).max())
        yield Figure.at_most(f"score, {name}: largest change", largest, "", 1e-5)
        yield Figure.at_most(f"labels, {name}: changed", 1e6 * float(changed[name]), "ppm", 0)
    yield from _of_monai(model, image, intensity)


def _scores(
    model: nu.TrainedModel, image: NDArray[Any], intensity: IntensityRange, tile_size: int
) -> NDArray[np.float32]:
    """Predict the class scores (logits) of a whole image in float32; (C, Y, X)."""
    runner = Runner.of(model.trained.unet, torch.device("cpu"))
    showing_scores = replace(runner, network=_ShowingScores(runner.network))  # type: ignore[arg-type]
    frame = Frame(image, "YX", 2, ())
    result = np.empty((2, *image.shape), np.float32)
    for tile in plan_tiles(image.shape, model.record.network, tile_size):
        result[(slice(None), *tile)] = showing_scores.probabilities(frame, intensity, tile)
    return result


class _ShowingScores:
    """A network whose probabilities are its scores: they show the smallest difference."""

    def __init__(self, network: Any) -> None:
        self.config, self.device = network.config, network.device
        self.probabilities = network.scores


def _of_monai(
    model: nu.TrainedModel, image: NDArray[Any], intensity: IntensityRange
) -> Iterator[Figure]:
    if importlib.util.find_spec("monai") is None:
        return
    from monai.inferers.utils import sliding_window_inference

    pixels = torch.from_numpy(intensity.normalise(image[None]))[None]

    def labels(tile: int) -> NDArray[Any]:
        with torch.inference_mode():
            scores = sliding_window_inference(
                pixels, (tile, tile), 1, model.trained.unet, overlap=0.25
            )
        assert isinstance(scores, torch.Tensor)
        return scores.argmax(dim=1)[0].numpy()

    inner = (slice(_BORDER, -_BORDER),) * 2
    share = 1e6 * float(np.mean((labels(256) != labels(512))[inner]))
    yield Figure("MONAI, tiles of 256 or 512: labels changed", share, "ppm")
