"""Hostile archives and folders: nothing is unpacked, nothing outside is read, nothing runs over."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_unet.errors import ModelFileError
from napari_unet.external.package_files import (
    FolderFiles,
    ZipFiles,
    check_name,
    open_files,
    read_example,
    read_state_dict,
)
from napari_unet.external.package_text import PackageFile

from .packages import array_bytes, write_zip

SLIPS = (
    "../evil.txt",
    "a/../../evil.txt",
    "/etc/evil.txt",
    "//host/share/evil",
    "C:/evil.txt",
    "..\\evil.txt",
    "a\\..\\..\\evil.txt",
    "~/evil.txt",
    "./rdf.yaml",
    "a//b",
    "evil\x00.txt",
    "evil\n.txt",
    "",
)


@pytest.mark.fault(38)
@pytest.mark.parametrize("name", SLIPS, ids=repr)
def test_a_name_that_leads_out_is_refused(name: str) -> None:
    with pytest.raises(ModelFileError, match="not a plain name inside"):
        check_name(name)


@pytest.mark.fault(38)
@pytest.mark.parametrize("name", [n for n in SLIPS if n and "\x00" not in n], ids=repr)
def test_an_archive_with_such_a_name_is_refused_and_writes_nothing(
    tmp_path: Path, name: str
) -> None:
    path = write_zip(tmp_path / "a.zip", {"rdf.yaml": b"x: 1", name: b"evil"})
    with pytest.raises(ModelFileError, match="not a plain name inside"):
        ZipFiles(path)
    assert os.listdir(tmp_path) == ["a.zip"]


@pytest.mark.fault(38)
def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("weights.pt")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ModelFileError, match="holds a link"):
        ZipFiles(tmp_path / "a.zip")


@pytest.mark.fault(38)
def test_a_link_out_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "package"
    folder.mkdir()
    try:
        (folder / "weights.pt").symlink_to(tmp_path / "secret")
    except OSError:
        pytest.skip("no links here")
    with pytest.raises(ModelFileError, match="a link out of the package"):
        FolderFiles(folder).read("weights.pt", 100)


@pytest.mark.fault(38)
def test_a_bomb_is_cut_off_while_it_is_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"rdf.yaml": b"\0" * (64 << 20)})
    assert path.stat().st_size < 100_000
    with pytest.raises(ModelFileError, match="larger than 1 MB"):
        ZipFiles(path).read("rdf.yaml", 1 << 20)


@pytest.mark.fault(38)
def test_a_bomb_that_lies_about_its_size_is_refused_too(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"rdf.yaml": b"\0" * (8 << 20)})
    claimed = path.read_bytes().replace(struct.pack("<I", 8 << 20), struct.pack("<I", 10))
    path.write_bytes(claimed)
    with pytest.raises(ModelFileError, match=r"cannot be read|larger than"):
        ZipFiles(path).read("rdf.yaml", 1 << 20)


@pytest.mark.fault(38)
def test_100000_entries_are_refused_before_they_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = b"PK\x01\x02" + b"\0" * 24 + struct.pack("<HHHHHII", 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 34464, 34464, len(entry) * 100_000, 0, 0)
    (tmp_path / "a.zip").write_bytes(entry * 100_000 + end)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ModelFileError, match="has 34464 entries"):
        ZipFiles(tmp_path / "a.zip")


@pytest.mark.fault(38)
@pytest.mark.parametrize("cut", [0, 10, 200], ids=["empty", "start", "half"])
def test_a_cut_archive_is_refused(tmp_path: Path, cut: int) -> None:
    path = write_zip(tmp_path / "a.zip", {"rdf.yaml": bytes(range(256)) * 4})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ModelFileError, match="no whole zip archive"):
        ZipFiles(path)


@pytest.mark.fault(38)
def test_an_entry_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("rdf.yaml", "1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("rdf.yaml", "2")
    with pytest.raises(ModelFileError, match="twice"):
        ZipFiles(tmp_path / "a.zip")


@pytest.mark.fault(38)
def test_changed_bytes_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = write_zip(tmp_path / "a.zip", {"rdf.yaml": b"type: model " * 50}).read_bytes()
    for at in range(0, len(whole), 3):
        (tmp_path / "a.zip").write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        text = ""
        try:
            ZipFiles(tmp_path / "a.zip").read("rdf.yaml", 1 << 20)
        except ModelFileError as error:
            text = str(error)
        assert "\n" not in text


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="There is no model package"):
        open_files(tmp_path / "none.zip")
    with pytest.raises(ModelFileError, match=r"lacks its file 'weights.pt'"):
        ZipFiles(write_zip(tmp_path / "a.zip", {"rdf.yaml": b""})).read("weights.pt", 10)


# --- arrays and weights --------------------------------------------------------------------------


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("evil",)


@pytest.mark.fault(37)
def test_a_pickle_among_weights_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = io.BytesIO()
    torch.save({"a": Evil()}, file)
    with pytest.raises(ModelFileError, match="no plain state dict"):
        read_state_dict(file.getvalue())
    assert not (tmp_path / "evil").exists()


@pytest.mark.fault(37)
def test_weights_that_claim_more_than_they_hold_are_refused() -> None:
    file = io.BytesIO()
    torch.save({"weight": torch.zeros(1).expand(1 << 40)}, file)
    with pytest.raises(ModelFileError, match="more numbers than are there"):
        read_state_dict(file.getvalue())


@pytest.mark.fault(38)
def test_weights_that_are_packed_are_refused() -> None:
    file, packed = io.BytesIO(), io.BytesIO()
    torch.save({"weight": torch.zeros(1000, 1000)}, file)
    with (
        zipfile.ZipFile(file) as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    with pytest.raises(ModelFileError, match=r"torch\.save does not use"):
        read_state_dict(packed.getvalue())


@pytest.mark.fault(37)
def test_a_pickle_among_test_tensors_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "a.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(ModelFileError, match="no array of numbers"):
        read_example(FolderFiles(tmp_path), "", PackageFile(source="a.npy"))
    assert not (tmp_path / "evil").exists()


@pytest.mark.fault(38)
def test_a_test_tensor_that_claims_more_than_it_holds_allocates_nothing(tmp_path: Path) -> None:
    whole = array_bytes(np.zeros((2, 2), np.float32))
    (tmp_path / "a.npy").write_bytes(whole.replace(b"(2, 2), }", b"(1<<9,)}")[:-4])
    with pytest.raises(ModelFileError, match="no array of numbers"):
        read_example(FolderFiles(tmp_path), "", PackageFile(source="a.npy"))
    (tmp_path / "a.npy").write_bytes(whole.replace(b"(2, 2), }  ", b"(99999, 9)}"))
    with pytest.raises(ModelFileError, match="it claims to be float32"):
        read_example(FolderFiles(tmp_path), "", PackageFile(source="a.npy"))
