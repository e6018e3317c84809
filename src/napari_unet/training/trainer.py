"""What changes during a training: weights, their average, the optimiser, the best so far."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.data.labels import DEFAULT_THRESHOLD
from napari_unet.errors import UnreadableError, first_line
from napari_unet.model.devices import choose_precision
from napari_unet.model.memory import Shortage, within_memory
from napari_unet.model.trained import build_network
from napari_unet.model.unet import UNet
from napari_unet.run import Notice
from napari_unet.training.distillation import StartingModel, Teacher, is_dense, weight_beside
from napari_unet.training.distributed import ALONE, ProcessGroup, parallel_network
from napari_unet.training.networks import (
    all_finite,
    begin_with,
    carried_over,
    chance_of,
    copy_weights,
    mixed_statistics,
    random_network,
    recomputed_statistics,
    set_statistics,
    statistics_of,
)
from napari_unet.training.patches import BatchPrefetcher, PatchSampler, unknown
from napari_unet.training.pixel_classifier import (
    CLASSIFIER_IOU,
    PixelClassifier,
    offsets_of_paint,
    share_of_network,
    trust_after,
)
from napari_unet.training.state import TrainingState, restore, train_further
from napari_unet.training.update import (
    Buffers,
    LossReader,
    MicroBatcher,
    add_gradients,
    average_where,
    new_average,
    new_optimiser,
    rate_schedule,
    step_where,
)
from napari_unet.training.validation import (
    NOISE_OF_SCORES,
    BestSoFar,
    PaintedCell,
    bfloat16_agreement,
    mean_iou,
    was_painted,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.tasks import ClassTable
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import TrainingData
    from napari_unet.training.events import TrainingEvent
    from napari_unet.training.patches import Batch

# How much the statistics of the images count beside those of the starting model; compared on paint.
_SHARES_OF_STATISTICS = (0.0, 0.5, 1.0)
_EFFORT_OF_TRIAL = 0.25  # of a score: the first step waits for all three
_TRIALS_OF_TEACHER = 4  # batches that a starting model is tried on
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

    def __init__(
        self,
        data: TrainingData,
        config: TrainConfig,
        device: torch.device,
        previous: TrainingState | TrainedNetwork | None,
        group: ProcessGroup = ALONE,
    ) -> None:
        config = data.settled(config)
        self.data, self.config, self.device, self.group = data, config, device, group
        self._batcher, self._notices = MicroBatcher(config), list[str]()
        self._classifier = self._find_classifier()
        self.sampler = self._new_sampler()
        self._offsets = self._find_offsets()
        self.network_config = config.network(data.channels, data.classes.n_classes)
        self.network = self._placed(random_network(self.network_config, config.seed))
        known = config.start != "random" and begin_with(self.network, config.start)
        self.data = replace(data, starting_model=config.start if known else "")
        self.step, self.seconds = 0, 0.0
        self.cycle_start, self.extra_steps = 0, 0
        self.best = BestSoFar()
        self.bfloat16_agreement: float | None = None  # not measured
        self.in_float32 = False  # because losses were not finite
        self.learned = False  # whether any step was taken here
        self._failures = 0
        self.fitted: dict[str, Tensor] = {}  # statistics of the starting model on these images
        self.batches = BatchPrefetcher()
        self._losses, self._told_step = LossReader(device), 0
        self._precision = choose_precision(config.precision, device)
        self.averaged = new_average(self.network, device)
        self.optimiser = new_optimiser(self.network, config)
        self._teacher: Teacher | None = None
        if isinstance(previous, TrainingState):
            restore(self, previous)
        elif previous is not None:
            train_further(self, previous)
        self._starting = self._new_starting()
        self._teacher = self._find_teacher()
        self._parallel = parallel_network(self.network, group)

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

    @property
    def notices(self) -> tuple[str, ...]:
        """What is unusual about the weights that a new training begins with."""
        if self.data.starting_model or self.step or self.config.start == "random":
            return ()
        return (
            f"The training begins with random weights: the starting model {self.config.start!r} "
            "is a 2D network as of the presets fast and accurate, these settings make another one.",
        )

    def take_notices(self) -> list[Notice]:
        """Return what has happened since the last call that the user should know."""
        told, self._notices = self._notices, []
        return [Notice(text) for text in told]

    @property
    def _peak_rate(self) -> float:
        """What knows something already is trained more gently than random weights.

        But not a starting model whose outputs are new; and what is taught every pixel bears more.
        """
        if self.cycle_start > 0:
            share = _CONTINUED_RATE
        elif self._classifier is not None:
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
        norm = torch.nn.utils.clip_grad_norm_(weights, _LARGEST_GRADIENT)
        losses = self.group.mean(losses)
        finite = torch.isfinite(losses.sum() + norm) & buffers.finite()  # on all ranks alike
        buffers.restore_unless(finite)  # BatchNorm has already met the bad patch
        step_where(finite, self.optimiser)
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
        whole = batch.counted
        of_ranks = self.group.relative(whole)

        def shares_of(part: Batch) -> Tensor:
            return of_ranks * (part.counted / whole.clamp(min=1))  # 1 of a whole batch

        with chance_of(self._seed_of_dropout, self.device):
            return add_gradients(
                self._parallel,
                self._batcher.split(batch),
                shares_of,
                partial(
                    self.data.classes.task.loss,
                    error=self.config.image_error,
                    balance=self.data.balance,
                ),
                self._teacher,
                self._precision,
                self._trust_in_classifier,
                self._offsets,
            )

    def adopt(self, data: TrainingData) -> None:
        """Go on with what is painted now: new strokes, perhaps new classes.

        The training lasts at least half its planned steps from here on.
        """
        if data.classes != self.data.classes:
            self._change_classes(data.classes, data.channels)
        new_paint = self.data.classes.judged_singly and data.paint != self.data.paint
        if new_paint or not data.asks_the_same_as(self.data):
            self.best.value = -math.inf  # scores on other pixels do not compare
        if not data.cut_like(self.data.classes, self.data.membrane):
            self.best.threshold, self.best.value = DEFAULT_THRESHOLD, -math.inf
        self.data = self._as_begun(data)
        self._classifier = self._find_classifier()
        self.sampler = self._new_sampler()
        self._offsets = self._find_offsets()
        self._teacher = self._find_teacher()
        wanted = self.step_in_cycle + self.config.steps // 2
        self.extra_steps += max(0, wanted - self.planned_steps)

    def _find_teacher(self) -> Teacher | None:
        """Let the starting model teach what is not painted, if it is any good on these images."""
        taught = self.data.starting_model and self.data.classes.task.starting_model_teaches
        if not taught or is_dense(self.data):
            return None
        seed = self.config.seed
        batches = (self.sampler.draw([seed, 4, trial]) for trial in range(_TRIALS_OF_TEACHER))
        teacher = partial(self._starting.teacher, batches, weight_beside(self.data))
        if not self.group.alone:
            return teacher(self._precision, self.group)
        found = within_memory(partial(teacher, self._precision), self.device)
        if isinstance(found, Shortage):
            self._notices.append(f"{found}: the starting model does not teach what is unpainted.")
            return None
        return found

    def recover(self) -> Notice:
        """Report a step that changed nothing; after a few, go on more carefully."""
        self._failures += 1
        if self._failures < _PATIENCE_WITH_NAN:
            return Notice(f"Step {self._told_step} was skipped: its loss is not a finite number.")
        self._go_back()
        self.optimiser = new_optimiser(self.network, self.config)
        self.go_on_in_float32()
        self._failures = 0
        return Notice(
            f"The loss was not finite {_PATIENCE_WITH_NAN} times, last at step {self._told_step}: "
            "training goes on from the last good weights, in float32 with a fresh optimiser. If "
            "this repeats, lower the learning rate."
        )

    def _go_back(self) -> None:
        """Put the last good weights in place: the best so far, else the average of many steps."""
        best = self.best.weights if self.group.alone else {}  # which the first rank alone has
        good = best or copy_weights(self.averaged_network)
        if not all_finite(good):  # nothing is better than what there is
            return
        self.network.load_state_dict(good)
        self.averaged_network.load_state_dict(good)
        self.averaged.n_averaged.zero_()

    def go_on_in_float32(self) -> None:
        """Compute with all digits from now on."""
        self.in_float32, self._precision = True, torch.float32
        if self._teacher is not None:
            self._teacher = replace(self._teacher, precision=torch.float32)

    def assess(self) -> list[TrainingEvent]:
        """Score what is held back and what is painted, and keep the weights if they are the best.

        Empty where there is neither a held-back block nor a painted cell.
        """
        events = self.best.assess(self.averaged_network, self.data, self.device, self.step)
        history = self.best.history
        if self._classifier is not None and history and history[-1]["step"] == self.step:
            history[-1][CLASSIFIER_IOU] = self._classifier.iou
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
        return self._placed(build_network(self.network_config, self.best.weights, "the training"))

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
        here = recomputed_statistics(self.network, self.data, self.device)
        candidates = [mixed_statistics(own, here, share) for share in _SHARES_OF_STATISTICS]
        values = np.array([self._value_with(statistics) for statistics in candidates])
        better = values > values[0] + NOISE_OF_SCORES
        chosen = candidates[int(np.argmax(np.where(better, values, 0.0)))]
        for network in (self.network, self.averaged_network):
            set_statistics(network, chosen)
        self.fitted = {name: tensor.cpu() for name, tensor in chosen.items()}
        if better.any():
            self._starting = self._new_starting()
            self._teacher = self._find_teacher()

    def _new_starting(self) -> StartingModel:
        """Return the starting model with the statistics that were fitted to these images."""
        return StartingModel(self.config.start, self.network_config, self.device, self.fitted)

    def _value_with(self, statistics: Mapping[str, Tensor]) -> float:
        set_statistics(self.averaged_network, statistics)
        cells = self.best.judge(self.averaged_network, self.data, self.device, _EFFORT_OF_TRIAL)
        return mean_iou(cells) if cells else 0.0

    def _as_begun(self, data: TrainingData) -> TrainingData:
        return replace(data, starting_model=self.data.starting_model)

    def judge_new_cells(self, data: TrainingData) -> tuple[PaintedCell, ...]:
        """Predict the cells that other data have more than these, before they are learned."""
        cells = self.best.judge(self.averaged_network, self._as_begun(data), self.device)
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

    def _change_classes(self, classes: ClassTable, channels: int) -> None:
        """Give the network outputs for new classes; what it knows of the others stays."""
        last, averaged = copy_weights(self.network), copy_weights(self.averaged)
        self.network_config = self.config.network(channels, classes.n_classes)
        self.network = self._placed(random_network(self.network_config, self.config.seed))
        self.averaged = new_average(self.network, self.device)
        for network, weights in ((self.network, last), (self.averaged, averaged)):
            fresh = network.state_dict()
            network.load_state_dict(carried_over(weights, self.data.classes, classes, fresh))
        self.optimiser = new_optimiser(self.network, self.config)
        self._parallel = parallel_network(self.network, self.group)
        self.best.weights, self.best.value, self.best.is_ahead = {}, -math.inf, False

    @property
    def _seed_of_dropout(self) -> int:
        """Chance of the present step, another one on each rank."""
        return self.config.seed * 1_000_003 + self.step + (self.group.rank << 40)

    def _new_sampler(self) -> PatchSampler:
        """Draw this rank's part of the batches of all ranks."""
        first = self.group.rank * self.config.batch_size
        deforms = self.device.type == "cuda"  # Apple's GPUs do not sample volumes
        device = self.device if deforms else torch.device("cpu")
        guess = unknown if self._classifier is None else self._classifier.guess
        return PatchSampler(self.data, self._batcher.config, first, device, guess)

    def _find_classifier(self) -> PixelClassifier | None:
        """Let a pixel classifier learn the paint, where that is quick and there is need of one."""
        wanted = self.data.classes.task.pixel_classifier and self.group.alone
        if not wanted or is_dense(self.data):
            return None
        try:
            return PixelClassifier.fitted(self.data, self.config.seed)
        except (UnreadableError, MemoryError) as error:  # a network learns without it as well
            self._notices.append(f"There is no pixel classifier: {first_line(error)}")
            return None

    def _find_offsets(self) -> Tensor | None:
        """Find out how much more often than in the image each class is painted."""
        classifier, seed = self._classifier, self.config.seed
        if classifier is None:
            return None
        batches = (self.sampler.draw([seed, 7, trial]) for trial in range(_TRIALS_OF_TEACHER))
        found = within_memory(lambda: offsets_of_paint(classifier, batches), self.device)
        return None if isinstance(found, Shortage) else found.to(self.device)

    @property
    def classifier(self) -> PixelClassifier | None:
        """The pixel classifier, as long as it counts beside the network in what is shown."""
        return None if self.share_of_network >= 1 else self._classifier

    @property
    def share_of_network(self) -> float:
        """How much the network counts beside the pixel classifier in what is shown, 0 to 1."""
        if self._classifier is None or self.cycle_start > 0:
            return 1.0
        return share_of_network(self.step, self.best.history)

    @property
    def _trust_in_classifier(self) -> float:
        if self._classifier is None or self.cycle_start > 0:
            return 0.0
        return trust_after(self.step, self.best.history)

    def _placed(self, network: UNet) -> UNet:
        if self.config.ndim == 2:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network.to(self.device)
