"""A starting model's statistics: fitted to the images as far as the paint says, at first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from device import DEVICE, DEVICE_NAME
from napari_unet.model.unet import BatchNorm, UNet
from napari_unet.samples import load_nuclei_2d
from napari_unet.training.checkpoint import load_state, save_state
from napari_unet.training.config import TrainConfig
from napari_unet.training.networks import (
    mixed_statistics,
    recomputed_statistics,
    set_statistics,
    statistics_of,
)
from napari_unet.training.state import training_state
from napari_unet.training.trainer import Trainer

from .builders import cells, data_of, same_weights, tiny_config

if TYPE_CHECKING:
    from pathlib import Path

CPU = torch.device("cpu")


def network(**changes: Any) -> UNet:
    return UNet(tiny_config(**changes).network(1, 2))


def first_mean(statistics: dict[str, torch.Tensor]) -> torch.Tensor:
    return next(tensor for name, tensor in statistics.items() if name.endswith("running_mean"))


def test_a_network_without_batch_norm_has_no_statistics() -> None:
    assert statistics_of(network(normalization="none")) == {}


def test_recomputing_leaves_the_network_as_it_is() -> None:
    some = network()
    before = {name: tensor.clone() for name, tensor in some.state_dict().items()}
    recomputed_statistics(some, cells(tiny_config()), CPU)
    assert same_weights(before, dict(some.state_dict()))


def test_recomputed_statistics_are_those_of_whole_images() -> None:
    some, data = network(), cells(tiny_config())
    frame = data.frames[0]
    pixels = frame.intensity.normalise(frame.frame.read((slice(0, 96), slice(0, 96))))
    with torch.no_grad():
        features = torch.nn.Sequential(*list(some.contracting[0].children())[:1])(
            torch.from_numpy(pixels)[None]
        )
    found = first_mean(recomputed_statistics(some, data, CPU))
    torch.testing.assert_close(found, features.mean(dim=(0, 2, 3)))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_mixture_lies_between_both(share: float) -> None:
    mixed = mixed_statistics({"a": torch.zeros(2)}, {"a": torch.ones(2)}, share)
    assert mixed["a"].tolist() == [share, share]


def test_what_is_set_is_what_a_network_has() -> None:
    some = network()
    wanted = {name: tensor + 1 for name, tensor in statistics_of(some).items()}
    set_statistics(some, wanted)
    assert same_weights(wanted, statistics_of(some))


def painted_nuclei() -> Any:
    image, strokes, _ = load_nuclei_2d()
    corner = (slice(256, 448), slice(256, 448))
    return image[corner], strokes[corner]


def trainer_of(image: Any, labels: Any, **changes: Any) -> Trainer:
    config = TrainConfig.preset("fast", device=DEVICE_NAME, patch_size=64, batch_size=1, **changes)
    return Trainer(data_of(image, labels, config), config, DEVICE, None)


@pytest.mark.parametrize("start", ["cells", "random"])
def test_statistics_follow_the_patches_while_a_network_learns(start: str) -> None:
    trainer = trainer_of(*painted_nuclei(), start=start)
    before = statistics_of(trainer.network)
    trainer.train_step(0.5)
    assert not same_weights(before, statistics_of(trainer.network))


def prefer(
    monkeypatch: pytest.MonkeyPatch, trainer: Trainer, wanted: dict[str, torch.Tensor]
) -> None:
    """Let the paint speak for some statistics."""

    def value(statistics: dict[str, torch.Tensor]) -> float:
        return 1 / (1 + float((first_mean(statistics) - first_mean(wanted)).abs().sum()))

    monkeypatch.setattr(trainer, "_value_with", value)


def test_images_that_the_starting_model_knows_are_seen_as_it_knows_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = trainer_of(*painted_nuclei())
    own = statistics_of(trainer.network)
    prefer(monkeypatch, trainer, own)
    trainer.fit_statistics()
    assert same_weights(own, statistics_of(trainer.network))


def test_statistics_that_suit_the_paint_better_are_taken_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = trainer_of(*painted_nuclei())
    here = recomputed_statistics(trainer.network, trainer.data, DEVICE)
    prefer(monkeypatch, trainer, here)
    trainer.fit_statistics()
    torch.testing.assert_close(first_mean(statistics_of(trainer.network)), first_mean(here))


def test_statistics_that_are_hardly_better_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = trainer_of(*painted_nuclei())
    own = statistics_of(trainer.network)
    values = iter([0.80, 0.81, 0.81])
    monkeypatch.setattr(trainer, "_value_with", lambda statistics: next(values))
    trainer.fit_statistics()
    assert same_weights(own, statistics_of(trainer.network))


def test_the_average_has_the_statistics_of_the_network() -> None:
    trainer = trainer_of(*painted_nuclei())
    trainer.fit_statistics()
    assert same_weights(statistics_of(trainer.network), statistics_of(trainer.averaged_network))


def test_batch_norm_learns_its_scale_all_the_same() -> None:
    trainer = trainer_of(*painted_nuclei())
    layer = next(m for m in trainer.network.modules() if isinstance(m, BatchNorm))
    before = layer.weight.detach().clone()
    trainer.train_step(0.5)
    assert not torch.equal(before, layer.weight.detach())


def test_a_resumed_training_is_taught_by_the_starting_model_that_was_fitted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trainer = trainer_of(*painted_nuclei())
    prefer(monkeypatch, trainer, recomputed_statistics(trainer.network, trainer.data, DEVICE))
    trainer.fit_statistics()
    trainer.train_step(0.5)
    save_state(training_state(trainer), tmp_path / "state.safetensors")
    resumed = Trainer(
        trainer.data, trainer.config, DEVICE, load_state(tmp_path / "state.safetensors")
    )
    assert trainer.teachers.fitted
    assert same_weights(trainer.teachers.fitted, resumed.teachers.fitted)
    assert not same_weights(resumed.teachers.fitted, statistics_of(resumed.network))
