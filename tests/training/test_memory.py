"""Too little memory while training: less is computed at once, and the training stays the same.

There is no GPU here: errors of one are raised where a network meets more than so many pixels.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch

from napari_unet.errors import NotEnoughMemoryError
from napari_unet.model.inference import InferenceNetwork
from napari_unet.model.unet import UNet
from napari_unet.run import Notice
from napari_unet.training.events import Inbox, StepDone, Validated, View, ViewPredicted
from napari_unet.training.live import LiveView
from napari_unet.training.networks import copy_weights
from napari_unet.training.patches import PatchSampler
from napari_unet.training.trainer import Trainer

from .builders import UNDEFORMED, all_finite, cells, of_type, run, same_weights
from .builders import tiny_config as config_anywhere

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_unet.training.patches import Batch

tiny_config = partial(config_anywhere, device="cpu")  # which pretends to be another device

pytestmark = pytest.mark.fault(9)

CPU = torch.device("cpu")
OF_CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
OF_CPU = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")


def too_large_for(
    monkeypatch: pytest.MonkeyPatch, pixels: int, error: Exception = OF_CUDA
) -> list[tuple[int, ...]]:
    """Let networks in training raise on larger batches; return the shapes that they met."""
    met: list[tuple[int, ...]] = []
    right = UNet.forward

    def forward(self: UNet, images: Tensor) -> Tensor:
        if self.training:
            met.append(tuple(images.shape))
            if images.numel() > pixels:
                right(self, images)  # as far as BatchNorm gets
                raise error
        return right(self, images)

    monkeypatch.setattr(UNet, "forward", forward)
    return met


def texts(events: list[Any]) -> list[str]:
    return [event.text for event in of_type(events, Notice)]


@pytest.mark.parametrize("error", [OF_CUDA, OF_CPU, MemoryError()], ids=["CUDA", "CPU", "Python"])
def test_a_batch_that_does_not_fit_is_computed_in_parts_and_it_is_told_once(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    config = tiny_config(batch_size=4)
    data = cells(config)
    met = too_large_for(monkeypatch, 2 * 32 * 32, error)
    events, result = run(data, config)
    assert [event.step for event in of_type(events, StepDone)] == [1, 2, 3, 4, 5, 6]
    assert met == [(4, 1, 32, 32)] + 12 * [(2, 1, 32, 32)]  # what did not fit is not tried again
    (told,) = texts(events)
    assert told.startswith("Not enough memory")
    assert told.endswith(
        "2 of 4 patches are computed at a time, each step learns from all of them."
    )
    assert all_finite(result.state.last)


@pytest.mark.parametrize("kind", ["objects", "classes"])
@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_parts_of_a_batch_have_the_gradient_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, at_once: int, kind: str
) -> None:
    config = tiny_config(batch_size=4, normalization="none", kind=kind, optimiser="sgd")
    data = cells(config)
    whole, parts = (Trainer(data, config, CPU, None) for _ in range(2))
    parts._batcher._at_once = at_once
    losses = [trainer.train_step(0.5) for trainer in (whole, parts)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    for one, other in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-6)


def test_parts_learn_from_the_teacher_as_the_whole_does() -> None:
    config = tiny_config(start="cells", base_channels=16, depth=3, normalization="batch")
    data = cells(config)
    trainers = [Trainer(data, config, CPU, None) for _ in range(2)]
    for trainer in trainers:
        trainer.teachers.starting_model = _teacher_of(trainer)
        _stay_in_evaluation(trainer.network)
    trainers[1]._batcher._at_once = 1
    losses = [trainer.train_step(0.5) for trainer in trainers]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def _stay_in_evaluation(network: UNet) -> None:
    """Statistics of parts are not those of the whole; here they shall not matter."""
    network.eval()
    network.train = lambda mode=True: network  # type: ignore[method-assign]


def _teacher_of(trainer: Trainer) -> Any:
    from napari_unet.training.distillation import Teacher

    return Teacher(trainer.network.folded(), 1.0)


def test_what_batchnorm_met_in_a_try_that_failed_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(batch_size=4)
    data = cells(config)
    knowing = Trainer(data, config, CPU, None)
    knowing._batcher._at_once = 2
    knowing.train_step(0.5)
    trying = Trainer(data, config, CPU, None)
    too_large_for(monkeypatch, 2 * 32 * 32)
    trying.train_step(0.5)
    assert same_weights(copy_weights(trying.network), copy_weights(knowing.network))


def test_memory_that_runs_out_on_the_way_back_is_met_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(batch_size=2)
    data = cells(config)
    right: Any = torch.Tensor.backward
    calls = iter(range(1, 1000))

    def backward(self: Tensor, *arguments: Any, **options: Any) -> None:
        right(self, *arguments, **options)
        if next(calls) == 3:  # the gradients are there, and must not be added up twice
            raise OF_CUDA

    knowing = Trainer(data, config, CPU, None)
    trying = Trainer(data, config, CPU, None)
    for step in range(3):
        knowing._batcher._at_once = 1 if step == 2 else 2
        knowing.train_step(0.5)
    monkeypatch.setattr(torch.Tensor, "backward", backward)
    for _ in range(3):
        trying.train_step(0.5)
    assert same_weights(copy_weights(trying.network), copy_weights(knowing.network))


@pytest.mark.parametrize(
    ("changes", "fits", "smaller"),
    [
        ({"patch_size": 64}, (1, 1, 32, 32), 32),
        ({"patch_size": 68, "padding": "valid"}, (1, 1, 76, 76), 36),
        ({"patch_size": 64, "depth": 3}, (1, 1, 32, 32), 32),
    ],
    ids=["same size", "unpadded", "deep"],
)
def test_a_patch_that_does_not_fit_alone_is_halved(
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    fits: tuple[int, ...],
    smaller: int,
) -> None:
    config = tiny_config(**changes, steps=2)
    data = cells(config)
    met = too_large_for(monkeypatch, fits[-1] ** 2)
    events, _ = run(data, config)
    assert met[-1] == fits
    assert len(of_type(events, StepDone)) == 2
    (told,) = [text for text in texts(events) if "Not enough memory" in text]
    assert f"patches have {smaller} instead of {config.patch_size} pixels" in told


def test_volumes_are_halved_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from .builders import data_of, painted_cells

    config = tiny_config(ndim=3, patch_size=32, elastic_sigma=1.0, steps=1)
    image, labels = painted_cells(48)
    data = data_of(torch.tensor(image).expand(16, 48, 48).numpy(), _stack(labels), config)
    met = too_large_for(monkeypatch, 16**3)
    run(data, config)
    assert met[-1] == (1, 1, 16, 16, 16)


def _stack(labels: Any) -> Any:
    return labels[None].repeat(16, axis=0)


def test_where_not_even_the_smallest_patch_fits_it_is_said_in_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config()
    data = cells(config)
    too_large_for(monkeypatch, 0)
    with pytest.raises(NotEnoughMemoryError) as caught:
        run(data, config)
    text = str(caught.value)
    assert text.startswith("Not enough memory (needs about 2.1 GB, ")
    assert text.endswith("Close other programs, or use a smaller network.")


def test_on_a_gpu_it_says_what_to_do_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_unet.model.memory import Shortage
    from napari_unet.training.update import MicroBatcher

    batcher = MicroBatcher(tiny_config(batch_size=1, patch_size=16))
    with pytest.raises(NotEnoughMemoryError) as caught:
        batcher.take_less(Shortage(torch.device("cuda"), 6_100_000_000, 2_000_000_000), 16)
    assert str(caught.value) == (
        "Not enough GPU memory (needs about 6.1 GB, 2.0 free). "
        "Continue on CPU or use a smaller patch."
    )


def later(monkeypatch: pytest.MonkeyPatch, step: int, pixels: int) -> Callable[[object], None]:
    def watch(event: object) -> None:
        if isinstance(event, StepDone) and event.step == step:
            too_large_for(monkeypatch, pixels)

    return watch


def test_the_best_network_is_kept_where_nothing_fits_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(steps=9)
    events, result = run(cells(config), config, watch=later(monkeypatch, 4, 0))
    assert len(of_type(events, StepDone)) == 4
    assert texts(events)[-1].startswith(
        "Training ended early, the best network is kept: Not enough memory (needs about 2.1 GB, "
    )
    assert same_weights(dict(result.trained.network.state_dict()), result.state.best)


def test_without_scores_too_what_was_learned_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(steps=9, validation_share=0.0, unpainted="background")
    events, result = run(cells(config), config, watch=later(monkeypatch, 4, 0))
    assert texts(events)[-1].startswith("Training ended early, the last network is kept: Not ")
    assert all_finite(dict(result.trained.network.state_dict()))


# --- what else needs memory --------------------------------------------------------------------


def predictions_fail_above(monkeypatch: pytest.MonkeyPatch, pixels: int) -> None:
    right = InferenceNetwork.probabilities

    def probabilities(self: InferenceNetwork, images: Tensor) -> Tensor:
        if images.numel() > pixels:
            raise OF_CUDA
        return right(self, images)

    monkeypatch.setattr(InferenceNetwork, "probabilities", probabilities)


def test_a_validation_that_does_not_fit_is_computed_in_parts_with_the_same_scores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config()
    data = cells(config)
    expected = of_type(run(data, config)[0], Validated)
    predictions_fail_above(monkeypatch, 60 * 60)
    assert of_type(run(data, config)[0], Validated) == expected


def test_a_live_view_that_does_not_fit_is_switched_off_and_the_training_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(validation_share=0.0)
    trainer = Trainer(cells(config), config, CPU, None)
    inbox = Inbox()
    inbox.view = View(0, (), (slice(0, 96), slice(0, 96)))
    live = LiveView(trainer, inbox)
    live._next = 0.0
    predictions_fail_above(monkeypatch, 0)
    (told,) = live.update(threading.Event())
    assert isinstance(told, Notice)
    assert told.text.startswith("The live prediction is off: Not enough memory (")
    assert list(live.update(threading.Event())) == []


def test_a_live_view_in_parts_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(validation_share=0.0)
    trainer = Trainer(cells(config), config, CPU, None)
    inbox = Inbox()
    inbox.view = View(0, (), (slice(0, 96), slice(0, 96)))
    live = LiveView(trainer, inbox)
    live._next = 0.0
    predictions_fail_above(monkeypatch, 80 * 80)
    (seen,) = live.update(threading.Event())
    assert isinstance(seen, ViewPredicted)


def test_a_teacher_that_does_not_fit_does_not_teach(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> float:
        raise OF_CUDA

    monkeypatch.setattr("napari_unet.training.distillation.trust_in", fail)
    config = tiny_config(start="cells", base_channels=16, depth=3, **UNDEFORMED)
    data = cells(config)
    monkeypatch.setattr("napari_unet.training.distillation.is_dense", lambda data: False)
    trainer = Trainer(data, config, CPU, None)
    assert trainer.teachers.starting_model is None
    (told,) = trainer.take_notices()
    assert told.text.endswith("the starting model does not teach what is unpainted.")


def test_an_agreement_that_cannot_be_measured_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "napari_unet.training.validation.fastest_precision", lambda device: torch.bfloat16
    )
    config = tiny_config(validation_share=0.0)
    trainer = Trainer(cells(config), config, CPU, None)
    predictions_fail_above(monkeypatch, 0)
    trainer.measure_agreement()
    assert trainer.bfloat16_agreement is None


def test_a_shortage_of_a_moment_while_patches_are_drawn_ahead_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(batch_size=4)
    data = cells(config)
    right, failing = PatchSampler.of_step, {2, 3, 4}

    def of_step(self: PatchSampler, step: int) -> Batch:
        if step in failing:  # each once, as where three are drawn at the same moment
            failing.discard(step)
            raise OF_CUDA
        return right(self, step)

    monkeypatch.setattr(PatchSampler, "of_step", of_step)
    monkeypatch.setattr("napari_unet.training.trainer._PAUSE_SECONDS", 0.0)
    met = too_large_for(monkeypatch, 10**9)
    events, _ = run(data, config)
    assert failing == set()
    assert set(met) == {(4, 1, 32, 32)}
    assert texts(events) == []
