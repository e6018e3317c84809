from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

from data.counting import CountingArray
from napari_unet.data.frames import frames_of
from napari_unet.errors import FileProblemError
from napari_unet.io.files import (
    find_images,
    name_of,
    open_labels,
    pair_files,
    read_image,
    read_labels,
    stem_of,
    tiff_beside,
)

from .zarrs import AXES, STACK, multiscale, write_group, write_ome, write_plain

both_versions = pytest.mark.parametrize("version", ["0.4", "0.5"])


@pytest.fixture
def chunk_gets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the keys of all chunks that are fetched from disk."""
    fetched: list[str] = []
    get = LocalStore.get

    async def counted(self: LocalStore, key: str, *arguments: Any, **options: Any) -> Any:
        if not key.endswith(("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")):
            fetched.append(key)
        return await get(self, key, *arguments, **options)

    monkeypatch.setattr(LocalStore, "get", counted)
    return fetched


def named(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_plain_array_is_opened(tmp_path: Path, zarr_format: int) -> None:
    image = read_image(write_plain(tmp_path / "a.zarr", zarr_format))
    assert (image.axes, image.pixel_size) == (None, {})
    np.testing.assert_array_equal(image.array[...], STACK)


def test_the_dimension_names_of_zarr_3_are_axes(tmp_path: Path) -> None:
    names = ["channel", "z", "y", "x"]
    assert read_image(write_plain(tmp_path / "a.zarr", 3, dimension_names=names)).axes == "CZYX"


@pytest.mark.parametrize(
    "names", [["c", "z", "y", "q"], ["a", "b", "y", "x"], ["c", "z", "t", "z"]]
)
def test_dimension_names_of_something_else_are_no_axes(tmp_path: Path, names: list[str]) -> None:
    assert read_image(write_plain(tmp_path / "a.zarr", 3, dimension_names=names)).axes is None


def test_the_axes_that_xarray_names_are_known(tmp_path: Path) -> None:
    attributes = {"_ARRAY_DIMENSIONS": ["time", "z", "y", "x"]}
    path = write_plain(tmp_path / "a.zarr", 2, attributes=attributes)
    assert read_image(path).axes == "TZYX"


@both_versions
def test_an_ome_zarr_is_read_at_its_finest_level(tmp_path: Path, version: str) -> None:
    image = read_image(write_ome(tmp_path / "a.ome.zarr", version))
    assert image.axes == "CZYX"
    assert image.pixel_size == {"Z": 2.0, "Y": 0.25, "X": 0.5}
    np.testing.assert_array_equal(image.array[...], STACK)


@both_versions
def test_a_level_is_named_by_its_path(tmp_path: Path, version: str) -> None:
    image = read_image(write_ome(tmp_path / "a.zarr", version) / "1")
    assert image.array.shape == (2, 4, 16, 24)
    assert image.pixel_size == {"Z": 2.0, "Y": 0.5, "X": 1.0}


@both_versions
@pytest.mark.parametrize("inside", ["labels/nuclei", "labels/nuclei/0"])
def test_labels_inside_an_ome_zarr_are_read(tmp_path: Path, version: str, inside: str) -> None:
    path = write_ome(tmp_path / "a.zarr", version) / inside
    assert open_labels(path).axes == "ZYX"
    assert open_labels(path).pixel_size == {"Z": 2.0, "Y": 0.25, "X": 0.5}
    np.testing.assert_array_equal(read_labels(path), STACK[0] // 100)


def test_channels_are_no_labels(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match="holds colours, not label numbers"):
        read_labels(write_ome(tmp_path / "a.zarr", "0.4"))


def test_a_channel_axis_of_length_1_of_labels_is_dropped(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "a.zarr", 3, STACK[:1], dimension_names=list("czyx"))
    assert open_labels(path).axes == "CZYX"
    np.testing.assert_array_equal(read_labels(path), STACK[0])


def test_a_file_in_a_zarr_folder_is_a_file(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "a.zarr", 3) / "snapshot.npy"
    np.save(path, STACK)
    assert find_images([path]) == [path]
    assert stem_of(path) == "snapshot"
    np.testing.assert_array_equal(read_labels(path), STACK)


def test_an_axis_without_a_unit_is_of_unknown_size(tmp_path: Path) -> None:
    axes = [{**axis} for axis in AXES]
    del axes[1]["unit"]
    path = write_ome(tmp_path / "a.zarr", "0.5", multiscale(axes))
    assert read_image(path).pixel_size == {"Y": 0.25, "X": 0.5}


def test_the_bare_axis_names_of_an_old_file_are_known(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.zarr", "0.4", multiscale(list("czyx")))
    assert (read_image(path).axes, read_image(path).pixel_size) == ("CZYX", {})


def test_axes_that_are_no_image_axes_are_unknown(tmp_path: Path) -> None:
    axes = [{**AXES[0], "name": "angle"}, *AXES[1:]]
    path = write_ome(tmp_path / "a.zarr", "0.4", multiscale(axes))
    assert read_image(path).axes is None


@both_versions
def test_opening_reads_no_pixel(tmp_path: Path, version: str, chunk_gets: list[str]) -> None:
    path = write_ome(tmp_path / "a.zarr", version)
    chunk_gets.clear()
    read_image(path)
    assert not chunk_gets


@both_versions
def test_reading_a_region_fetches_its_chunks_alone(
    tmp_path: Path, version: str, chunk_gets: list[str]
) -> None:
    image = read_image(write_ome(tmp_path / "a.zarr", version))
    frame = frames_of(image.array, "CZYX", 2, used_channels=(1,))[2]
    chunk_gets.clear()
    pixels = frame.read((slice(16, 32), slice(8, 40)))
    np.testing.assert_array_equal(pixels[0], STACK[1, 2, 16:32, 8:40])
    assert len(chunk_gets) == 3


def test_a_frame_touches_no_chunk_outside_its_region(tmp_path: Path) -> None:
    array = CountingArray(read_image(write_plain(tmp_path / "a.zarr", 3)).array)
    frames_of(array, "CZYX", 3, used_channels=(0,))[0].read((slice(1, 3), slice(0, 16), slice(48)))
    assert array.chunks_touched == {(0, z, 0, x) for z in (1, 2) for x in (0, 1, 2)}
    assert (array.pixels, array.reads) == (2 * 16 * 48, 1)


def test_a_counting_array_refuses_to_be_read_by_numpy() -> None:
    array = CountingArray(STACK)
    with pytest.raises(AssertionError, match="whole lazy image"):
        np.asarray(array)


def test_an_opened_zarr_can_be_sent_to_a_worker(tmp_path: Path) -> None:
    image = read_image(write_ome(tmp_path / "a.zarr", "0.5"))
    again = pickle.loads(pickle.dumps(image))
    np.testing.assert_array_equal(again.array[1, 2], STACK[1, 2])


PLATE = {"plate": {"wells": [{"path": "B/3"}, {"path": "B/4"}]}}
WELL = {"well": {"images": [{"path": "0"}, {"path": "1"}]}}
PROBLEMS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a missing folder": (lambda folder: folder / "a.zarr", r"There is no Zarr folder .*a\.zarr\."),
    "an empty folder": (lambda folder: named(folder / "a.zarr"), r"is no Zarr image: it lacks"),
    "a missing level": (
        lambda folder: write_ome(folder / "a.zarr", "0.4") / "7",
        r"There is no .*7; .*a\.zarr holds 0, 1, labels\.",
    ),
    "missing labels": (
        lambda folder: write_ome(folder / "a.zarr", "0.5") / "labels/cells",
        r"There is no .*cells; .*labels holds nuclei\.",
    ),
    "a group of labels": (
        lambda folder: write_ome(folder / "a.zarr", "0.5") / "labels",
        r"not an image: it holds nuclei; name one of them, such as .*a\.zarr/labels/nuclei\.",
    ),
    "a group of series": (
        lambda folder: write_group(folder / "a.zarr", "0.4", {}, "0", "OME"),
        r"not an image: it holds 0, OME; name one of them, such as .*a\.zarr/0\.",
    ),
    "an empty group": (
        lambda folder: write_group(folder / "a.zarr", "0.5", {}),
        r"not an image: it holds nothing\.",
    ),
    "a plate": (
        lambda folder: write_group(folder / "a.zarr", "0.4", PLATE),
        r"is a plate of 2 wells; name a field of one, such as .*a\.zarr/B/3/0\.",
    ),
    "a well": (
        lambda folder: write_group(folder / "a.zarr", "0.5", WELL),
        r"is a well of 2 fields; name one, such as .*a\.zarr/0\.",
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_what_is_no_image_is_told_with_a_remedy(tmp_path: Path, problem: str) -> None:
    make, text = PROBLEMS[problem]
    with pytest.raises(FileProblemError, match=text) as caught:
        read_image(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_file_named_like_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").write_bytes(b"zip")
    with pytest.raises(FileProblemError, match="read from folders"):
        read_image(tmp_path / "a.zarr")


@pytest.mark.parametrize("text", ["{", "{}", "[1]"])
def test_damaged_metadata_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = write_plain(tmp_path / "a.zarr", 3)
    (path / "zarr.json").write_text(text)
    with pytest.raises(FileProblemError, match=r"a\.zarr") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_multiscales_that_make_no_sense_are_refused_by_name(tmp_path: Path) -> None:
    path = write_group(tmp_path / "a.zarr", "0.4", {"multiscales": [{}]})
    with pytest.raises(FileProblemError, match=r"Cannot read .*a\.zarr"):
        read_image(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Hold two images, and what must never be taken for one."""
    write_plain(tmp_path / "b.zarr", 3)
    write_ome(tmp_path / "a.ome.zarr", "0.5")
    write_plain(tmp_path / ".hidden.zarr", 3)
    write_plain(tmp_path / "c.zarr.partial", 3)
    (tmp_path / "c.tif.partial").write_bytes(b"half")
    return tmp_path


@pytest.mark.parametrize("pattern", ["", "*.zarr", "*"], ids=["folder", "glob", "everything"])
def test_zarr_folders_are_images_of_a_folder(folder: Path, pattern: str) -> None:
    assert find_images([folder / pattern]) == [folder / "a.ome.zarr", folder / "b.zarr"]


@pytest.mark.parametrize(
    "inside", ["a.ome.zarr", "a.ome.zarr/1", "a.ome.zarr/labels/nuclei", "a.ome.zarr/7"]
)
def test_what_is_in_a_zarr_folder_is_one_image(folder: Path, inside: str) -> None:
    assert find_images([folder / inside]) == [folder / inside]


def test_a_glob_finds_a_level_of_each(folder: Path) -> None:
    assert find_images([folder / "*.zarr" / "1"]) == [folder / "a.ome.zarr" / "1"]


def test_a_glob_finds_no_file_inside_of_a_zarr_folder(folder: Path) -> None:
    with pytest.raises(FileProblemError, match="There is no file or folder"):
        find_images([folder / "a.ome.zarr" / "*.json"])


def test_a_zarr_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match=r"There is no file or folder .*none\.zarr"):
        find_images([tmp_path / "none.zarr" / "0"])


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("a.ome.zarr", "truth/a.tif"),
        ("a.zarr", "a.zarr/labels/nuclei"),
        ("a.zarr/1", "a.ome.tif"),
        ("a.ome.tif", "truth/a.ome.tif"),
        ("A.ZARR", "A.TIF"),
    ],
)
def test_an_image_pairs_with_labels_of_another_format(image: str, labels: str) -> None:
    others = (Path("b.tif"), Path("b.png"))
    pairs = pair_files([Path(image), others[0]], [others[1], Path(labels)])
    assert pairs == [(Path(image), Path(labels)), others]


def test_an_image_without_a_partner_is_called_by_its_folder() -> None:
    with pytest.raises(FileProblemError, match=r"without a partner: b\.zarr/0, c\.tif\."):
        pair_files([Path("a.zarr"), Path("x/b.zarr/0")], [Path("a.tif"), Path("c.tif")])


def test_the_result_of_a_zarr_folder_is_named_after_it() -> None:
    assert tiff_beside(Path("in/a.ome.zarr/1"), Path("out")) == Path("out/a.tif")


@pytest.mark.parametrize("name", [".ome.tif", "a.b.tif", "home.tif"])
def test_other_names_keep_their_stem(name: str) -> None:
    assert stem_of(Path(name)) == Path(name).stem


def test_a_level_is_called_by_its_folder() -> None:
    assert name_of(Path("x/a.zarr/labels/b")) == "a.zarr/labels/b"


def test_a_chunk_that_is_damaged_is_told_as_an_error_of_the_file(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "a.zarr", 3, STACK[0])
    for chunk in (path / "c").rglob("0"):
        if chunk.is_file():
            chunk.write_bytes(b"damaged")
    with pytest.raises(FileProblemError, match=r"Cannot read .*a\.zarr"):
        read_labels(path)


def test_the_array_is_that_of_zarr(tmp_path: Path) -> None:
    assert isinstance(read_image(write_plain(tmp_path / "a.zarr", 2)).array, zarr.Array)


# --- of somebody else --------------------------------------------------------------------------

PLAIN: dict[str, Any] = {"id": "vlen-utf8"}
PICKLE: dict[str, Any] = {"id": "pickle"}
PICKLE_3: dict[str, Any] = {"name": "numcodecs.pickle", "configuration": {}}
PACKED: dict[str, dict[str, Any]] = {
    "compressor of numbers": {"compressor": PICKLE},
    "filter of numbers": {"filters": [PICKLE]},
    "filter of objects": {"dtype": "|O", "filters": [PICKLE]},
    "compressor of texts": {"dtype": "|O", "filters": [PLAIN], "compressor": PICKLE},
    "second filter of texts": {"dtype": "|O", "filters": [PLAIN, PICKLE]},
    "codec": {"codecs": [{"name": "bytes"}, PICKLE_3]},
    "codec by its name alone": {"codecs": ["bytes", "numcodecs.pickle"]},
    "codec of a shard": {
        "codecs": [{"name": "sharding_indexed", "configuration": {"codecs": [PICKLE_3]}}]
    },
}


class Evil:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return (Path.touch, (self.canary,))


def write_metadata(folder: Path, changes: dict[str, Any]) -> Path:
    """Write an array of Zarr 3 where `changes` name its codecs or type, else of Zarr 2."""
    folder.mkdir()
    if changes.keys() & {"codecs", "data_type"}:
        grid = {"name": "regular", "configuration": {"chunk_shape": [8, 8]}}
        keys = {"name": "default", "configuration": {"separator": "/"}}
        about = {"zarr_format": 3, "node_type": "array", "shape": [8, 8], "data_type": "uint8",
                 "chunk_grid": grid, "chunk_key_encoding": keys, "fill_value": 0,
                 "codecs": [{"name": "bytes"}], "attributes": {}}  # fmt: skip
        (folder / "zarr.json").write_text(json.dumps({**about, **changes}))
    else:
        about = {"zarr_format": 2, "shape": [8, 8], "chunks": [8, 8], "dtype": "|u1",
                 "compressor": None, "filters": None, "fill_value": 0, "order": "C"}  # fmt: skip
        (folder / ".zarray").write_text(json.dumps({**about, **changes}))
    return folder


@pytest.mark.fault(37)
@pytest.mark.parametrize("changes", PACKED.values(), ids=PACKED)
def test_a_zarr_that_is_packed_with_pickle_is_refused_and_not_run(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = write_metadata(tmp_path / "a.zarr", changes)
    (folder / "c" / "0").mkdir(parents=True)
    for chunk in ("0.0", "c/0/0"):
        (folder / chunk).write_bytes(pickle.dumps(Evil(tmp_path / "canary")))
    with pytest.raises(FileProblemError, match=r"pickle, which may run a program, and is not op"):
        np.asarray(read_image(folder).array[...])
    assert not (tmp_path / "canary").exists()


@pytest.mark.fault(37)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_level_that_is_packed_with_pickle_is_refused(tmp_path: Path, version: str) -> None:
    folder = write_ome(tmp_path / "a.zarr", version)
    name = {"0.4": ".zarray", "0.5": "zarr.json"}[version]
    about = json.loads((folder / "0" / name).read_text())
    key = {"0.4": "filters", "0.5": "codecs"}[version]
    (folder / "0" / name).write_text(json.dumps({**about, key: [{**PICKLE, **PICKLE_3}]}))
    with pytest.raises(FileProblemError, match=r"a\.zarr.0 is packed with pickle"):
        read_image(folder)


@pytest.mark.fault(37)
@pytest.mark.parametrize(
    "changes",
    [{"dtype": "|O", "filters": [PLAIN]}, {"dtype": [["a", "|O"]]}, {"data_type": "string"}],
    ids=["objects", "fields of objects", "texts"],
)
def test_a_zarr_of_no_numbers_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(FileProblemError, match=r"a\.zarr holds .*, not numbers, and is not opened"):
        read_image(write_metadata(tmp_path / "a.zarr", changes))


@pytest.mark.parametrize("content", [b"{", b"[" * 10**5, b"\xff\xff"], ids=["cut", "deep", "bytes"])
def test_a_zarr_whose_metadata_is_damaged_is_named(tmp_path: Path, content: bytes) -> None:
    folder = named(tmp_path / "a.zarr")
    (folder / ".zarray").write_bytes(content)
    with pytest.raises(FileProblemError, match=r"a\.zarr has damaged metadata \(\.zarray\)"):
        read_image(folder)


@both_versions
@pytest.mark.parametrize("how", ["up", "absolute", "link"])
def test_a_level_outside_of_its_zarr_is_not_followed(
    tmp_path: Path, version: str, how: str
) -> None:
    private = write_plain(tmp_path / "private.zarr", 3)
    level = {"up": "../private.zarr", "absolute": str(private), "link": "linked"}[how]
    described = {**multiscale(), "datasets": [{"path": level}]}
    folder = write_group(tmp_path / "a.zarr", version, {"multiscales": [described]})
    (folder / "linked").symlink_to(private)
    with pytest.raises(FileProblemError, match=r"names '.*' as its pixels, which lies outside"):
        read_image(folder)
