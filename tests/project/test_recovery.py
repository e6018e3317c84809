from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from napari_unet.errors import FileProblemError
from napari_unet.project import recovery
from napari_unet.project.contents import Project
from napari_unet.project.folder import save_project
from napari_unet.project.recovery import abandoned, claim, discard, new_recovery_folder, sweep

GONE = 2**22 + 1  # above the largest process id


def abandon(folder: Path) -> Path:
    """End the session of a folder, as the kernel does with the process."""
    recovery._let_go(folder)
    (folder / "owner.lock").touch()
    return folder


def of_a_former_version(folder: Path, **owner: object) -> Path:
    """Note the owner of a folder in the words of a former version."""
    abandon(folder)
    (folder / "owner.lock").unlink()
    (folder / "owner.json").write_text(json.dumps({"started": 1.0, **owner}))
    return folder


def left_behind(root: Path) -> Path:
    """A folder with a project whose session has died."""
    folder = new_recovery_folder(root)
    save_project(Project((), {}), folder)
    return abandon(folder)


def test_two_folders_of_one_process_differ(tmp_path: Path) -> None:
    assert new_recovery_folder(tmp_path) != new_recovery_folder(tmp_path)


def test_a_root_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileProblemError, match="file"):
        new_recovery_folder(tmp_path / "file")


def test_the_project_of_a_running_session_is_not_abandoned(tmp_path: Path) -> None:
    save_project(Project((), {}), new_recovery_folder(tmp_path))
    assert abandoned(tmp_path) == ()


def test_the_project_of_a_dead_session_is_abandoned(tmp_path: Path) -> None:
    folder = left_behind(tmp_path)
    assert abandoned(tmp_path) == (folder,)


@pytest.mark.fault(59)
@pytest.mark.parametrize("what", ["the clock", "the numbers of processes"])
def test_a_running_session_is_not_abandoned_whatever_changes(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_project(Project((), {}), folder := new_recovery_folder(tmp_path))
    program = (
        "import pathlib, sys, time\n"
        "clock = time.time\n"
        f"time.time = lambda: clock() + {3600 if what == 'the clock' else 0}\n"
        "import psutil\n"
        f"psutil.pid_exists = lambda number: {what == 'the clock'}\n"
        "from napari_unet.project.recovery import abandoned, sweep\n"
        "sweep(pathlib.Path(sys.argv[1]), keep=0)\n"
        "print(len(abandoned(pathlib.Path(sys.argv[1]))))\n"
    )
    other = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
    )
    assert other.stdout == "0\n"
    assert folder.exists()


@pytest.mark.fault(59)
def test_a_session_that_was_killed_is_offered_at_once(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys\n"
        "from napari_unet.project.folder import Project, save_project\n"
        "from napari_unet.project.recovery import new_recovery_folder\n"
        "save_project(Project((), {}), new_recovery_folder(pathlib.Path(sys.argv[1])))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    assert len(abandoned(tmp_path)) == 1


def test_a_session_of_a_former_version_is_known_by_its_process(tmp_path: Path) -> None:
    runs, ended = left_behind(tmp_path), left_behind(tmp_path)
    of_a_former_version(runs, pid=os.getpid(), started=psutil.Process().create_time() - 5)
    of_a_former_version(ended, pid=GONE)
    assert abandoned(tmp_path) == (ended,)


def test_work_with_a_damaged_owner_is_offered(tmp_path: Path) -> None:
    folder = of_a_former_version(left_behind(tmp_path))
    (folder / "owner.json").write_text("{")
    assert abandoned(tmp_path) == (folder,)


def test_a_folder_without_project_is_not_offered(tmp_path: Path) -> None:
    abandon(new_recovery_folder(tmp_path))
    assert abandoned(tmp_path) == ()


def test_the_newest_is_offered_first(tmp_path: Path) -> None:
    older, newer = left_behind(tmp_path), left_behind(tmp_path)
    assert abandoned(tmp_path) == (newer, older)


def test_a_missing_root_holds_nothing(tmp_path: Path) -> None:
    assert abandoned(tmp_path / "none") == ()
    sweep(tmp_path / "none")


def test_discard_deletes_the_folder(tmp_path: Path) -> None:
    folder = left_behind(tmp_path)
    discard(folder, tmp_path)
    assert not folder.exists()


@pytest.mark.parametrize("place", ["outside", "root", "deeper", "no owner", "link"])
def test_discard_refuses_what_is_no_recovery_folder(tmp_path: Path, place: str) -> None:
    root = tmp_path / "root"
    own = left_behind(root)
    folder = {
        "outside": tmp_path / "theirs",
        "root": root,
        "deeper": own / "deeper",
        "no owner": root / "theirs",
        "link": root / "link",
    }[place]
    if place == "link":
        (tmp_path / "target").mkdir()
        folder.symlink_to(tmp_path / "target")
    folder.mkdir(exist_ok=True)
    if place != "no owner":
        abandon(folder)
    with pytest.raises(FileProblemError, match="no recovery folder"):
        discard(folder, root)
    assert folder.exists()
    assert own.exists()


def test_sweep_keeps_the_newest_projects(tmp_path: Path) -> None:
    folders = [left_behind(tmp_path) for _ in range(4)]
    sweep(tmp_path, keep=2)
    assert abandoned(tmp_path) == (folders[3], folders[2])


def test_sweep_discards_abandoned_folders_without_project(tmp_path: Path) -> None:
    folder = abandon(new_recovery_folder(tmp_path))
    sweep(tmp_path)
    assert not folder.exists()


def on_another_machine(root: Path) -> list[Path]:
    """A session without a project, and one of a former version."""
    folders = [new_recovery_folder(root), new_recovery_folder(root)]
    (abandon(folders[0]) / "owner.lock").write_text("7\nelsewhere?00000000-00000000\n")
    of_a_former_version(folders[1], pid=GONE, machine="00000000")
    return folders


@pytest.mark.fault(8)
def test_sweep_leaves_sessions_on_other_machines_alone(tmp_path: Path) -> None:
    theirs = on_another_machine(tmp_path)
    sweep(tmp_path)
    assert [folder.exists() for folder in theirs] == [True, True]


def test_sweep_discards_what_other_machines_left_a_day_ago(tmp_path: Path) -> None:
    theirs = on_another_machine(tmp_path)
    for path in (*theirs, theirs[0] / "owner.lock", theirs[1] / "owner.json"):
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    sweep(tmp_path)
    assert [folder.exists() for folder in theirs] == [False, False]


def test_a_claimed_folder_that_vanished_is_offered_after_a_crash(tmp_path: Path) -> None:
    folder = new_recovery_folder(tmp_path)
    shutil.rmtree(folder)

    claim(folder)

    save_project(Project((), {}), folder)
    assert abandoned(tmp_path) == ()
    abandon(folder)
    assert abandoned(tmp_path) == (folder,)


def test_sweep_leaves_running_sessions_and_files_of_others(tmp_path: Path) -> None:
    running = new_recovery_folder(tmp_path)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "note.txt").touch()
    sweep(tmp_path, keep=0)
    assert {path.name for path in tmp_path.iterdir()} == {running.name, "theirs", "note.txt"}


def test_a_link_in_the_recovery_root_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "owner.json").write_text("{}")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(elsewhere, target_is_directory=True)
    sweep(root, keep=0)
    assert elsewhere.exists()
    assert (root / "link").exists()
