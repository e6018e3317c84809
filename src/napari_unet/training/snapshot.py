"""What is kept of a running training: its model with a record, and the state to go on from."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from napari_unet.model.trained import ModelRecord, TrainedNetwork, build_network
from napari_unet.training.networks import copy_weights
from napari_unet.training.optimisation import optimiser_tensors
from napari_unet.training.state import TrainingState

if TYPE_CHECKING:
    from torch import Tensor

    from napari_unet.training.trainer import Trainer


def best_of(trainer: Trainer) -> TrainedNetwork:
    """Return the best network so far with its record, on the CPU."""
    return _with_record(trainer, trainer.best or copy_weights(trainer.averaged_network))


def latest_of(trainer: Trainer) -> TrainedNetwork:
    """Return the network as it is now with its record, on the CPU."""
    return _with_record(trainer, copy_weights(trainer.averaged_network))


def _with_record(trainer: Trainer, weights: dict[str, Tensor]) -> TrainedNetwork:
    data, config = trainer.data, trainer.config
    network = build_network(trainer.network_config, weights, "the training")
    record = ModelRecord(
        network=trainer.network_config,
        classes=data.classes,
        intensity=data.intensity,
        smallest_object=data.smallest_object * data.binning**2,
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
        bfloat16_agreement=trainer.bfloat16_agreement,
    )
    return TrainedNetwork(network, record)


def state_of(trainer: Trainer) -> TrainingState:
    """Return everything from which a training can go on exactly."""
    return TrainingState(
        step=trainer.step,
        seconds=trainer.seconds,
        last=copy_weights(trainer.network),
        averaged=copy_weights(trainer.averaged),
        best=trainer.best,
        optimiser=optimiser_tensors(trainer.optimiser),
        best_value=trainer.best_value,
        history=tuple(trainer.history),
        cycle_start=trainer.cycle_start,
        extra_steps=trainer.extra_steps,
        classes=trainer.data.classes,
        held_back=trainer.data.held_back,
        binning=trainer.data.binning,
        threshold=trainer.threshold,
        flat_levels=trainer.network_config.flat_levels,
    )
