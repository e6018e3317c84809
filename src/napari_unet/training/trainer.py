"""What changes during a training: weights, their average, the optimiser, the best so far."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from napari_unet.errors import ModelMismatchError
from napari_unet.model.devices import choose_precision
from napari_unet.model.execution import Runner
from napari_unet.model.trained import ModelRecord, TrainedNetwork, build_network
from napari_unet.model.unet import UNet
from napari_unet.training.checkpoint import TrainingState
from napari_unet.training.events import Notice, Validated
from napari_unet.training.losses import weighted_cross_entropy
from napari_unet.training.patches import PatchSampler
from napari_unet.training.validation import ValidationScore, validate

if TYPE_CHECKING:
    from torch import Tensor

    from napari_unet.model.config import UNetConfig
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import TrainingData

_WARM_UP = 0.05  # share of the training in which the learning rate rises
_FINAL_RATE = 0.01  # share of the peak learning rate at the end
_AVERAGING_DECAY = 0.99
_LARGEST_GRADIENT = 10.0
_PATIENCE_WITH_NAN = 3
# Scores on little held-back paint scatter by this much: among equals, the longer trained wins.
_NOISE_OF_SCORES = 0.02


class Trainer:
    """Network, optimiser and best weights of one training.

    Parameters
    ----------
    data : TrainingData
        What to learn from.
    config : TrainConfig
        How.
    device : torch.device
        Where.
    resume : TrainingState or None
        Where to go on.

    Raises
    ------
    ModelMismatchError
        The state to resume is of another network.
    """

    def __init__(
        self,
        data: TrainingData,
        config: TrainConfig,
        device: torch.device,
        resume: TrainingState | None,
    ) -> None:
        self.data, self.config, self.device = data, config, device
        self.sampler = PatchSampler(data, config)
        self.network_config = config.network(data.channels, data.classes.n_classes)
        self.network = _new_network(self.network_config, config.seed)
        self.step, self.seconds = 0, 0.0
        self.best: dict[str, Tensor] = {}
        self.best_value = -math.inf
        self.history: list[dict[str, float | bool | None]] = []
        self._failures = 0
        self._precision = choose_precision(config.precision, device)
        if config.ndim == 2:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.to(device)
        self.averaged = AveragedModel(self.network, avg_fn=_average, use_buffers=True)
        self.optimiser = _new_optimiser(self.network, config)
        if resume is not None:
            self._restore(resume)

    @property
    def averaged_network(self) -> UNet:
        """The network with its running average of weights: what is validated and kept."""
        network = self.averaged.module
        assert isinstance(network, UNet)
        return network

    def train_step(self, progress: float) -> float:
        """Make one update at the given share of the training.

        Returns
        -------
        float
            Its loss; NaN where loss or gradient were not finite, and nothing was changed.
        """
        config = self.config
        self.step += 1
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * rate_schedule(progress)
        batch = self.sampler.draw([config.seed, 3, self.step])
        images = batch.images.to(self.device)  # (B, C, *)
        if config.ndim == 2:
            images = images.contiguous(memory_format=torch.channels_last)
        self.network.train()
        buffers = [buffer.clone() for buffer in self.network.buffers()]
        reduced = self._precision != torch.float32
        with torch.random.fork_rng(devices=_cuda_devices(self.device)):  # for dropout alone
            _seed(self.device, config.seed * 1_000_003 + self.step)
            with torch.autocast(self.device.type, self._precision, enabled=reduced):
                logits = self.network(images)  # (B, classes, *)
        loss = weighted_cross_entropy(
            logits, batch.classes.to(self.device), batch.weights.to(self.device)
        )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT)
        if not torch.isfinite(loss + norm):
            for buffer, before in zip(self.network.buffers(), buffers, strict=True):
                buffer.copy_(before)  # BatchNorm has already met the bad patch
            return math.nan
        self.optimiser.step()
        self.averaged.update_parameters(self.network)
        self._failures = 0
        return float(loss.detach())

    def recover(self) -> Notice:
        """Tell of a step that changed nothing; after a few, go on more carefully."""
        self._failures += 1
        if self._failures < _PATIENCE_WITH_NAN:
            return Notice(f"Step {self.step} was skipped: its loss is not a finite number.")
        self.optimiser = _new_optimiser(self.network, self.config)
        self._precision = torch.float32
        self._failures = 0
        return Notice(
            f"The loss was not finite {_PATIENCE_WITH_NAN} times: training goes on in float32 "
            "with a fresh optimiser. If this repeats, lower the learning rate."
        )

    def validate(self) -> Validated:
        """Score the held-back blocks, and keep the weights if they are the best so far."""
        network = self.averaged_network
        score: ValidationScore = validate(Runner.of(network, self.device), self.data)
        best = score.value >= self.best_value - _NOISE_OF_SCORES
        if best:
            self.best = _copy_weights(network)
            self.best_value = max(score.value, self.best_value)
        self.history.append({"step": self.step, "best": best, **asdict(score)})
        return Validated(self.step, score.loss, score.iou, score.object_f1, best)

    def trained(self) -> TrainedNetwork:
        """Return the best network so far with its record, on the CPU."""
        record = ModelRecord(
            network=self.network_config,
            classes=self.data.classes,
            intensity=self.data.intensity,
            smallest_object=self.data.smallest_object,
            training=asdict(self.config),
            history=list(self.history),
            images=self.data.images,
            versions={name: version(name) for name in ("napari-unet-paint", "torch", "numpy")},
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            steps=self.step,
        )
        weights = self.best or _copy_weights(self.averaged_network)
        return TrainedNetwork(build_network(record.network, weights, "the training"), record)

    def state(self) -> TrainingState:
        """Return everything from which the training can go on exactly."""
        return TrainingState(
            step=self.step,
            seconds=self.seconds,
            last=_copy_weights(self.network),
            averaged=_copy_weights(self.averaged),
            best=self.best,
            optimiser=_optimiser_tensors(self.optimiser),
            best_value=self.best_value,
            history=tuple(self.history),
        )

    def _restore(self, state: TrainingState) -> None:
        try:
            self.network.load_state_dict(state.last)
        except RuntimeError as error:
            raise ModelMismatchError(
                "The training to resume used another network or other classes. Train anew, or "
                "use its settings."
            ) from error
        self.averaged.load_state_dict(state.averaged)
        _restore_optimiser(self.optimiser, state.optimiser)
        self.step, self.seconds = state.step, state.seconds
        self.best, self.best_value = dict(state.best), state.best_value
        self.history = list(state.history)


def rate_schedule(progress: float) -> float:
    """Return the learning rate, relative to its peak: a short linear rise, then half a cosine."""
    if progress < _WARM_UP:
        return max(progress, 0.002) / _WARM_UP
    fall = (progress - _WARM_UP) / (1 - _WARM_UP)
    return _FINAL_RATE + (1 - _FINAL_RATE) * (1 + math.cos(math.pi * min(fall, 1.0))) / 2


def _new_network(config: UNetConfig, seed: int) -> UNet:
    with torch.random.fork_rng(devices=[]):
        _seed(torch.device("cpu"), seed)
        return UNet(config)


def _seed(device: torch.device, seed: int) -> None:
    """Seed the generators of the CPU and of `device`, and of nothing else."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _average(averaged: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
    """Average the weights of about the last 100 steps, of fewer in the beginning.

    Single steps on few labels scatter; their average is better than any of them, and a training
    that is stopped early loses little.
    """
    if not averaged.is_floating_point():  # BatchNorm's count of batches
        return current
    decay = min(_AVERAGING_DECAY, (1 + int(updates)) / (10 + int(updates)))
    return averaged + (1 - decay) * (current - averaged)


def _new_optimiser(network: UNet, config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimiser == "sgd":
        return torch.optim.SGD(
            network.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
    return torch.optim.AdamW(
        network.parameters(),
        lr=config.learning_rate,
        betas=(config.momentum, 0.999),
        weight_decay=config.weight_decay,
    )


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def _copy_weights(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {}
    for number, entries in optimiser.state_dict()["state"].items():
        for name, value in entries.items():
            if value is not None:  # SGD has no buffer before its first step
                tensors[f"{number}.{name}"] = torch.as_tensor(value).detach().to("cpu", copy=True)
    return tensors


def _restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    content = optimiser.state_dict()
    entries: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        entries.setdefault(int(number), {})[name] = tensor.clone()
    content["state"] = entries
    optimiser.load_state_dict(content)
