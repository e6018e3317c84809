"""What a training changes: repeatable, resumable, and safe from numbers that are none."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from device import DEVICE
from napari_unet.errors import ModelMismatchError
from napari_unet.model.trained import save_network
from napari_unet.run import Notice
from napari_unet.tasks import ValidationScore, losses
from napari_unet.tasks.losses import weighted_cross_entropy
from napari_unet.training import validation
from napari_unet.training.checkpoint import load_state, save_checkpoint, save_state, state_path
from napari_unet.training.events import StepDone
from napari_unet.training.networks import copy_weights
from napari_unet.training.patches import Batch, PatchSampler
from napari_unet.training.trainer import Trainer
from napari_unet.training.update import rate_schedule

from .builders import (
    all_finite,
    cells,
    data_of,
    of_type,
    painted_cells,
    painted_classes,
    run,
    same_weights,
    stop_after,
    stopped_after,
    tiny_config,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_unet.training.loop import TrainingResult
    from napari_unet.training.state import TrainingState


def averaged_weights(state: TrainingState) -> dict[str, Tensor]:
    """The running average, under the names of the network."""
    names = {name: name.removeprefix("module.") for name in state.averaged}
    return {names[n]: tensor for n, tensor in state.averaged.items() if names[n] in state.last}


def lose_numbers(monkeypatch: pytest.MonkeyPatch, at_calls: Sequence[int]) -> None:
    """Let the loss be NaN, with NaN gradients, at the given calls (from 1)."""
    right = weighted_cross_entropy
    calls = iter(range(1, 10_000))

    def loss(logits: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
        value = right(logits, classes, weights)
        return value * float("nan") if next(calls) in at_calls else value

    monkeypatch.setattr(losses, "weighted_cross_entropy", loss)


# --- repeatable --------------------------------------------------------------------------------


@pytest.mark.fault(48)
@pytest.mark.parametrize("dropout", [0.0, 0.5], ids=["plain", "dropout"])
def test_the_same_seed_gives_the_same_weights_bit_for_bit(dropout: float) -> None:
    config = tiny_config(dropout=dropout)
    first, second = run(cells(config), config)[1], run(cells(config), config)[1]
    assert same_weights(first.state.last, second.state.last)


def test_the_same_seed_gives_the_same_losses() -> None:
    config = tiny_config()
    first, second = (of_type(run(cells(config), config)[0], StepDone) for _ in range(2))
    assert [event.loss for event in first] == [event.loss for event in second]


def test_another_seed_gives_other_weights() -> None:
    one, other = (run(cells(c), c)[1] for c in (tiny_config(seed=0), tiny_config(seed=1)))
    assert not same_weights(one.state.last, other.state.last)


def test_global_chance_does_not_matter() -> None:
    config = tiny_config(dropout=0.5)
    torch.manual_seed(1)
    first = run(cells(config), config)[1]
    torch.manual_seed(2)
    assert same_weights(first.state.last, run(cells(config), config)[1].state.last)


def test_training_leaves_the_global_chance_of_torch_alone() -> None:
    config = tiny_config(dropout=0.5)
    torch.manual_seed(12)
    before = torch.get_rng_state()
    run(cells(config), config)
    assert torch.equal(before, torch.get_rng_state())


def test_training_leaves_the_global_chance_of_numpy_alone() -> None:
    config = tiny_config()
    before = np.random.get_state(legacy=False)
    run(cells(config), config)
    after = np.random.get_state(legacy=False)
    np.testing.assert_equal(after, before)


def test_the_schedule_rises_then_falls() -> None:
    rates = [rate_schedule(share) for share in np.linspace(0, 1, 101)]
    peak = int(np.argmax(rates))
    assert peak == 5
    assert rates[peak] == pytest.approx(1)
    assert np.all(np.diff(rates[: peak + 1]) >= 0)
    assert np.all(np.diff(rates[peak:]) < 0)
    assert rates[-1] == pytest.approx(0.01)


_PROGRAM = """
import hashlib, sys, torch
sys.path.insert(0, sys.argv[1])
torch.set_num_threads(1)
from training.builders import cells, run, tiny_config
config = tiny_config(steps=20, validate_every=10, seed=7)
digest = hashlib.sha256()
for name, tensor in sorted(run(cells(config), config)[1].state.last.items()):
    digest.update(name.encode() + tensor.numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.fault(48)
@pytest.mark.slow
def test_two_processes_with_the_same_seed_give_the_same_bytes_after_twenty_steps() -> None:
    arguments = [sys.executable, "-c", _PROGRAM, str(Path(__file__).parents[1])]
    both = [
        subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert len(both[0].strip()) == 64
    assert both[0] == both[1]


# --- learning ----------------------------------------------------------------------------------


def test_the_loss_falls_on_an_easy_image() -> None:
    config = tiny_config(steps=40, base_channels=4, learning_rate=1e-2, validation_share=0.0)
    losses = [event.loss for event in of_type(run(cells(config), config)[0], StepDone)]
    assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:8])


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "classes"},
        {"padding": "valid", "patch_size": 36},
        {"normalization": "none"},
        {"optimiser": "sgd"},
        {"precision": "bfloat16"},
        {"unpainted": "background"},
    ],
    ids=lambda changes: ", ".join(f"{k}={v}" for k, v in changes.items()),
)
def test_every_variant_trains(changes: dict[str, Any]) -> None:
    config = tiny_config(steps=2, **changes)
    image, labels = painted_classes() if config.kind == "classes" else painted_cells()
    assert all_finite(run(data_of(image, labels, config), config)[1].state.last)


def test_volumes_train() -> None:
    config = tiny_config(steps=2, ndim=3, patch_size=16, elastic_sigma=1.0)
    image, labels = painted_cells(48)
    data = data_of(np.stack([image] * 8), np.stack([labels] * 8), config)
    assert run(data, config)[1].state.step == 2


def test_the_record_tells_how_the_model_came_about() -> None:
    config = tiny_config()
    data = cells(config)
    record = run(data, config)[1].trained.record
    assert record.steps == 6
    assert record.training["steps"] == 6
    assert record.images == data.images
    assert record.network == config.network(1, 2)
    assert [entry["step"] for entry in record.history] == [3, 6]
    assert set(record.versions) == {"napari-unet-paint", "torch", "numpy"}


@pytest.mark.parametrize(
    ("scores", "kept"),
    [((0.9, 0.5, 0.3), 2), ((0.1, 0.9, 0.5), 4), ((0.9, 0.5, 0.9), 6)],
    ids=["first", "second", "equal to the first, but trained longer"],
)
def test_the_model_has_the_weights_of_the_best_validation(
    monkeypatch: pytest.MonkeyPatch, scores: tuple[float, ...], kept: int
) -> None:
    config = tiny_config(steps=6, validate_every=2)
    expected = averaged_weights(stopped_after(kept, config).state)
    values = iter(scores)
    monkeypatch.setattr(
        validation, "validate", lambda runner, data: ValidationScore(1.0, next(values), None)
    )
    result = run(cells(config), config)[1]
    assert same_weights(dict(result.trained.network.state_dict()), expected)


def test_without_validation_the_model_has_the_averaged_weights() -> None:
    config = tiny_config(validation_share=0.0)
    result = run(cells(config), config)[1]
    assert same_weights(dict(result.trained.network.state_dict()), averaged_weights(result.state))
    assert not same_weights(averaged_weights(result.state), result.state.last)


def test_the_model_is_ready_to_predict() -> None:
    config = tiny_config(steps=1)
    assert not run(cells(config), config)[1].trained.unet.training


# --- resume ------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("dropout", [0.0, 0.5], ids=["plain", "dropout"])
def test_three_steps_and_three_more_are_six_bit_for_bit(
    tmp_path: Path, precision: str, optimiser: str, dropout: float
) -> None:
    config = tiny_config(precision=precision, optimiser=optimiser, dropout=dropout)
    whole = run(cells(config), config)[1].state
    save_state(stopped_after(3, config).state, tmp_path / "x.safetensors")
    second = run(cells(config), config, resume=load_state(tmp_path / "x.safetensors"))[1].state
    assert same_weights(second.last, whole.last)
    assert same_weights(second.averaged, whole.averaged)
    assert same_weights(second.optimiser, whole.optimiser)


@pytest.mark.parametrize("changes", [{"ndim": 3}, {"padding": "valid"}], ids=["3D", "unpadded"])
def test_other_networks_resume_exactly_too(tmp_path: Path, changes: dict[str, Any]) -> None:
    valid = "padding" in changes
    config = tiny_config(**changes, steps=4, patch_size=20 if valid else 16, elastic_sigma=1.0)
    image, labels = painted_cells(48)
    if not valid:
        image, labels = np.stack([image] * 6), np.stack([labels] * 6)
    data = data_of(image, labels, config)
    stop = threading.Event()
    first = run(data, config, stop=stop, watch=stop_after(stop, 2))[1]
    save_state(first.state, tmp_path / "x.safetensors")
    second = run(data, config, resume=load_state(tmp_path / "x.safetensors"))[1].state
    assert same_weights(second.last, run(data, config)[1].state.last)


def resumed() -> tuple[list[Any], TrainingResult, TrainingState]:
    config = tiny_config(steps=8, validate_every=2)
    state = stopped_after(5, config).state
    events, result = run(cells(config), config, resume=state)
    return events, result, state


def test_a_resumed_training_counts_its_steps_on() -> None:
    assert [event.step for event in of_type(resumed()[0], StepDone)] == [6, 7, 8]


def test_a_resumed_training_keeps_its_history() -> None:
    assert [entry["step"] for entry in resumed()[1].trained.record.history] == [2, 4, 6, 8]


def test_a_resumed_training_remembers_its_best_score() -> None:
    _, result, state = resumed()
    assert result.state.best_value >= state.best_value > 0


def test_a_resumed_training_adds_up_its_time() -> None:
    _, result, state = resumed()
    assert result.state.seconds > state.seconds > 0


def test_a_state_from_before_the_first_step_can_be_resumed() -> None:
    config = tiny_config(optimiser="sgd")
    stop = threading.Event()
    stop.set()
    state = run(cells(config), config, stop=stop)[1].state
    whole = run(cells(config), config)[1].state
    assert same_weights(run(cells(config), config, resume=state)[1].state.last, whole.last)


def test_a_finished_training_resumes_with_nothing_to_do() -> None:
    config = tiny_config(steps=2)
    state = run(cells(config), config)[1].state
    events, result = run(cells(config), config, resume=state)
    assert not of_type(events, StepDone)
    assert same_weights(result.state.last, state.last)


def test_a_training_with_a_skipped_step_resumes_exactly_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(validation_share=0.0)
    lose_numbers(monkeypatch, [2])
    whole = run(cells(config), config)[1].state
    monkeypatch.undo()
    lose_numbers(monkeypatch, [2])
    state = stopped_after(3, config).state
    second = run(cells(config), config, resume=state)[1].state
    assert same_weights(second.averaged, whole.averaged)


def test_a_state_of_another_network_is_refused() -> None:
    config = tiny_config(steps=1)
    state = run(cells(config), config)[1].state
    other = tiny_config(base_channels=3)
    with pytest.raises(ModelMismatchError, match="another network than these settings"):
        run(cells(other), other, resume=state)


# --- numbers that are none ---------------------------------------------------------------------


@pytest.mark.fault(13)
def test_a_loss_that_is_no_number_is_skipped_with_a_notice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(validation_share=0.0)
    data = cells(config)
    lose_numbers(monkeypatch, [2])
    events, _ = run(data, config)
    assert [event.step for event in of_type(events, StepDone)] == [1, 3, 4, 5, 6]
    assert "Step 2 was skipped" in of_type(events, Notice)[-1].text


def test_a_skipped_step_changes_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(normalization="none")
    stop = threading.Event()
    before = stopped_after(1, config).state.last
    lose_numbers(monkeypatch, [2])

    def watch(event: object) -> None:
        if isinstance(event, Notice):
            stop.set()

    after = run(cells(config), config, stop=stop, watch=watch)[1].state.last
    assert same_weights(before, after)


@pytest.mark.fault(13)
def test_three_such_losses_in_a_row_bring_the_best_weights_back_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(steps=20, validate_every=4, precision="bfloat16")
    stop = threading.Event()
    good = stopped_after(5, config).state.best
    data = cells(config)
    lose_numbers(monkeypatch, [6, 7, 8])

    def watch(event: object) -> None:
        if isinstance(event, Notice) and "fresh optimiser" in event.text:
            stop.set()

    events, result = run(data, config, stop=stop, watch=watch)
    assert result.state.step == 8
    assert same_weights(result.state.last, good)
    assert result.state.in_float32
    assert of_type(events, Notice)[-1].text == (
        "The loss was not finite 3 times, last at step 8: training goes on from the last good "
        "weights, in float32 with a fresh optimiser. If this repeats, lower the learning rate."
    )


def test_without_validation_too_the_weights_stay_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(steps=20, validation_share=0.0)
    stop = threading.Event()
    stop.set()
    untrained = run(cells(config), config, stop=stop)[1].state.last
    stop.clear()
    lose_numbers(monkeypatch, [16, 17, 18])

    def watch(event: object) -> None:
        if isinstance(event, Notice) and "fresh optimiser" in event.text:
            stop.set()

    restored = run(cells(config), config, stop=stop, watch=watch)[1].state
    assert restored.step == 18
    assert not same_weights(restored.last, untrained)


def test_a_network_unlike_the_starting_model_is_said_to_begin_at_random() -> None:
    config = tiny_config(start="cells")
    texts = [notice.text for notice in of_type(run(cells(config), config)[0], Notice)]
    assert any("begins with random weights: the starting model 'cells'" in text for text in texts)


def test_two_such_losses_and_a_good_one_start_the_count_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(steps=8)
    data = cells(config)
    lose_numbers(monkeypatch, [2, 3, 5, 6])
    notices = of_type(run(data, config)[0], Notice)
    assert len(notices) == 4
    assert not any("fresh optimiser" in notice.text for notice in notices)


def test_a_loss_that_never_is_a_number_ends_with_finite_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(steps=7)
    data = cells(config)
    lose_numbers(monkeypatch, range(1, 100))
    events, result = run(data, config)
    assert not of_type(events, StepDone)
    assert all_finite(dict(result.trained.network.state_dict()))


class _LostGradient(torch.autograd.Function):
    """Passes logits on, but no usable gradient back: what an overflow looks like."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        return logits.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * float("nan")


def lose_gradients(monkeypatch: pytest.MonkeyPatch, at_call: int) -> None:
    right = weighted_cross_entropy
    calls = iter(range(1, 10_000))

    def loss(logits: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
        if next(calls) == at_call:
            logits = _LostGradient.apply(logits)  # type: ignore[no-untyped-call]
        return right(logits, classes, weights)

    monkeypatch.setattr(losses, "weighted_cross_entropy", loss)


@pytest.mark.parametrize("steps", [3, 4, 12])
def test_a_gradient_that_is_no_number_spoils_no_weight(
    monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    config = tiny_config(steps=steps, validation_share=0.0)
    data = cells(config)
    lose_gradients(monkeypatch, at_call=steps)
    assert all_finite(dict(run(data, config)[1].trained.network.state_dict()))


def test_the_model_recovers_from_a_lost_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(steps=12, validation_share=0.0)
    data = cells(config)
    lose_gradients(monkeypatch, at_call=3)
    assert all_finite(dict(run(data, config)[1].trained.network.state_dict()))


def test_after_a_lost_gradient_the_model_can_still_be_saved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tiny_config(steps=6, validate_every=3)
    data = cells(config)
    lose_gradients(monkeypatch, at_call=3)
    save_network(run(data, config)[1].trained, tmp_path / "x.safetensors")


def test_a_patch_with_bad_pixels_spoils_no_running_statistics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(normalization="batch", validation_share=0.0)
    data = cells(config)
    right = PatchSampler.draw

    def draw(self: PatchSampler, seed: Sequence[int]) -> Batch:
        batch = right(self, seed)
        if seed[-1] == 2:
            batch.images[0, 0, 3, 3] = float("nan")
        return batch

    monkeypatch.setattr(PatchSampler, "draw", draw)
    assert all_finite(run(data, config)[1].state.last)


@pytest.mark.fault(13)
def test_a_training_that_went_to_float32_goes_on_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tiny_config(precision="bfloat16", validation_share=0.0)
    data = cells(config)
    lose_numbers(monkeypatch, [2, 3, 4])
    save_state(run(data, config)[1].state, tmp_path / "x.safetensors")
    state = load_state(tmp_path / "x.safetensors")
    resumed = Trainer(data, config, DEVICE, state)
    assert state.in_float32
    assert resumed._precision == torch.float32


def test_a_training_in_bfloat16_goes_on_in_bfloat16(tmp_path: Path) -> None:
    config = tiny_config(precision="bfloat16", steps=2)
    save_state(run(cells(config), config)[1].state, tmp_path / "x.safetensors")
    state = load_state(tmp_path / "x.safetensors")
    assert Trainer(cells(config), config, DEVICE, state)._precision == torch.bfloat16


@pytest.mark.fault(13)
def test_weights_that_are_not_finite_are_never_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config()
    trainer = Trainer(cells(config), config, DEVICE, None)
    trainer.train_step(0.5)
    with torch.no_grad():
        next(trainer.averaged_network.parameters()).fill_(float("nan"))

    told = trainer.assess()[-1]

    assert trainer.best.weights == {}
    assert told == Notice("The weights of step 1 are not kept: not all of them are finite.")


@pytest.mark.fault(13)
def test_weights_that_blew_up_are_replaced_by_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(steps=12, validate_every=3, learning_rate=1e-3)

    def watch(event: object) -> None:
        if isinstance(event, StepDone) and event.step == 4:
            with torch.no_grad():  # finite, but all that follows from them is not
                for parameter in trainers[0].network.parameters():
                    parameter.fill_(3e38)

    trainers: list[Trainer] = []
    right = Trainer.__init__

    def noted(self: Trainer, *arguments: Any) -> None:
        trainers.append(self)
        right(self, *arguments)

    monkeypatch.setattr(Trainer, "__init__", noted)
    events, result = run(cells(config), config, watch=watch)
    steps = [event.step for event in of_type(events, StepDone)]
    assert steps == [1, 2, 3, 4, 8, 9, 10, 11, 12]
    assert all_finite(result.state.last)
    assert all_finite(dict(result.latest.network.state_dict()))


@pytest.mark.fault(13)
def test_statistics_that_overflow_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variance of a patch may be infinite where its loss is a number."""
    config = tiny_config(validation_share=0.0)
    trainer = Trainer(cells(config), config, DEVICE, None)
    right = trainer.parallel.forward

    def forward(images: Tensor) -> Tensor:
        logits: Tensor = right(images)
        next(iter(trainer.network.buffers())).data.fill_(float("inf"))
        return logits

    monkeypatch.setattr(trainer.parallel, "forward", forward)
    assert np.isnan(trainer.train_step(0.5))
    assert all_finite(copy_weights(trainer.network))
    assert all_finite(copy_weights(trainer.averaged))


@pytest.mark.fault(13)
def test_a_validation_that_gives_no_number_keeps_no_model_from_being_saved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    score = ValidationScore(float("nan"), 0.1, None)
    monkeypatch.setattr(validation, "validate", lambda runner, data: score)
    config = tiny_config(validate_every=2)
    result = run(cells(config), config)[1]
    save_checkpoint(result.trained, result.state, tmp_path / "m.safetensors")
    history = load_state(state_path(tmp_path / "m.safetensors")).history
    assert {entry["loss"] for entry in history} == {None}
