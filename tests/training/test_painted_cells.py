"""Which of the painted cells come out right."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from napari_unet.training.validation import (
    judge_painted_cells,
    mean_iou,
    mean_iou_of_found,
    was_painted,
)

from .builders import data_of, tiny_config

if TYPE_CHECKING:
    from napari_unet.data.axes import Region
    from napari_unet.model.execution import Runner
    from napari_unet.training.dataset import TrainingData
    from napari_unet.training.validation import PaintedCell

SHAPE = (96, 128)
FIRST, SECOND = (slice(20, 50), slice(20, 50)), (slice(20, 50), slice(51, 81))


class Answer:
    """A network whose foreground is known."""

    def __init__(self, foreground: Any) -> None:
        self._foreground = foreground

    def probabilities(self, frame: object, intensity: object, region: Region) -> Any:
        foreground = self._foreground[region].astype(np.float32)
        return np.stack([1 - foreground, foreground])


def painted(*cells: Region) -> TrainingData:
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:60, 10:90] = 1
    for number, cell in enumerate(cells, 2):
        labels[cell] = number
    image = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    return data_of(image, labels, tiny_config(validation_share=0))


def judged(data: TrainingData, *foreground: Region) -> tuple[PaintedCell, ...]:
    answer = np.zeros(SHAPE)
    for part in foreground:
        answer[part] = 1
    return judge_painted_cells(cast("Runner", Answer(answer)), data, 0.5)


def test_a_cell_that_is_predicted_as_painted_is_found() -> None:
    (cell,) = judged(painted(FIRST), FIRST)
    assert (cell.verdict, cell.iou) == ("found", 1.0)


def test_a_cell_without_an_object_is_missed() -> None:
    (cell,) = judged(painted(FIRST))
    assert (cell.verdict, cell.iou) == ("missed", 0.0)


def test_a_cell_that_is_hardly_covered_is_missed() -> None:
    (cell,) = judged(painted(FIRST), (slice(34, 69), slice(20, 50)))
    assert cell.verdict == "missed"
    assert cell.iou == pytest.approx(0.4)


def test_two_cells_under_one_object_are_merged() -> None:
    cells = judged(painted(FIRST, SECOND), (slice(20, 50), slice(20, 81)))
    assert [cell.verdict for cell in cells] == ["merged", "merged"]


def test_merged_cells_count_nothing() -> None:
    cells = judged(painted(FIRST, SECOND), (slice(20, 50), slice(20, 81)))
    assert mean_iou(cells) == 0.0


def test_what_is_not_found_counts_nothing_for_the_best_weights() -> None:
    cells = judged(painted(FIRST), (slice(34, 69), slice(20, 50)))
    assert mean_iou(cells) == pytest.approx(0.4)
    assert mean_iou_of_found(cells) == 0.0


def test_cells_far_apart_are_all_judged() -> None:
    labels = np.zeros((2000, 2000), np.uint8)
    labels[10:40, 10:40], labels[1950:1980, 1950:1980] = 2, 3
    labels[50:60, 10:40] = 1
    image = np.zeros(labels.shape, np.float32)
    data = data_of(image, labels, tiny_config(validation_share=0))
    found = judge_painted_cells(cast("Runner", Answer(labels > 1)), data, 0.5)
    assert [cell.verdict for cell in found] == ["found", "found"]


def many_cells() -> tuple[TrainingData, Runner]:
    """Paint 64 cells far apart, and know them all."""
    labels = np.zeros((1600, 1600), np.uint8)
    labels[0, :200] = 1
    for number, (row, column) in enumerate(np.ndindex(8, 8), 2):
        labels[row * 200 + 50 : row * 200 + 70, column * 200 + 50 : column * 200 + 70] = number
    data = data_of(np.zeros(labels.shape, np.float32), labels, tiny_config(validation_share=0))
    return data, cast("Runner", Answer(labels > 1))


def test_of_many_cells_as_many_are_looked_at_as_a_few_steps_cost() -> None:
    data, answer = many_cells()
    seen = 0

    def probabilities(frame: object, intensity: object, region: Region) -> Any:
        nonlocal seen
        seen += int(np.prod([part.stop - part.start + 88 for part in region]))
        return Answer.probabilities(cast("Any", answer), frame, intensity, region)

    judge_painted_cells(cast("Runner", SimpleNamespace(probabilities=probabilities)), data, 0.5)
    assert 2**20 < seen <= 2**21


def test_less_effort_looks_at_fewer_cells_and_the_same_ones_each_time() -> None:
    data, answer = many_cells()
    few, again = (judge_painted_cells(answer, data, 0.5, effort=0.25) for _ in range(2))
    assert few == again
    assert 0 < len(few) < len(judge_painted_cells(answer, data, 0.5)) / 2


def test_a_cell_that_lies_near_to_others_is_judged_once_and_as_a_whole() -> None:
    labels = np.zeros((64, 320), np.uint8)
    labels[0:4] = 1
    labels[10:30, 10:30], labels[10:30, 66:150] = 2, 3  # apart on the grid, nearer than the margin
    image = np.zeros(labels.shape, np.float32)
    data = data_of(image, labels, tiny_config(validation_share=0))
    found = judge_painted_cells(cast("Runner", Answer(labels > 1)), data, 0.5)
    assert [(cell.verdict, cell.iou) for cell in found] == [("found", 1.0), ("found", 1.0)]


def test_a_cell_over_old_background_is_new() -> None:
    previous = painted((slice(30, 34), slice(60, 64)))
    assert not was_painted(judged(painted(FIRST), FIRST)[0], previous)


def test_what_is_predicted_beyond_the_paint_is_no_mistake() -> None:
    data = painted((slice(20, 50), slice(20, 50)))
    grown = (slice(20, 50), slice(20, 50)), (slice(62, 90), slice(20, 50))
    assert judged(data, *grown)[0].iou == 1.0


def test_a_verdict_says_where_the_cell_lies() -> None:
    assert judged(painted(FIRST), FIRST)[0].centre == (34, 34)


def test_the_middle_of_a_bent_stroke_lies_on_it() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[60:70, 10:90] = 1
    labels[20:50, 20:50] = 2
    labels[24:50, 24:50] = 0  # what is left is bent like an L
    image = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    (cell,) = judged(data_of(image, labels, tiny_config(validation_share=0)))
    assert labels[cell.centre] == 2


def test_a_cell_is_new_until_it_is_painted() -> None:
    cells = judged(painted(FIRST, (slice(65, 90), slice(95, 120))), FIRST)
    assert [was_painted(cell, painted(FIRST)) for cell in cells] == [True, False]
