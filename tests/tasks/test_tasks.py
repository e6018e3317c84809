"""What holds for every task, and in what objects and classes differ."""

from __future__ import annotations

import pickle
from dataclasses import asdict
from typing import get_args

import numpy as np
import pytest

from napari_unet.data.labels import Kind
from napari_unet.errors import ConfigError
from napari_unet.evaluation.scores import METRICS
from napari_unet.tasks import (
    FILLED,
    OUTLINES,
    PAINTED_TASKS,
    TASKS,
    ClassTable,
    Decision,
    Task,
    class_table,
    task_of,
)

PAINT = np.array([[0, 1, 2, 5], [0, 1, 2, 5]], np.uint16)
SURE = np.array([[[0.9, 0.2, 0.4, 0.1]] * 2, [[0.1, 0.8, 0.6, 0.9]] * 2], np.float32)

each_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def test_every_kind_has_a_task() -> None:
    assert tuple(TASKS) == get_args(Kind)


def test_every_kind_says_how_results_are_compared() -> None:
    assert set(METRICS) == {task.kind for task in PAINTED_TASKS}


def test_an_unknown_kind_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="'cells'; choose 'objects' or 'classes' or"):
        task_of("cells")


@each_task
def test_a_task_can_go_to_another_process(task: Task) -> None:
    assert pickle.loads(pickle.dumps(task)) == task


@each_task
def test_a_table_is_stored_without_its_task(task: Task) -> None:
    table = class_table([PAINT], task.kind, "unlabelled")
    stored = ["kind", "unpainted", "painted", "target_range", "names", "finer"]
    assert list(asdict(table)) == stored


@each_task
def test_each_channel_of_the_network_has_a_name_and_a_value_in_results(task: Task) -> None:
    table = class_table([PAINT], task.kind, "unlabelled")
    assert len(task.channel_names(table)) == len(task.results(table)) == table.n_classes


@each_task
def test_the_line_of_python_for_an_exported_model_is_python(task: Task) -> None:
    table = class_table([PAINT], task.kind, "unlabelled")
    compile(task.recipe_in_python(table, Decision()), "README", "exec")


@pytest.mark.parametrize(("kind", "row"), [("objects", [0, 0, 1, 4]), ("classes", [0, 0, 2, 5])])
def test_finished_paint_is_numbered_as_results_are(kind: Kind, row: list[int]) -> None:
    found = task_of(kind).as_result(PAINT)
    assert found[0].tolist() == row
    assert found.dtype == PAINT.dtype


def test_parts_of_the_foreground_become_objects() -> None:
    table = ClassTable("objects", "unlabelled")
    foreground = np.full((9, 20), 0.1, np.float32)
    foreground[2:7, 2:7] = foreground[2:7, 13:18] = 0.9
    found = table.task.decode(np.stack([1 - foreground, foreground]), table, Decision())
    assert [found[4, column] for column in (0, 4, 10, 15)] == [0, 1, 0, 2]


def test_pixels_get_the_painted_value_of_their_class() -> None:
    table = ClassTable("classes", "unlabelled", (2, 5))
    found = table.task.decode(SURE, table, Decision(threshold=0.7))
    assert found[0].tolist() == [2, 5, 2, 5]


def test_classes_have_no_size() -> None:
    assert task_of("classes").diameter([np.ones((90, 90), int)], "background") == 0


def test_only_few_objects_leave_a_wish() -> None:
    assert [bool(task_of("objects").wish(n)) for n in (2, 3)] == [True, False]


def test_objects_are_shown_as_outlines_and_classes_filled() -> None:
    assert task_of("objects").look == OUTLINES
    assert task_of("classes").look == FILLED


def test_corrected_pixels_of_classes_stay_in_a_new_result() -> None:
    before, after, new = np.array([[1, 1, 2, 0], [1, 3, 2, 0], [2, 2, 2, 2]])
    kept, stays = task_of("classes").keep_corrections(new, before, after, 4)
    assert kept.tolist() == [2, 3, 2, 2]
    assert stays.tolist() == [False, True, False, False]
