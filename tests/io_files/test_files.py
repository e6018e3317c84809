from __future__ import annotations

import os
import pickle
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from napari_unet.errors import FileProblemError
from napari_unet.io import limits
from napari_unet.io.files import (
    find_images,
    pair_files,
    read_image,
    read_labels,
    write_image,
)
from napari_unet.io.outputs import check_writable

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLOURS = np.random.default_rng(1).integers(0, 255, (12, 10, 3), np.uint8)
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


@pytest.mark.parametrize(("channels", "kept"), [(2, 0), (3, slice(3)), (4, slice(3))])
def test_a_colour_png_of_16_bits_keeps_them(tmp_path: Path, channels: int, kept: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 4095, (8, 9, channels)).astype(np.uint16)
    (tmp_path / "x.png").write_bytes(imagecodecs.png_encode(pixels))
    np.testing.assert_array_equal(read_image(tmp_path / "x.png").array, pixels[..., kept])


def test_a_png_of_200_megapixels_is_read(tmp_path: Path) -> None:
    Image.new("1", (20_000, 10_000)).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").array.shape == (10_000, 20_000)


def test_a_png_that_claims_more_than_its_bytes_can_hold_is_refused(tmp_path: Path) -> None:
    Image.new("L", (9, 8)).save(tmp_path / "x.png")
    content = bytearray((tmp_path / "x.png").read_bytes())
    content[16:24] = (2**31 - 1).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(FileProblemError, match="bytes claim 46116860"):
        read_image(tmp_path / "x.png")


def test_a_png_of_16_bits_counts_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "free_memory", lambda: 150_000)
    pixels = np.random.default_rng(0).integers(0, 255, (300, 300))
    for name, dtype in (("shallow.png", np.uint8), ("deep.png", np.uint16)):
        (tmp_path / name).write_bytes(imagecodecs.png_encode(pixels.astype(dtype)))
    assert read_image(tmp_path / "shallow.png").array.shape == (300, 300)
    with pytest.raises(FileProblemError, match=r"0\.2 MB of pixels, 0\.1 MB are free"):
        read_image(tmp_path / "deep.png")


def test_a_numpy_file_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGE)
    np.testing.assert_array_equal(read_image(tmp_path / "x.npy").array, IMAGE)


def test_a_numpy_file_with_objects_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(FileProblemError, match="Cannot read"):
        read_image(tmp_path / "x.npy")


@pytest.mark.parametrize(("array", "axes"), [(NOISE, "YX"), (COLOURS, "YXC")], ids=["grey", "rgb"])
@pytest.mark.parametrize("suffix", [".bmp", ".jp2", ".npz"])
def test_pictures_of_other_programs_are_read_as_they_are(
    tmp_path: Path, suffix: str, array: NDArray[Any], axes: str
) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".bmp":
        Image.fromarray(array).save(path)
    elif suffix == ".jp2":
        path.write_bytes(imagecodecs.jpeg2k_encode(array, level=0))
    else:
        np.savez(path, picture=array, scale=np.float32(0.5))
    image = read_image(path)
    np.testing.assert_array_equal(image.array, array)
    assert image.axes == (None if suffix == ".npz" else axes)


def test_a_jpeg_is_read_nearly_as_it_was(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "x.JPG", format="JPEG")
    found = read_image(tmp_path / "x.JPG").array
    assert np.abs(np.asarray(found, int) - smooth).max() <= 4


def test_jpeg_2000_keeps_16_bits(tmp_path: Path) -> None:
    deep = IMAGE * 50
    (tmp_path / "x.jp2").write_bytes(imagecodecs.jpeg2k_encode(deep, level=0))
    np.testing.assert_array_equal(read_image(tmp_path / "x.jp2").array, deep)


def test_transparency_of_jpeg_2000_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "x.jp2"
    Image.fromarray(np.dstack([COLOURS, COLOURS[..., 0]]), "RGBA").save(path)
    image = read_image(path)
    np.testing.assert_array_equal(image.array, COLOURS)
    assert "Transparency" in image.notices[0]


def test_four_bands_of_jpeg_2000_stay_four(tmp_path: Path) -> None:
    bands = np.dstack([COLOURS, COLOURS[..., 0]])
    (tmp_path / "x.jp2").write_bytes(imagecodecs.jpeg2k_encode(bands, level=0))
    np.testing.assert_array_equal(read_image(tmp_path / "x.jp2").array, bands)


def test_an_archive_of_two_images_is_refused_by_their_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", left=NOISE, right=NOISE)
    with pytest.raises(FileProblemError, match=r"2 arrays .* \(left, right\)"):
        read_image(tmp_path / "x.npz")


def test_an_archive_runs_no_pickle(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([{}], object))
    with pytest.raises(FileProblemError, match="Cannot read"):
        read_image(tmp_path / "x.npz")


@pytest.mark.parametrize("suffix", [".jpg", ".jp2", ".bmp"])
def test_a_picture_that_claims_more_than_memory_holds_is_refused(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"x{suffix}"
    Image.fromarray(NOISE).save(path)
    monkeypatch.setattr("napari_unet.io.limits.free_memory", lambda: NOISE.size - 1)
    with pytest.raises(FileProblemError, match="into memory"):
        read_image(path)


def test_labels_in_a_jpeg_are_refused_with_the_reason(tmp_path: Path) -> None:
    Image.fromarray(NOISE).save(tmp_path / "x.jpg")
    with pytest.raises(FileProblemError, match="Save them as PNG or TIFF"):
        read_labels(tmp_path / "x.jpg")


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
    def full(file: BinaryIO, *arguments: Any, **options: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", full)
    with pytest.raises(FileProblemError, match=r"Disk full: x\.tif does not fit in .* are free"):
        write_image(tmp_path / "x.tif", IMAGE, "YX")
    assert not list(tmp_path.iterdir())


def test_files_of_several_folders_are_sorted_by_name(tmp_path: Path) -> None:
    for name in ("one/b.npy", "one/c.npy", "two/a.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, IMAGE)
    assert names(find_images([tmp_path / "one", tmp_path / "two"])) == ["a.npy", "b.npy", "c.npy"]


def test_suffixes_in_capitals_are_images_too(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "A.TIFF", IMAGE)
    assert names(find_images([tmp_path])) == ["A.TIFF"]
    np.testing.assert_array_equal(read_image(tmp_path / "A.TIFF").array, IMAGE)


def test_a_file_whose_name_looks_like_a_glob_is_found(tmp_path: Path) -> None:
    path = tmp_path / "cells [1] grün.tif"
    tifffile.imwrite(path, IMAGE)
    assert find_images([path]) == [path]


def test_a_glob_that_matches_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match=r"\*\.png"):
        find_images([tmp_path / "*.png"])


def test_the_known_formats_are_told_for_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match=r"\.tif, \.tiff, \.png, .*\.npy"):
        find_images([tmp_path])


@pytest.mark.parametrize("name", ["._a.tif", "pyramid.tif/"], ids=["AppleDouble", "folder"])
def test_what_is_no_image_is_not_taken_out_of_a_folder(folder: Path, name: str) -> None:
    if name.endswith("/"):
        (folder / name).mkdir()
    else:
        (folder / name).write_bytes(b"\0\5\x16\7 what macOS leaves on network drives")
    assert names(find_images([folder])) == ["a.tif", "b.tif"]


def test_a_glob_yields_no_folder(folder: Path) -> None:
    (folder / "masks").mkdir()
    assert all(path.is_file() for path in find_images([folder / "*"]))


def test_an_image_named_by_two_spellings_is_found_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert len(find_images(["a.tif", folder / "a.tif"])) == 1


def test_two_links_to_one_file_are_two_images(folder: Path) -> None:
    for name in ("first.tif", "second.tif"):
        (folder / name).symlink_to(folder / "a.tif")
    assert names(find_images([folder / "first.tif", folder / "second.tif"])) == [
        *("first.tif", "second.tif")
    ]


def test_one_image_and_its_labels_need_no_common_name() -> None:
    assert pair_files(paths("cells"), paths("mask")) == [(Path("cells.tif"), Path("mask.tif"))]


def test_a_name_that_occurs_twice_is_refused() -> None:
    with pytest.raises(FileProblemError, match="names that occur twice"):
        pair_files([Path("1/a.tif"), Path("2/a.tif")], paths("a"))


def test_of_many_files_without_a_partner_the_first_ten_are_listed() -> None:
    with pytest.raises(FileProblemError, match=r": 1\.tif, .* 10\.tif \.\.\.\.$"):
        pair_files(paths(*map(str, range(24))), paths("0"))


def test_what_is_paired_can_have_another_name() -> None:
    with pytest.raises(FileProblemError, match="2 predictions and 1 truth do not pair"):
        pair_files(paths("a", "b"), paths("a"), "predictions", "truth")


@given(stems=st.lists(st.text("abc123_", min_size=1, max_size=4), unique=True, max_size=6))
def test_equal_stems_pair_whatever_their_order(stems: list[str]) -> None:
    pairs = pair_files(paths(*stems), paths(*reversed(stems)))
    assert [(image.stem, labels.stem) for image, labels in pairs] == [(s, s) for s in stems]


def save_stack(path: Path, **options: Any) -> None:
    tifffile.imwrite(path, np.stack([IMAGE] * 3), photometric="minisblack", **options)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "plain.tif": lambda path: tifffile.imwrite(path, IMAGE),
    "tiled.tif": lambda path: tifffile.imwrite(path, IMAGE, tile=(16, 16)),
    "lzw.tif": lambda path: tifffile.imwrite(path, IMAGE, compression="lzw", rowsperstrip=8),
    "stack.tif": lambda path: save_stack(path, compression="zlib"),
    "ours.tif": lambda path: write_image(path, np.stack([IMAGE] * 3), "TYX"),
    "a.png": lambda path: Image.fromarray(IMAGE).save(path),
    "a.npy": lambda path: np.save(path, IMAGE),
    "a.npz": lambda path: np.savez_compressed(path, IMAGE),
    "a.jpg": lambda path: Image.fromarray(NOISE).save(path),
    "a.bmp": lambda path: Image.fromarray(NOISE).save(path),
    "a.jp2": lambda path: path.write_bytes(imagecodecs.jpeg2k_encode(IMAGE, level=0)),
    "imagej.tif": lambda path: save_stack(path, imagej=True),
}


@pytest.mark.usefixtures("quiet_decoders")
@pytest.mark.fault(35)
@pytest.mark.parametrize("name", list(WRITERS))
def test_a_file_cut_anywhere_is_refused_or_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    whole, expected = path.read_bytes(), read_image(path).array
    for kept in [*range(0, len(whole), max(1, len(whole) // 60)), len(whole) - 1]:
        path.write_bytes(whole[:kept])
        try:
            found = read_image(path).array
        except FileProblemError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            np.testing.assert_array_equal(found, expected, err_msg=f"cut at {kept}")


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy", ".npz", ".jpg", ".bmp", ".jp2"])
def test_a_text_file_under_the_name_of_an_image_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_text("no image at all\n" * 20)
    with pytest.raises(FileProblemError, match=f"Cannot read .*x{suffix}: "):
        read_image(path)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy", ".npz", ".jpg", ".bmp", ".jp2"])
def test_a_missing_file_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(FileProblemError, match=f"none{suffix}.*No such file"):
        read_image(tmp_path / f"none{suffix}")


def test_a_pickle_under_the_name_of_an_array_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "canary"),)

    (tmp_path / "x.npy").write_bytes(pickle.dumps(Evil()))

    with pytest.raises(FileProblemError, match="Cannot read"):
        read_image(tmp_path / "x.npy")
    assert not (tmp_path / "canary").exists()


def test_an_archive_under_the_name_of_an_array_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=IMAGE)
    (tmp_path / "x.npz").rename(tmp_path / "x.npy")
    with pytest.raises(FileProblemError, match="Cannot read"):
        read_image(tmp_path / "x.npy")


@pytest.mark.parametrize("options", [{"ome": True}, {"imagej": True}, {}], ids=str)
def test_the_axes_that_a_tiff_names_are_known(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, np.zeros((4, 2, 8, 9), np.uint16), metadata={"axes": "ZCYX"}, **options)
    image = read_image(path)
    assert (image.axes, image.array.shape) == ("ZCYX", (4, 2, 8, 9))


def test_the_colours_of_a_palette_are_read(tmp_path: Path) -> None:
    indexed = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    indexed.putpalette([10, 20, 30, 200, 100, 50])
    indexed.save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").array[0].tolist() == [[10, 20, 30], [200, 100, 50]]


def test_a_png_of_one_bit_is_a_mask(tmp_path: Path) -> None:
    Image.fromarray(NOISE > 100).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_image(tmp_path / "x.png").array, NOISE > 100)


def test_a_colour_png_keeps_its_values(tmp_path: Path) -> None:
    colours = np.random.default_rng(1).integers(0, 255, (8, 9, 3)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    assert image.axes == "YXC"
    np.testing.assert_array_equal(image.array, colours)


def test_a_transparent_colour_png_keeps_its_colours(tmp_path: Path) -> None:
    colours = np.random.default_rng(1).integers(0, 255, (8, 9, 4)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_image(tmp_path / "x.png").array, colours[..., :3])


def test_a_transparent_grey_png_is_grey(tmp_path: Path) -> None:
    Image.new("LA", (9, 8)).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    assert (image.axes, image.array.shape) == ("YX", (8, 9))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32, np.uint32, np.float32])
@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("YX", (8, 9)),
        ("YX", (1, 1)),
        ("TYX", (1, 8, 9)),
        ("CYX", (3, 8, 9)),
        ("ZYX", (4, 8, 9)),
        ("YXC", (8, 9, 3)),
        ("CZYX", (3, 1, 8, 3)),
        ("TZCYX", (2, 1, 3, 8, 9)),
    ],
    ids=str,
)
def test_any_result_comes_back_with_its_axes(
    tmp_path: Path, axes: str, shape: tuple[int, ...], dtype: Any
) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    write_image(tmp_path / "x.tif", array, axes)
    image = read_image(tmp_path / "x.tif")
    assert (image.axes, image.array.dtype) == (axes, array.dtype)
    np.testing.assert_array_equal(image.array, array)


def test_a_result_is_compressed(tmp_path: Path) -> None:
    write_image(tmp_path / "x.tif", np.zeros((500, 500), np.int32), "YX")
    assert (tmp_path / "x.tif").stat().st_size < 50_000


def test_a_result_replaces_the_one_before(tmp_path: Path) -> None:
    write_image(tmp_path / "x.tif", IMAGE, "YX")
    write_image(tmp_path / "x.tif", IMAGE[:5], "YX")
    assert read_image(tmp_path / "x.tif").array.shape == (5, 40)
    assert names(list(tmp_path.iterdir())) == ["x.tif"]


def test_a_failed_write_keeps_the_result_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "x.tif", IMAGE, "YX")
    before = (tmp_path / "x.tif").read_bytes()

    def broken(old: Path, new: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(FileProblemError, match="Input/output error"):
        write_image(tmp_path / "x.tif", IMAGE[:5], "YX")
    assert (tmp_path / "x.tif").read_bytes() == before
    assert names(list(tmp_path.iterdir())) == ["x.tif"]


def test_a_missing_folder_is_told_on_writing(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match=r"Cannot write .*No such file or directory"):
        write_image(tmp_path / "none" / "x.tif", IMAGE, "YX")


def test_a_result_that_is_too_large_for_tiff_is_told_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(file: BinaryIO, *arguments: Any, **options: Any) -> None:
        file.write(b"half")
        raise ValueError("data too large for non-BigTIFF file")  # what tifffile says at 4 GB

    monkeypatch.setattr(tifffile, "imwrite", overflow)
    with pytest.raises(FileProblemError):
        write_image(tmp_path / "x.tif", IMAGE, "YX")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_whatever_interrupts_a_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def interrupted(file: BinaryIO, *arguments: Any, **options: Any) -> None:
        file.write(b"half")
        raise error

    monkeypatch.setattr(tifffile, "imwrite", interrupted)
    with pytest.raises((error, FileProblemError)):
        write_image(tmp_path / "x.tif", IMAGE, "YX")
    assert not list(tmp_path.iterdir())


@pytest.mark.fault(22)
def test_the_transparency_of_a_colour_tiff_is_left_out(tmp_path: Path) -> None:
    colours = np.random.default_rng(1).integers(0, 255, (8, 9, 4)).astype(np.uint8)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, colours, photometric="rgb", extrasamples=["unassalpha"])
    image = read_image(path)
    assert image.axes == "YXC"
    assert image.notices == ("Transparency is left out: red, green and blue are used.",)
    np.testing.assert_array_equal(image.array, colours[..., :3])


def test_four_interleaved_channels_stay_four(tmp_path: Path) -> None:
    channels = np.random.default_rng(1).integers(0, 255, (8, 9, 4)).astype(np.uint8)
    for photometric, extra in (("minisblack", 3), ("rgb", 1)):
        tifffile.imwrite(
            tmp_path / "x.tif",
            channels,
            photometric=photometric,
            planarconfig="contig",
            extrasamples=["unspecified"] * extra,
        )
        image = read_image(tmp_path / "x.tif")
        assert (image.axes, image.notices) == ("YXC", ())
        np.testing.assert_array_equal(image.array, channels)


@pytest.mark.fault(22)
@pytest.mark.parametrize(("mode", "told"), [("RGB", 0), ("RGBA", 1), ("L", 0), ("LA", 1)])
def test_of_a_png_it_is_told_where_transparency_is_left_out(
    tmp_path: Path, mode: str, told: int
) -> None:
    Image.new(mode, (6, 5)).save(tmp_path / "x.png")
    assert len(read_image(tmp_path / "x.png").notices) == told


@pytest.mark.fault(35)
@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy"])
def test_an_empty_file_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"x{suffix}").write_bytes(b"")
    with pytest.raises(FileProblemError, match=rf"Cannot read .*x{suffix}: .*damaged"):
        read_image(tmp_path / f"x{suffix}")


def test_a_folder_of_the_name_of_an_image_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "x.tif").mkdir()
    with pytest.raises(FileProblemError, match=r"The folder .*x\.tif holds no image"):
        find_images([tmp_path / "x.tif"])
    with pytest.raises(FileProblemError, match=r"The folder .* holds no image"):
        find_images([tmp_path])


def test_the_indices_of_a_palette_are_labels(tmp_path: Path) -> None:
    numbers = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    indexed = Image.fromarray(numbers)
    indexed.putpalette([10, 20, 30, 200, 100, 50, 7, 8, 9])
    indexed.save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "x.png"), numbers)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy"])
def test_grey_labels_are_read_from_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".tif":
        write_image(path, IMAGE, "YX")
    elif suffix == ".png":
        Image.fromarray(IMAGE).save(path)
    else:
        np.save(path, IMAGE)
    np.testing.assert_array_equal(read_labels(path), IMAGE)


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_colours_are_no_labels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    colours = np.zeros((8, 9, 3), np.uint8)
    if suffix == ".tif":
        tifffile.imwrite(path, colours, photometric="rgb")
    else:
        Image.fromarray(colours).save(path)
    with pytest.raises(FileProblemError, match="holds colours, not label numbers"):
        read_labels(path)


def test_damaged_labels_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no PNG")
    with pytest.raises(FileProblemError, match=r"Cannot read .*x\.png"):
        read_labels(tmp_path / "x.png")


@pytest.mark.parametrize("kept", [20, 60, 100, 150])
def test_palette_labels_cut_short_are_refused(tmp_path: Path, kept: int) -> None:
    indexed = Image.fromarray(NOISE)
    indexed.putpalette(list(range(256)) * 3)
    indexed.save(tmp_path / "x.png")
    whole = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(whole[: len(whole) * kept // 160])
    with pytest.raises(FileProblemError, match="Cannot read"):
        read_labels(tmp_path / "x.png")


def test_a_folder_that_takes_files_stays_as_it_was(tmp_path: Path) -> None:
    check_writable(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_takes_no_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match=r"Cannot write to .*none: No such file"):
        check_writable(tmp_path / "none")


@pytest.mark.fault(61)
def test_who_reads_a_tiff_that_two_programs_write_finds_it_whole(tmp_path: Path) -> None:
    path, over = tmp_path / "a.tif", threading.Event()
    write_image(path, IMAGE, "YX")

    def write(value: int) -> None:
        while not over.is_set():
            write_image(path, np.full_like(IMAGE, value), "YX")

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, value) for value in (1, 2)]
        found = [np.unique(tifffile.imread(path)) for _ in range(100)]
        over.set()
        for writer in writers:
            writer.result()
    assert {len(values) for values in found} <= {1, IMAGE.size}
    assert names(list(tmp_path.iterdir())) == ["a.tif"]
