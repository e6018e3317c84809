from __future__ import annotations

import errno
import json
import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_unet.errors import FileProblemError
from napari_unet.io import ome_zarr
from napari_unet.io.files import find_images, read_image, read_labels
from napari_unet.io.ome_zarr import (
    add_pyramid,
    check_replaceable,
    create_store,
    finish,
    put_back_previous,
    regions_of_chunks,
)

SIZE = {"Z": 2.0, "Y": 0.25, "X": 0.5}


@pytest.fixture
def small_overviews(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ome_zarr, "LARGEST_OVERVIEW", 16)


def make_labels(folder: Path, side: int = 70) -> np.ndarray[Any, Any]:
    """Write a store of 3 planes of labels, and return them."""
    labels = np.random.default_rng(0).integers(0, 2**32, (3, side, side - 5), np.uint32)
    store = create_store(folder, labels.shape, "uint32", (1, 16, 16), "ZYX", SIZE)
    for region in regions_of_chunks(store.shape, store.chunks):
        store[region] = labels[region]
    return labels


def metadata_of(folder: Path) -> Any:
    return json.loads((folder / "zarr.json").read_text())["attributes"]["ome"]


def scales_of(folder: Path) -> list[list[float]]:
    datasets = metadata_of(folder)["multiscales"][0]["datasets"]
    return [level["coordinateTransformations"][0]["scale"] for level in datasets]


def test_labels_come_back_with_axes_and_pixel_size(tmp_path: Path) -> None:
    labels = make_labels(tmp_path / "a.zarr")
    image = read_image(tmp_path / "a.zarr")
    assert (image.axes, image.pixel_size) == ("ZYX", SIZE)
    assert image.array.dtype == np.uint32
    np.testing.assert_array_equal(read_labels(tmp_path / "a.zarr"), labels)


def test_probabilities_come_back_with_their_channels(tmp_path: Path) -> None:
    probabilities = np.random.default_rng(0).random((2, 3, 20, 30), np.float32)
    shape, chunks = probabilities.shape, (1, 1, 16, 16)
    store = create_store(tmp_path / "a.zarr", shape, "float32", chunks, "CZYX", SIZE, {})
    store[...] = probabilities
    image = read_image(tmp_path / "a.zarr")
    assert (image.axes, image.pixel_size) == ("CZYX", SIZE)
    np.testing.assert_array_equal(image.array[...], probabilities)
    assert "image-label" not in metadata_of(tmp_path / "a.zarr")


def test_the_metadata_is_that_of_ngff_0_5(tmp_path: Path) -> None:
    create_store(tmp_path / "a.zarr", (2, 3, 4, 5), "int32", (1, 1, 4, 5), "TZYX", {"X": 0.5})
    assert metadata_of(tmp_path / "a.zarr") == {
        "version": "0.5",
        "multiscales": [
            {
                "name": "a",
                "axes": [
                    {"name": "t", "type": "time"},
                    {"name": "z", "type": "space"},
                    {"name": "y", "type": "space"},
                    {"name": "x", "type": "space", "unit": "micrometer"},
                ],
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": [1.0, 1.0, 1.0, 0.5]}
                        ],
                    }
                ],
            }
        ],
        "image-label": {"version": "0.5"},
    }
    level = json.loads((tmp_path / "a.zarr" / "0" / "zarr.json").read_text())
    assert level["zarr_format"] == 3
    assert level["dimension_names"] == list("tzyx")
    assert "zstd" in {codec["name"] for codec in level["codecs"]}


def test_background_takes_no_room(tmp_path: Path) -> None:
    store = create_store(tmp_path / "a.zarr", (10**6, 10**6), "uint32", (956, 956), "YX")
    store[:956, :956] = 0
    assert len(list((tmp_path / "a.zarr").rglob("*"))) == 3  # two files of metadata, one folder


def test_chunks_are_not_larger_than_the_image(tmp_path: Path) -> None:
    store = create_store(tmp_path / "a.zarr", (30, 20), "uint16", (956, 956), "YX")
    assert store.chunks == (30, 20)


def test_a_store_replaces_nothing(tmp_path: Path) -> None:
    make_labels(tmp_path / "a.zarr")
    with pytest.raises(FileProblemError, match=r"a\.zarr exists already"):
        make_labels(tmp_path / "a.zarr")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileProblemError, match=r"Cannot write .*a\.zarr: Not a directory"):
        make_labels(tmp_path / "file" / "a.zarr")


EXTERNAL: dict[str, Callable[[Path], object]] = {
    "a folder": lambda path: path.mkdir(),
    "a file": lambda path: path.touch(),
    "an external Zarr": lambda path: zarr.open_group(store=str(path), mode="w"),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("kind", EXTERNAL)
def test_what_we_did_not_write_is_not_written_to(tmp_path: Path, kind: str) -> None:
    EXTERNAL[kind](tmp_path / "a.zarr")
    with pytest.raises(FileProblemError, match=r"a\.zarr is no OME-Zarr that napari-unet wrote"):
        add_pyramid(tmp_path / "a.zarr")


@pytest.mark.usefixtures("small_overviews")
def test_a_pyramid_picks_every_second_pixel_of_the_plane(tmp_path: Path) -> None:
    labels = make_labels(tmp_path / "a.zarr")
    assert add_pyramid(tmp_path / "a.zarr")
    for level, step in enumerate((1, 2, 4, 8)):
        found = read_image(tmp_path / "a.zarr" / str(level)).array[...]
        np.testing.assert_array_equal(found, labels[:, ::step, ::step])
    assert not (tmp_path / "a.zarr" / "4").exists()


@pytest.mark.usefixtures("small_overviews")
def test_each_level_tells_its_pixel_size(tmp_path: Path) -> None:
    make_labels(tmp_path / "a.zarr")
    add_pyramid(tmp_path / "a.zarr")
    assert scales_of(tmp_path / "a.zarr") == [[2, 0.25 * k, 0.5 * k] for k in (1, 2, 4, 8)]
    assert read_image(tmp_path / "a.zarr/2").pixel_size == {"Z": 2.0, "Y": 1.0, "X": 2.0}


def test_a_small_image_needs_no_pyramid(tmp_path: Path) -> None:
    make_labels(tmp_path / "a.zarr")
    assert add_pyramid(tmp_path / "a.zarr")
    assert len(scales_of(tmp_path / "a.zarr")) == 1


@pytest.mark.usefixtures("small_overviews")
def test_a_pyramid_that_is_whole_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_labels(tmp_path / "a.zarr")
    add_pyramid(tmp_path / "a.zarr")
    monkeypatch.setattr(ome_zarr, "_create_level", None)
    assert add_pyramid(tmp_path / "a.zarr")


class StopAt(threading.Event):
    """Is set when it was asked so many times."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self.left = asked

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.usefixtures("small_overviews")
@pytest.mark.parametrize(("asked", "whole_levels"), [(0, 1), (10, 1), (27, 2), (40, 3)])
def test_a_stopped_pyramid_lists_whole_levels_and_goes_on(
    tmp_path: Path, asked: int, whole_levels: int
) -> None:
    labels = make_labels(tmp_path / "a.zarr")  # levels 1, 2, 3 have 27, 12 and 3 chunks
    assert not add_pyramid(tmp_path / "a.zarr", StopAt(asked))
    assert len(scales_of(tmp_path / "a.zarr")) == whole_levels
    assert add_pyramid(tmp_path / "a.zarr")
    found = read_image(tmp_path / "a.zarr/3").array[...]
    np.testing.assert_array_equal(found, labels[:, ::8, ::8])


def test_a_pyramid_never_holds_a_level_in_memory(tmp_path: Path) -> None:
    side, chunk = 4096, 256
    store = create_store(tmp_path / "a.zarr", (side, side), "uint32", (chunk, chunk), "YX")
    for region in regions_of_chunks(store.shape, store.chunks):
        store[region] = region[0].start + region[1].start + 1
    tracemalloc.start()
    add_pyramid(tmp_path / "a.zarr")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * 4 * chunk**2  # the smallest level alone has 16 chunks, level 1 has 64


def test_an_unfinished_store_is_not_found_among_the_images(tmp_path: Path) -> None:
    make_labels(tmp_path / ".a.zarr.partial")
    with pytest.raises(FileProblemError, match="holds no image"):
        find_images([tmp_path])


def test_a_finished_store_has_its_name(tmp_path: Path) -> None:
    labels = make_labels(tmp_path / ".a.zarr.partial")
    finish(tmp_path / ".a.zarr.partial", tmp_path / "a.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    np.testing.assert_array_equal(read_labels(tmp_path / "a.zarr"), labels)


def test_a_finished_store_replaces_the_one_before(tmp_path: Path) -> None:
    make_labels(tmp_path / "a.zarr")
    labels = make_labels(tmp_path / ".a.zarr.partial", side=30)
    finish(tmp_path / ".a.zarr.partial", tmp_path / "a.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    np.testing.assert_array_equal(read_labels(tmp_path / "a.zarr"), labels)


@pytest.mark.parametrize("kind", EXTERNAL)
def test_nothing_of_others_is_replaced(tmp_path: Path, kind: str) -> None:
    make_labels(tmp_path / ".a.zarr.partial")
    EXTERNAL[kind](tmp_path / "a.zarr")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FileProblemError, match="was not written by napari-unet"):
        finish(tmp_path / ".a.zarr.partial", tmp_path / "a.zarr")
    with pytest.raises(FileProblemError, match="was not written by napari-unet"):
        check_replaceable(tmp_path / "a.zarr")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_that_is_free_or_ours_may_be_taken(tmp_path: Path) -> None:
    check_replaceable(tmp_path / "a.zarr")
    make_labels(tmp_path / "a.zarr")
    check_replaceable(tmp_path / "a.zarr")


def test_the_previous_result_stays_where_the_new_one_cannot_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = make_labels(tmp_path / "a.zarr")
    partial = tmp_path / ".a.zarr.partial"
    make_labels(partial, side=30)
    replace = os.replace

    def refused(source: Path, target: Path) -> None:
        if source == partial:
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(FileProblemError, match=r"Cannot write .*a\.zarr: Permission denied"):
        finish(partial, tmp_path / "a.zarr")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.zarr"), labels)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.zarr.partial", "a.zarr"]


PREVIOUS = ".a.zarr.previous.partial"  # as a process that was killed in `finish` leaves it


@pytest.mark.fault(34)
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ENOENT, errno.ESTALE])
def test_the_only_copy_of_a_result_outlives_a_disk_that_fails_for_a_moment(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = make_labels(tmp_path / PREVIOUS)

    def failing(path: Path, **_: Any) -> str:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", failing)
        put_back_previous(tmp_path / "a.zarr")
    assert [path.name for path in tmp_path.iterdir()] == [PREVIOUS]
    put_back_previous(tmp_path / "a.zarr")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.zarr"), labels)


@pytest.mark.fault(34)
def test_what_is_left_of_a_replaced_result_is_deleted(tmp_path: Path) -> None:
    make_labels(tmp_path / PREVIOUS)
    labels = make_labels(tmp_path / "a.zarr", side=30)
    put_back_previous(tmp_path / "a.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    np.testing.assert_array_equal(read_labels(tmp_path / "a.zarr"), labels)
