"""Each fault of the environment is found, in one sentence with a remedy."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from napari_unet.cli import doctor
from napari_unet.cli.doctor import (
    binding_problems,
    display_problems,
    library_problems,
    old_python_problems,
    plugin_problems,
    screen_notes,
)
from napari_unet.cli.environment import (
    compiler_cache_problems,
    encoding_problems,
    folder_problems,
    import_problems,
    memory_problems,
    package_problems,
    python_problems,
    shared_memory_problems,
    thread_problems,
)

if TYPE_CHECKING:
    from napari_unet.model.devices import Problem


def only(problems: list[Problem]) -> tuple[str, str]:
    (problem,) = problems
    return problem.what, problem.remedy


# --- packages ----------------------------------------------------------------------------------


def test_a_python_that_is_too_old_is_found() -> None:
    what, remedy = only(list(python_problems((3, 10, 4))))
    assert what == "Python 3.10.4 is too old; 3.11 is the first that works."
    assert "pip install napari-unet-paint" in remedy
    assert list(python_problems()) == []


@pytest.mark.parametrize(
    ("name", "needed", "found"),
    [
        ("torch", ">=2.10", "2.9.1+cpu"),
        ("numpy", ">=1.26", "1.25.2"),
        ("zarr", ">=3", "2.18.7"),
        ("npe2", ">=0.7.9", "0.7.2"),
    ],
)
def test_a_package_that_is_too_old_is_found(name: str, needed: str, found: str) -> None:
    what, remedy = only(list(package_problems(lambda _: found, [f"{name}{needed}"])))
    assert what == f"{name} {found} is installed, but {needed} is needed."
    assert remedy == f'{sys.executable} -m pip install --upgrade "{name}{needed}"'


def missing(name: str) -> str:
    raise importlib.metadata.PackageNotFoundError(name)


def test_a_package_that_is_missing_is_found() -> None:
    what, remedy = only(list(package_problems(missing, ["imagecodecs>=2023.9.18"])))
    assert what == "imagecodecs is not installed."
    assert "pip install" in remedy


def test_an_old_napari_is_found_though_none_is_needed() -> None:
    required = ["napari[all]>=0.6; extra == 'all'", "napari>=0.6; extra == 'test'"]
    assert list(package_problems(missing, required)) == []
    what, _ = only(list(package_problems(lambda _: "0.5.6", required)))
    assert what == "napari 0.5.6 is installed, but >=0.6 is needed."


def test_what_an_extra_asks_that_is_not_in_use_is_no_problem() -> None:
    required = ["onnx>=1.18; extra == 'more'", "pydantic!=2.14.*; extra == 'more'"]
    assert list(package_problems(lambda n: missing(n) if n == "onnx" else "2.14.3", required)) == []
    assert len(list(package_problems(lambda _: "2.14.3", required))) == 1


def test_what_is_installed_here_is_new_enough() -> None:
    assert list(package_problems()) == []


def test_a_package_that_cannot_be_loaded_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_codecs.py").write_text("raise OSError('libfoo.so.1: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    what, remedy = only(list(import_problems(["broken_codecs", "numpy"])))
    assert what == "broken_codecs cannot be imported: libfoo.so.1: cannot open."
    assert remedy.endswith("pip install --force-reinstall broken_codecs")


# --- disk and memory ---------------------------------------------------------------------------


@pytest.mark.fault(40)
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file in its place")
    what, remedy = only(list(folder_problems(tmp_path)))
    assert what.startswith(f"The folder for models, {tmp_path / 'models'}, cannot be written: ")
    assert f"Make {tmp_path / 'models'} writable" in remedy


@pytest.mark.fault(40)
def test_a_file_in_place_of_the_folder_is_named_itself(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    problem = next(folder_problems(tmp_path / "data"))
    assert f"{tmp_path / 'data'} is a file, not a folder" in problem.what
    assert f"Make {tmp_path / 'data'} writable" in problem.remedy


@pytest.mark.fault(40)
def test_a_drive_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path, **_: False)
    assert "there is no /" in next(folder_problems(Path("/gone/data"))).what


@pytest.mark.fault(40)
@pytest.mark.parametrize("reason", ["Read-only file system", "Stale file handle"])
def test_a_folder_on_a_share_that_is_gone_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    def refuse(**_: Any) -> None:
        raise OSError(5, reason)

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert [reason in problem.what for problem in folder_problems(tmp_path)] == [True, True]


def test_folders_that_are_still_to_be_made_are_no_problem(tmp_path: Path) -> None:
    assert list(folder_problems(tmp_path / "not" / "yet")) == []
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_nearly_full_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3_000_000))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    what, _ = only(list(folder_problems(tmp_path)))
    assert what == f"Only 3 MB are free in {tmp_path}."


def test_little_memory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    free = SimpleNamespace(available=200_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    what, _ = only(list(memory_problems()))
    assert what.startswith("Only 200 MB of memory are free")


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("OMP_NUM_THREADS=many", "is no number of threads"),
        ("OMP_NUM_THREADS=64", "is more than the 8 cores there are"),
        ("OMP_NUM_THREADS=1", "leaves most of the 8 cores idle"),
        ("MKL_NUM_THREADS=0", "is no number of threads"),
        ("OMP_WAIT_POLICY=ACTIVE", "lets idle threads take the cores"),
        ("KMP_BLOCKTIME=infinite", "lets idle threads take the cores"),
        ("KMP_BLOCKTIME=5000ms", "lets idle threads take the cores"),
    ],
)
def test_threads_that_cripple_are_found(setting: str, why: str) -> None:
    name, _, value = setting.partition("=")
    what, remedy = only(list(thread_problems({name: value}, cores=8)))
    assert what == f"{setting} {why}."
    assert remedy == f"Remove {name} from the environment."


@pytest.mark.parametrize("text", ["4", "8", "4,2", ""])
def test_threads_that_fit_are_no_problem(text: str) -> None:
    settings = {"OMP_NUM_THREADS": text, "OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
    assert list(thread_problems(settings, cores=8)) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/shm")
def test_a_missing_shared_memory_is_found(tmp_path: Path) -> None:
    (tmp_path / "shm").touch()
    what, remedy = only(list(shared_memory_problems(tmp_path / "shm")))
    assert what.startswith(f"{tmp_path / 'shm'} cannot be used by several processes: ")
    assert "--shm-size" in remedy


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/shm")
def test_a_shared_memory_that_is_full_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    assert "only 1 MB are free" in only(list(shared_memory_problems(tmp_path)))[0]


def test_a_compiler_that_can_keep_nothing_is_found(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    what, remedy = only(list(compiler_cache_problems({"NUMBA_CACHE_DIR": str(tmp_path / "cache")})))
    assert what.startswith(f"Compiled code cannot be kept in {tmp_path / 'cache'}: ")
    assert "NUMBA_CACHE_DIR" in remedy
    assert list(compiler_cache_problems({"NUMBA_CACHE_DIR": str(tmp_path / "new")})) == []


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1", "cp1252"])
def test_file_names_of_another_encoding_are_found(encoding: str) -> None:
    what, remedy = only(list(encoding_problems(encoding)))
    assert what.startswith(f"Names of files are encoded as {encoding}: ")
    assert "PYTHONUTF8=1" in remedy
    assert list(encoding_problems("utf-8")) == []


# --- the window --------------------------------------------------------------------------------


def test_two_qt_bindings_are_found() -> None:
    what, remedy = only(list(binding_problems({}, ["PyQt6", "PySide6"])))
    assert what.startswith("PyQt6 and PySide6 are installed together")
    assert remedy.endswith("pip uninstall PySide6")
    assert list(binding_problems({"QT_API": "pyqt6"}, ["PyQt6", "PySide6"])) == []


@pytest.mark.parametrize(
    ("pyside", "python", "found"),
    [("6.12.0", (3, 11), 1), ("6.11.1", (3, 11), 0), ("6.12.0", (3, 12), 0), ("0", (3, 11), 0)],
)
def test_a_pyside_that_aborts_an_old_python_is_found(
    pyside: str, python: tuple[int, int], found: int
) -> None:
    problems = list(old_python_problems(pyside, python))
    assert len(problems) == found
    assert all("PySide6<6.12" in problem.remedy for problem in problems)


def test_a_qt_binding_that_is_chosen_but_missing_is_found() -> None:
    what, remedy = only(list(binding_problems({"QT_API": "pyside6"}, ["PyQt6"])))
    assert what == "QT_API=pyside6 names a Qt binding that is not installed."
    assert "QT_API" in remedy


@pytest.mark.skipif(sys.platform != "linux", reason="Debian's packages")
def test_missing_libraries_are_named_as_packages() -> None:
    what, remedy = only(list(library_problems(lambda library: "xcb-" not in library[:9])))
    assert "libxcb-cursor0" in what
    assert remedy.startswith("apt-get install libxcb-cursor0 libxcb-icccm4")
    assert list(library_problems(lambda library: True)) == []


def test_without_napari_no_library_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", lambda names: [])
    assert list(library_problems(lambda library: False)) == []
    assert list(display_problems({})) == []
    assert list(screen_notes({})) == []
    assert list(plugin_problems()) == []


@pytest.mark.parametrize("platform", ["offscreen", "minimal", "vnc:size=800x600"])
def test_a_qt_platform_without_layers_is_found(platform: str) -> None:
    what, remedy = only(list(display_problems({"QT_QPA_PLATFORM": platform, "DISPLAY": ":0"})))
    assert what.startswith(f"QT_QPA_PLATFORM={platform}: napari's window cannot show layers")
    assert "QT_QPA_PLATFORM" in remedy


@pytest.mark.skipif(sys.platform != "linux", reason="only X and Wayland have displays")
def test_a_missing_screen_is_found() -> None:
    what, remedy = only(list(screen_notes({})))
    assert what.startswith("There is no screen (DISPLAY is not set)")
    assert "xvfb-run" in remedy
    assert list(screen_notes({"WAYLAND_DISPLAY": "wayland-0"})) == []
    assert list(screen_notes({"DISPLAY": "elsewhere:10.0"})) == []


@pytest.mark.skipif(not Path("/tmp/.X11-unix").is_dir(), reason="no X server was ever here")
def test_a_display_that_nobody_serves_is_found() -> None:
    what, _ = only(list(screen_notes({"DISPLAY": ":2047"})))
    assert what.startswith("There is no screen (DISPLAY is :2047, where nobody answers)")


def test_a_plugin_that_is_not_switched_off_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = SimpleNamespace(disabled_plugins=set())
    monkeypatch.setattr("napari.settings.get_settings", lambda: SimpleNamespace(plugins=plugins))
    assert list(plugin_problems()) == []


def test_a_plugin_that_is_switched_off_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = SimpleNamespace(disabled_plugins={"napari-unet-paint"})
    monkeypatch.setattr("napari.settings.get_settings", lambda: SimpleNamespace(plugins=plugins))
    what, remedy = only(list(plugin_problems()))
    assert what.startswith("napari-unet-paint is switched off in napari")
    assert "Plugins" in remedy


# --- all of it ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_machine_that_is_broken_in_several_ways_is_told_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "imagecodecs.py").write_text("raise ImportError('a DLL is missing')")
    (tmp_path / "data").write_text("in the place of the folder")
    settings = {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "OMP_NUM_THREADS": "1000",
        "QT_QPA_PLATFORM": "offscreen",
        "NUMBA_CACHE_DIR": str(tmp_path / "data" / "numba"),
    }
    outcome = subprocess.run(
        [sys.executable, "-m", "napari_unet", "doctor", "--json"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 1, outcome.stderr
    told = "\n".join(problem["what"] for problem in json.loads(outcome.stdout)["problems"])
    assert "Traceback" not in outcome.stderr
    for part in ("a DLL is missing", "OMP_NUM_THREADS=1000", "=offscreen", "Compiled code"):
        assert part in told
