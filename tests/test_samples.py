"""The sample images are what their README says."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from napari_unet import samples

BACKGROUND = 1
FIRST_CELL = 2
Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def phase_2d() -> tuple[Array, Array, Array]:
    return samples.load_phase_2d()


@pytest.fixture(scope="module", params=[samples.load_phase_2d, samples.load_nuclei_2d])
def painted_sample(request: pytest.FixtureRequest) -> tuple[Array, Array, Array]:
    return request.param()  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def nuclei_2d() -> tuple[Array, Array, Array]:
    return samples.load_nuclei_2d()


def test_shapes_and_types(nuclei_2d: tuple[Array, Array, Array]) -> None:
    image, strokes, labels = nuclei_2d
    assert (image.shape, image.dtype.name) == ((512, 512), "uint8")
    assert (strokes.shape, strokes.dtype.name) == ((512, 512), "uint16")
    assert (labels.shape, labels.dtype.name) == ((512, 512), "uint16")
    volume, volume_labels = samples.load_nuclei_3d()
    assert (volume.shape, volume.dtype.name) == ((31, 61, 57), "uint16")
    assert (volume_labels.shape, volume_labels.dtype.name) == ((31, 61, 57), "uint16")


def test_shapes_and_types_of_phase_contrast(phase_2d: tuple[Array, Array, Array]) -> None:
    assert [array.shape for array in phase_2d] == [(600, 600)] * 3
    assert [array.dtype.name for array in phase_2d] == ["uint8", "uint16", "uint16"]


def test_ten_of_22_cells_in_phase_contrast_are_painted(
    phase_2d: tuple[Array, Array, Array],
) -> None:
    _, paint, labels = phase_2d
    np.testing.assert_array_equal(np.unique(paint), np.arange(12))
    np.testing.assert_array_equal(np.unique(labels), np.arange(23))


def test_each_painted_cell_in_phase_contrast_has_a_ring_of_background(
    phase_2d: tuple[Array, Array, Array],
) -> None:
    _, paint, labels = phase_2d
    for cell in range(FIRST_CELL, 12):
        painted = paint == cell
        around = ndimage.binary_dilation(painted, iterations=2) & ~painted & (labels == 0)
        assert np.mean(paint[around] > 0) > 0.95


def test_counts_of_the_full_labels(nuclei_2d: tuple[Array, Array, Array]) -> None:
    labels_2d, labels_3d = nuclei_2d[2], samples.load_nuclei_3d()[1]
    assert len(np.unique(labels_2d[labels_2d > 0])) == 125
    assert len(np.unique(labels_3d[labels_3d > 0])) == 51


def test_strokes_number_their_cells_from_two(nuclei_2d: tuple[Array, Array, Array]) -> None:
    values = np.unique(nuclei_2d[1])
    assert 10 <= values[-1] - BACKGROUND <= 20
    np.testing.assert_array_equal(values, np.arange(values[-1] + 1))


def test_less_than_five_percent_is_painted(nuclei_2d: tuple[Array, Array, Array]) -> None:
    strokes = nuclei_2d[1]
    assert 0.02 < np.mean(strokes > 0) < 0.05
    background, cells = np.sum(strokes == BACKGROUND), np.sum(strokes >= FIRST_CELL)
    assert 0.8 < background / cells < 1.5


def test_background_keeps_off_every_cell(painted_sample: tuple[Array, Array, Array]) -> None:
    _, strokes, labels = painted_sample
    assert not np.any(labels[strokes == BACKGROUND])


def test_each_painted_cell_is_one_piece_of_one_cell(
    painted_sample: tuple[Array, Array, Array],
) -> None:
    _, strokes, labels = painted_sample
    met = []
    for cell in range(FIRST_CELL, int(strokes.max()) + 1):
        painted = strokes == cell
        assert ndimage.label(painted)[1] == 1
        nuclei, pixels = np.unique(labels[painted & (labels > 0)], return_counts=True)
        assert len(nuclei) == 1, f"cell {cell} covers nuclei {nuclei}"
        assert pixels[0] / painted.sum() > 0.85, f"cell {cell} is painted too large"
        assert pixels[0] / np.sum(labels == nuclei[0]) > 0.8, f"cell {cell} is painted too small"
        met.append(int(nuclei[0]))
    assert len(set(met)) == len(met)


def test_at_least_three_pairs_of_painted_cells_touch(
    nuclei_2d: tuple[Array, Array, Array],
) -> None:
    strokes = nuclei_2d[1]
    pairs = set()
    for one, other in ((strokes[1:], strokes[:-1]), (strokes[:, 1:], strokes[:, :-1])):
        meet = (one != other) & (one >= FIRST_CELL) & (other >= FIRST_CELL)
        pairs |= {frozenset(pair) for pair in zip(one[meet], other[meet], strict=True)}
    assert len(pairs) >= 3


def test_readme_quotes_the_counts(nuclei_2d: tuple[Array, Array, Array]) -> None:
    strokes = nuclei_2d[1]
    readme = (samples.sample_dir() / "README.md").read_text(encoding="utf-8")
    quoted = re.search(r"(\d+) nuclei with ([\d,]+) pixels and ([\d,]+) pixels", readme)
    assert quoted is not None
    cells, background = np.sum(strokes >= FIRST_CELL), np.sum(strokes == BACKGROUND)
    counts = [int(number.replace(",", "")) for number in quoted.groups()]
    assert counts == [strokes.max() - BACKGROUND, cells, background]


def test_readme_quotes_the_counts_of_phase_contrast(
    phase_2d: tuple[Array, Array, Array],
) -> None:
    paint = phase_2d[1]
    readme = (samples.sample_dir() / "README.md").read_text(encoding="utf-8")
    cells, background = np.sum(paint >= FIRST_CELL), np.sum(paint == BACKGROUND)
    assert f"Ten painted cells: {cells:,} pixels" in readme
    assert (
        f"open ({background:,} pixels), together {np.mean(paint > 0):.2%}".replace("%", " %")
        in readme
    )


@pytest.mark.parametrize(
    ("layers", "types"),
    [
        (samples.phase_2d, ["image", "labels"]),
        (samples.nuclei_2d, ["image", "labels"]),
        (samples.nuclei_3d, ["image", "labels"]),
    ],
)
def test_layers(layers: Any, types: list[str]) -> None:
    made = layers()
    assert [layer[2] for layer in made] == types
    assert len({layer[1]["name"] for layer in made}) == len(made)
    assert len({layer[0].shape for layer in made}) == 1


def test_strokes_layer_has_the_name_the_demo_looks_for() -> None:
    assert samples.nuclei_2d()[1][1]["name"] == "nuclei 2D strokes"


def test_missing_images_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    nowhere = tmp_path_factory.mktemp("a") / "b" / "napari_unet"
    monkeypatch.setattr(samples, "__file__", str(nowhere / "samples.py"))
    with pytest.raises(FileNotFoundError, match="sample images are missing"):
        samples.sample_dir()


def test_importing_is_light() -> None:
    program = (
        "import sys, napari_unet.samples\n"
        "heavy = {'torch', 'napari', 'qtpy', 'skimage', 'scipy', 'tifffile'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""
