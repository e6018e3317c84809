"""Files are whole or not there, and what dead writers left is swept by the next one."""

from __future__ import annotations

import ast
import contextlib
import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_unet.io import disk
from napari_unet.io.disk import (
    folder_beside,
    machine_id,
    put_if_free,
    put_in_place,
    replace_file,
    replacing,
    sweep_unfinished,
    sync_folder,
    why_not_written,
)
from package_source import MODULES, name_of, nodes_of

pytestmark = pytest.mark.fault(34)

A_DAY = 24 * 3600


def unfinished(folder: Path, process: int, machine: str | None = None) -> Path:
    machine = machine_id() if machine is None else machine
    path = folder / f".m.safetensors.{machine}-{process}-0123abcd.tmp"
    path.write_bytes(b"half")
    return path


@pytest.fixture
def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_is_replaced_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        replace_file(tmp_path / "a.bin", content)
    assert (tmp_path / "a.bin").read_bytes() == b"new"
    assert names(tmp_path) == {"a.bin"}


def test_a_writer_sweeps_what_a_dead_one_left(tmp_path: Path, dead_process: int) -> None:
    left = unfinished(tmp_path, dead_process)
    replace_file(tmp_path / "other.bin", b"whole")
    assert not left.exists()


def test_a_folder_that_a_dead_writer_left_is_swept_as_well(
    tmp_path: Path, dead_process: int
) -> None:
    left = tmp_path / f".a.geff.{machine_id()}-{dead_process}-0123abcd.tmp"
    (left / "a.geff" / "nodes").mkdir(parents=True)
    with folder_beside(tmp_path / "b.geff") as partial:
        partial.mkdir()
        assert not left.exists()
        sweep_unfinished(tmp_path)
        assert partial.exists()
        (beside,) = tmp_path.iterdir()
        assert beside.name.startswith(f".b.geff.{machine_id()}-{os.getpid()}-")
    assert names(tmp_path) == set()


def test_what_a_living_writer_is_writing_stays(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    left = unfinished(tmp_path, process.pid)
    sweep_unfinished(tmp_path)
    process.communicate(b"\n")
    assert left.exists()


@pytest.mark.parametrize("days", [0.5, 1.5])
def test_what_another_machine_left_goes_after_a_day(
    tmp_path: Path, dead_process: int, days: float
) -> None:
    left = unfinished(tmp_path, dead_process, machine="00000000")
    then = time.time() - days * A_DAY
    os.utime(left, (then, then))
    sweep_unfinished(tmp_path)
    assert left.exists() == (days < 1)


def test_a_folder_is_looked_through_once_a_minute_and_not_for_each_file(
    tmp_path: Path, dead_process: int
) -> None:
    replace_file(tmp_path / "a.bin", b"whole")
    left = unfinished(tmp_path, dead_process)
    replace_file(tmp_path / "b.bin", b"whole")
    assert left.exists()


@pytest.mark.parametrize("name", [f".m.safetensors.{'0' * 32}.tmp", f".{'0' * 32}.partial"])
def test_what_an_earlier_version_left_goes_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(disk, "_SWEPT_FOR_SECONDS", 0.0)
    left = tmp_path / name
    left.mkdir() if name.endswith(".partial") else left.touch()
    sweep_unfinished(tmp_path)
    assert left.exists()
    os.utime(left, (1, 1))
    sweep_unfinished(tmp_path)
    assert not left.exists()


@pytest.mark.parametrize("name", ["notes.tmp", ".notes.tmp", ".x.0123abcd-1-x.tmp", "a.bin"])
def test_files_of_others_stay(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    os.utime(path, (1, 1))
    sweep_unfinished(tmp_path)
    assert path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows opens no folders")
def test_file_and_folder_are_safe_on_disk_before_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        order.append("folder" if is_folder else "file")
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> None:
        order.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    replace_file(tmp_path / "a.bin", b"whole")
    assert order == ["file", "rename", "folder"]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is synced, and of what is renamed, in their order."""
    order: list[str] = []
    right_open, right_replace = os.open, os.replace
    opened: dict[int, str] = {}

    def open_(path: Path, *options: int) -> int:
        descriptor = right_open(path, *options)
        opened[descriptor] = Path(path).name
        return descriptor

    def replace(source: Path, target: Path) -> None:
        order.append(f"{Path(source).name} -> {Path(target).name}")
        right_replace(source, target)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "fsync", lambda descriptor: order.append(opened[descriptor]))
    return order


def test_all_of_a_folder_is_safe_before_it_has_its_name(tmp_path: Path, synced: list[str]) -> None:
    (tmp_path / "new" / "c").mkdir(parents=True)
    (tmp_path / "new" / "c" / "0").touch()
    (tmp_path / "new" / "zarr.json").touch()
    put_in_place(tmp_path / "new", tmp_path / "a.zarr")
    assert synced == ["0", "c", "zarr.json", "new", "new -> a.zarr", tmp_path.name]


def test_a_name_that_is_taken_is_left_to_who_has_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("of somebody")
    (tmp_path / "written").write_text("new")
    with pytest.raises(FileExistsError):
        put_if_free(tmp_path / "written", tmp_path / "a")
    assert (tmp_path / "a").read_text() == "of somebody"


@pytest.mark.fault(62)
def test_a_free_name_is_safe_before_the_other_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[set[str]] = []
    monkeypatch.setattr(disk, "sync_folder", lambda folder: there.append(names(folder)))
    (tmp_path / "written").write_text("new")
    put_if_free(tmp_path / "written", tmp_path / "a")
    assert there == [{"written", "a"}]
    assert names(tmp_path) == {"a"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EINVAL])
def test_what_is_not_safe_is_told_and_a_share_that_syncs_no_folders_is_none_the_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    told = (
        contextlib.nullcontext()
        if number == errno.EINVAL
        else pytest.raises(OSError, match=os.strerror(number))
    )
    with told:
        sync_folder(tmp_path)


@pytest.mark.fault(61)
def test_an_error_at_the_end_of_a_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_file(tmp_path / "a.bin", b"old")

    def over_quota(_: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", over_quota)
    with pytest.raises(OSError, match="quota"):
        replace_file(tmp_path / "a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert names(tmp_path) == {"a.bin"}


@pytest.mark.fault(61)
def test_two_writers_of_one_file_never_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with replacing(path) as one, replacing(path) as other:
        one.write(b"one")
        other.write(b"other")
    assert path.read_bytes() == b"one"
    assert names(tmp_path) == {"a.bin"}


@pytest.mark.parametrize("name", ["a" * 240, "\N{MICROBE}" * 60])
def test_a_long_name_that_a_disk_takes_is_written(tmp_path: Path, name: str) -> None:
    replace_file(tmp_path / name, b"whole")
    assert names(tmp_path) == {name}


@pytest.mark.fault(33)
def test_numpys_word_for_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    error = OSError("40000 requested and 12032 written")
    assert why_not_written(tmp_path / "a.tif", error).startswith(
        f"Disk full: a.tif does not fit in {tmp_path}, "
    )


def test_a_container_and_a_restart_are_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine_id()
    monkeypatch.setattr(disk, "boot_id", lambda: "another")
    assert machine_id.__wrapped__() != here
    monkeypatch.undo()
    monkeypatch.setattr(os, "stat", lambda _: os.stat_result(range(10)))
    assert machine_id.__wrapped__() != here


@pytest.mark.fault(61)
def test_nothing_else_renames_without_syncing_the_folder() -> None:
    """What gives files their names is in `io.disk`; who renames many syncs the folder."""
    by_hand = {
        f"{name_of(module)}: {function.name}"
        for module in MODULES
        if name_of(module) != "io/disk.py"
        for function in nodes_of(module)
        if isinstance(function, ast.FunctionDef) and renames(function)
        if "sync_folder" not in ast.unparse(function)
    }
    # What is begun there counts when the journal says so.
    assert by_hand == {"prediction/partial.py: _make_scratch"}


def renames(function: ast.FunctionDef) -> bool:
    return any(
        isinstance(node, ast.Call)
        and (
            ast.unparse(node.func) in ("os.replace", "os.rename", "os.link", "shutil.move")
            or (
                isinstance(node.func, ast.Attribute)
                and node.func.attr in ("replace", "rename", "hardlink_to", "link_to")
                and len(node.args) == 1
                and not node.keywords
            )
        )
        for node in ast.walk(function)
    )
