from __future__ import annotations

import gc
import logging
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_unet.data.frames import frames_of
from napari_unet.errors import FileProblemError
from napari_unet.io import tiff_files
from napari_unet.io.files import in_memory, read_image, read_labels, write_image, write_labels
from napari_unet.io.lazy import FilePixels
from napari_unet.io.tiff_files import LazyTiff

STACK = np.arange(3 * 2 * 30 * 40, dtype=np.uint16).reshape(3, 2, 30, 40)  # ZCYX
SIZE = {"Z": 2.0, "Y": 0.3, "X": 0.2}


@pytest.fixture
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_files, "LARGE", 0)


def write_imagej(path: Path, spacing: float, unit: str, **about: Any) -> None:
    metadata = {"axes": "ZCYX", "spacing": spacing, "unit": unit, **about}
    tifffile.imwrite(path, STACK, imagej=True, resolution=(5, 10 / 3), metadata=metadata)


@pytest.mark.parametrize(
    ("spacing", "unit", "expected"),
    [
        (2.0, "um", SIZE),
        (2.0, "micron", SIZE),
        (2.0, r"\u00B5m", SIZE),
        (-2.0, "um", SIZE),
        (2.0, "nm", {"Z": 0.002, "Y": 0.0003, "X": 0.0002}),
        (2.0, "pixel", {}),
        (2.0, "", {}),
    ],
)
def test_an_imagej_stack_tells_its_pixel_size(
    tmp_path: Path, spacing: float, unit: str, expected: dict[str, float]
) -> None:
    write_imagej(tmp_path / "x.tif", spacing, unit)
    image = read_image(tmp_path / "x.tif")
    assert image.axes == "ZCYX"
    assert image.pixel_size == pytest.approx(expected)


def test_imagej_may_have_a_unit_of_its_own_along_z(tmp_path: Path) -> None:
    write_imagej(tmp_path / "x.tif", 2000.0, "um", zunit="nm")
    assert read_image(tmp_path / "x.tif").pixel_size == pytest.approx(SIZE)


def write_ome(path: Path, array: Any = STACK, axes: str = "ZCYX", **about: Any) -> None:
    tifffile.imwrite(path, array, ome=True, metadata={"axes": axes, **about})


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"PhysicalSizeX": 0.2, "PhysicalSizeY": 0.3, "PhysicalSizeZ": 2.0}, SIZE),
        ({"PhysicalSizeX": 200.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.3}, None),
        ({"PhysicalSizeX": 1.0, "PhysicalSizeXUnit": "pixel"}, {}),
        ({}, {}),
    ],
    ids=["micrometres", "nanometres", "pixels", "nothing"],
)
def test_an_ome_tiff_tells_its_pixel_size(
    tmp_path: Path, about: dict[str, Any], expected: dict[str, float] | None
) -> None:
    write_ome(tmp_path / "x.ome.tif", **about)
    image = read_image(tmp_path / "x.ome.tif")
    assert image.axes == "ZCYX"
    assert image.pixel_size == ({"Y": 0.3, "X": 0.2} if expected is None else expected)


def test_the_size_of_an_axis_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    write_ome(tmp_path / "x.tif", STACK[0], "CYX", PhysicalSizeX=0.2, PhysicalSizeZ=2.0)
    assert read_image(tmp_path / "x.tif").pixel_size == {"X": 0.2}


@pytest.mark.parametrize("options", [{"ome": True}, {"imagej": True}], ids=str)
def test_axes_of_length_1_are_left_out(tmp_path: Path, options: dict[str, Any]) -> None:
    array = STACK[:, :1]
    tifffile.imwrite(tmp_path / "x.tif", array, metadata={"axes": "ZCYX"}, **options)
    image = read_image(tmp_path / "x.tif")
    assert (image.axes, image.array.shape) == ("ZYX", (3, 30, 40))


@pytest.mark.parametrize("axes", ["QYX", "IYX"])
def test_pages_of_unknown_meaning_have_no_axes(tmp_path: Path, axes: str) -> None:
    options: Any = {"photometric": "minisblack", "metadata": {"axes": axes}}
    tifffile.imwrite(tmp_path / "x.tif", STACK[:, 0], **options)
    assert read_image(tmp_path / "x.tif").axes is None


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [
        ((50_000, 40_000), "CENTIMETER", {"Y": 0.25, "X": 0.2}),
        ((254_000, 254_000), "INCH", {"Y": 0.1, "X": 0.1}),
        ((72, 72), "INCH", {}),
        ((300, 300), "INCH", {}),
        ((50_000, 50_000), "NONE", {}),
        ((0, 0), "CENTIMETER", {}),
    ],
    ids=["cm", "inch", "screen", "printer", "no unit", "nothing"],
)
def test_the_resolution_of_a_plain_tiff_counts_where_it_is_one(
    tmp_path: Path, resolution: tuple[int, int], unit: Any, expected: dict[str, float]
) -> None:
    options: Any = {"resolution": resolution, "resolutionunit": unit}
    tifffile.imwrite(tmp_path / "x.tif", STACK[0, 0], **options)
    assert read_image(tmp_path / "x.tif").pixel_size == pytest.approx(expected)


@pytest.mark.parametrize(
    ("per_unit", "unit", "expected"),
    [(72, "inch", {}), (254_000, "inch", {"Y": 0.1, "X": 0.1}), (100, "cm", {"Y": 100, "X": 100})],
)
def test_a_resolution_of_a_screen_is_none_in_imagej_s_inches_either(
    tmp_path: Path, per_unit: int, unit: str, expected: dict[str, float]
) -> None:
    options: Any = {"resolution": (per_unit, per_unit), "metadata": {"unit": unit}}
    tifffile.imwrite(tmp_path / "x.tif", STACK[0, 0], imagej=True, **options)
    assert read_image(tmp_path / "x.tif").pixel_size == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint32, np.int32, np.int64, np.float32])
@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("YX", (8, 9)),
        ("YX", (1, 1)),
        ("TYX", (3, 8, 9)),
        ("TYX", (1, 8, 9)),
        ("CYX", (3, 8, 9)),
        ("ZYX", (4, 8, 9)),
        ("YXC", (8, 9, 3)),
        ("CZYX", (3, 1, 8, 3)),
        ("ZTYX", (4, 2, 8, 3)),
        ("TZCYX", (2, 2, 3, 8, 9)),
    ],
    ids=str,
)
def test_a_result_comes_back_with_axes_and_pixel_size(
    tmp_path: Path, axes: str, shape: tuple[int, ...], dtype: Any
) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    write_image(tmp_path / "x.tif", array, axes, SIZE)
    image = read_image(tmp_path / "x.tif")
    assert (image.axes, image.array.dtype) == (axes, array.dtype)
    assert image.pixel_size == {axis: size for axis, size in SIZE.items() if axis in axes}
    np.testing.assert_array_equal(in_memory(image), array)


@pytest.mark.fault(29)
def test_many_labels_survive_compressed(tmp_path: Path) -> None:
    labels = np.zeros((4, 200, 200), np.uint32)
    labels[1, 50:100, 50:100] = 2**32 - 1
    write_image(tmp_path / "x.tif", labels, "ZYX", SIZE)
    assert (tmp_path / "x.tif").stat().st_size < 10_000
    np.testing.assert_array_equal(read_labels(tmp_path / "x.tif"), labels)


def test_other_programs_find_the_pixel_size_in_ome_and_in_the_tags(tmp_path: Path) -> None:
    write_image(tmp_path / "x.tif", STACK[:, 0], "ZYX", SIZE)
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        assert 'PhysicalSizeZ="2.0" PhysicalSizeZUnit="µm"' in str(file.ome_metadata)
        pixels, centimetres = file.pages.first.tags["XResolution"].value
    assert pixels / centimetres == pytest.approx(50_000)


def test_a_size_known_along_one_axis_alone_comes_back(tmp_path: Path) -> None:
    write_image(tmp_path / "x.tif", STACK[:, 0], "ZYX", {"Z": 2.0})
    assert read_image(tmp_path / "x.tif").pixel_size == {"Z": 2.0}


def test_a_result_of_known_size_cut_anywhere_is_refused_or_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    write_image(path, STACK[:, 0], "ZYX", SIZE)
    whole = path.read_bytes()
    logging.disable(logging.CRITICAL)
    try:
        for kept in [*range(0, len(whole), len(whole) // 60), len(whole) - 1]:
            path.write_bytes(whole[:kept])
            try:
                found = in_memory(read_image(path))
            except FileProblemError:
                continue
            np.testing.assert_array_equal(found, STACK[:, 0], err_msg=f"cut at {kept}")
    finally:
        logging.disable(logging.NOTSET)


FORMATS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "big-endian": {"byteorder": ">"},
    "LZW": {"compression": "lzw", "rowsperstrip": 8},
    "tiles": {"compression": "zlib", "tile": (16, 16)},
    "uncompressed tiles": {"tile": (16, 16)},
    "predictor": {"compression": "lzw", "predictor": True},
    "OME": {"compression": "zlib", "ome": True},
    "ImageJ": {"imagej": True},
}


@pytest.mark.usefixtures("everything_is_large")
@pytest.mark.parametrize("name", FORMATS)
def test_a_large_file_is_the_same_read_region_by_region(tmp_path: Path, name: str) -> None:
    tifffile.imwrite(tmp_path / "x.tif", STACK, metadata={"axes": "ZCYX"}, **FORMATS[name])
    image = read_image(tmp_path / "x.tif")
    assert isinstance(image.array, FilePixels | LazyTiff)
    assert (image.axes, image.array.shape) == ("ZCYX", STACK.shape)
    frame = frames_of(image.array, "ZCYX", 2)[2]
    np.testing.assert_array_equal(
        frame.read((slice(5, 29), slice(10, 40))), STACK[2, :, 5:29, 10:40]
    )
    np.testing.assert_array_equal(in_memory(image), STACK)


@pytest.mark.usefixtures("everything_is_large")
@pytest.mark.parametrize(
    ("options", "kind"), [({}, FilePixels), ({"compression": "lzw"}, LazyTiff)], ids=["bare", "LZW"]
)
def test_a_large_file_is_opened_without_reading_it(
    tmp_path: Path, options: dict[str, Any], kind: type
) -> None:
    tifffile.imwrite(tmp_path / "x.tif", STACK, **options)
    assert type(read_image(tmp_path / "x.tif").array) is kind


@pytest.mark.usefixtures("everything_is_large")
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_the_transparency_of_a_large_file_is_left_out(
    tmp_path: Path, compression: str | None
) -> None:
    colours = np.random.default_rng(1).integers(0, 255, (8, 9, 4)).astype(np.uint8)
    options: Any = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(tmp_path / "x.tif", colours, compression=compression, **options)
    image = read_image(tmp_path / "x.tif")
    assert (image.axes, image.array.shape) == ("YXC", (8, 9, 3))
    for key in (..., (), 3, (slice(2, 5), 4), (..., -1), (2, ..., slice(1, 9)), (1, 2, 2)):
        np.testing.assert_array_equal(image.array[key], colours[..., :3][key])
    with pytest.raises(IndexError):
        image.array[..., 3]
    again = pickle.loads(pickle.dumps(image))
    np.testing.assert_array_equal(again.array[...], colours[..., :3])


@pytest.mark.usefixtures("everything_is_large")
def test_a_file_is_closed_when_nobody_looks_at_it_any_more(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", STACK, compression="lzw")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(tmp_path / "x.tif")
        close = image.array._close  # type: ignore[attr-defined]
        assert close.alive
        del image
        gc.collect()
    assert not close.alive


@pytest.mark.usefixtures("everything_is_large")
def test_of_a_pyramid_the_full_size_is_read(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.ome.tif") as file:
        plane = STACK[0, 0]
        options: Any = {"tile": (16, 16), "compression": "zlib"}
        file.write(plane, subifds=1, metadata={"axes": "YX"}, **options)
        file.write(plane[::2, ::2], subfiletype=1, **options)
    image = read_image(tmp_path / "x.ome.tif")
    assert (image.axes, image.array.shape) == ("YX", (30, 40))
    np.testing.assert_array_equal(in_memory(image), STACK[0, 0])


@pytest.mark.usefixtures("everything_is_large")
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_a_large_file_that_was_cut_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, STACK[0, 0])
    else:
        np.save(path, STACK[0, 0])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileProblemError, match="Cannot read"):
        read_image(path)


@pytest.mark.parametrize("size", ["", "none", "NaN", "-1"])
def test_an_image_of_nonsensical_size_is_read(tmp_path: Path, size: str) -> None:
    write_ome(tmp_path / "x.tif", PhysicalSizeX=0.25)
    whole = (tmp_path / "x.tif").read_bytes()
    told = f'PhysicalSizeX="{size}"'.encode().ljust(len(b'PhysicalSizeX="0.25"'))
    (tmp_path / "x.tif").write_bytes(whole.replace(b'PhysicalSizeX="0.25"', told))
    image = read_image(tmp_path / "x.tif")
    assert (image.axes, image.pixel_size) == ("ZCYX", {})
    np.testing.assert_array_equal(image.array[...], STACK)


@pytest.mark.usefixtures("everything_is_large")
def test_a_large_file_that_is_damaged_is_named_where_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, STACK[0, 0], compression="zlib", rowsperstrip=10)
    with tifffile.TiffFile(path) as file:
        start = file.pages.first.dataoffsets[1]
    damaged = bytearray(path.read_bytes())
    damaged[start : start + 10] = b"no zlib..."
    path.write_bytes(damaged)
    array = read_image(path).array
    np.testing.assert_array_equal(array[:10], STACK[0, 0, :10])
    with pytest.raises(FileProblemError, match=r"Cannot read .*x\.tif: "):
        array[10:20]


PLACE = (
    (33550, 12, 3, (10.0, 10.0, 0.0)),
    (33922, 12, 6, (0.0, 0.0, 0.0, 600000.0, 5300040.0, 0.0)),
    (34735, 3, 8, (1, 1, 0, 1, 3072, 0, 1, 32632)),
    (34737, 2, 0, "WGS 84 / UTM zone 32N|"),
)


def place_of(path: Path) -> dict[int, Any]:
    with tifffile.TiffFile(path) as file:
        return {c: file.pages.first.tags[c].value for c in (33550, 33922, 34735, 34737)}


@pytest.mark.parametrize("pixel_size", [{}, {"Y": 0.5, "X": 0.5}], ids=["plain", "ome"])
@pytest.mark.parametrize("write", [write_image, write_labels])
def test_a_result_of_a_geotiff_lies_where_it_lies_on_the_map(
    tmp_path: Path, write: Any, pixel_size: dict[str, float]
) -> None:
    field, result = tmp_path / "field.tif", tmp_path / "result.tif"
    bands = np.zeros((5, 8, 9), np.uint16)
    tifffile.imwrite(field, bands, extratags=[(*tag, True) for tag in PLACE])
    write(result, bands[0], "YX", pixel_size, like=field)
    assert place_of(result) == place_of(field)
    np.testing.assert_array_equal(read_image(result).array, bands[0])
    assert read_image(result).pixel_size == pixel_size


def test_files_that_are_no_geotiff_have_no_place_on_a_map(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", STACK)
    tifffile.imwrite(tmp_path / "a.tif", STACK)
    for other in ("a.npy", "a.tif", "none.tif"):
        write_image(tmp_path / "b.tif", STACK[0, 0], "YX", like=tmp_path / other)
        with tifffile.TiffFile(tmp_path / "b.tif") as file:
            assert not file.is_geotiff
