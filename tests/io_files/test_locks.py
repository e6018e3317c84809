"""One process at a time writes a result, whoever was killed before it, and whatever the clock."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import filelock
import pytest

from napari_unet.errors import FileProblemError
from napari_unet.io import locks
from napari_unet.io.locks import HeldError, Lock, locked

NAME = ".out.zarr.lock"
NO_PROCESS = 2**22 + 1
OF_VERSION_0_1 = '{"host": "elsewhere", "process": 1, "started": 1.5, "unique": "0a"}'
HOLD = (
    "import pathlib, sys, time\n"
    "from napari_unet.io.locks import locked\n"
    "with locked(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)
pytestmark = pytest.mark.fault(34)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out.zarr"


def here() -> str:
    return locks._this_machine()


def left(target: Path, process: int, host: str) -> None:
    (target.parent / NAME).write_text(f"{process}\n{host}\n")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_lock_is_there_while_it_is_held_and_nothing_stays(target: Path) -> None:
    with locked(target):
        assert names(target.parent) == [NAME]
        assert (target.parent / NAME).read_text() == f"{os.getpid()}\n{here()}\n"
    assert names(target.parent) == []


def test_a_second_holder_is_refused(target: Path) -> None:
    refused = pytest.raises(
        FileProblemError,
        match=rf"is being written by process {os.getpid()} on {platform.node()}\. Wait for it, or "
        r"choose another name\.$",
    )
    with locked(target), refused, locked(target):
        pass
    assert names(target.parent) == []


@pytest.mark.fault(59)
@pytest.mark.parametrize("what", ["clock", "numbers of processes", "host name", "restart"])
def test_a_living_process_is_never_taken_for_dead(
    target: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a step of the clock, and where numbers of processes are those of a container."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, target], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        clock = time.time
        if what == "clock":
            monkeypatch.setattr(time, "time", lambda: clock() + 24 * 3600)
            os.utime(target.parent / NAME, (1, 1))
        if what == "numbers of processes":
            monkeypatch.setattr("psutil.pid_exists", lambda _: False)
        if what == "host name":
            monkeypatch.setattr(locks, "_this_machine", lambda: "other?1-2")
        if what == "restart":
            left(target, NO_PROCESS, here())
        with pytest.raises(FileProblemError, match="is being written by process"):
            locked(target).__enter__()
        other.kill()


def test_a_process_that_is_killed_leaves_nothing_that_keeps_others_off(target: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, target], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        other.kill()
        other.wait()
        assert names(target.parent) == [NAME]
        with locked(target):
            assert names(target.parent) == [NAME]
    assert names(target.parent) == []


@pytest.mark.parametrize(
    "where", ["after a restart", "another container that is gone", "a former version's"]
)
def test_the_lock_of_a_process_that_is_gone_is_taken_over(target: Path, where: str) -> None:
    machine, start = here().rsplit("-", 1)
    hosts = {
        "after a restart": f"{machine}-00000000",
        "another container that is gone": f"0123abcd?00000000-{start}",
        "a former version's": platform.node(),
    }
    left(target, NO_PROCESS, hosts[where])
    with locked(target):
        assert names(target.parent) == [NAME]
    assert names(target.parent) == []


@pytest.mark.parametrize("whose", ["a former version's", "another machine's"])
def test_the_lock_of_a_process_that_may_be_there_stays(target: Path, whose: str) -> None:
    hosts = {"a former version's": platform.node(), "another machine's": "elsewhere?1-2"}
    left(target, os.getpid(), hosts[whose])
    before = (target.parent / NAME).read_text()
    with pytest.raises(FileProblemError, match=r"Wait for it.*or delete \.out\.zarr\.lock if"):
        locked(target).__enter__()
    assert (target.parent / NAME).read_text() == before


@pytest.mark.parametrize("host", ["node?pidns-f0000123", "node?0123abcd-0123abcd"])
def test_a_container_is_not_named(target: Path, host: str) -> None:
    left(target, 7, host)
    with pytest.raises(FileProblemError, match=r"by process 7 on node\. Wait for it"):
        locked(target).__enter__()


@pytest.mark.parametrize("content", ["{", "[]", "12", OF_VERSION_0_1])
def test_a_lock_of_another_format_is_deleted_by_hand(content: str, target: Path) -> None:
    lock = target.parent / NAME
    lock.write_text(content)
    with pytest.raises(FileProblemError, match=r"or delete \.out\.zarr\.lock by hand"):
        locked(target).__enter__()
    assert lock.read_text() == content


def test_a_lock_that_a_power_cut_left_empty_holds_nobody_off(target: Path) -> None:
    (target.parent / NAME).touch()
    with locked(target):
        assert names(target.parent) == [NAME]


def test_of_many_who_find_a_dead_lock_one_holds_it(target: Path) -> None:
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
            left(target, NO_PROCESS, here())
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
        left(target, 1, "elsewhere")
    assert names(target.parent) == [NAME]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match=r"Cannot write to .*Choose another folder"):
        locked(tmp_path / "nowhere" / "out.zarr").__enter__()


@pytest.fixture(params=[errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that knows no locks of the kernel, as some network disks."""
    if sys.platform == "win32":
        pytest.skip("Windows has other calls for it")

    def refuse(*_: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr("fcntl.flock", refuse)


@pytest.mark.fault(59)
@pytest.mark.usefixtures("no_locks")
def test_where_a_disk_knows_no_locks_a_living_process_holds_others_off(target: Path) -> None:
    with locked(target):
        assert f"{NAME}.held" in names(target.parent)
        with pytest.raises(FileProblemError, match=f"is being written by process {os.getpid()} "):
            locked(target).__enter__()
    assert names(target.parent) == []


@pytest.mark.usefixtures("no_locks")
def test_where_a_disk_knows_no_locks_the_one_of_a_dead_process_is_taken_over(
    target: Path,
) -> None:
    with filelock.SoftFileLock(target.with_name("other")):
        ours = target.with_name("other").read_text().splitlines()
    note = "\n".join([str(NO_PROCESS), *ours[1:2], ""])
    target.with_name(f"{NAME}.held").write_text(note)
    with locked(target):
        assert f"{NAME}.held" in names(target.parent)
    assert names(target.parent) == []


def test_who_holds_a_lock_and_whether_that_is_certain_is_told(tmp_path: Path) -> None:
    held = Lock(tmp_path / "lock")
    with pytest.raises(HeldError) as refused:
        Lock(tmp_path / "lock", patience=0.0)
    held.release()
    assert refused.value.note.startswith(f"{os.getpid()}\n")
    assert refused.value.proven
    Lock(tmp_path / "lock", patience=0.0).give_back()
    assert names(tmp_path) == []
