"""Each cause of poor learning: taken back it has its effect, and nothing else changes."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from causes import (
    CAUSES,
    CONTROLS,
    COUNTS,
    TABLE,
    TRIED,
    Variation,
    options_of,
    parser,
    plan,
    trials_of,
    with_differences,
)
from experiment import Record
from numpy.typing import NDArray
from painted_images import IMAGES, Task
from scored_painting import Measured, measure

from napari_unet.data.labels import Target
from napari_unet.errors import ConfigError, FileProblemError
from napari_unet.tasks import class_table
from napari_unet.training import held_back, loop, targets
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage, TrainingData
from napari_unet.training.distillation import Teachers
from napari_unet.training.networks import statistics_of
from napari_unet.training.preparation import prepare_training
from napari_unet.training.targets import frame_target
from napari_unet.training.trainer import Trainer

from .builders import sample

CPU = torch.device("cpu")
SMALL = {"steps": 2, "patch_size": 64, "batch_size": 1, "device": "cpu"}
AS_IT_IS = Variation()


def small_cells() -> NDArray[np.uint16]:
    """64 squares of eight pixels."""
    truth = np.zeros((192, 192), np.uint16)
    for i in range(64):
        row, column = 8 + 24 * (i // 8), 8 + 24 * (i % 8)
        truth[row : row + 8, column : column + 8] = i + 1
    return truth


def task() -> Task:
    return Task("set", sample(), 0, draw=1)


def data_of(variation: Variation, some: Task | None = None) -> tuple[TrainingData, TrainConfig]:
    some = some or task()
    config = TrainConfig.preset("fast", **{**SMALL, **variation.settings})
    images = [AnnotatedImage("0", some.sample.image, some.paint())]
    return prepare_training(images, config), config


def trainer_of(variation: Variation) -> Trainer:
    data, config = data_of(variation)
    return Trainer(data, config, CPU, None)


def near_cells() -> NDArray[np.uint16]:
    """Background all around two cells but for a sliver of two pixels between them."""
    paint = np.ones((24, 24), np.uint16)
    paint[4:20, 4:11], paint[4:20, 13:20] = 2, 3
    paint[4:20, 11:13] = 0
    return paint


def target_of_paint(variation: Variation) -> Target:
    """What two near cells teach that are some ten pixels wide."""
    table = class_table([near_cells()], "objects", "unlabelled")
    with variation.meanwhile():
        return frame_target(near_cells(), table, TrainConfig(border_sigma=1.0), 1.0)


def implies_a_border(target: Target) -> bool:
    return bool((target.classes[6:18, 11:13] == 0).any())


def border_of(target: Target) -> NDArray[np.float32]:
    assert target.border is not None
    return target.border


def test_a_sliver_implies_a_border_unless_that_is_taken_back() -> None:
    taken_back = target_of_paint(CAUSES["slivers teach nothing"])
    assert implies_a_border(target_of_paint(AS_IT_IS))
    assert not implies_a_border(taken_back)
    assert (taken_back.classes[near_cells() == 0] == -1).all()


def test_border_weights_of_the_paper_are_wide_around_small_cells() -> None:
    narrow, wide = target_of_paint(AS_IT_IS), target_of_paint(CAUSES["border weights, sigma 5"])
    assert border_of(narrow)[2, 12] < 0.1 < 1 < border_of(wide)[2, 12]
    assert border_of(narrow)[10, 11] < border_of(wide)[10, 11]


def test_wide_border_weights_leave_slivers_as_wide_as_they_were() -> None:
    paint = near_cells()
    paint[4:20, 9:15] = 0  # too far apart for cells of ten pixels, near enough for those of fifty
    table, config = class_table([paint], "objects", "unlabelled"), TrainConfig(border_sigma=1.0)
    with CAUSES["border weights, sigma 5"].meanwhile():
        ours = frame_target(paint, table, config, 1.0)
        by_setting = frame_target(paint, table, config.changed(border_sigma=5.0), 1.0)
    assert not (ours.classes[paint == 0] == 0).any()
    assert (by_setting.classes[paint == 0] == 0).any()


def moves_its_statistics(variation: Variation) -> bool:
    with variation.meanwhile():
        trainer = trainer_of(variation)
        before = statistics_of(trainer.network)
        trainer.train_step(0.5)
    after = statistics_of(trainer.network)
    return any(not torch.equal(before[name], after[name]) for name in before)


def test_statistics_stay_where_they_are_kept() -> None:
    assert moves_its_statistics(AS_IT_IS)
    assert not moves_its_statistics(TRIED["statistics kept"])


def test_no_statistics_are_fitted_where_that_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fitted(*_: Any) -> float:
        raise AssertionError("statistics were fitted")

    monkeypatch.setattr(Trainer, "_value_with", fitted)
    with CAUSES["no statistics fitted"].meanwhile():
        trainer_of(AS_IT_IS).fit_statistics()
    with pytest.raises(AssertionError, match="fitted"):
        trainer_of(AS_IT_IS).fit_statistics()


def ruined(variation: Variation) -> Measured:
    """Learn at such a rate that the start is better than all that follows."""
    some = task()
    config = TrainConfig.preset("fast", learning_rate=10.0, **SMALL)
    with variation.meanwhile():
        return measure(some.sample, some.paint(), config)


def keeps_the_last(measured: Measured) -> bool:
    kept, last = measured.trained.trained.unet, measured.trained.latest.unet
    return all(torch.equal(a, b) for a, b in zip(kept.parameters(), last.parameters(), strict=True))


def test_the_last_weights_are_kept_though_the_start_was_better() -> None:
    assert not keeps_the_last(ruined(AS_IT_IS))
    assert keeps_the_last(ruined(CAUSES["last weights"]))


def test_some_of_ten_cells_are_held_back_where_that_is_taken_back() -> None:
    some = Task("set", sample(small_cells()), 0, draw=1)
    assert len(np.unique(some.paint())) == 2 + 10  # and unlabelled, and background
    assert not data_of(AS_IT_IS, some)[0].blocks
    with CAUSES["some cells held back"].meanwhile():
        assert data_of(AS_IT_IS, some)[0].blocks


def test_small_cells_are_not_enlarged_where_that_is_taken_back() -> None:
    some = Task("set", sample(small_cells()), 0, draw=1)
    assert data_of(AS_IT_IS, some)[0].binning < 1
    assert data_of(CAUSES["not binned"], some)[0].binning == 1


def teaches(variation: Variation) -> bool:
    with variation.meanwhile():
        return trainer_of(variation).teachers.starting_model is not None


def test_a_silent_starting_model_is_begun_with_all_the_same() -> None:
    silent = CAUSES["starting model does not teach"]
    assert teaches(AS_IT_IS)
    assert not teaches(silent)
    with silent.meanwhile():
        assert trainer_of(silent).knows_something


def test_random_weights_know_nothing() -> None:
    assert not trainer_of(CAUSES["random weights"]).knows_something


@pytest.mark.parametrize("row", CAUSES)
def test_each_row_takes_one_thing_back_by_a_setting_or_in_the_trainer(row: str) -> None:
    variation = CAUSES[row]
    assert len(variation.settings) + (variation.meanwhile is not nullcontext) == 1


def parts() -> list[Any]:
    """What the rows replace, of the trainer as it is now."""
    return [
        vars(targets)["sliver_of"],
        vars(targets)["_border_of"],
        vars(Trainer)["_fits_statistics"],
        vars(loop)["best_model"],
        vars(held_back)["CELLS_TO_SPARE_SOME"],
        vars(Teachers)["_trusted_on"],
    ]


def replaced(before: list[Any]) -> int:
    return sum(one is not other for one, other in zip(before, parts(), strict=True))


@pytest.mark.parametrize("row", CAUSES)
def test_what_a_row_replaces_is_one_part_and_put_back_after_it(row: str) -> None:
    before = parts()
    with CAUSES[row].meanwhile():
        assert replaced(before) == (0 if CAUSES[row].settings else 1)
    assert replaced(before) == 0


def test_a_row_learns_and_is_scored() -> None:
    trials = trials_of(task(), options_of(parser().parse_args([])))
    trial = next(t for t in trials if t.row == "last weights")
    outcome = trial.run(trial.config.changed(**SMALL))
    (scores,) = outcome.scores.values()
    assert set(TABLE.columns) - {"gain", "gain_75"} <= set(scores)
    assert outcome.steps == 2


def test_all_rows_of_an_image_and_draw_have_the_same_paint_and_seed() -> None:
    trials = trials_of(task(), options_of(parser().parse_args([])))
    assert [t.row for t in trials] == [*CONTROLS, *CAUSES]
    assert {t.row for t in trials if t.config.seed != 1} == {"another seed"}
    assert {(t.dataset, t.split, t.repeat, t.config.steps) for t in trials} == {
        ("set", "image 0", 1, 100)
    }


def test_what_was_tried_are_rows_on_demand() -> None:
    rows = options_of(parser().parse_args(["--tried"])).rows
    assert list(rows) == [*CONTROLS, *CAUSES, *TRIED]
    assert all(TrainConfig.preset("fast", **v.settings) for v in rows.values())


def test_the_quick_form_has_one_image_of_each_set_and_two_draws() -> None:
    options = options_of(parser().parse_args(["--quick"]))
    assert options.images == {name: IMAGES[name][:1] for name in COUNTS}
    assert options.draws == 2


def record(row: str, repeat: int, f1: float, dataset: str = "set") -> Record:
    scores = {"ten cells": {"f1_50": f1, "f1_75": f1 / 2}}
    return Record(row, dataset, "image 1", repeat, {}, scores, 10, 1.0, "CPU", 2, "abc")


def test_differences_are_those_to_the_same_run_as_it_is() -> None:
    found = with_differences(
        [
            *(record("as it is", 1, 0.5), record("as it is", 2, 0.8)),
            *(record("not binned", 1, 0.6), record("not binned", 2, 0.4)),
        ]
    )
    gains = [r.scores["ten cells"].get("gain") for r in found if r.dataset == "set"]
    assert gains == [None, None, pytest.approx(0.1), pytest.approx(-0.4)]
    assert found[2].scores["ten cells"]["gain_75"] == pytest.approx(0.05)


def test_a_run_without_its_like_has_no_difference() -> None:
    found = with_differences([record("as it is", 1, 0.5), record("not binned", 2, 0.6)])
    assert "gain" not in found[1].scores["ten cells"]


def test_all_sets_are_told_as_one_as_well() -> None:
    found = with_differences([record("as it is", 1, 0.5), record("as it is", 1, 0.7, "other set")])
    assert [r.dataset for r in found] == ["set", "other set", "all", "all"]


def test_sets_that_are_not_there_are_named(tmp_path: Path) -> None:
    options = options_of(parser().parse_args(["--data", str(tmp_path), "--sets", "ctc_dic_hela"]))
    assert "Not there, so not measured: ctc_dic_hela" in options.form
    with pytest.raises(FileProblemError, match="None of the data sets"):
        plan(options)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--sets", "axon_sem"], "no set 'axon_sem'"), (["--draws", "0"], "must be 1 or more")],
)
def test_what_cannot_work_is_refused(arguments: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        options_of(parser().parse_args(arguments))
