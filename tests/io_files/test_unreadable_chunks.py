"""What cannot be read is named by its place: pixels, and the chunks that they lie in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_unet.data.frames import Frame
from napari_unet.errors import UnreadableError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.fault(32)


class Broken:
    """An image of which nothing can be read."""

    dtype = np.dtype(np.uint8)

    def __init__(self, shape: tuple[int, ...], chunks: Any = None) -> None:
        self.shape = shape
        if chunks is not None:
            self.chunks = chunks

    def __getitem__(self, key: Any, /) -> Any:
        raise OSError("connection reset\nand more that nobody reads")


def error_of(array: Any, axes: str, *region: slice, index: tuple[int, ...] = ()) -> str:
    with pytest.raises(UnreadableError) as caught:
        Frame(array, axes, 2, index).read(region)
    return str(caught.value)


@pytest.mark.parametrize(
    ("region", "chunks"),
    [
        ((slice(0, 16), slice(16, 32)), "chunk (0, 1)"),
        ((slice(10, 40), slice(33, 35)), "chunks (0, 2) to (2, 2)"),
        ((slice(63, 64), slice(0, 50)), "chunks (3, 0) to (3, 3)"),
    ],
    ids=["one", "a column", "at the end"],
)
def test_the_chunks_of_a_box_are_named(region: tuple[slice, slice], chunks: str) -> None:
    text = error_of(Broken((64, 50), (16, 16)), "YX", *region)
    assert f"], {chunks}: connection reset" in text
    assert "\n" not in text


def test_chunks_of_unequal_sizes_are_counted() -> None:
    array = Broken((64, 50), ((10, 50, 4), (20, 30)))
    assert "chunk (1, 1)" in error_of(array, "YX", slice(10, 60), slice(20, 50))


def test_a_frame_lies_in_chunks_of_its_own() -> None:
    text = error_of(Broken((9, 64, 50), (2, 64, 50)), "TYX", slice(0, 5), slice(0, 5), index=(5,))
    assert "at [5, 0:5, 0:5], chunk (2, 0, 0): " in text


def test_without_chunks_the_pixels_are_named() -> None:
    text = error_of(Broken((64, 50)), "YX", slice(0, 5), slice(0, 5))
    assert text == "The image cannot be read at [0:5, 0:5]: connection reset"


@pytest.mark.parametrize("lazy", [False, True], ids=["Zarr", "dask"])
def test_a_damaged_chunk_of_a_zarr_is_named(lazy: bool, tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=(64, 64), chunks=(16, 16), dtype="u2")
    array[:] = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    (chunk,) = (path for path in tmp_path.rglob("c/2/3"))
    chunk.write_bytes(chunk.read_bytes()[:10])
    opened = zarr.open_array(tmp_path / "a.zarr", mode="r")
    from_array: Any = da.from_array  # untyped
    image = from_array(opened, chunks=(16, 16)) if lazy else opened
    assert "chunk (2, 3)" in error_of(image, "YX", slice(32, 48), slice(48, 64))
    good = Frame(image, "YX", 2).read((slice(0, 32), slice(0, 64)))
    np.testing.assert_array_equal(good[0], np.arange(32 * 64).reshape(32, 64))
