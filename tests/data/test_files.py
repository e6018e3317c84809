from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_unet.data.files import find_images, pair_files, read_image, write_image
from napari_unet.errors import FileProblemError

NOISE = np.random.default_rng(0).integers(0, 255, (30, 40)).astype(np.uint8)
IMAGE = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.tif", "a.tif"):
        tifffile.imwrite(tmp_path / name, IMAGE)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


@pytest.mark.parametrize("pattern", ["", "*.tif", "[ab].tif"], ids=["folder", "glob", "set"])
def test_images_are_found_sorted_by_name(folder: Path, pattern: str) -> None:
    assert names(find_images([folder / pattern])) == ["a.tif", "b.tif"]


def test_an_image_named_twice_is_found_once(folder: Path) -> None:
    assert names(find_images([folder, folder / "a.tif"])) == ["a.tif", "b.tif"]


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match=r"There is no file or folder .*none"):
        find_images([tmp_path / "none"])


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match="holds no image"):
        find_images([tmp_path])


def paths(*stems: str) -> list[Path]:
    return [Path(f"{stem}.tif") for stem in stems]


def test_files_of_equal_stems_are_paired() -> None:
    pairs = pair_files(paths("a", "b"), [Path("x/b.png"), Path("x/a.png")])
    assert [(image.stem, labels.stem) for image, labels in pairs] == [("a", "a"), ("b", "b")]


def test_lists_without_a_common_stem_are_paired_in_order() -> None:
    pairs = pair_files(paths("a_image", "b_image"), paths("a_labels", "b_labels"))
    assert pairs[1] == (Path("b_image.tif"), Path("b_labels.tif"))


@pytest.mark.parametrize(
    ("images", "labels", "odd"),
    [
        (["a", "b"], ["a"], "b.tif"),
        (["a"], ["a", "c"], "c.tif"),
        (["a", "b"], ["a", "c"], "b.tif, c.tif"),
    ],
    ids=["no labels", "no image", "both"],
)
def test_files_without_a_partner_are_listed(images: list[str], labels: list[str], odd: str) -> None:
    with pytest.raises(FileProblemError, match=odd):
        pair_files(paths(*images), paths(*labels))


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_a_compressed_tiff_is_read(tmp_path: Path, compression: Any) -> None:
    tifffile.imwrite(tmp_path / "x.tif", IMAGE, compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").array, IMAGE)


def test_the_axes_of_an_imagej_hyperstack_are_known(tmp_path: Path) -> None:
    stack = np.zeros((2, 3, 2, 8, 9), np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", stack, imagej=True, metadata={"axes": "TZCYX"})
    assert read_image(tmp_path / "x.tif").axes == "TZCYX"


def test_a_colour_tiff_has_a_channel_axis(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((8, 9, 3), np.uint8), photometric="rgb")
    assert read_image(tmp_path / "x.tif").axes == "YXC"


def test_a_stack_of_unknown_axes_says_so(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((5, 8, 9), np.uint8), metadata=None)
    assert read_image(tmp_path / "x.tif").axes is None


@pytest.mark.parametrize(
    ("mode", "shape"), [("L", (8, 9)), ("RGB", (8, 9, 3)), ("RGBA", (8, 9, 3)), ("P", (8, 9, 3))]
)
def test_a_png_is_read_without_transparency(
    tmp_path: Path, mode: str, shape: tuple[int, ...]
) -> None:
    Image.new(mode, (9, 8)).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").array.shape == shape


def test_a_png_of_16_bits_keeps_them(tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_image(tmp_path / "x.png").array, IMAGE)


def test_a_numpy_file_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGE)
    np.testing.assert_array_equal(read_image(tmp_path / "x.npy").array, IMAGE)


def test_a_numpy_file_with_objects_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(FileProblemError, match="Cannot read"):
        read_image(tmp_path / "x.npy")


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy"])
@pytest.mark.parametrize("kept", [0, 10, 200])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str, kept: int) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, IMAGE)
    elif suffix == ".png":
        Image.fromarray(NOISE).save(path)
    else:
        np.save(path, IMAGE)
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(FileProblemError, match="Cannot read") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_an_unknown_format_is_told_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "x.czi").write_bytes(b"")
    with pytest.raises(FileProblemError, match=r"unknown format; use one of \.tif"):
        read_image(tmp_path / "x.czi")


def test_what_was_written_is_read_with_its_axes(tmp_path: Path) -> None:
    stack = np.stack([IMAGE, IMAGE])
    write_image(tmp_path / "Zellen für dich.tif", stack, "TYX")
    image = read_image(tmp_path / "Zellen für dich.tif")
    assert image.axes == "TYX"
    np.testing.assert_array_equal(image.array, stack)


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *arguments: Any, **options: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", full)
    with pytest.raises(FileProblemError, match="No space left"):
        write_image(tmp_path / "x.tif", IMAGE, "YX")
    assert not list(tmp_path.iterdir())
