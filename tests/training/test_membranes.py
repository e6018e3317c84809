"""Two classes that are cells and the membranes between them: which are, and what follows."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage as ndi

from device import DEVICE
from napari_unet.tasks import ClassTable, ValidationScore, class_table, target_of
from napari_unet.tasks.validation import cells_between, membrane_class
from napari_unet.training import validation
from napari_unet.training.events import Inbox, View, ViewPredicted
from napari_unet.training.live import LiveView
from napari_unet.training.trainer import Trainer

from .builders import data_of, painted_classes, run, tiny_config, tissue

if TYPE_CHECKING:
    from napari_unet.model.trained import TrainedNetwork

Array = Any
CLASSES = tiny_config(kind="classes", validation_share=0)


def membrane_of(*labels: Array, unpainted: Any = "unlabelled") -> int | None:
    table = class_table(labels, "classes", unpainted)
    return membrane_class([target_of(image, table) for image in labels], table)


def noise(*shape: int) -> Array:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


# --- which classes are membranes ---------------------------------------------------------------


def test_thin_walls_around_many_cells_are_membranes() -> None:
    assert membrane_of(tissue()) == 1


def test_whichever_number_they_were_painted_with() -> None:
    assert membrane_of(3 - tissue()) == 0


def test_in_finished_masks_too() -> None:
    assert membrane_of(tissue() - 1, unpainted="background") == 1


def test_in_volumes_too() -> None:
    assert membrane_of(np.stack([tissue()] * 3)) == 1


def test_the_cells_of_several_images_count_together() -> None:
    few = tissue()[:48, :48]  # nine cells
    assert membrane_of(few) is None
    assert membrane_of(few, few) == 1


def test_thick_walls_are_no_membranes() -> None:
    assert membrane_of(tissue(size=320, pitch=40, wall=22)) is None


def test_two_kinds_of_tissue_are_no_membranes() -> None:
    assert membrane_of(np.repeat([1, 2], 48 * 96).reshape(96, 96)) is None


def test_a_ground_with_spots_is_no_tissue() -> None:
    row, column = np.mgrid[:96, :96]
    rings = np.abs(np.hypot(row % 24 - 12, column % 24 - 12) - 7) < 1.5
    labels = np.where(rings, 2, 1)
    assert ndi.label(labels == 1)[1] > 10
    assert membrane_of(labels) is None


def test_specks_are_no_cells() -> None:
    assert membrane_of(tissue(pitch=9)) is None  # of 36 pixels each


def test_open_walls_are_no_membranes() -> None:
    labels = tissue()
    labels[8::16] = 1  # through all cells of a row
    labels[:, 8::16] = 1
    assert membrane_of(labels) is None


def test_sparse_paint_is_no_tissue() -> None:
    labels = tissue()
    labels[np.arange(96) % 16 >= 7] = 0
    assert membrane_of(labels) is None


def test_what_is_unpainted_parts_no_cells() -> None:
    labels = tissue()
    labels[np.arange(96) % 16 >= 13] = 0  # every second wall
    assert membrane_of(labels) is None


def test_spots_that_cover_less_than_their_ground_are_no_cells() -> None:
    assert membrane_of(painted_classes()[1]) is None


def test_three_classes_have_no_membrane() -> None:
    labels = tissue()
    labels[40, 40] = 3
    assert membrane_of(labels) is None


def test_objects_have_no_membrane() -> None:
    table = ClassTable("objects", "unlabelled")
    assert membrane_class([target_of(tissue(), table)], table) is None


def test_cells_are_numbered_one_by_one() -> None:
    cells, count = cells_between((tissue() == 2).astype(np.int16), 1)
    assert count == 36
    assert cells[8, 8] != cells[8, 24]


# --- what is held back, and what becomes of the threshold --------------------------------------


def test_membranes_weigh_no_more_than_cells() -> None:
    frame = data_of(noise(96, 96), tissue(), CLASSES).frames[0]
    np.testing.assert_array_equal(frame.weights, 1)


def test_larger_blocks_are_held_back_of_membranes() -> None:
    config = tiny_config(kind="classes", validation_share=0.4)
    labels = tissue(192)
    blocks = data_of(noise(192, 192), labels, config).blocks
    assert {block.region[0].stop - block.region[0].start for block in blocks} == {64}
    labels[0, 0] = 3
    blocks = data_of(noise(192, 192), labels, config).blocks
    assert {block.region[0].stop - block.region[0].start for block in blocks} == {32}


def test_of_little_paint_small_blocks_are_held_back() -> None:
    data = data_of(noise(96, 96), tissue(), tiny_config(kind="classes", validation_share=0.4))
    assert data.membrane == 1
    assert {block.region[0].stop - block.region[0].start for block in data.blocks} == {32}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> TrainedNetwork:
    """A model of membranes for which another threshold than one half was chosen."""
    monkeypatch.setattr(
        validation, "validate", lambda runner, data: ValidationScore(1.0, 0.5, None, 0.35)
    )
    config = tiny_config(kind="classes", validation_share=0.4)
    return run(data_of(noise(96, 96), tissue(), config), config)[1].trained


def test_a_model_keeps_the_threshold_that_suited_its_best_weights(model: TrainedNetwork) -> None:
    assert (model.record.threshold, model.record.membrane) == (0.35, 1)


@pytest.mark.parametrize(("threshold", "expected"), [(0.999, 0), (0.001, 2)])
def test_the_live_view_takes_the_threshold(threshold: float, expected: int) -> None:
    inbox = Inbox()
    inbox.view = View(0, (), (slice(0, 32), slice(0, 32)))
    data = data_of(noise(96, 96), tissue(), CLASSES)
    training = Trainer(data, CLASSES, DEVICE, None)
    training.best.threshold = threshold
    (event,) = LiveView(training, inbox).update(Event())
    assert isinstance(event, ViewPredicted)
    assert np.unique(event.labels).tolist() == [expected]


def test_a_threshold_of_membranes_is_not_that_of_other_classes(model: TrainedNetwork) -> None:
    sparse = np.where(np.arange(96) % 24 == 0, tissue(), 0)
    data = data_of(noise(96, 96), sparse, CLASSES)
    assert data.membrane is None
    assert Trainer(data, CLASSES, DEVICE, model).best.threshold == 0.5


def test_a_threshold_of_membranes_ends_where_the_paint_shows_none() -> None:
    dense = data_of(noise(96, 96), tissue(), CLASSES)
    sparse = data_of(noise(96, 96), np.where(np.arange(96) % 24 == 0, tissue(), 0), CLASSES)
    training = Trainer(dense, CLASSES, DEVICE, None)
    training.best.threshold = 0.35
    training.adopt(sparse)
    assert training.best.threshold == 0.5
