"""Names are ordered and paired as people read them; what stays ambiguous is refused."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.errors import FileProblemError
from napari_unet.io.files import find_images, in_natural_order, pair_files


def files(names: str) -> list[Path]:
    return [Path(f"{name}.tif") for name in names.split()]


def pairs_of(images: str, labels: str) -> list[tuple[str, str]]:
    found = pair_files(files(images), files(labels))
    return [(image.stem, truth.stem) for image, truth in found]


@pytest.mark.parametrize(
    "names",
    [
        "f1 f2 f10 f11",
        "a a_2 a_10",
        "t2_z9 t2_z10 t10_z1",
        "img02 img3 img010",
        "a a-2 a.b",
    ],
)
def test_numbers_in_names_compare_as_numbers(names: str) -> None:
    paths = files(names)
    assert in_natural_order(reversed(paths)) == paths


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for number in (1, 10, 11, 2):
        (tmp_path / f"f{number}.tif").touch()
    assert [path.stem for path in find_images([tmp_path])] == ["f1", "f2", "f10", "f11"]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("a a_2", "a_mask a_2_mask"),
        ("a_2 a a_10", "a_2_mask a_mask a_10_mask"),
        ("cell_1 cell_2 cell_10", "cell_1_0000 cell_2_0000 cell_10_0000"),
        ("cell_1_0000 cell_2_0000 cell_10_0000", "cell_1 cell_2 cell_10"),
        ("img1 img2 img10", "lbl01 lbl02 lbl10"),
        ("a_image b_image", "a_labels b_labels"),
        ("imageA imageB", "maskA maskB"),
        ("a b", "a b_seg"),
        ("x1 x2", "x1_20260101_7 x2_20260102_8"),
        ("img_1 img_11", "img_001_cp_masks img_011_cp_masks"),
        ("t0 t1", "man_seg0 man_seg1"),
    ],
)
def test_files_pair_by_what_their_names_share(images: str, labels: str) -> None:
    expected = list(zip(images.split(), labels.split(), strict=True))
    shuffled = labels.split()
    Random(0).shuffle(shuffled)
    assert pairs_of(images, " ".join(shuffled)) == expected


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("001 002", "003 004"),
        ("a a_2", "a_2_mask a_3_mask"),
        ("cells nuclei", "first second"),
        ("a_1 a_01", "m_1 m_01"),
    ],
)
def test_names_that_do_not_agree_are_refused_with_the_pairs(images: str, labels: str) -> None:
    first = f"{images.split()[0]}.tif"
    with pytest.raises(FileProblemError, match=f"do not pair by name.*In order, {first} would go"):
        pairs_of(images, labels)


@given(numbers=st.lists(st.integers(0, 2000), unique=True, min_size=1, max_size=8))
def test_any_numbers_pair_with_themselves(numbers: list[int]) -> None:
    images = " ".join(f"img{n}" for n in numbers)
    labels = " ".join(f"mask_{n:05d}_v2" for n in reversed(numbers))
    assert [int(i[3:]) for i, _ in pairs_of(images, labels)] == numbers
    assert [int(t.split("_")[1]) for _, t in pairs_of(images, labels)] == numbers
