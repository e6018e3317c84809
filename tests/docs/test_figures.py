"""The figures of the pages are those that the code makes now."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "images" / "figures"
# 128 colours stand for all of a picture.
FARTHEST_COLOUR = 40


@pytest.fixture(scope="module")
def figures() -> Any:
    """The script that makes them, as a module."""
    sys.path.insert(0, str(ROOT / "scripts"))
    yield importlib.import_module("make_figures")
    sys.path.remove(str(ROOT / "scripts"))


def test_each_drawing_is_the_one_that_the_script_draws(figures: Any) -> None:
    stored = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.svg")}
    assert stored == figures.drawings()


def test_each_picture_shows_what_the_code_computes(figures: Any) -> None:
    made = figures.pictures()
    assert {path.name for path in FOLDER.glob("*.png")} == set(made)
    for name, picture in made.items():
        stored = np.asarray(Image.open(FOLDER / name).convert("RGB"), int)
        assert stored.shape == picture.shape
        far = np.abs(stored - picture).max(axis=-1) > FARTHEST_COLOUR
        assert far.mean() < 0.002, name


def test_the_drawn_sizes_are_those_of_the_paper(figures: Any) -> None:
    drawn = figures.drawings()["unet-paper.svg"]
    sizes = {572, 570, 568, 284, 282, 280, 140, 138, 136, 68, 66, 64, 32, 30, 28}
    sizes |= {56, 54, 52, 104, 102, 100, 200, 198, 196, 392, 390, 388}
    assert all(f">{size}</text>" in drawn for size in sizes)


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_a_figure_loads_quickly(path: Path) -> None:
    assert path.stat().st_size < 150_000
