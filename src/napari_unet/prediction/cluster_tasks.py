"""What a worker of a cluster does: each task is a function of files, which may be done again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.errors import ModelMismatchError
from napari_unet.io.files import read_image
from napari_unet.model.devices import choose_device
from napari_unet.model.starting import load_model_or_starting_model
from napari_unet.model.tensor_file import hash_of_weights
from napari_unet.prediction.partial import trying_again
from napari_unet.prediction.work import make_runner, predict_tile, separate_block

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.data.intensity import Scaling
    from napari_unet.model.execution import Runner
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.partial import PartialResult

# Of the threads of a worker one opens an order and makes its network ready; the others wait.
_opening = threading.Lock()


@dataclass(frozen=True)
class Order:
    """What a worker is told: where things lie."""

    model: str
    """Model file, or the name of a starting model."""
    image: str
    partial: PartialResult
    """Where the result grows."""
    device: str
    identity: str
    """Changes with model and image: workers that have opened an earlier order open them again."""
    model_hash: str
    """Of the weights that the client has."""


def measure_frame(order: Order, frame: int) -> Scaling:
    """Measure the intensities of a frame."""
    opened = _opened_for(order)
    of_frame = order.partial.plan.frame(opened.pixels, frame)
    return trying_again(lambda: opened.trained.record.normalization.measure(of_frame))


def predict_one(order: Order, frame: int, intensity: Scaling, tile: int) -> None:
    """Predict a tile and write it."""
    opened = _opened_for(order)
    plan, runner = order.partial.plan, _runner_for(order, opened)
    of_frame, region = plan.frame(opened.pixels, frame), plan.tiles[tile]
    values = trying_again(lambda: predict_tile(runner, of_frame, intensity, region, plan))
    order.partial.write_tile(frame, tile, values)


def separate_one(order: Order, frame: int, block: int) -> None:
    """Separate the objects of a block and write them in numbers of their own."""
    plan = order.partial.plan
    labels, objects = separate_block(order.partial.foreground(frame), plan, block)
    order.partial.write_block(frame, block, labels, objects)


def write_one(order: Order, frame: int, block: int, table: NDArray[np.uint32]) -> None:
    """Write the objects of a block in their final numbers."""
    order.partial.number_block(frame, block, table)


@dataclass
class _Opened:
    """What a worker keeps of an order, so that each tile need not make it anew."""

    trained: TrainedNetwork
    pixels: ArrayLike
    model_hash: str
    runner: Runner | None = None
    """The model made ready, from the first tile on."""


def _runner_for(order: Order, opened: _Opened) -> Runner:
    """Return the model made ready: its network is shared, what did not fit is of a tile."""
    with _opening:
        if opened.runner is None:
            device = choose_device(order.device)
            opened.runner = make_runner(opened.trained, order.partial.plan, device)
        return replace(opened.runner)


def _opened_for(order: Order) -> _Opened:
    """Return model and image, and make sure that it is the model that the client has.

    Raises ModelMismatchError if the file was changed meanwhile, or is another one here.
    """
    with _opening:
        opened = _opened(order.model, order.image, order.identity, order.device)
    if opened.model_hash != order.model_hash:
        raise ModelMismatchError(
            f"The model {order.model} is another one for a worker than where the prediction was "
            "started. Put it where all can read it, and predict again."
        )
    return opened


@lru_cache(maxsize=2)
def _opened(model: str, image: str, identity: str, device: str) -> _Opened:
    """Load the model and open the image once per process, order and device."""
    trained = load_model_or_starting_model(model)
    weights = hash_of_weights(trained.network.state_dict())
    return _Opened(trained, read_image(Path(image)).array, weights)
