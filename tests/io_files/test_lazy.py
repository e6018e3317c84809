"""Large files are read by position, not mapped: one that is cut off is told of, and no end."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.errors import FileProblemError
from napari_unet.io import lazy, tiff_files
from napari_unet.io.files import in_memory, read_image
from napari_unet.io.lazy import FilePixels, npy_pixels

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = np.arange(5 * 6 * 7 * 4, dtype=">u2").reshape(5, 6, 7, 4)
slices = st.builds(slice, *[st.none() | st.integers(-9, 9)] * 2, st.sampled_from([None, 1, 2, -1]))
keys = st.lists(slices | st.integers(-4, 3) | st.just(...), max_size=5).filter(
    lambda found: found.count(...) <= 1 and len(found) - found.count(...) <= 4
)


@pytest.fixture(scope="module", params=["C", "F"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("arrays") / f"{request.param}.npy"
    np.save(path, np.asarray(NUMBERS, order=request.param))
    return path


@given(key=keys, bytes_per_call=st.sampled_from([0, 10, 10_000]), worth=st.sampled_from([0, 4, 99]))
def test_a_region_is_that_of_the_array(
    file: Path, key: list[slice | int], bytes_per_call: int, worth: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:  # each way of reading it
        patch.setattr(lazy, "_BYTES_PER_CALL", bytes_per_call)
        patch.setattr(lazy, "_WORTH_KEEPING", worth)
        found = npy_pixels(file)[tuple(key)]
    expected = NUMBERS[tuple(key)]
    np.testing.assert_array_equal(found, expected)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype or not expected.shape  # numbers have no byte order


def test_tiles_in_a_row_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).integers(0, 2**16, (256, 4096)).astype(np.uint16)
    np.save(tmp_path / "x.npy", image)
    pixels = npy_pixels(tmp_path / "x.npy")
    fill, read = pixels._fill, []

    def counted(into: memoryview, place: int) -> None:
        read.append(len(into))
        fill(into, place)

    monkeypatch.setattr(pixels, "_fill", counted)
    for start in range(0, 4096, 512):
        tile = pixels[10:200, start : start + 512]
        np.testing.assert_array_equal(tile, image[10:200, start : start + 512])
    assert read == [190 * 4096 * 2]


def test_two_files_do_not_mix(tmp_path: Path) -> None:
    for number in (1, 2):
        np.save(tmp_path / f"{number}.npy", np.full((64, 4096), number, np.uint16))
    files = [npy_pixels(tmp_path / f"{number}.npy") for number in (1, 2)]
    for _ in range(3):
        assert [int(each[3:60, 100:2000].max()) for each in files] == [1, 2]


def test_what_is_unpickled_opens_the_file_again(file: Path) -> None:
    pixels = npy_pixels(file).without_transparency()
    again = pickle.loads(pickle.dumps(pixels))
    np.testing.assert_array_equal(np.asarray(again), NUMBERS[..., :3])


def test_a_large_numpy_file_is_read_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff_files, "LARGE", 0)
    np.save(tmp_path / "x.npy", NUMBERS)
    image = read_image(tmp_path / "x.npy")
    assert isinstance(image.array, FilePixels)
    np.testing.assert_array_equal(in_memory(image), NUMBERS)


def test_a_large_numpy_file_of_objects_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff_files, "LARGE", 0)
    np.save(tmp_path / "x.npy", np.array([{}, ()], dtype=object), allow_pickle=True)
    with pytest.raises(FileProblemError, match=r"x\.npy: .*it holds object, not numbers"):
        read_image(tmp_path / "x.npy")


def test_a_file_that_is_written_anew_in_its_place_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((50, 60), np.uint16))
    array = npy_pixels(path)
    assert array[3, 4:9].sum() == 0
    with path.open("r+b") as file:
        np.save(file, np.full((50, 60), 7, np.uint16))
    os.utime(path, ns=(1, 1))
    assert array[3, 4:9].tolist() == [7] * 5


@pytest.mark.fault(54)
@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_a_file_that_is_cut_off_while_it_is_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(tiff_files, "LARGE", 0)
    path = tmp_path / f"x{suffix}"
    image = np.random.default_rng(0).integers(0, 2**16, (512, 512)).astype(np.uint16)
    np.save(path, image) if suffix == ".npy" else tifffile.imwrite(path, image)
    array = read_image(path).array
    os.truncate(path, 200_000)
    np.testing.assert_array_equal(array[:100], image[:100])
    with pytest.raises(FileProblemError, match=rf"x\{suffix}: .*was cut off while it was read"):
        array[300:400]


@pytest.mark.fault(54)
@pytest.mark.parametrize(
    "options",
    [{"compression": "zlib"}, {"compression": "lzw"}, {"tile": (64, 64)}, {"rowsperstrip": 64}],
    ids=str,
)
def test_a_packed_file_that_is_cut_off_while_it_is_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(tiff_files, "LARGE", 0)
    image = np.random.default_rng(0).integers(0, 2**16, (512, 512)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", image, **options)
    array = read_image(tmp_path / "x.tif").array
    os.truncate(tmp_path / "x.tif", 200_000)
    with pytest.raises(FileProblemError, match=r"Cannot read .*x\.tif"):
        array[...]


@pytest.mark.fault(54)
def test_nothing_is_mapped(tmp_path: Path) -> None:
    """Where a file that is mapped becomes shorter the system ends the process: SIGBUS."""
    np.save(tmp_path / "x.npy", np.ones((2048, 2048), np.uint16))
    program = (
        "import os, sys\n"
        "from napari_unet.io import tiff_files\n"
        "tiff_files.LARGE = 0\n"
        "from napari_unet.io.files import read_image\n"
        "array = read_image(sys.argv[1]).array\n"
        "os.truncate(sys.argv[1], 4096)\n"
        "try:\n"
        "    print(array[1000:1100].sum())\n"
        "except Exception as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "x.npy")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "was cut off while it was read" in result.stdout
