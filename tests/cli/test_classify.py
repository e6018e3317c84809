"""`napari-unet classify`: classes of finished objects."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_unet.io.files import read_labels, write_image, write_labels

from .builders import Array, run

Capture = pytest.CaptureFixture[str]


def squares(*sides: int) -> Array:
    labels = np.zeros((16, 16 * len(sides)), np.uint16)
    for number, side in enumerate(sides, start=1):
        labels[2 : 2 + side, 16 * number - 14 : 16 * number - 14 + side] = number
    return labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images with their labels, and examples on the first."""
    for name, sides in (("a", (4, 9, 5, 10)), ("b", (10, 4))):
        for kind in ("images", "labels"):
            (tmp_path / kind).mkdir(exist_ok=True)
        labels = squares(*sides)
        write_labels(tmp_path / "labels" / f"{name}.tif", labels, "YX")
        write_image(tmp_path / "images" / f"{name}.tif", labels.astype(np.uint8), "YX")
    (tmp_path / "examples.csv").write_text(
        "image,index,class\na.tif,1,small\na.tif,2,big\na.tif,3,small\na.tif,4,big\n"
    )
    return tmp_path


def classify(capsys: Capture, folder: Path, *arguments: object) -> Any:
    files = ["--images", folder / "images", "--labels", folder / "labels"]
    outcome = run(capsys, "classify", *files, *arguments, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    return json.loads(outcome.out)


def classes_in(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return [row["class"] for row in csv.DictReader(file)]


def test_a_folder_is_classified_by_a_table_of_examples(capsys: Capture, folder: Path) -> None:
    report = classify(
        capsys, folder, "--examples", folder / "examples.csv", "--output", folder / "out"
    )
    assert report["examples"] == 4
    assert [row["classes"] for row in report["classified"]] == [
        {"small": 2, "big": 2},
        {"big": 1, "small": 1},
    ]
    assert classes_in(folder / "out" / "b.csv") == ["big", "small"]


def test_the_class_image_holds_the_number_of_each_object_s_class(
    capsys: Capture, folder: Path
) -> None:
    classify(capsys, folder, "--examples", folder / "examples.csv", "--output", folder / "out")
    written = read_labels(folder / "out" / "b.tif")
    labels = read_labels(folder / "labels" / "b.tif")
    assert written.tolist() == np.array([0, 2, 1])[labels].tolist()


def test_the_classifier_is_saved_and_used_again(capsys: Capture, folder: Path) -> None:
    first = classify(
        capsys, folder, "--examples", folder / "examples.csv", "--output", folder / "out"
    )
    classify(capsys, folder, "--classifier", first["classifier"], "--output", folder / "again")
    assert Path(first["classifier"]).name == "objects.classifier.json"
    for name in ("a.tif", "b.tif", "b.csv"):
        assert (folder / "again" / name).read_bytes() == (folder / "out" / name).read_bytes()


def test_the_table_says_which_classes_were_given(capsys: Capture, folder: Path) -> None:
    classify(capsys, folder, "--examples", folder / "examples.csv", "--output", folder / "out")
    with (folder / "out" / "a.csv").open(newline="", encoding="utf-8") as file:
        assert [row["example"] for row in csv.DictReader(file)] == ["small", "big"] * 2


def test_what_was_learned_before_counts_beside_new_examples(capsys: Capture, folder: Path) -> None:
    first = classify(
        capsys, folder, "--examples", folder / "examples.csv", "--output", folder / "out"
    )
    (folder / "more.csv").write_text("image,index,class\nb.tif,1,odd\n")
    more = ["--classifier", first["classifier"], "--examples", folder / "more.csv"]
    again = classify(capsys, folder, *more, "--output", folder / "again")
    assert again["examples"] == 5
    assert classes_in(folder / "again" / "b.csv") == ["odd", "small"]


def test_labels_alone_are_classified_by_size_and_shape(capsys: Capture, folder: Path) -> None:
    files = ["--labels", folder / "labels", "--examples", folder / "examples.csv"]
    outcome = run(capsys, "classify", *files, "--output", folder / "out")
    assert outcome.code == 0
    assert "b.tif: 1 big, 1 small in " in outcome.out


def test_a_movie_has_examples_by_frame(capsys: Capture, tmp_path: Path) -> None:
    write_labels(tmp_path / "m.tif", np.stack([squares(4, 9), squares(10, 5)]), "TYX")
    (tmp_path / "examples.csv").write_text("index,frame,class\n1,0,small\n1,1,big\n")
    files = ["--labels", tmp_path / "m.tif", "--examples", tmp_path / "examples.csv"]
    assert run(capsys, "classify", *files, "--output", tmp_path / "out").code == 0
    assert classes_in(tmp_path / "out" / "m.csv") == ["small", "big", "big", "small"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("image,index,class\nc.tif,1,small\n", "'c.tif', which is none of the files"),
        ("image,index,class\na.tif,1,small\na.tif,3,small\n", "all examples are of class 'small'"),
        ("image,index,class\na.tif,77,small\n", "There is no object 77"),
        ("index,klass\n1,small\n", "needs the columns class and index"),
        ("image,index,class\n", "has no example"),
    ],
)
def test_examples_that_do_not_fit_are_told_in_one_line(
    capsys: Capture, folder: Path, table: str, words: str
) -> None:
    (folder / "examples.csv").write_text(table)
    files = ["--labels", folder / "labels", "--examples", folder / "examples.csv"]
    outcome = run(capsys, "classify", *files, "--output", folder / "out")
    assert outcome.code in (1, 2)
    assert words in outcome.error_line
    assert not list((folder / "out").glob("*.csv"))


def test_without_classifier_and_examples_nothing_is_classified(
    capsys: Capture, folder: Path
) -> None:
    outcome = run(capsys, "classify", "--labels", folder / "labels", "--output", folder / "out")
    assert outcome.code == 2
    assert "give --classifier or --examples" in outcome.error_line


def test_results_that_are_there_are_kept(capsys: Capture, folder: Path) -> None:
    arguments = ["--examples", folder / "examples.csv", "--output", folder / "out"]
    classify(capsys, folder, *arguments)
    outcome = run(capsys, "classify", "--labels", folder / "labels", *arguments)
    assert outcome.code == 1
    assert "already there" in outcome.error_line
    classify(capsys, folder, *arguments, "--overwrite")
