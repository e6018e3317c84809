"""Tables that spreadsheets open: what others named is never computed."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.io.annotations.writing import write_objects
from napari_unet.io.disk import write_csv
from package_source import MODULES, name_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.fault(69)


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t=", "\r=", " ="])
def test_a_name_that_begins_as_a_formula_does_is_text(tmp_path: Path, begin: str) -> None:
    name = f'{begin}HYPERLINK("http://a.b")'
    write_csv({name: np.array([name, "cell"], object)}, tmp_path / "t.csv")
    assert rows(tmp_path / "t.csv") == [[f"'{name}"], [f"'{name}"], ["cell"]]


def test_numbers_below_zero_stay_numbers(tmp_path: Path) -> None:
    write_csv({"x": np.array([-1.5, 2]), "n": np.array([-1, 2])}, tmp_path / "t.csv")
    assert rows(tmp_path / "t.csv")[1] == ["-1.5", "-1"]


def test_a_class_that_is_called_as_a_formula_is_text_in_its_table(tmp_path: Path) -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[2:5, 2:5] = 1
    write_objects(tmp_path / "t.csv", labels, names={1: "=1+1"})
    assert rows(tmp_path / "t.csv")[1][-1] == "'=1+1"


def test_no_other_module_writes_names_into_tables() -> None:
    writers = {name_of(p) for p in MODULES if "csv.writer(" in p.read_text(encoding="utf-8")}
    assert writers == {"io/disk.py", "cli/progress.py"}  # the latter writes numbers alone
