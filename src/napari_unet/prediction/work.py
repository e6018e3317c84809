"""The two kinds of work that a prediction is made of: one tile, and one block of objects.

Both are functions of a plan and of pixels alone, so that it does not matter in which order, where
or how often they are done: in memory, from file to file, or by the workers of a cluster.

What separates objects is imported on use: it takes half a second.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet.errors import first_line
from napari_unet.model.devices import choose_precision
from napari_unet.model.execution import Runner
from napari_unet.model.external import ExternalNetwork
from napari_unet.model.memory import Shortage, within_memory
from napari_unet.prediction.events import PredictionStarted
from napari_unet.run import Notice

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import Scaling
    from napari_unet.model.external import ReadyNetwork
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.model.unet import UNet
    from napari_unet.objects.stitching import BlockObjects
    from napari_unet.prediction.events import PredictionEvent
    from napari_unet.prediction.plan import PredictionPlan
    from napari_unet.prediction.tiles import Blocks


def settled(plan: PredictionPlan, device: torch.device) -> PredictionPlan:
    """Choose the number format where a plan leaves it open, once for all its tiles."""
    chosen = choose_precision(plan.precision, device)
    return replace(plan, precision="bfloat16" if chosen == torch.bfloat16 else "float32")


def device_for(network: UNet | ExternalNetwork, device: torch.device) -> torch.device:
    """Return the device, or the CPU for what runs nowhere else."""
    on_cpu = isinstance(network, ExternalNetwork) and network.config.engine == "onnx"
    return torch.device("cpu") if on_cpu else device


def starting_events(
    plan: PredictionPlan, device: str, n_frames: int, notices: Sequence[str] = ()
) -> Iterator[PredictionEvent]:
    """Yield what is planned, then what the user should know about it."""
    shape = (*plan.frames_shape, *plan.shape)
    yield PredictionStarted(device, len(plan.tiles) * n_frames, shape, plan.kind, plan.precision)
    yield from map(Notice, (*plan.notices, *notices))


def make_runner(trained: TrainedNetwork, plan: PredictionPlan, device: torch.device) -> Runner:
    """Make a model ready for the tiles of a plan; for a folder of images, once.

    Where a GPU fails or has too little memory the CPU goes on, in float32.
    """
    cpu = torch.device("cpu")
    spare = partial(trained.ready.on, cpu, torch.float32)
    if device_for(trained.network, device) == cpu:
        on_cpu = trained.ready.on(cpu, choose_precision(plan.precision, cpu))
        return Runner(on_cpu, plan.factors, plan.views)

    def make_ready() -> ReadyNetwork:
        return trained.ready.on(device, choose_precision(plan.precision, device))

    try:
        ready = within_memory(make_ready, device)
        if not isinstance(ready, Shortage):
            return Runner(ready, plan.factors, plan.views, spare)
        problem = f"{ready}"
    except RuntimeError as error:
        problem = f"The GPU failed ({first_line(error)})"
    runner = Runner(spare(), plan.factors, plan.views)
    runner.fallback.note_once(f"{problem}: all is computed on the CPU.")
    return runner


def predict_tile(
    runner: Runner, frame: Frame, intensity: Scaling, tile: Region, plan: PredictionPlan
) -> NDArray[Any]:
    """Predict one tile; the result is of `plan.tile_dtype`.

    It is, with objects, the foreground in steps of 1/255; probabilities as C followed by the tile;
    uncertainty; or the value of each pixel's class.
    """
    return plan.result.of_tile(runner.probabilities(frame, intensity, tile), plan)


def separate_block(
    foreground: Any, plan: PredictionPlan, number: int
) -> tuple[NDArray[np.int32], BlockObjects]:
    """Separate the objects of one block.

    The foreground is that of the frame, ``[Z]YX`` uint8, as `predict_tile` gives it; only what the
    block sees is read. Returns int32 labels of the block's own box, 1..N, and what joins it to its
    neighbours.
    """
    from napari_unet.objects.separation import separate_objects
    from napari_unet.objects.stitching import own_labels

    seen, own = plan.blocks.seen(number), plan.blocks.box(number)
    labels = separate_objects(
        np.asarray(foreground[seen]),
        plan.smallest,
        plan.threshold,
        plan.factors[-1],
        plan.typical,
    )
    return own_labels(labels, seen, own)


def number_objects(
    blocks: Blocks, objects: Sequence[BlockObjects], first: int = 0
) -> tuple[list[NDArray[np.uint32]], int]:
    """Give the objects of a frame their numbers, those that cross from block to block once.

    Numbers begin above `first`. Returns a table for each block, from its own numbers to the final
    ones, and the highest number given.
    """
    from napari_unet.objects.stitching import final_numbers, same_objects

    pairs = []
    for number, block in enumerate(objects):
        for axis, strip in block.high.items():
            after = blocks.next_along(number, axis)
            if after is not None:
                same = same_objects(strip, objects[after].low[axis], axis)
                pairs.append((number, after, same))
    return final_numbers([block.count for block in objects], pairs, first)
