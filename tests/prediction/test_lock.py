"""One prediction at a time writes to a file, whoever was killed before it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import SoftFileLock

from napari_unet.errors import FileProblemError
from napari_unet.prediction.lock import locked

NAME = ".out.zarr.lock"
NO_PROCESS = 2**22 + 1
OF_VERSION_0_1 = '{"host": "elsewhere", "process": 1, "started": 1.5, "unique": "0a"}'
pytestmark = pytest.mark.fault(34)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out.zarr"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What filelock calls this machine; in a container it adds which."""
    path = tmp_path_factory.mktemp("here") / "lock"
    with SoftFileLock(path):
        return path.read_text().splitlines()[1]


def held_by(process: int, host: str) -> str:
    return f"{process}\n{host}\n"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_lock_is_there_while_it_is_held_and_nothing_stays(target: Path, here: str) -> None:
    with locked(target):
        assert names(target.parent) == [NAME]
        assert (target.parent / NAME).read_text().startswith(held_by(os.getpid(), here))
    assert names(target.parent) == []


def test_a_second_holder_is_refused(target: Path) -> None:
    refused = pytest.raises(
        FileProblemError,
        match=rf"is being written by process {os.getpid()} on {socket.gethostname()}\. Wait for",
    )
    with locked(target), refused, locked(target):
        pass
    assert names(target.parent) == []


def test_the_lock_of_a_process_that_is_gone_is_taken_over(target: Path, here: str) -> None:
    (target.parent / NAME).write_text(held_by(NO_PROCESS, here))
    with locked(target):
        assert names(target.parent) == [NAME]
    assert names(target.parent) == []


def test_a_process_that_is_killed_leaves_nothing_that_keeps_others_off(target: Path) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from napari_unet.prediction.lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, target], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(FileProblemError, match=f"by process {other.pid} on "):
            locked(target).__enter__()
        other.kill()
        other.wait()
        assert names(target.parent) == [NAME]
        with locked(target):
            assert names(target.parent) == [NAME]
    assert names(target.parent) == []


@pytest.mark.parametrize("host", ["here", "elsewhere"])
def test_the_lock_of_a_process_that_may_be_there_stays(host: str, target: Path, here: str) -> None:
    holder = held_by(os.getpid(), here) if host == "here" else held_by(NO_PROCESS, host)
    (target.parent / NAME).write_text(holder)
    with pytest.raises(FileProblemError, match=r"Wait for it.*or delete \.out\.zarr\.lock"):
        locked(target).__enter__()
    assert (target.parent / NAME).read_text() == holder


def test_a_container_is_not_named(target: Path) -> None:
    (target.parent / NAME).write_text(held_by(7, "node?pidns-f0000123"))
    with pytest.raises(FileProblemError, match=r"by process 7 on node\. Wait for it"):
        locked(target).__enter__()


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot exchange two names, as NFS: filelock takes nothing over."""
    monkeypatch.setattr("filelock._soft.exchange_names", lambda *_: False)


@pytest.mark.usefixtures("no_exchange")
def test_where_names_cannot_be_exchanged_the_lock_of_a_process_that_is_gone_goes(
    target: Path, here: str
) -> None:
    (target.parent / NAME).write_text(held_by(NO_PROCESS, here))
    with locked(target):
        assert (target.parent / NAME).read_text().startswith(held_by(os.getpid(), here))
    assert names(target.parent) == []


@pytest.mark.usefixtures("no_exchange")
@pytest.mark.parametrize("where", ["elsewhere", "another container", "of a living process"])
def test_where_names_cannot_be_exchanged_other_locks_stay(
    where: str, target: Path, here: str
) -> None:
    hosts = {"elsewhere": where, "another container": f"{here}?pidns-f0000123"}
    process = os.getpid() if where == "of a living process" else NO_PROCESS
    (target.parent / NAME).write_text(held_by(process, hosts.get(where, here)))
    with pytest.raises(FileProblemError, match="is being written by process"):
        locked(target).__enter__()
    assert names(target.parent) == [NAME]


def test_a_lock_that_is_being_written_counts_and_one_that_never_was_does_not(
    target: Path,
) -> None:
    lock = target.parent / NAME
    lock.touch()
    with pytest.raises(FileProblemError, match="is being written by another process"):
        locked(target).__enter__()
    os.utime(lock, (time.time() - 60,) * 2)
    with locked(target):
        assert names(target.parent) == [NAME]
    assert names(target.parent) == []


def test_the_clock_of_this_machine_does_not_make_a_lock_old(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (target.parent / NAME).touch()
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + 3600)
    with pytest.raises(FileProblemError, match="is being written by another process"):
        locked(target).__enter__()
    assert names(target.parent) == [NAME]


@pytest.mark.parametrize("content", ["{", "[]", "12", OF_VERSION_0_1])
def test_a_lock_of_another_format_is_deleted_by_hand(content: str, target: Path) -> None:
    lock = target.parent / NAME
    lock.write_text(content)
    os.utime(lock, (time.time() - 60,) * 2)
    with pytest.raises(FileProblemError, match=r"or delete \.out\.zarr\.lock by hand"):
        locked(target).__enter__()
    assert lock.read_text() == content


def test_other_machines_see_who_holds_a_lock(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[int, int]] = []

    def note(descriptor: int) -> None:
        state = os.fstat(descriptor)
        flushed.append((state.st_ino, state.st_size))

    monkeypatch.setattr(os, "fsync", note)
    with locked(target):
        lock = (target.parent / NAME).stat()
        assert flushed == [(lock.st_ino, lock.st_size)]


@pytest.mark.parametrize("left", ["killed", "power cut"])
def test_of_many_who_find_a_dead_lock_one_holds_it(left: str, target: Path, here: str) -> None:
    content = held_by(NO_PROCESS, here) if left == "killed" else ""
    together, inside = threading.Barrier(4), target.with_name("inside")

    def try_it(_: int) -> str:
        together.wait()
        try:
            with locked(target):
                inside.touch(exist_ok=False)  # raises where another is inside
                time.sleep(0.003)
                inside.unlink()
        except FileProblemError as error:
            return str(error)
        return "held"

    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            (target.parent / NAME).write_text(content)
            os.utime(target.parent / NAME, (time.time() - 60,) * 2)
            said = list(pool.map(try_it, range(4)))
            assert "held" in said
            assert all("is being written by" in text for text in said if text != "held")
    assert names(target.parent) == []


def test_any_thread_may_give_a_lock_back(target: Path) -> None:
    held = locked(target)
    held.__enter__()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(held.__exit__, None, None, None).result()
    assert names(target.parent) == []


def test_a_lock_that_somebody_replaced_is_left_to_them(target: Path) -> None:
    with locked(target):
        (target.parent / NAME).unlink()
        (target.parent / NAME).write_text(held_by(1, "elsewhere"))
    assert names(target.parent) == [NAME]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match=r"Cannot write to .*Choose another folder"):
        locked(tmp_path / "nowhere" / "out.zarr").__enter__()
