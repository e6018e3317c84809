"""Pipes, devices and places elsewhere that a file names: refused, and nobody waits for them."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_unet.errors import NapariUNetError
from napari_unet.io.annotations.reading import find_annotations, read_annotations
from napari_unet.io.files import find_images, open_labels, read_image
from napari_unet.io.layers import get_reader
from napari_unet.io.limits import is_inside
from napari_unet.io.tiff_sets import check_parts
from napari_unet.model.trained import read_tensors
from napari_unet.project.folder import load_project
from napari_unet.project.library import read_entry
from napari_unet.provenance.card import read_card

from .zarrs import write_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.fault(56),
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such pipes on Windows"),
]
PLANE = np.ones((8, 9), np.uint16)
READERS: dict[str, Callable[[Path], object]] = {
    "x.tif": read_image,
    "x.png": read_image,
    "x.npy": read_image,
    "labels.png": open_labels,
    "x.TIFF": lambda path: get_reader(str(path)),
    "x.geojson": read_annotations,
    "x.json": read_annotations,
    "x.roi": read_annotations,
    "x.zip": read_annotations,
    "x_seg.npy": read_annotations,
    "x.safetensors": read_tensors,
    "y.safetensors": read_entry,
    "x.run.json": read_card,
    "project.json": lambda path: load_project(path.parent),
}


@pytest.fixture(autouse=True)
def _nobody_waits() -> Iterator[None]:
    """Fail instead of waiting for a pipe for ever."""

    def waited(number: int, frame: object) -> None:
        raise AssertionError("it waits for a pipe")

    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_refused_by_what_reads_its_name(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(NapariUNetError, match=name.rpartition(".")[0]):
        READERS[name](tmp_path / name)


def test_a_pipe_in_a_folder_is_no_image_and_no_annotation(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.tif")
    os.mkfifo(tmp_path / "x_seg.npy")
    tifffile.imwrite(tmp_path / "a.tif", PLANE)
    assert find_images([tmp_path]) == find_annotations([tmp_path]) == [tmp_path / "a.tif"]


@pytest.mark.parametrize("key", ["0.0.0.0", ".zattrs", ".zarray"])
def test_a_pipe_in_a_zarr_is_refused(tmp_path: Path, key: str) -> None:
    path = write_plain(tmp_path / "x.zarr", zarr_format=2)
    (path / key).unlink(missing_ok=True)
    os.mkfifo(path / key)
    with pytest.raises(NapariUNetError, match=r"x\.zarr"):
        np.asarray(read_image(path).array[...])


# --- what an OME-TIFF names ----------------------------------------------------------------------


def write_ome(path: Path, named: str) -> Path:
    """Write a movie of two frames, of which the second is said to lie in another file."""
    own, other = f"urn:uuid:{uuid.uuid4()}", f"urn:uuid:{uuid.uuid4()}"
    planes = "".join(
        f'<TiffData FirstT="{time}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">{identity}</UUID></TiffData>'
        for time, (name, identity) in enumerate([(path.name, own), (named, other)])
    )
    about = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{own}">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
        'SizeX="9" SizeY="8" SizeZ="1" SizeC="1" SizeT="2">'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
    )
    tifffile.imwrite(path, PLANE, description=about, metadata=None)
    return path


@pytest.mark.parametrize(
    "named",
    [
        "/dev/zero",
        "../secret.tif",
        "inside/b.tif",
        r"\\\\host\share\b.tif",
        r"C:\b.tif",
        "C:b.tif",
        "..",
    ],
)
def test_an_ome_tiff_opens_no_file_elsewhere(tmp_path: Path, named: str) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    for secret in (tmp_path / "secret.tif", tmp_path / "folder" / "inside" / "b.tif"):
        tifffile.imwrite(secret, PLANE * 7)
    path = write_ome(tmp_path / "folder" / "a.ome.tif", named)
    with pytest.raises(NapariUNetError, match=r"only files in its own folder are opened"):
        read_image(path)


def test_a_pipe_that_an_ome_tiff_names_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "b.ome.tif")
    with pytest.raises(NapariUNetError, match=r"b\.ome\.tif is a pipe or a device"):
        read_image(write_ome(tmp_path / "a.ome.tif", "b.ome.tif"))


def test_an_ome_tiff_that_was_renamed_is_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", PLANE, metadata={"axes": "YX"})
    path = (tmp_path / "a.ome.tif").rename(tmp_path / "b.ome.tif")
    np.testing.assert_array_equal(read_image(path).array, PLANE)


def test_what_micro_manager_names_in_its_index_stays_in_its_folder(tmp_path: Path) -> None:
    axes, name = b'{"time": 0}', b"/dev/zero"
    texts = struct.pack("<I", len(axes)) + axes + struct.pack("<I", len(name)) + name
    (tmp_path / "NDTiff.index").write_bytes(texts + struct.pack("<IiiiiIii", *[0] * 8))
    file: Any = SimpleNamespace(ome_metadata=None, is_ndtiff=True, is_mmstack=False)
    with pytest.raises(NapariUNetError, match=r"names '/dev/zero' as a part"):
        check_parts(file, tmp_path / "a.tif")


def test_a_pipe_beside_a_file_of_micro_manager_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x_MMStack_1.ome.tif")
    file: Any = SimpleNamespace(ome_metadata=None, is_ndtiff=False, is_mmstack=True)
    with pytest.raises(NapariUNetError, match=r"MMStack_1\.ome\.tif is a pipe"):
        check_parts(file, tmp_path / "x_MMStack.ome.tif")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0", True),
        ("labels/nuclei", True),
        ("..", False),
        ("a/../../b", False),
        ("/etc", False),
        (r"\\\\host\share", False),
        ("//host/share", False),
        ("C:/b", False),
        ("link", False),
    ],
)
def test_a_place_in_a_folder_is_told_from_one_outside(
    tmp_path: Path, name: str, expected: bool
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    assert is_inside(tmp_path / "in", name) is expected


@pytest.mark.fault(55)
def test_an_eps_named_png_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    program = (
        "import subprocess, sys\n"
        "subprocess.Popen.__init__ = lambda *a, **k: print('started')\n"
        "from napari_unet.io.files import open_labels\n"
        "try:\n"
        "    open_labels(sys.argv[1])\n"
        "except Exception as error:\n"
        "    print(type(error).__name__)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "x.png")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told == "FileProblemError\n"
