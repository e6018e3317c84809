"""What painting pays: painted cells are looked for, and gains are those to nothing painted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from experiment import Record
from painted_images import IMAGES, Task
from painter import paint_cells
from scored_painting import measure, measure_nothing, scores_of_painting
from ten_cells import options_of, parser, plan, with_gains

from napari_unet.errors import ConfigError, FileProblemError
from napari_unet.model.starting import STARTING_MODELS
from napari_unet.training.config import TrainConfig

from .builders import cells, sample


def record(row: str, way: str, f1: float) -> Record:
    return Record(row, "set", "image 1", 0, {}, {way: {"f1_50": f1}}, 10, 1.0, "CPU", 2, "abc")


def test_a_painted_cell_is_found_by_its_true_outline() -> None:
    truth = cells()
    paint = np.where((truth == 3) | (truth == 10), truth, 0)
    predicted = truth.copy()
    predicted[12:16, 12:32] = 0  # of the first painted cell a fifth is missing
    predicted[12:21, 56:76] = 0  # of the second nearly a half
    predicted[56:76, 12:32] = 0  # of a cell that is not painted all
    scores = scores_of_painting(predicted, truth, paint)
    assert (scores["painted_50"], scores["painted_75"]) == (1.0, 0.5)
    assert scores["area"] == pytest.approx((0.8 + 0.55 + 1) / 4)
    assert scores["f1_50"] == pytest.approx(6 / 7)


def test_cells_in_the_border_are_not_scored() -> None:
    truth = cells()
    truth[0:5, 0:5] = 50
    paint = np.where(truth == 3, 2, 0)
    assert scores_of_painting(cells(), truth, paint, border=10)["map"] == 1.0


def test_a_training_is_scored_and_can_go_on() -> None:
    image = sample()
    paint = paint_cells(image.labels, 2, 0)
    config = TrainConfig.preset("fast", steps=2, patch_size=64, batch_size=1)
    first = measure(image, paint, config)
    more = paint_cells(image.labels, 2, 0, before=paint)
    second = measure(image, more, config, previous=first.trained)
    assert (first.steps, second.steps) == (2, 4)
    assert 0 <= second.scores["painted_50"] <= 1


def test_untrained_is_what_a_training_begins_with() -> None:
    image = sample()
    config = TrainConfig.preset("fast", steps=2, patch_size=64, batch_size=1)
    measured = measure(image, paint_cells(image.labels, 2, 0), config, untrained=True)
    assert measured.steps == 0


def test_colours_are_shown_to_starting_models_as_their_mean() -> None:
    image = sample(colours=3)
    found = measure_nothing(image, paint_cells(image.labels, 2, 0))
    assert set(found) <= set(STARTING_MODELS)
    assert found


def test_gains_are_those_to_the_best_starting_model_of_the_same_image() -> None:
    nothing = record("nothing painted", "best starting model", 0.5)
    nothing.scores["cells"] = {"f1_50": 0.4}
    found = with_gains([nothing, record("10 steps", "first ten", 0.7)])
    assert list(found[0].scores) == ["best starting model"]
    assert found[1].scores["first ten"]["gain"] == pytest.approx(0.2)


def test_odd_draws_have_slivers() -> None:
    image = sample()
    exact, unsteady = (Task("set", image, 0, draw, "cells").paint() for draw in (0, 1))
    assert set(np.unique(image.labels[exact > 1])) & {0} == set()
    assert not np.array_equal(exact > 1, unsteady > 1)


def test_sets_that_are_not_there_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(tmp_path), "--sets", "axon_sem", "--quick"]
    options = options_of(parser().parse_args(arguments))
    with pytest.raises(FileProblemError, match="None of the data sets"):
        plan(options)
    assert "axon_sem is not in" in capsys.readouterr().out
    assert "Not there, so not measured: axon_sem" in options.form


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(ConfigError, match="no set 'cats'"):
        options_of(parser().parse_args(["--sets", "cats"]))


def test_of_usiigaci_held_out_fields_are_taken() -> None:
    assert {int(number) % 3 for number in IMAGES["usiigaci_phc"]} == {2}
