"""What a worker of a cluster does: each task is a function of files, which may be done again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.data.files import read_image
from napari_unet.data.intensity import measure_intensity
from napari_unet.model.devices import choose_device
from napari_unet.model.execution import Runner
from napari_unet.model.starting import load_model_or_starting_model
from napari_unet.prediction.partial import writing_to
from napari_unet.prediction.stored import read_and_predict
from napari_unet.prediction.work import separate_block

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.data.intensity import IntensityRange
    from napari_unet.data.rescaling import Factors
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.partial import PartialResult


@dataclass(frozen=True)
class Order:
    """What a worker is told: where things lie.

    Parameters
    ----------
    model : str
        Model file, or the name of a starting model.
    image : str
        Path of the image.
    partial : PartialResult
        Where the result grows.
    device : str
        Where workers compute.
    """

    model: str
    image: str
    partial: PartialResult
    device: str


def measure_frame(order: Order, frame: int) -> IntensityRange:
    """Measure the intensities of a frame."""
    trained, pixels = opened(order.model, order.image)
    return measure_intensity(order.partial.plan.frame(pixels, frame), trained.record.intensity)


def predict_one(order: Order, frame: int, intensity: IntensityRange, tile: int) -> None:
    """Predict a tile and write it."""
    _, pixels = opened(order.model, order.image)
    plan = order.partial.plan
    runner = _runner(order.model, order.image, plan.factors, plan.views, order.device)
    region = plan.tiles[tile]
    values = read_and_predict(runner, plan.frame(pixels, frame), intensity, region, plan)
    with writing_to(order.partial.folder):
        order.partial.write_tile(frame, tile, values)


def separate_one(order: Order, frame: int, block: int) -> None:
    """Tell the objects of a block apart and write them in numbers of their own."""
    plan = order.partial.plan
    labels, objects = separate_block(order.partial.foreground(frame), plan, block)
    with writing_to(order.partial.folder):
        order.partial.write_block(frame, block, labels, objects)


def write_one(order: Order, frame: int, block: int, table: NDArray[np.uint32]) -> None:
    """Write the objects of a block in their final numbers."""
    with writing_to(order.partial.folder):
        order.partial.number_block(frame, block, table)


@lru_cache(maxsize=2)
def opened(model: str, image: str) -> tuple[TrainedNetwork, ArrayLike]:
    """Load the model and open the image once per process."""
    return load_model_or_starting_model(model), read_image(Path(image)).array


@lru_cache(maxsize=2)
def _runner(model: str, image: str, factors: Factors, views: int, device: str) -> Runner:
    trained, _ = opened(model, image)
    return Runner.of(trained.network, choose_device(device), factors=factors, views=views)
