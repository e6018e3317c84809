"""Cellpose's _seg.npy is looked into, and never run."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_unet.errors import FileProblemError
from napari_unet.io.annotations.cellpose import Opaque, array_in, items_in, look_into
from napari_unet.io.annotations.reading import read_annotations

from .builders import cellpose_content, ring_and_neighbour, write_cellpose


class Canary:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def write_pickle(path: Path, content: Any, protocol: int) -> Path:
    """Write what `np.save` would, in any protocol."""
    with path.open("wb") as file:
        header = {"descr": "|O", "fortran_order": False, "shape": ()}
        np.lib.format.write_array_header_1_0(file, header)
        pickle.dump(np.array(content, dtype=object), file, protocol=protocol)
    return path


@pytest.mark.parametrize(
    "masks",
    [
        ring_and_neighbour(),
        ring_and_neighbour().astype(np.int32),
        ring_and_neighbour().astype(">u4"),
        np.asfortranarray(ring_and_neighbour()),
        np.stack([ring_and_neighbour()] * 3),
    ],
    ids=["16 bits", "int32", "big-endian", "by columns", "3D"],
)
def test_the_masks_are_read(masks: Any, tmp_path: Path) -> None:
    path = write_cellpose(tmp_path / "cells_seg.npy", masks)
    np.testing.assert_array_equal(read_annotations(path, masks.shape).labels, masks)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_every_protocol_of_pickle_is_read(protocol: int, tmp_path: Path) -> None:
    content = cellpose_content(ring_and_neighbour())
    path = write_pickle(tmp_path / "cells_seg.npy", content, protocol)
    np.testing.assert_array_equal(read_annotations(path).labels, ring_and_neighbour())


@pytest.mark.fault(37)
def test_a_malicious_file_is_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    content = cellpose_content(ring_and_neighbour()) | {"filename": Canary(canary)}
    path = write_pickle(tmp_path / "cells_seg.npy", content, 4)
    np.testing.assert_array_equal(read_annotations(path).labels, ring_and_neighbour())
    assert not canary.exists()


@pytest.mark.fault(37)
def test_malicious_masks_are_refused_and_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = write_pickle(tmp_path / "cells_seg.npy", {"masks": Canary(canary)}, 4)
    with pytest.raises(FileProblemError, match=r"masks are no array.*save the masks as PNG"):
        read_annotations(path)
    assert not canary.exists()


def test_the_canary_sings_where_it_is_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(Canary(canary)))
    assert canary.exists()


def test_calls_stand_for_themselves() -> None:
    found = look_into(pickle.dumps([Path("a"), {"b": 1}], protocol=4))
    assert isinstance(found[0], Opaque)
    assert found[1] == {"b": 1}


def nested(behind: bytes) -> bytes:
    """Return a pickle of lists that are 10**5 numbers in words, and what is done to them."""
    lists = b"".join(b"q%c0(" % at + b"h%c" % at * 10 + b"l" for at in range(5))
    return b"\x80\x04c_codecs\nencode\nK\x01" + lists + behind + b"."


@pytest.mark.fault(37)
def test_only_texts_are_turned_into_bytes() -> None:
    found = look_into(nested(b"X\x06\x00\x00\x00latin1\x86R"))
    assert isinstance(found, Opaque)
    assert found.name == "_codecs encode"


@pytest.mark.fault(37)
def test_only_texts_name_functions() -> None:
    with pytest.raises(ValueError, match="what is no text"):
        look_into(nested(b"X\x01\x00\x00\x00a\x93"))


@pytest.mark.fault(37)
def test_a_shape_that_is_none_is_not_put_into_words() -> None:
    shape = look_into(nested(b"\x85"))
    state = (1, shape, Opaque("numpy dtype", ("u1",)), False, b"1")
    with pytest.raises(ValueError, match="has no shape"):
        array_in(Opaque("numpy.core.multiarray _reconstruct", (), state))


def named(module: str, name: str) -> bytes:
    """Return what puts a global on the stack of a pickle."""
    return f"c{module}\n{name}\n".encode()


def number(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little")


# What follows costs Python's own unpickler memory, hours or a crash, even where it allows no other
# names than those that arrays are made of.
RECONSTRUCT = named("numpy.core.multiarray", "_reconstruct") + named("numpy", "ndarray")
OBJECTS = named("numpy", "dtype") + b"X\x01\x00\x00\x00O\x85R"


@pytest.mark.fault(37)
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(RECONSTRUCT + number(2**40) + b"\x85C\x01b\x87R", id="an empty array"),
        pytest.param(named("numpy", "ndarray") + number(2**40) + b"\x85\x85R", id="a call"),
        pytest.param(named("numpy", "ndarray") + b"K\x01\x85" + OBJECTS + b"\x86R", id="objects"),
        pytest.param(b"K\x01r" + b"\xff" * 4, id="a number to remember by"),
    ],
)
def test_a_claimed_size_takes_no_memory(program: bytes) -> None:
    tracemalloc.start()
    look_into(b"\x80\x04" + program + b".")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**20


@pytest.mark.fault(37)
@pytest.mark.parametrize("record", [b"\x96", b"\x8e", b"\x8d"], ids=["bytearray", "bytes", "text"])
def test_bytes_that_are_not_there_are_refused(record: bytes) -> None:
    with pytest.raises(ValueError, match="only 3 remain"):
        look_into(b"\x80\x04" + record + (2**40).to_bytes(8, "little") + b"ab.")


@pytest.mark.fault(37)
def test_an_array_of_objects_holds_those_that_are_there() -> None:
    """NumPy itself crashes here: it takes the claimed number of objects from an empty list."""
    state = b"(K\x01" + number(2**20) + b"\x85" + OBJECTS + b"\x89]tb"
    found = look_into(b"\x80\x04" + RECONSTRUCT + b"K\x00\x85C\x01b\x87R" + state + b".")
    assert items_in(found) == []
    assert array_in(found) is None


@pytest.mark.fault(37)
def test_keys_that_hold_each_other_many_times_are_not_hashed() -> None:
    """Each level takes ten times as long to hash: 10**30 steps."""
    levels = b"".join(b"(" + b"h%c" % at * 10 + b"tq%c0" % (at + 1) for at in range(30))
    found = look_into(b"\x80\x04}K\x01\x85q\x000" + levels + b"h%cK\x01s." % 30)
    assert found == {}


@pytest.mark.fault(37)
@pytest.mark.parametrize("record", [b"\x82\x01", b"P1\n", b"\x97"], ids=["EXT1", "PERSID", "NEXT"])
def test_records_that_reach_into_the_process_are_refused(record: bytes) -> None:
    with pytest.raises(ValueError, match="record of the kind"):
        look_into(b"\x80\x04" + record + b".")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"outlines": 1}, "no masks"),
        ({"masks": None}, "no array"),
        ([1, 2], "no masks"),
        ({"masks": np.ones((3, 3))}, "float64"),
        ({"masks": np.ones((3, 3), int) * -1}, "number -1"),
        ({"masks": np.zeros((0, 3), int)}, "shape"),
        ({"masks": np.array([[None]])}, "no array"),
    ],
    ids=["no masks", "none", "a list", "floats", "negative", "empty", "objects"],
)
def test_other_content_is_refused(content: Any, reason: str, tmp_path: Path) -> None:
    path = write_pickle(tmp_path / "cells_seg.npy", content, 4)
    with pytest.raises(FileProblemError, match=reason):
        read_annotations(path)


def test_a_plain_array_of_that_name_is_a_label_image(tmp_path: Path) -> None:
    np.save(tmp_path / "cells_seg.npy", ring_and_neighbour())
    found = read_annotations(tmp_path / "cells_seg.npy")
    np.testing.assert_array_equal(found.labels, ring_and_neighbour())


def test_masks_of_another_image_are_refused(tmp_path: Path) -> None:
    path = write_cellpose(tmp_path / "cells_seg.npy", ring_and_neighbour())
    with pytest.raises(Exception, match=r"has shape \(12, 16\), the image \(16, 12\)"):
        read_annotations(path, (16, 12))
