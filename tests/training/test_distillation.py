"""The starting model teaches what is not painted, as far as it is right about what is painted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from device import DEVICE, DEVICE_NAME
from napari_unet.samples import load_nuclei_2d
from napari_unet.training.config import TrainConfig
from napari_unet.training.distillation import Teacher, gaps_in, trust_in, weight_beside
from napari_unet.training.patches import Batch
from napari_unet.training.trainer import Trainer

from .builders import data_of

Array = Any
CPU = torch.device("cpu")


class Seer(torch.nn.Module):
    """Sees foreground where the image is bright."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = torch.cat([-images, images], dim=1) * 20
        return scores


def bars() -> torch.Tensor:
    """Two bright bars with a gap of one pixel, -1 and 1."""
    image = -torch.ones(1, 1, 16, 16)
    image[..., 3:13, 4:8] = 1
    image[..., 3:13, 9:13] = 1
    return image


def batch_of(images: torch.Tensor, classes: torch.Tensor) -> Batch:
    return Batch(images, classes, torch.ones_like(classes, dtype=torch.float32))


def seer() -> Any:
    return Seer()


def test_a_narrow_gap_is_found_and_the_open_is_not() -> None:
    gaps = gaps_in((bars()[:, 0] > 0).float())
    assert gaps[0, 8, 8] == 1
    assert gaps[0, 8, 1] == gaps[0, 8, 5] == gaps[0, 0, 8] == 0


def test_gaps_are_found_in_volumes() -> None:
    volume = (bars()[:, 0] > 0).float().expand(6, 16, 16)[None]
    assert gaps_in(volume)[0, 3, 8, 8] == 1


@pytest.mark.parametrize("shape", [(3, 40, 31), (2, 9, 8, 12)], ids=["2D", "3D"])
def test_gaps_are_what_closing_adds(shape: tuple[int, ...]) -> None:
    foreground = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    size = (1, *[5] * (len(shape) - 1))
    grown = ndimage.maximum_filter(foreground.numpy(), size, mode="constant", cval=-np.inf)
    closed = ndimage.minimum_filter(grown, size, mode="constant", cval=np.inf)
    np.testing.assert_array_equal(gaps_in(foreground), closed - foreground.numpy())


def test_new_paint_makes_no_new_teacher_network() -> None:
    trainer = trainer_of(*painted_nuclei())
    before = trainer.teachers.starting_model
    trainer.adopt(trainer.data)
    assert before is not None
    assert trainer.teachers.starting_model is not None
    assert trainer.teachers.starting_model.network is before.network


def test_who_is_right_is_trusted() -> None:
    images = bars()
    assert trust_in(seer(), [batch_of(images, (images[:, 0] > 0).long())], CPU) == 1


def test_who_is_wrong_is_not_trusted() -> None:
    images = bars()
    assert trust_in(seer(), [batch_of(images, (images[:, 0] < 0).long())], CPU) == 0


def test_who_deletes_what_is_wrong_does_not_lose_a_model_that_is_right_elsewhere() -> None:
    images = -torch.ones(1, 1, 16, 16)
    images[..., 2:6, 2:6] = images[..., 10:12, 10:12] = 1
    classes = -torch.ones(1, 16, 16).long()
    classes[:, 2:6, 2:6] = 1
    classes[:, 10:12, 10:12] = 0  # a false object, and all the background that is painted
    assert trust_in(seer(), [batch_of(images, classes)], CPU) == 1


def test_one_painted_class_is_no_ground_for_trust() -> None:
    images = bars()
    assert trust_in(seer(), [batch_of(images, torch.ones(1, 16, 16).long())], CPU) == 0


def test_unlabelled_pixels_do_not_count_for_trust() -> None:
    images = bars()
    classes = (images[:, 0] > 0).long()
    classes[:, 8:] = -1
    assert trust_in(seer(), [batch_of(images, classes)], CPU) == 1


def test_who_agrees_with_the_teacher_loses_nothing() -> None:
    images, classes = bars(), -torch.ones(1, 16, 16).long()
    teacher = Teacher(seer(), 1.0)
    assert teacher.loss(Seer()(images), images, classes) < 1e-6
    assert teacher.loss(-Seer()(images), images, classes) > 1


def test_painted_pixels_are_not_the_teachers() -> None:
    images, classes = bars(), torch.zeros(1, 16, 16).long()
    assert Teacher(seer(), 1.0).loss(-Seer()(images), images, classes) == 0


def test_a_lost_gap_costs_more_than_as_much_open_ground() -> None:
    images, classes = bars(), -torch.ones(1, 16, 16).long()
    teacher = Teacher(seer(), 1.0)
    lost_gap, lost_ground = Seer()(images), Seer()(images)
    lost_gap[..., 3:13, 8] *= -1
    lost_ground[..., 3:13, 0] *= -1
    costs = [float(teacher.loss(scores, images, classes)) for scores in (lost_gap, lost_ground)]
    assert costs[0] > 10 * costs[1]


def test_little_weight_teaches_little() -> None:
    images, classes = bars(), -torch.ones(1, 16, 16).long()
    wrong = -Seer()(images)
    full, half = (Teacher(seer(), weight).loss(wrong, images, classes) for weight in (1.0, 0.5))
    assert float(half) == pytest.approx(float(full) / 2)


def trainer_of(image: Array, labels: Array, **changes: Any) -> Trainer:
    config = TrainConfig(device=DEVICE_NAME, patch_size=64, batch_size=2, **changes)
    return Trainer(data_of(image, labels, config), config, DEVICE, None)


def painted_nuclei() -> tuple[Array, Array]:
    image, strokes, _ = load_nuclei_2d()
    return np.asarray(image), np.asarray(strokes)


def test_on_strokes_over_nuclei_the_starting_model_goes_on_teaching() -> None:
    assert trainer_of(*painted_nuclei()).teachers.starting_model is not None


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"start": "random"}, id="random weights"),
        pytest.param({"kind": "classes"}, id="classes"),
        pytest.param({"base_channels": 4}, id="another network"),
        pytest.param({"unpainted": "background"}, id="nothing is unlabelled"),
    ],
)
def test_there_is_no_teacher_where_there_is_nothing_to_teach(changes: dict[str, Any]) -> None:
    assert trainer_of(*painted_nuclei(), **changes).teachers.starting_model is None


def test_on_images_that_it_does_not_know_the_starting_model_is_silent() -> None:
    image, strokes = painted_nuclei()
    noise = np.random.default_rng(0).normal(size=image.shape).astype(np.float32)
    assert trainer_of(noise, strokes).teachers.starting_model is None


@pytest.mark.parametrize(("ring", "weight"), [(0, 8.0), (2, 1.0)])
def test_a_teacher_counts_more_where_paint_does_not_show_where_cells_end(
    ring: int, weight: float
) -> None:
    labels = np.zeros((64, 64), np.uint16)
    labels[20 - ring : 40 + ring, 20 - ring : 40 + ring] = 1
    labels[20:40, 20:40] = 2
    labels[50:60, 50:60] = 1
    data = data_of(
        np.random.default_rng(0).random((64, 64)),
        labels,
        TrainConfig(device=DEVICE_NAME, patch_size=64),
    )
    assert weight_beside(data) == pytest.approx(weight, abs=0.2)
