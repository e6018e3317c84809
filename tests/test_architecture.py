"""The floors of the house: arrows point down only.

Two ways of looking. The subprocess tests import a package in a fresh interpreter and ask what
came with it. The others read every import statement of the source, lazy ones included.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest

from package_source import MODULES, SOURCE, name_of, nodes_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QT = {"PyQt5", "PyQt6", "PySide2", "PySide6", "qtpy", "superqt", "pyqtgraph", "vispy"}
SCREEN = QT | {"napari", "magicgui"}

FLOOR = {
    "errors": 0,
    "run": 0,
    "version": 0,
    "settings": 1,
    "data": 1,
    "objects": 1,
    "evaluation": 1,
    "tasks": 1.5,
    "io": 2,
    "model": 2,
    "training": 3,
    "prediction": 3,
    "project": 3,
    "export": 4,
    "external": 4,
    "provenance": 4,
    "remote": 4,
    "api": 5,
    "cli": 5,
    "__main__": 5,
    "samples": 5,
    "widgets": 5,
    "__init__": 5,  # the front door, which may name every floor
}
# Neighbours are strangers, but objects are made of data and linked by settings, scores count pixels
# and objects, a model file is written whole or not at all, and a run that is done again may need
# the model of another program.
ALLOWED_SIDEWAYS = {
    ("objects", "data"),
    ("objects", "settings"),
    ("evaluation", "data"),
    ("evaluation", "objects"),
    ("evaluation", "settings"),
    ("model", "io"),
    ("provenance", "external"),
    ("remote", "provenance"),
}
WITHOUT_TORCH = (
    "napari_unet",
    "napari_unet.data",
    "napari_unet.errors",
    "napari_unet.evaluation",
    "napari_unet.io",
    "napari_unet.run",
    "napari_unet.objects",
    "napari_unet.project",
    "napari_unet.run",
    "napari_unet.samples",
    "napari_unet.version",
    "napari_unet.settings",
    "napari_unet.tasks",
)
WITHOUT_SCREEN = (
    *WITHOUT_TORCH,
    "napari_unet.model",
    "napari_unet.training",
    "napari_unet.prediction",
    "napari_unet.export",
    "napari_unet.external",
    "napari_unet.provenance",
    "napari_unet.remote",
    "napari_unet.api",
    "napari_unet.cli",
)


@cache
def imported_by(module: str) -> set[str]:
    """Import a package with all its modules in a fresh interpreter; return the top-level names."""
    program = (
        "import importlib, pkgutil, sys\n"
        f"package = importlib.import_module({module!r})\n"
        f"if {module!r} != 'napari_unet':\n"
        "    for found in pkgutil.walk_packages(\n"
        "        getattr(package, '__path__', []), package.__name__ + '.'\n"
        "    ):\n"
        "        importlib.import_module(found.name)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def imports_of(path: Path) -> Iterator[str]:
    """Yield the full name of everything a module imports, anywhere in it."""
    package = ["napari_unet", *path.relative_to(SOURCE).parent.parts]
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def names_on_import(module: str) -> Iterator[str]:
    """Yield the room (``data``, ``model``, ``api``, ...) of our own package in a dotted name.

    What is in no room is of the front door.
    """
    package, _, rest = module.partition(".")
    if package == "napari_unet":
        room = rest.partition(".")[0]
        yield room if room in FLOOR else "__init__"


def room_of(path: Path) -> str:
    """Return the room a module lies in."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def top_names(path: Path) -> set[str]:
    """Return the top-level packages that a module imports."""
    return {name.partition(".")[0] for name in imports_of(path)}


def rooms_on(path: Path) -> set[str]:
    """Return the rooms of our own package that a module imports from."""
    return {room for name in imports_of(path) for room in names_on_import(name)}


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_imports_without_torch(module: str) -> None:
    assert "torch" not in imported_by(module)


@pytest.mark.parametrize("module", WITHOUT_SCREEN)
def test_imports_without_qt_and_napari(module: str) -> None:
    assert not imported_by(module) & SCREEN


@pytest.mark.parametrize(
    "module", ["napari_unet", "napari_unet.data.border_weights", "napari_unet.training"]
)
def test_nothing_is_compiled_until_it_is_called(module: str) -> None:
    program = f"import sys, {module}\nprint('numba' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr


def test_help_needs_neither_torch_nor_screen() -> None:
    program = (
        "import sys\n"
        "from napari_unet.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "finally:\n"
        "    print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert not set(result.stderr.split()) & (SCREEN | {"torch", "numba"})


def test_every_module_has_a_room() -> None:
    rooms = {room_of(path) for path in MODULES}
    assert rooms <= set(FLOOR), f"no floor is named for {rooms - set(FLOOR)}"


def test_only_the_top_floor_mentions_the_screen() -> None:
    below = [path for path in MODULES if room_of(path) not in {"widgets", "cli"}]
    assert [name_of(path) for path in below if top_names(path) & SCREEN] == []


def test_data_never_mentions_torch() -> None:
    rooms = {"data", "errors", "evaluation", "io", "objects", "samples", "settings"}
    without = [path for path in MODULES if room_of(path) in rooms]
    assert [name_of(path) for path in without if "torch" in top_names(path)] == []


def test_arrows_point_down() -> None:
    upward = [
        f"{name_of(path)} must not import from {there}"
        for path in MODULES
        for there in rooms_on(path)
        if not may_import(room_of(path), there)
    ]
    assert upward == []


@pytest.mark.parametrize("name", ["napari_unet", "napari_unet.__version__", "napari_unet.train"])
def test_an_arrow_to_the_front_door_points_up(name: str) -> None:
    (room,) = names_on_import(name)
    assert room == "__init__"
    assert not any(may_import(here, room) for here in FLOOR if FLOOR[here] < 5)


def may_import(here: str, there: str) -> bool:
    on_top = FLOOR[here] == max(FLOOR.values())
    neighbour = there == here or on_top or (here, there) in ALLOWED_SIDEWAYS
    return FLOOR[there] < FLOOR[here] + neighbour


@pytest.mark.parametrize(
    ("room", "other"), [("training", "prediction"), ("prediction", "training")]
)
def test_training_and_prediction_are_strangers(room: str, other: str) -> None:
    assert not any(other in rooms_on(path) for path in (SOURCE / room).rglob("*.py"))


def test_nothing_headless_imports_the_widgets() -> None:
    headless = [path for path in MODULES if room_of(path) not in {"widgets", "cli"}]
    assert [name_of(path) for path in headless if "widgets" in rooms_on(path)] == []


def test_nobody_drives_a_generator_by_hand() -> None:
    # `Run` loops over events and keeps what the generator returns
    assert [name_of(path) for path in MODULES if catches(path, "StopIteration")] == []


# What a prediction is asked for has the same two words, and others besides: that is no task.
ABOUT_RESULTS = ("cli/predict.py",)


def test_nobody_asks_a_task_which_one_it_is() -> None:
    names = [name_of(path) for path in MODULES if compares_kinds(path)]
    assert [name for name in names if not name.startswith(("tasks/", *ABOUT_RESULTS))] == []


def compares_kinds(path: Path) -> bool:
    compared = [node for node in nodes_of(path) if isinstance(node, ast.Compare)]
    words = [each for node in compared for each in ast.walk(node) if isinstance(each, ast.Constant)]
    return any(word.value in ("objects", "classes") for word in words)


def catches(path: Path, error: str) -> bool:
    handlers = [node for node in nodes_of(path) if isinstance(node, ast.ExceptHandler)]
    caught = [name for each in handlers if each.type for name in ast.walk(each.type)]
    return any(isinstance(name, ast.Name) and name.id == error for name in caught)
