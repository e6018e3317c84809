"""What changes during a training: weights, their average, the optimiser, the best so far."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from napari_unet.data.labels import DEFAULT_THRESHOLD
from napari_unet.data.rescaling import plane_factors
from napari_unet.model.devices import choose_precision
from napari_unet.model.memory import Shortage, within_memory
from napari_unet.model.trained import build_network
from napari_unet.model.unet import UNet
from napari_unet.run import Notice
from napari_unet.training.distillation import Teachers, is_dense, suited_statistics
from napari_unet.training.distributed import ALONE, ProcessGroup, parallel_network
from napari_unet.training.networks import (
    begin_with,
    chance_of,
    copy_weights,
    placed,
    random_network,
    set_statistics,
    statistics_of,
)
from napari_unet.training.patches import BatchPrefetcher, PatchSampler
from napari_unet.training.pixel_classifier import (
    CLASSIFIER_IOU,
    said_together,
    share_of_network,
    trust_after,
)
from napari_unet.training.state import (
    TrainingState,
    change_classes,
    go_back,
    restore,
    train_further,
)
from napari_unet.training.update import (
    Buffers,
    LossReader,
    MicroBatcher,
    add_gradients,
    average_where,
    is_finite,
    new_average,
    new_optimiser,
    rate_schedule,
    step_where,
)
from napari_unet.training.validation import BestSoFar, bfloat16_agreement, mean_iou, was_painted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_unet.data.frames import Beside
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import TrainingData
    from napari_unet.training.events import TrainingEvent
    from napari_unet.training.patches import Batch
    from napari_unet.training.pixel_classifier import PixelClassifier
    from napari_unet.training.validation import PaintedCell

_EFFORT_OF_TRIAL = 0.25  # of a score: the first step waits for all three
_CONTINUED_RATE = 0.5  # peak of the learning rate of what is trained further
_TAUGHT_RATE = 2.0  # the same where a pixel classifier teaches
_STARTING_CLASSES = 2  # what starting models tell apart; other outputs begin with random weights
_LARGEST_GRADIENT = 10.0
_PATIENCE_WITH_NAN = 3
_PAUSE_SECONDS = 0.5  # until memory that another program took may be free again


class Trainer:
    """Network, optimiser and best weights of one training.

    `previous` is an interrupted training to go on with exactly, or a model to train further. Raises
    ModelMismatchError if it is of another network.
    """

    sampler: PatchSampler

    def __init__(
        self,
        data: TrainingData,
        config: TrainConfig,
        device: torch.device,
        previous: TrainingState | TrainedNetwork | None,
        group: ProcessGroup = ALONE,
    ) -> None:
        config = data.settled(config)
        self.config, self.device, self.group = config, device, group
        self._batcher, self._notices = MicroBatcher(config), list[str]()
        self.network_config = config.network(data.channels, data.classes.n_classes)
        self.network = placed(random_network(self.network_config, config.seed), device)
        known = config.start != "random" and begin_with(self.network, config.start)
        self.data = replace(data, starting_model=config.start if known else "")
        self.step, self.seconds = 0, 0.0
        self.cycle_start, self.extra_steps = 0, 0
        self.best = BestSoFar()
        self.bfloat16_agreement: float | None = None  # not measured
        self.in_float32: bool = False  # because losses were not finite
        self.learned: bool = False  # whether any step was taken here
        self._failures = 0
        self.teachers = Teachers(config, self.network_config, device, group, self._notices.append)
        self.batches = BatchPrefetcher()
        self._losses, self._told_step = LossReader(device), 0
        self._precision = choose_precision(config.precision, device)
        self.averaged = new_average(self.network, device)
        self.optimiser = new_optimiser(self.network, config)
        if isinstance(previous, TrainingState):
            restore(self, previous)
        elif previous is not None:
            train_further(self, previous)
        self.compute_anew()
        if not self.data.starting_model and not self.step and config.start != "random":
            self._notices.append(
                f"The training begins with random weights: the starting model {config.start!r} has "
                f"no {config.ndim}D network of this width and depth."
            )
        self._learn_from(self.data)

    @property
    def worth_keeping(self) -> bool:
        """Whether an error must not cost what was learned: a best network, or no scores."""
        scored = bool(self.best.weights) and self.best.value > -math.inf
        return scored or (self.learned and not self.data.blocks)

    @property
    def planned_steps(self) -> int:
        """Steps of the present cycle."""
        return self.config.steps + self.extra_steps

    @property
    def step_in_cycle(self) -> int:
        """Steps taken in the present cycle."""
        return self.step - self.cycle_start

    @property
    def knows_something(self) -> bool:
        """Whether the weights of the first step are a model already."""
        return bool(self.data.starting_model) or self.cycle_start > 0

    def compute_anew(self) -> None:
        """Make what computes the network; another network, or number format, asks for it."""
        self.parallel = parallel_network(self.network, self.group, self._precision)

    def take_notices(self) -> list[Notice]:
        """Return what has happened since the last call that the user should know."""
        told = [Notice(text) for text in self._notices]
        self._notices.clear()
        return told

    @property
    def _peak_rate(self) -> float:
        """What knows something already is trained more gently than random weights.

        But not a starting model whose outputs are new; and what is taught every pixel bears more.
        """
        if self.cycle_start > 0:
            share = _CONTINUED_RATE
        elif self.teachers.classifier is not None:
            share = _TAUGHT_RATE
        else:
            new_outputs = self.network_config.out_channels != _STARTING_CLASSES
            new_outputs = new_outputs or self.network_config.output != "softmax"
            share = _CONTINUED_RATE if self.data.starting_model and not new_outputs else 1.0
        return self.config.learning_rate * share

    @property
    def averaged_network(self) -> UNet:
        """The network with its running average of weights: what is validated and kept."""
        network = self.averaged.module
        assert isinstance(network, UNet)
        return network

    def train_step(self, progress: float) -> float:
        """Make one update at the given share of the training.

        Returns its loss on what is painted; NaN where loss or gradient were not finite, and nothing
        was changed. On a GPU it is the loss of the step before, so that nothing waits for the
        present one.
        """
        self.step += 1
        for group in self.optimiser.param_groups:
            group["lr"] = self._peak_rate * rate_schedule(progress)
        self.network.train()
        buffers = Buffers(self.network)
        losses = self._fill_gradients(buffers)
        (weights,) = self.optimiser.param_groups[0]["params"]  # all as one
        norm = torch.linalg.vector_norm(weights.grad)
        losses = self.group.mean(losses)
        finite = is_finite(sum(buffers.sums(), losses.sum() + norm))  # on all ranks alike
        buffers.restore_unless(finite)  # BatchNorm has already met the bad patch
        step_where(finite, self.optimiser, (norm / _LARGEST_GRADIENT).clamp(min=1))
        average_where(finite, self.averaged, self.network)
        loss = torch.where(finite, losses[0], math.nan)
        self._told_step, told = self._losses.read(self.step, loss)
        if math.isfinite(told):
            self._failures = 0
        self.learned = True
        return told

    def _fill_gradients(self, buffers: Buffers) -> Tensor:
        """Compute the gradients of a step, of less at once where memory is short.

        Returns (2,), the losses of this rank's patches, on the device.
        """
        if not self.group.alone:  # the others would wait for this one
            return self._gradients_on(self._draw())
        told = ""
        while isinstance(loss := self._try_gradients(), Shortage):
            self.batches.forget()
            self.optimiser.zero_grad(set_to_none=False)
            buffers.restore()
            told = self._batcher.take_less(loss, self.sampler.edge)
            self.sampler = self._new_sampler()
        if told:  # once, however often it was tried
            self._notices.append(told)
        return loss

    def _try_gradients(self) -> Tensor | Shortage:
        """Draw the batch and compute its gradients, as far as memory allows."""
        batch = within_memory(self._draw, self.device)
        if isinstance(batch, Shortage):  # passing perhaps, and not of what a step takes
            self.batches.forget()
            time.sleep(_PAUSE_SECONDS)
            batch = within_memory(self._draw, self.device)
        if isinstance(batch, Shortage):
            return batch
        return within_memory(partial(self._gradients_on, batch), self.device)

    def _draw(self) -> Batch:
        return self.batches.take(self.step, self.sampler.of_step).to(self.device)

    def _gradients_on(self, batch: Batch) -> Tensor:
        self.optimiser.zero_grad(set_to_none=False)
        of_ranks = None if self.group.alone else self.group.relative(batch.counted)

        def shares_of(part: Batch) -> Tensor | None:
            if part is batch:
                return of_ranks
            share = part.counted / batch.counted.clamp(min=1)
            return share if of_ranks is None else of_ranks * share

        # chance of dropout: another one at each step, and on each rank
        seed = self.config.seed * 1_000_003 + self.step + (self.group.rank << 40)
        with chance_of(seed, self.device):
            return add_gradients(
                self.parallel,
                self._batcher.split(batch),
                shares_of,
                self.data.loss(self.config),
                self.teachers.starting_model,
                self._precision,
                self._trust_in_classifier,
                self.teachers.offsets,
            )

    def adopt(self, data: TrainingData) -> None:
        """Go on with what is painted now: new strokes, perhaps new classes.

        The training lasts at least half its planned steps from here on.
        """
        if data.classes != self.data.classes:
            change_classes(self, data)
        new_paint = self.data.classes.judged_singly and data.paint != self.data.paint
        if new_paint or not data.asks_the_same_as(self.data):
            self.best.value = -math.inf  # scores on other pixels do not compare
        if not data.cut_like(self.data.classes, self.data.membrane):
            self.best.threshold, self.best.value = DEFAULT_THRESHOLD, -math.inf
        self._learn_from(data)
        wanted = self.step_in_cycle + self.config.steps // 2
        self.extra_steps += max(0, wanted - self.planned_steps)

    def recover(self) -> Notice:
        """Report a step that changed nothing; after a few, go on more carefully."""
        self._failures += 1
        if self._failures < _PATIENCE_WITH_NAN:
            return Notice(f"Step {self._told_step} was skipped: its loss is not a finite number.")
        go_back(self)
        self.optimiser = new_optimiser(self.network, self.config)
        self.go_on_in_float32()
        self._failures = 0
        return Notice(
            f"The loss was not finite {_PATIENCE_WITH_NAN} times, last at step {self._told_step}: "
            "training goes on from the last good weights, in float32 with a fresh optimiser. If "
            "this repeats, lower the learning rate."
        )

    def go_on_in_float32(self) -> None:
        """Compute with all digits from now on."""
        self.in_float32, self._precision = True, torch.float32
        self.compute_anew()
        self.teachers.go_on_in_float32()

    def assess(self) -> list[TrainingEvent]:
        """Score what is held back and what is painted, and keep the weights if they are the best.

        Empty where there is neither a held-back block nor a painted cell.
        """
        events = self.best.assess(self.averaged_network, self.data, self.device, self.step)
        history, classifier = self.best.history, self.teachers.classifier
        if classifier is not None and history and history[-1]["step"] == self.step:
            history[-1][CLASSIFIER_IOU] = classifier.iou
        return events

    def keep_start(self) -> None:
        """Keep what the training begins with; it is scored when the first step is made."""
        self.best.weights, self.best.is_start = copy_weights(self.averaged_network), True

    def score_best_anew(self, step: int) -> list[TrainingEvent]:
        """Score the best weights, of a step, on what is painted now, if that was not done.

        So they stay what later weights must come up to.
        """
        best = self.best
        if not best.weights or best.value > -math.inf:
            return []
        known = best.weights, best.is_start, best.is_ahead
        events = best.assess(self.best_network(), self.data, self.device, step)
        best.weights, best.is_start, best.is_ahead = known  # the same weights, not copies
        return events

    def best_network(self) -> UNet:
        """Build the network of the best weights."""
        network = build_network(self.network_config, self.best.weights, "the training")
        return placed(network, self.device)

    @property
    def _fits_statistics(self) -> bool:
        """Whether paint is too little to tell a starting model what these images are like."""
        judges = self.data.classes.judged_singly and self.group.alone
        return bool(self.data.starting_model) and judges and not is_dense(self.data)

    def fit_statistics(self) -> None:
        """Let a starting model normalise by these images, as far as that suits what is painted.

        On images unlike its own that is worth more than the first steps; on others it harms. The
        paint tells, of which nothing has been learned yet.
        """
        own = statistics_of(self.network)
        if not own or not self._fits_statistics:
            return
        fitted = suited_statistics(self.network, self.data, self.device, self._value_with)
        for network in (self.network, self.averaged_network):
            set_statistics(network, fitted or own)
        if fitted:
            self.teachers.fit(fitted)
            self.teachers.try_on(self.sampler, self._precision)

    def _value_with(self, statistics: Mapping[str, Tensor]) -> float:
        set_statistics(self.averaged_network, statistics)
        cells = self.best.judge(self.averaged_network, self.data, self.device, _EFFORT_OF_TRIAL)
        return mean_iou(cells) if cells else 0.0

    def judge_new_cells(self, data: TrainingData) -> tuple[PaintedCell, ...]:
        """Predict the cells that other data have more than these, before they are learned."""
        cells = self.best.judge(self.averaged_network, data, self.device)
        return tuple(cell for cell in cells if not was_painted(cell, self.data))

    @property
    def settled(self) -> bool:
        """Whether the scores have brought no gain for as long as the user's patience lasts."""
        patience = self.config.patience * self.config.validate_every
        return self.best.value > 0 and 0 < patience <= self.step - self.best.gained_at

    def measure_agreement(self) -> None:
        """Find out whether the best network may predict in bfloat16; at the end, since it costs."""
        weights = self.best.weights or copy_weights(self.averaged_network)
        network = build_network(self.network_config, weights, "the training")
        self.bfloat16_agreement = bfloat16_agreement(
            network, self.data, self.best.threshold, self.device
        )

    def _learn_from(self, data: TrainingData) -> None:
        self.data = data
        self.teachers.learn(data)
        self.sampler = self._new_sampler()
        self.teachers.try_on(self.sampler, self._precision)

    def _new_sampler(self) -> PatchSampler:
        """Draw this rank's part of the batches of all ranks."""
        first = self.group.rank * self.config.batch_size
        deforms = self.device.type == "cuda"  # Apple's GPUs do not sample volumes
        device = self.device if deforms else torch.device("cpu")
        return PatchSampler(self.data, self._batcher.config, first, device, self.teachers.guess)

    @property
    def classifier(self) -> PixelClassifier | None:
        """The pixel classifier, as long as it counts beside the network in what is shown."""
        found = self.teachers.classifier
        if found is None or self.share_of_network >= 1:
            return None
        return replace(found, factors=plane_factors(self.config.ndim, self.data.binning))

    @property
    def beside(self) -> Beside | None:
        """What counts beside the network in what is shown, if anything does."""
        classifier = self.classifier
        if classifier is None:
            return None
        return partial(said_together, classifier, self.share_of_network)

    @property
    def share_of_network(self) -> float:
        """How much the network counts beside the pixel classifier in what is shown, 0 to 1."""
        if self.teachers.classifier is None or self.cycle_start > 0:
            return 1.0
        return share_of_network(self.step, self.best.history)

    @property
    def _trust_in_classifier(self) -> float:
        if self.teachers.classifier is None or self.cycle_start > 0:
            return 0.0
        return trust_after(self.step, self.best.history)
