"""A step of a training, against the same one written plainly, and against the machine's limit.

The peer is what one writes first: the same network, patches and loss in eager float32 with
torch's own memory layout and optimiser. Its batch lies ready; ours are drawn meanwhile.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from figures import Figure, Options, fastest
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from napari_unet.model.devices import choose_device
from napari_unet.samples import load_nuclei_2d
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.networks import random_network
from napari_unet.training.preparation import prepare_training
from napari_unet.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_unet.training.patches import Batch

_PROGRESS = 0.5  # of the training: the learning rate of a step does not change what it costs
_STEPS_ON_GPU = 10  # per timing: they overlap


def measure(options: Options) -> Iterator[Figure]:
    """Measure steps of three networks on the CPU, or of the paper's on a GPU as well."""
    device = choose_device("auto")
    peak = {kind: matmul_rate(kind, device, options) for kind in (torch.bfloat16, torch.float32)}
    for kind, rate in peak.items():
        yield Figure(f"matmul, {str(kind).removeprefix('torch.')}", rate / 1e9, "GFLOP/s")
    base: dict[str, Any] = {"start": "random", "device": device.type}
    small: dict[str, Any] = {"patch_size": 32, "batch_size": 1} if options.quick else {}
    for name, config in (
        ("preset fast", TrainConfig(**base, **small)),
        ("base 32, depth 4", TrainConfig(**base, base_channels=32, depth=4, **small)),
    ):
        yield from _against_peer(name, config, peak, device, options)
    yield from _with_teacher(device, options, small)
    if device.type == "cuda":
        yield from _paper_on_gpu(peak[torch.bfloat16], device, options)


def _against_peer(
    name: str,
    config: TrainConfig,
    peak: dict[torch.dtype, float],
    device: torch.device,
    options: Options,
) -> Iterator[Figure]:
    trainer = trainer_of(config, device)
    batch = trainer.sampler.of_step(1)
    peer = PlainTraining(config, batch, device)
    with trainer.batches:
        seconds = fastest(
            {
                "ours": waited_for(lambda: trainer.train_step(_PROGRESS), device),
                "peer": waited_for(peer.step, device),
            },
            options.rounds,
        )
    yield Figure(f"{name}: a step as we train", seconds["ours"] * 1e3, "ms")
    yield Figure.at_least(
        f"{name}: eager float32 NCHW over ours", seconds["peer"] / seconds["ours"], "x", 2.9
    )
    rate = peer.floating_point_operations() / seconds["ours"]
    for kind in peak:
        word = str(kind).removeprefix("torch.")
        yield Figure(f"{name}: share of the {word} matmul peak", 100 * rate / peak[kind], "%")


def _with_teacher(
    device: torch.device, options: Options, small: dict[str, Any]
) -> Iterator[Figure]:
    trainers = {
        "teacher": trainer_of(TrainConfig(start="cells", device=device.type, **small), device),
        "alone": trainer_of(TrainConfig(start="random", device=device.type, **small), device),
    }
    seconds = fastest(
        {
            name: waited_for(lambda trainer=trainer: trainer.train_step(_PROGRESS), device)  # type: ignore[misc]
            for name, trainer in trainers.items()
        },
        options.rounds,
    )
    more = 100 * (seconds["teacher"] / seconds["alone"] - 1)
    yield Figure("preset fast: what the starting model as a teacher adds", more, "%")


def _paper_on_gpu(peak: float, device: torch.device, options: Options) -> Iterator[Figure]:
    for batch_size in (1, 8):
        config = TrainConfig.preset(
            "paper", precision="bfloat16", device=device.type, batch_size=batch_size
        )
        trainer = trainer_of(config, device)
        with trainer.batches:

            def steps(trainer: Trainer = trainer) -> None:
                for _ in range(_STEPS_ON_GPU):
                    trainer.train_step(_PROGRESS)

            seconds = fastest({"steps": waited_for(steps, device)}, options.rounds)["steps"]
        seconds /= _STEPS_ON_GPU
        peer = PlainTraining(config, trainer.sampler.of_step(1), device)
        share = 100 * peer.floating_point_operations() / seconds / peak
        what = f"paper network, {batch_size} tile(s) of 572: share of the bfloat16 matmul peak"
        yield Figure(f"paper network, {batch_size} tile(s) of 572: step", seconds * 1e3, "ms")
        yield Figure.at_least(what, share, "%", 45) if batch_size > 1 else Figure(what, share, "%")


class PlainTraining:
    """The same training as one writes it first, on a batch that lies ready."""

    def __init__(self, config: TrainConfig, batch: Batch, device: torch.device) -> None:
        self._network = random_network(config.network(1, 2), config.seed).to(device).train()
        self._batch = batch.to(device)
        self._optimiser = torch.optim.AdamW(self._network.parameters(), lr=config.learning_rate)

    def step(self) -> float:
        """Make an update."""
        self._optimiser.zero_grad()
        loss = self._loss()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 10.0)
        self._optimiser.step()
        return loss.item()

    def _loss(self) -> torch.Tensor:
        batch = self._batch
        entropy = functional.cross_entropy(
            self._network(batch.images), batch.classes.clamp(min=0), reduction="none"
        )
        return (entropy * batch.weights).sum() / (batch.weights > 0).sum().clamp(min=1)

    def floating_point_operations(self) -> int:
        """Count those of the convolutions, forward and backward."""
        with FlopCounterMode(display=False) as counter:
            self._loss().backward()  # type: ignore[no-untyped-call]
        total: int = counter.get_total_flops()
        return total


def trainer_of(config: TrainConfig, device: torch.device) -> Trainer:
    """Return a training on strokes over real nuclei."""
    image, strokes, _ = load_nuclei_2d()
    annotated = AnnotatedImage("nuclei", np.asarray(image), np.asarray(strokes))
    return Trainer(prepare_training([annotated], config), config, device, None)


def waited_for(action: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """Let an action end when the device has done its work."""

    def whole() -> None:
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return whole


def matmul_rate(kind: torch.dtype, device: torch.device, options: Options) -> float:
    """Measure how many floating point operations a large matrix product makes per second."""
    n = 256 if options.quick else 8192 if device.type == "cuda" else 2048
    one, other = (torch.randn(n, n, device=device).to(kind) for _ in range(2))
    best = float("inf")
    for _ in range(options.rounds + 1):
        began = time.perf_counter()
        waited_for(lambda: one @ other, device)()
        best = min(best, time.perf_counter() - began)
    return 2 * n**3 / best
