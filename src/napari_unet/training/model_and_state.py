"""What is kept of a running training: its model with a record, and the state to go on from."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from napari_unet.model.record import ModelRecord
from napari_unet.model.trained import TrainedNetwork, build_network
from napari_unet.training.networks import copy_weights
from napari_unet.training.optimisation import optimiser_tensors
from napari_unet.training.state import TrainingState

if TYPE_CHECKING:
    from torch import Tensor

    from napari_unet.training.trainer import Trainer


def best_model(trainer: Trainer) -> TrainedNetwork:
    """Return the best network so far with its record, on the CPU."""
    return _with_record(trainer, trainer.best or copy_weights(trainer.averaged_network))


def latest_model(trainer: Trainer) -> TrainedNetwork:
    """Return the network as it is now with its record, on the CPU."""
    return _with_record(trainer, copy_weights(trainer.averaged_network))


def _with_record(trainer: Trainer, weights: dict[str, Tensor]) -> TrainedNetwork:
    data, config = trainer.data, trainer.config
    network = build_network(trainer.network_config, weights, "the training")
    record = ModelRecord(
        network=trainer.network_config,
        classes=data.classes,
        intensity=data.intensity,
        smallest_object=data.smallest_in_image,
        binning=data.binning,
        views=config.views,
        threshold=trainer.threshold,
        training=asdict(config.changed(binning=data.binning)),
        history=list(trainer.history),
        images=data.images,
        versions={name: version(name) for name in ("napari-unet-paint", "torch", "numpy")},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        steps=trainer.step,
        pixel_size=dict(data.pixel_size),
        used_channels=config.used_channels,
        cell_size=data.cell_size,
        membrane=data.membrane,
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
        if not trainer.best:
            raise
    return best_model(trainer), _state_of_best(trainer)


def _state_of_best(trainer: Trainer) -> TrainingState:
    best = trainer.best  # copied, since no two tensors of a file may be one
    averaged = {f"module.{name}": tensor.clone() for name, tensor in best.items()}
    steps = [int(entry["step"] or 0) for entry in trainer.history if entry.get("best")]
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
        optimiser=optimiser_tensors(trainer.optimiser),
        **_besides_weights(trainer),
    )


def _besides_weights(trainer: Trainer) -> dict[str, Any]:
    return {
        "seconds": trainer.seconds,
        "best": trainer.best,
        "best_value": trainer.best_value,
        "history": tuple(trainer.history),
        "cycle_start": trainer.cycle_start,
        "extra_steps": trainer.extra_steps,
        "classes": trainer.data.classes,
        "held_back": trainer.data.held_back,
        "binning": trainer.data.binning,
        "threshold": trainer.threshold,
        "flat_levels": trainer.network_config.flat_levels,
        "border_sigma": trainer.data.border_sigma,
        "paint": trainer.data.paint,
        "in_float32": trainer.in_float32,
        "fitted": trainer.fitted,
    }
