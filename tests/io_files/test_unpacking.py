"""A few bytes that would unpack to gigabytes are refused before memory is taken for them."""

from __future__ import annotations

import bz2
import json
import lzma
import pickle
import struct
import tracemalloc
import warnings
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numcodecs
import numpy as np
import pytest
import tifffile
import zarr

from napari_unet.errors import FileProblemError
from napari_unet.io import limits, tiff_files
from napari_unet.io.files import in_memory, read_image
from napari_unet.io.unpacking import check_stated_size, unpacked

from .zarrs import STACK, write_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.fault(57), pytest.mark.usefixtures("quiet_decoders")]

MANY = 2**32 - 2**20  # bytes
IMAGES: dict[str, tuple[int, Callable[..., Any]]] = {
    "JPEG": (7, imagecodecs.jpeg_encode),
    "JPEG 2000": (34712, imagecodecs.jpeg2k_encode),
    "JPEG XL": (50002, imagecodecs.jpegxl_encode),
    "JPEG XR": (22610, imagecodecs.jpegxr_encode),
    "LERC": (34887, imagecodecs.lerc_encode),
    "PNG": (34933, imagecodecs.png_encode),
    "WebP": (50001, lambda image: imagecodecs.webp_encode(image, lossless=True)),
    "WebP lossy": (50001, imagecodecs.webp_encode),
}


@contextmanager
def little_memory(most: int = 2**26) -> Iterator[None]:
    """Fail if Python or NumPy take more memory than this."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak} bytes were taken"


# --- TIFF ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("shape", [(48, 64, 3), (97, 31, 3), (128, 128, 3)], ids=str)
def test_an_image_in_a_tile_states_its_size(name: str, shape: tuple[int, ...]) -> None:
    compression, encode = IMAGES[name]
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    data = bytes(encode(image))
    check_stated_size(compression, data, image.size)
    large = np.zeros((2000, 2000, 3), np.uint8)
    with pytest.raises(ValueError, match=r"would unpack to \d+ numbers, where 64 belong"):
        check_stated_size(compression, bytes(encode(large)), 64)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_states_no_size_is_refused(name: str) -> None:
    compression, encode = IMAGES[name]
    start = bytes(encode(np.zeros((48, 64, 3), np.uint8)))[:2]
    with pytest.raises(ValueError, match=r"."):
        check_stated_size(compression, start, 2**30)


def write_jpeg(path: Path, height: int, width: int) -> Path:
    """Write a TIFF of one tile of 64 x 64, whose JPEG states another size."""
    image = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    tifffile.imwrite(path, image, compression="jpeg", tile=(64, 64))
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("large", [2**28, 0], ids=["at once", "tile by tile"])
def test_a_jpeg_in_a_tile_of_a_tiff_is_no_larger_than_the_tile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr(tiff_files, "LARGE", large)
    path = write_jpeg(tmp_path / "x.tif", 65_500, 65_500)
    with little_memory(), pytest.raises(FileProblemError, match=r"unpack to 4290250000 numbers"):
        in_memory(read_image(path))


def test_a_tile_that_does_not_fit_into_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((9, 9), np.uint8), tile=(4096, 4096))
    monkeypatch.setattr(limits, "free_memory", lambda: 10_000_000)
    with pytest.raises(FileProblemError, match=r"17 MB of pixels, 10 MB are free"):
        read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("compression", ["zlib", "lzw", "packbits", "zstd", "lzma"])
def test_a_strip_of_a_tiff_that_is_too_long_takes_no_memory(
    tmp_path: Path, compression: str
) -> None:
    tifffile.imwrite(
        tmp_path / "x.tif",
        np.zeros((8192, 8192), np.uint8),
        compression=compression,
        rowsperstrip=8192,
        metadata=None,
    )
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+") as file:
        for tag in ("ImageLength", "RowsPerStrip"):
            file.pages.first.tags[tag].overwrite(8)
    with little_memory(), suppress(FileProblemError):  # some decoders cut it, others refuse
        assert read_image(tmp_path / "x.tif").array.shape == (8, 8192)


# --- Zarr ----------------------------------------------------------------------------------------


def zstd_of_no_size(count: int) -> bytes:
    """Return a frame of Zstandard that states no size, of so many bytes: all 7."""
    blocks = [min(2**17, count - done) for done in range(0, count, 2**17)]
    heads = [
        struct.pack("<I", size << 3 | 1 << 1 | (n == len(blocks) - 1))[:3] + b"\7"
        for n, size in enumerate(blocks)
    ]
    return b"\x28\xb5\x2f\xfd\x00\x58" + b"".join(heads)


def of_zeros(codec: str, count: int) -> bytes:
    """Pack so many bytes, all 0, or state that they are."""
    if codec in ("gzip", "zlib"):
        pack = zlib.compressobj(9, wbits=31 if codec == "gzip" else 15)
        parts = [pack.compress(bytes(2**24)) for _ in range(count >> 24)]
        return b"".join(parts) + pack.compress(bytes(count % 2**24)) + pack.flush()
    if codec == "bz2":
        return bz2.compress(bytes(2**20)) * (count >> 20)
    if codec == "lzma":
        return lzma.compress(bytes(2**24)) * max(1, count >> 24)
    if codec == "blosc":
        return struct.pack("<BBBBIII", 2, 1, 2, 1, count, 2**20, 16)
    if codec == "lz4":
        return struct.pack("<I", count) + b"\0" * 8
    return zstd_of_no_size(count)


CODECS = ["gzip", "zlib", "bz2", "lzma", "blosc", "lz4", "zstd"]


@pytest.mark.parametrize("codec", CODECS)
def test_no_codec_unpacks_more_than_its_place_holds(codec: str) -> None:
    data = of_zeros(codec, 2**28 if codec in ("gzip", "zlib") else 2**30)
    with little_memory(), pytest.raises((ValueError, RuntimeError), match=r"."):
        unpacked(codec, data, 1000, {})


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("count", [0, 1, 300, 70_000])
def test_what_fits_its_place_is_unpacked(codec: str, count: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 9, count).astype(np.uint8)
    coder = numcodecs.get_codec({"id": codec})
    data = bytes(coder.encode(pixels))
    found = unpacked(codec, data, count, coder.get_config())
    assert found in (None, pixels.tobytes())


def test_a_frame_that_states_no_size_is_unpacked() -> None:
    assert unpacked("zstd", zstd_of_no_size(300_000), 300_000, {}) == b"\7" * 300_000


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("codec", ["gzip", "zstd", "blosc"])
def test_a_chunk_of_a_zarr_is_no_larger_than_it_says(
    tmp_path: Path, codec: str, zarr_format: int
) -> None:
    more: dict[str, Any] = {"compressors": _compressor(codec, zarr_format)}
    path = write_plain(tmp_path / "x.zarr", zarr_format, **more)
    np.testing.assert_array_equal(in_memory(read_image(path)), STACK)
    name = "0.0.0.0" if zarr_format == 2 else "c/0/0/0/0"
    (path / name).write_bytes(of_zeros(codec, 2**28 if codec == "gzip" else 2**30))
    with little_memory(), pytest.raises(FileProblemError, match=r"where 512 belong|zstd|ZSTD"):
        in_memory(read_image(path))


def _compressor(codec: str, zarr_format: int) -> Any:
    if zarr_format == 2:
        return numcodecs.get_codec({"id": codec})
    known = {"gzip": zarr.codecs.GzipCodec, "zstd": zarr.codecs.ZstdCodec}
    return known.get(codec, zarr.codecs.BloscCodec)()


def test_a_chunk_in_a_shard_is_no_larger_than_it_says(tmp_path: Path) -> None:
    more: dict[str, Any] = {"shards": (1, 1, 32, 48), "compressors": zarr.codecs.GzipCodec()}
    path = write_plain(tmp_path / "x.zarr", 3, **more)
    np.testing.assert_array_equal(in_memory(read_image(path)), STACK)
    shard = path / "c" / "0" / "0" / "0" / "0"
    bomb, whole = of_zeros("gzip", 2**28), shard.read_bytes()
    index = np.frombuffer(whole[-100:-4], "<u8").reshape(-1, 2).copy()
    index[0] = len(whole) - 100, len(bomb)
    told = index.tobytes()
    shard.write_bytes(whole[:-100] + bomb + told + bytes(numcodecs.CRC32C().encode(told))[-4:])
    with little_memory(), pytest.raises(FileProblemError, match=r"where 512 belong"):
        in_memory(read_image(path))


def test_filters_and_checksums_are_read_as_before(tmp_path: Path) -> None:
    filters = [numcodecs.Delta("u2"), numcodecs.Shuffle(2), numcodecs.Fletcher32()]
    path = write_plain(tmp_path / "x.zarr", 2, filters=filters, compressors=numcodecs.LZ4())
    np.testing.assert_array_equal(in_memory(read_image(path)), STACK)


def test_an_array_is_opened_again_in_another_process(tmp_path: Path) -> None:
    array = read_image(write_plain(tmp_path / "x.zarr", 3)).array
    again = pickle.loads(pickle.dumps(array))
    np.testing.assert_array_equal(again[...], STACK)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_chunk_that_does_not_fit_into_memory_is_refused(tmp_path: Path, zarr_format: int) -> None:
    path = write_plain(tmp_path / "x.zarr", zarr_format)
    name = path / (".zarray" if zarr_format == 2 else "zarr.json")
    about = json.loads(name.read_text())
    grid = about if zarr_format == 2 else about["chunk_grid"]["configuration"]
    grid["chunks" if zarr_format == 2 else "chunk_shape"] = [1, 1, 2**20, 2**22]
    name.write_text(json.dumps(about))
    with pytest.raises(FileProblemError, match=r"x\.zarr into memory: it says to hold"):
        read_image(path)


def test_a_codec_that_cannot_be_bounded_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write_plain(tmp_path / "x.zarr", 2, filters=[numcodecs.Base64()], compressors=None)
    with pytest.raises(FileProblemError, match=r"packed by 'base64', whose size nobody knows"):
        read_image(path)
