"""The pictures of the site: badly painted examples have their mistakes, scenes have their pages."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import paint_examples
import window_pictures

from napari_unet.samples import load_nuclei_2d


def test_touching_cells_get_one_number_and_apart_ones_do_not() -> None:
    paint = np.zeros((40, 40), np.uint16)
    paint[5:15, 5:15], paint[5:15, 16:26], paint[30:38, 30:38] = 2, 3, 4
    joined = paint_examples.joined(paint)
    assert joined[10, 10] == joined[10, 20] != joined[34, 34] >= 2


def test_cells_spill_over_their_border_and_keep_their_numbers() -> None:
    _, paint, _ = load_nuclei_2d()
    spilled = paint_examples.spilled(paint)
    assert (spilled >= 2).sum() > (paint >= 2).sum()
    assert np.array_equal(spilled[paint >= 2], paint[paint >= 2])


def test_only_background_in_the_open_is_left() -> None:
    _, paint, _ = load_nuclei_2d()
    left = paint_examples.open_background_only(paint)
    assert 0 < (left == 1).sum() < (paint == 1).sum()
    assert np.array_equal(left >= 2, paint >= 2)


@pytest.mark.parametrize("count", [1, 6])
def test_so_many_cells_are_kept(count: int) -> None:
    _, paint, _ = load_nuclei_2d()
    kept = paint_examples.first_cells(paint, count)
    assert len(np.unique(kept[kept >= 2])) == count


def test_the_lines_of_the_membrane_page_draw_three_classes(tmp_path: Path) -> None:
    window_pictures.run_page("tutorials/em-membranes.md", 1, tmp_path)
    assert np.unique(tifffile.imread(tmp_path / "em/classes_2.tif")).tolist() == [1, 2, 3]


def test_the_lines_of_the_movie_page_draw_four_divisions(tmp_path: Path) -> None:
    names = window_pictures.run_page("tutorials/time-lapse.md", 1, tmp_path)
    first, last = (len(np.unique(names["nuclei"][frame])) - 1 for frame in (0, -1))
    assert (first, last) == (20, 24)


def test_a_page_is_left_where_it_was_run_from(tmp_path: Path) -> None:
    before = Path.cwd()
    window_pictures.run_page("tutorials/em-membranes.md", 1, tmp_path)
    assert Path.cwd() == before


def test_a_picture_is_small_and_holds_few_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_pictures, "OUT", tmp_path)
    monkeypatch.setattr(window_pictures, "ROOT", tmp_path)
    noise = np.random.default_rng(0).integers(0, 255, (300, 600, 3), np.uint8)
    window_pictures.write_picture(noise, "noise")
    assert (tmp_path / "noise.png").stat().st_size <= window_pictures.LARGEST
