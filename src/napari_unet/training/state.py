"""What is kept of a training: its model, and the state from which it goes on exactly."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from napari_unet.errors import ModelMismatchError
from napari_unet.model.record import ModelRecord
from napari_unet.model.starting import is_starting_model, with_channels
from napari_unet.model.trained import TrainedNetwork, build_network
from napari_unet.training.networks import (
    all_finite,
    carried_over,
    copy_weights,
    placed,
    random_network,
)
from napari_unet.training.update import (
    new_average,
    new_optimiser,
    optimiser_tensors,
    restore_optimiser,
)

if TYPE_CHECKING:
    from torch import Tensor

    from napari_unet.tasks import ClassTable
    from napari_unet.training.dataset import TrainingData
    from napari_unet.training.held_back import Block
    from napari_unet.training.trainer import Trainer


@dataclass(frozen=True)
class TrainingState:
    """Everything that changes during a training.

    Chance needs no entry: each step draws from a generator seeded by the seed and its number.
    """

    step: int
    """Steps taken."""
    seconds: float
    last: dict[str, Tensor]
    """The newest weights."""
    averaged: dict[str, Tensor]
    """Their running average, with its count."""
    best: dict[str, Tensor]
    """The average at the best validation score; empty where none was made."""
    optimiser: dict[str, Tensor]
    """State of the update rule, under "parameter number.name"."""
    best_value: float
    """The best validation score; minus infinity where none was made."""
    history: tuple[dict[str, float | bool | None], ...] = field(default=())
    """The validations so far."""
    cycle_start: int = 0
    """Step after which the present cycle of the learning rate began; 0 unless a finished model was
    trained further.
    """
    extra_steps: int = 0
    """Steps by which newly painted labels have prolonged the cycle."""
    classes: ClassTable | None = None
    """What the network's outputs mean; None in files of version 0.1."""
    held_back: tuple[Block, ...] = ()
    """What the training never learned from."""
    binning: float = 1
    """Pixels of the images per pixel of the network."""
    threshold: float = 0.5
    """Probability above which a pixel is of an object, or of the second of two classes, that suited
    the best weights.
    """
    flat_levels: int = 0
    """Of the network; see `UNetConfig`."""
    border_sigma: float = 5.0
    """Width of the border weights in pixels of the network."""
    paint: str = ""
    """Hash of what was painted; empty in older files."""
    in_float32: bool = False
    """Whether it went on in float32 because losses were not finite."""
    fitted: dict[str, Tensor] = field(default_factory=dict)
    """Statistics that the starting model has on these images; empty where it has its own."""


# --- What is kept of a running training: its model with a record, and the state to go on from ----


def best_model(trainer: Trainer) -> TrainedNetwork:
    """Return the best network so far with its record, on the CPU."""
    return _with_record(trainer, trainer.best.weights or copy_weights(trainer.averaged_network))


def latest_model(trainer: Trainer) -> TrainedNetwork:
    """Return the network as it is now with its record, on the CPU."""
    return _with_record(trainer, copy_weights(trainer.averaged_network))


def _with_record(trainer: Trainer, weights: dict[str, Tensor]) -> TrainedNetwork:
    data, config = trainer.data, trainer.config
    network = build_network(trainer.network_config, weights, "the training")
    record = ModelRecord(
        network=trainer.network_config,
        classes=data.classes,
        intensity=data.classes.task.intensity,
        smallest_object=data.smallest_in_image,
        binning=data.binning,
        views=config.views,
        threshold=trainer.best.threshold,
        training=asdict(config.changed(binning=data.binning)),
        history=list(trainer.best.history),
        images=data.images,
        versions={name: version(name) for name in ("napari-unet-paint", "torch", "numpy")},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        steps=trainer.step,
        pixel_size=dict(data.pixel_size),
        used_channels=config.used_channels,
        cell_size=data.cell_size,
        membrane=data.membrane,
        starting_model=data.starting_model,
        bfloat16_agreement=trainer.bfloat16_agreement,
    )
    return TrainedNetwork(network, record)


def final_model_and_state(trainer: Trainer) -> tuple[TrainedNetwork, TrainingState]:
    """Return the network as it is now, and the state to go on from.

    Of a training whose GPU has failed, with all that lay there, they are the best network and the
    state at its validation.
    """
    try:
        return latest_model(trainer), training_state(trainer)
    except RuntimeError:
        if not trainer.best.weights:
            raise
    return best_model(trainer), _state_of_best(trainer)


def _state_of_best(trainer: Trainer) -> TrainingState:
    best = trainer.best.weights  # copied, since no two tensors of a file may be one
    averaged = {f"module.{name}": tensor.clone() for name, tensor in best.items()}
    steps = [int(entry["step"] or 0) for entry in trainer.best.history if entry.get("best")]
    return TrainingState(
        step=steps[-1] if steps else trainer.cycle_start,
        last={name: tensor.clone() for name, tensor in best.items()},
        averaged={"n_averaged": torch.tensor(1), **averaged},
        optimiser={},
        **_besides_weights(trainer),
    )


def training_state(trainer: Trainer) -> TrainingState:
    """Return everything from which a training can go on exactly."""
    return TrainingState(
        step=trainer.step,
        last=copy_weights(trainer.network),
        averaged=copy_weights(trainer.averaged),
        optimiser=optimiser_tensors(trainer.optimiser, trainer.network),
        **_besides_weights(trainer),
    )


def _besides_weights(trainer: Trainer) -> dict[str, Any]:
    return {
        "seconds": trainer.seconds,
        "best": trainer.best.weights,
        "best_value": trainer.best.value,
        "history": tuple(trainer.best.history),
        "cycle_start": trainer.cycle_start,
        "extra_steps": trainer.extra_steps,
        "classes": trainer.data.classes,
        "held_back": trainer.data.blocks,
        "binning": trainer.data.binning,
        "threshold": trainer.best.threshold,
        "flat_levels": trainer.network_config.flat_levels,
        "border_sigma": trainer.data.border_sigma,
        "paint": trainer.data.paint,
        "in_float32": trainer.in_float32,
        "fitted": trainer.teachers.fitted,
    }


def restore(trainer: Trainer, state: TrainingState) -> None:
    """Let a new trainer go on exactly where another one was."""
    classes, now = state.classes or trainer.data.classes, trainer.data.classes
    for network, weights in ((trainer.network, state.last), (trainer.averaged, state.averaged)):
        network.load_state_dict(carried_over(weights, classes, now, network.state_dict()))
    if classes == now:
        trainer.best.weights = dict(state.best)
        if trainer.data.membrane is not None or now.task.by_threshold:
            trainer.best.threshold = state.threshold
        if state.optimiser:
            restore_optimiser(trainer.optimiser, trainer.network, state.optimiser)
    if state.in_float32:
        trainer.go_on_in_float32()
    trainer.teachers.fit(state.fitted)
    same_paint = not trainer.data.classes.judged_singly or state.paint == trainer.data.paint
    if classes == now and state.held_back == trainer.data.blocks and same_paint:
        trainer.best.value = state.best_value
    trainer.step, trainer.seconds = state.step, state.seconds
    trainer.best.gained_at = trainer.step
    trainer.cycle_start, trainer.extra_steps = state.cycle_start, state.extra_steps
    trainer.best.history = list(state.history)


def train_further(trainer: Trainer, model: TrainedNetwork) -> None:
    """Begin a new cycle with the weights of a finished model."""
    weights = dict(model.unet.state_dict())
    taken = model.record.network.in_channels
    if taken != trainer.data.channels and is_starting_model(model.record):
        weights, taken = with_channels(weights, trainer.data.channels), trainer.data.channels
    if taken != trainer.data.channels:
        raise ModelMismatchError(
            f"The model takes {taken} channel(s), the images have {trainer.data.channels}. "
            "Choose as many channels, or train a new network."
        )
    fresh, now = trainer.network.state_dict(), trainer.data.classes
    trainer.network.load_state_dict(carried_over(weights, model.record.classes, now, fresh))
    trainer.averaged = new_average(trainer.network, trainer.device)
    trainer.step = trainer.cycle_start = trainer.best.gained_at = model.record.steps
    if trainer.data.cut_like(model.record.classes, model.record.membrane):
        trainer.best.threshold = model.record.threshold
    trainer.best.history = list(model.record.history)


def go_back(trainer: Trainer) -> None:
    """Put the last good weights in place: the best so far, else the average of many steps."""
    best = trainer.best.weights if trainer.group.alone else {}  # which the first rank alone has
    good = best or copy_weights(trainer.averaged_network)
    if not all_finite(good):  # nothing is better than what there is
        return
    trainer.network.load_state_dict(good)
    trainer.averaged_network.load_state_dict(good)
    trainer.averaged.n_averaged.zero_()


def change_classes(trainer: Trainer, data: TrainingData) -> None:
    """Give the network outputs for the classes of new data; what it knows of the others stays."""
    last, averaged = copy_weights(trainer.network), copy_weights(trainer.averaged)
    trainer.network_config = trainer.config.network(data.channels, data.classes.n_classes)
    network = random_network(trainer.network_config, trainer.config.seed)
    trainer.network = placed(network, trainer.device)
    trainer.averaged = new_average(trainer.network, trainer.device)
    for changed, weights in ((trainer.network, last), (trainer.averaged, averaged)):
        fresh = changed.state_dict()
        changed.load_state_dict(carried_over(weights, trainer.data.classes, data.classes, fresh))
    trainer.optimiser = new_optimiser(trainer.network, trainer.config)
    trainer.compute_anew()
    trainer.best.weights, trainer.best.value, trainer.best.is_ahead = {}, -math.inf, False
