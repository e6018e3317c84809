"""The accuracy tables: splits keep apart what must be, paint is what it says, tables add up."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import (
    Sample,
    cropped_to_field,
    entering_field,
    fold_of_groups,
    painted_labels,
    split_in_time,
)
from experiment import Record
from few_labels import with_ratios
from numpy.typing import NDArray
from paint import paint_strokes, paint_whole_cells
from report import markdown_rows, mean_and_deviation, mean_and_worst

from napari_unet.errors import LabelsError


def cells() -> NDArray[np.uint16]:
    truth = np.zeros((120, 120), np.uint16)
    for i in range(9):
        row, column = 10 + 36 * (i // 3), 10 + 36 * (i % 3)
        truth[row : row + 24, column : column + 24] = 7 * i + 3
    return truth


def frame(number: int, gold: bool) -> Sample:
    return Sample(f"{number:03}", np.zeros((2, 2)), np.zeros((2, 2), np.uint8), gold)


def record(row: str, repeat: int, f1: float) -> Record:
    scores = {"as predicted": {"f1_50": f1}}
    return Record(row, "set", "split", repeat, {}, scores, 10, 1.0, "CPU", 2, "abc")


def test_groups_go_to_folds_in_order_of_appearance() -> None:
    assert fold_of_groups(["b", "b", "a", "c", "b", "d"], 3) == [0, 0, 1, 2, 0, 0]


def test_objects_wholly_in_the_border_are_dropped() -> None:
    labels = np.zeros((10, 10), np.uint8)
    labels[0:2, 0:2], labels[0:5, 6:8] = 1, 2
    assert np.unique(entering_field(labels, 3)).tolist() == [0, 2]


def test_unpainted_border_is_unlabelled() -> None:
    labels = np.zeros((6, 6), np.uint8)
    labels[0, 0] = 4
    painted = painted_labels(labels, "objects", border=1)
    assert (painted[0, 0], painted[0, 1], painted[2, 2]) == (5, 0, 1)


def test_without_a_border_everything_is_kept() -> None:
    sample = Sample("0", np.zeros((6, 6)), np.ones((6, 6), np.uint8))
    assert cropped_to_field(sample, 0).labels.shape == (6, 6)


def test_frames_between_training_and_test_are_left_out() -> None:
    split = split_in_time([frame(t, gold=True) for t in range(10)], 4, 8)
    assert ([s.name for s in split.train], [s.name for s in split.test]) == (
        ["000", "001", "002", "003", "004"],
        ["008", "009"],
    )


def test_gold_frames_are_tested_where_there_are_any() -> None:
    split = split_in_time([frame(1, True), frame(8, False), frame(9, True)], 4, 8)
    assert [s.name for s in split.test] == ["009"]


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_strokes_cover_the_share(share: float) -> None:
    painted = np.count_nonzero(paint_strokes(cells(), share, 0)) / cells().size
    assert share <= painted <= share + 0.02


def test_strokes_keep_to_what_they_mean() -> None:
    truth, paint = cells(), paint_strokes(cells(), 0.2, 1)
    assert not truth[paint == 1].any()
    owners = [np.unique(truth[paint == number]) for number in np.unique(paint[paint > 1])]
    assert all(len(owner) == 1 and owner[0] > 0 for owner in owners)


def test_the_same_seed_paints_the_same_strokes() -> None:
    assert np.array_equal(paint_strokes(cells(), 0.05, 3), paint_strokes(cells(), 0.05, 3))


def test_whole_cells_are_painted_whole() -> None:
    truth = cells()
    (paint,) = paint_whole_cells([truth], 0.2, 0)
    painted = np.unique(truth[paint > 1])
    assert np.array_equal(paint > 1, np.isin(truth, painted))


def test_at_least_one_whole_cell_is_painted() -> None:
    paints = paint_whole_cells([cells(), cells()], 0.001, 0)
    assert [len(np.unique(paint[paint > 1])) for paint in paints] in ([0, 1], [1, 0])


def test_an_image_without_cells_cannot_be_painted() -> None:
    with pytest.raises(LabelsError, match="no cell"):
        paint_strokes(np.zeros((20, 20), np.uint8), 0.1, 0)


@pytest.mark.parametrize(
    ("values", "words"),
    [([0.5], "0.500"), ([0.4, 0.6], "0.500 ± 0.141"), ([12, 14], "13.0 ± 1.4")],
    ids=["one", "two", "counts"],
)
def test_means_carry_their_deviation(values: list[float], words: str) -> None:
    assert mean_and_deviation(values) == words


def test_ratios_are_those_to_the_full_labels_of_the_same_repeat() -> None:
    found = with_ratios([record("all pixels", 0, 0.8), record("strokes, 5%", 0, 0.4)])
    assert [r.scores["as predicted"]["f1_ratio"] for r in found] == [1.0, 0.5]


def test_repeats_are_one_row_beside_the_published_figure() -> None:
    lines = markdown_rows(
        [record("a", 0, 0.8), record("a", 1, 0.6)], ["f1_50"], {("set", "f1_50"): 0.9}
    )
    assert lines[2] == "| set | a | as predicted | 2 | 10 | 0.700 ± 0.141 (paper: 0.9) |"


@pytest.mark.parametrize(
    ("key", "values", "words"),
    [
        ("f1_50", [0.8, 0.6], "0.700 / 0.600"),
        ("gain", [0.1, -0.2], "-0.050 / -0.200"),
        ("area", [0.8, 1.1], "0.950 / 0.800"),
        ("seconds", [1.0, 3.0], "2.0 / 3.0"),
    ],
)
def test_the_worst_run_stands_beside_the_mean(key: str, values: list[float], words: str) -> None:
    assert mean_and_worst(key, values) == words
