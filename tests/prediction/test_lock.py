"""One prediction at a time writes to a file, whoever was killed before it."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

import napari_unet.prediction.lock as lock_module
from napari_unet.errors import FileProblemError
from napari_unet.prediction.lock import locked

NAME = ".out.zarr.lock"
NO_PROCESS = 2**22 + 1
pytestmark = pytest.mark.fault(34)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out.zarr"


@pytest.fixture(params=["links", "no links"])
def _file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let hard links be missing, as on some shares and memory cards."""

    def refused(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    if request.param == "no links":
        monkeypatch.setattr(os, "link", refused)


def held_by(process: int, *, host: str | None = None, **more: Any) -> str:
    return json.dumps({"host": host or socket.gethostname(), "process": process, **more})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("_file_system")
def test_a_lock_is_there_while_it_is_held_and_nothing_stays(target: Path) -> None:
    with locked(target):
        assert names(target.parent) == [NAME]
        assert json.loads((target.parent / NAME).read_text())["process"] == os.getpid()
    assert names(target.parent) == []


@pytest.mark.usefixtures("_file_system")
def test_a_second_holder_is_refused(target: Path) -> None:
    refused = pytest.raises(FileProblemError, match=rf"is being written by process {os.getpid()}")
    with locked(target), refused, locked(target):
        pass


@pytest.mark.usefixtures("_file_system")
@pytest.mark.parametrize(
    "holder",
    [
        pytest.param(held_by(NO_PROCESS), id="gone"),
        pytest.param(held_by(NO_PROCESS, started=1.0), id="gone, with its time"),
        pytest.param(held_by(os.getpid(), started=1.0), id="of the same number, from before"),
        pytest.param(held_by(-1), id="impossible"),
    ],
)
def test_the_lock_of_a_process_that_is_gone_is_taken_over(holder: str, target: Path) -> None:
    (target.parent / NAME).write_text(holder)
    with locked(target):
        assert names(target.parent) == [NAME]
    assert names(target.parent) == []


@pytest.mark.parametrize(
    "holder",
    [
        pytest.param(held_by(os.getpid()), id="of an earlier version"),
        pytest.param(held_by(os.getpid(), started=psutil.Process().create_time()), id="running"),
        pytest.param(held_by(1, host="elsewhere", started=1.0), id="of another machine"),
    ],
)
def test_the_lock_of_a_process_that_may_be_there_stays(holder: str, target: Path) -> None:
    (target.parent / NAME).write_text(holder)
    with pytest.raises(FileProblemError, match=r"Wait for it.*or delete \.out\.zarr\.lock"):
        locked(target).__enter__()
    assert (target.parent / NAME).read_text() == holder


@pytest.mark.parametrize("holder", ["", "{", "[]"], ids=["empty", "cut off", "no table"])
def test_a_lock_that_is_being_written_counts_and_one_that_never_was_does_not(
    holder: str, target: Path
) -> None:
    lock = target.parent / NAME
    lock.write_text(holder)
    with pytest.raises(FileProblemError, match="is being written by another process"):
        locked(target).__enter__()
    os.utime(lock, (time.time() - 60,) * 2)
    with locked(target):
        assert names(target.parent) == [NAME]


@pytest.mark.usefixtures("_file_system")
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
        for _ in range(50):
            (target.parent / NAME).write_text(held_by(NO_PROCESS))
            said = list(pool.map(try_it, range(4)))
            assert "held" in said
            assert all("is being written by" in text for text in said if text != "held")
    assert names(target.parent) == []


def test_who_found_it_dead_too_late_leaves_the_lock_of_the_first(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, first = lock_module._is_abandoned, locked(target)
    looks: Iterator[int] = iter(range(9))

    def slow_look(*arguments: Any) -> bool:
        found = look(*arguments)
        if next(looks) == 0:  # meanwhile another takes it over
            first.__enter__()
        return found

    (target.parent / NAME).write_text(held_by(NO_PROCESS))
    monkeypatch.setattr(lock_module, "_is_abandoned", slow_look)
    with pytest.raises(FileProblemError, match=f"by process {os.getpid()}"):
        locked(target).__enter__()
    assert names(target.parent) == [NAME]
    first.__exit__(None, None, None)
    assert names(target.parent) == []


def test_a_takeover_that_was_killed_half_way_is_taken_over(target: Path) -> None:
    for name in (NAME, f"{NAME}.claim"):
        (target.parent / name).write_text(held_by(NO_PROCESS))
    with locked(target):
        assert names(target.parent) == [NAME]
    assert names(target.parent) == []


def test_a_lock_that_somebody_replaced_is_left_to_them(target: Path) -> None:
    with locked(target):
        (target.parent / NAME).write_text(held_by(1, host="elsewhere"))
    assert names(target.parent) == [NAME]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match=r"Cannot write to .*Choose another folder"):
        locked(tmp_path / "nowhere" / "out.zarr").__enter__()
