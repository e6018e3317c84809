"""Cellpose's _seg.npy is looked into, and never run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_unet.errors import FileProblemError
from napari_unet.io.annotations.pickled import Opaque, array_in, look_into
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
