"""Files are whole or not there, and what dead writers left is swept by the next one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_unet.io.disk import machine_id, replace_file, sweep_unfinished

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


def test_what_an_earlier_version_left_goes_after_a_day(tmp_path: Path) -> None:
    left = tmp_path / f".m.safetensors.{'0' * 32}.tmp"
    left.touch()
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
