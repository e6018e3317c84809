"""What is taken for a model file and is none, and places that a model cannot be written to."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_unet.errors import FileProblemError, ModelFileError
from napari_unet.model.starting import load_model_or_starting_model
from napari_unet.model.trained import read_tensors, write_tensors

TENSORS = {"w": torch.zeros(50_000)}


def refusal(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        read_tensors(path)
    return str(caught.value)


@pytest.mark.fault(35)
def test_a_cut_file_is_told_with_the_size_it_should_have(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_tensors(path, TENSORS, {})
    path.write_bytes(path.read_bytes()[:110_000])
    assert refusal(path) == (
        "m.safetensors is not a complete model file (expected 0.2 MB, found 0.1 MB). "
        "Restore it from a copy, or train again."
    )


@pytest.mark.fault(37)
def test_a_checkpoint_of_torch_is_named_and_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.mkdir, (tmp_path / "canary",)

    torch.save({"weights": Evil()}, tmp_path / "m.pt")
    (tmp_path / "p.pt").write_bytes(pickle.dumps({"weights": Evil()}))
    assert "a zip archive, as torch.save writes it, may hold a program" in refusal(
        tmp_path / "m.pt"
    )
    assert "a pickle, may hold a program, and is not opened" in refusal(tmp_path / "p.pt")
    assert not (tmp_path / "canary").exists()


@pytest.mark.fault(38)
def test_an_archive_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "m.safetensors", "w") as archive:
        archive.writestr("../escaped", "x")
        archive.writestr("/tmp/absolute", "x")
    assert "a zip archive" in refusal(tmp_path / "in" / "m.safetensors")
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "m.safetensors"]


@pytest.mark.fault(35)
def test_an_image_is_named_as_one(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "a.png")
    assert "it is a PNG image" in refusal(tmp_path / "a.png")


@pytest.mark.fault(38)
def test_a_header_that_claims_more_than_is_there_allocates_nothing(tmp_path: Path) -> None:
    header = b'{"w":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    (tmp_path / "m").write_bytes(len(header).to_bytes(8, "little") + header)
    assert "expected 4398047 MB, found 86 bytes" in refusal(tmp_path / "m")


@pytest.mark.fault(33)
def test_a_full_disk_keeps_the_model_that_was_there(small_disk: Path) -> None:
    path = small_disk / "m.safetensors"
    write_tensors(path, TENSORS, {"step": 1})
    with pytest.raises(FileProblemError) as caught:
        write_tensors(path, {"w": torch.zeros(10**6)}, {"step": 2})
    assert str(caught.value).startswith(f"Disk full: m.safetensors needs 4.0 MB in {small_disk}, ")
    assert str(caught.value).endswith(" MB are free. The previous file was kept.")
    assert read_tensors(path)[1] == {"step": 1}
    assert [found.name for found in small_disk.iterdir()] == ["m.safetensors"]


@pytest.mark.fault(40)
def test_a_folder_that_may_only_be_read_is_named(read_only: Path) -> None:
    with pytest.raises(FileProblemError, match=f"Cannot write to {read_only}/m: Read-only file"):
        write_tensors(read_only / "m", TENSORS, {})


@pytest.mark.fault(40)
def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match="gone/m: No such file or directory"):
        write_tensors(tmp_path / "gone" / "m", TENSORS, {})


@pytest.mark.fault(41)
@pytest.mark.parametrize(
    "name", ["mit Leerzeichen", "zażółć 細胞", "🔬🧫", "two\nlines", "x" * 200, "%s {0}"], ids=repr
)
def test_any_name_round_trips(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / name / name
    folder.mkdir(parents=True)
    write_tensors(folder / name, TENSORS, {"a": 1})
    assert read_tensors(folder / name)[1] == {"a": 1}


@pytest.mark.fault(41)
def test_a_name_that_the_file_system_does_not_take_is_told(tmp_path: Path) -> None:
    assert "File name too long" in refusal(tmp_path / ("x" * 300))
    with pytest.raises(FileProblemError, match="File name too long"):
        write_tensors(tmp_path / ("x" * 300), TENSORS, {})
    with pytest.raises(ModelFileError):
        load_model_or_starting_model("x" * 300)
