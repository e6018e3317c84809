"""The floors of the house: arrows point down only.

Two ways of looking. The subprocess tests import a package in a fresh interpreter and ask what
came with it. The others read every import statement of the source, lazy ones included.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parents[1] / "src" / "napari_unet"
MODULES = sorted(SOURCE.rglob("*.py"))

QT = {"PyQt5", "PyQt6", "PySide2", "PySide6", "qtpy", "superqt", "pyqtgraph", "vispy"}
SCREEN = QT | {"napari", "magicgui"}

FLOOR = {
    "errors": 0,
    "notice": 0,
    "data": 1,
    "formats": 2,
    "model": 2,
    "training": 3,
    "prediction": 3,
    "evaluation": 3,
    "project": 3,
    "exchange": 4,
    "runs": 4,
    "api": 5,
    "cli": 5,
    "__main__": 5,
    "samples": 5,
    "widgets": 5,
}
# Neighbours are strangers, but training may measure itself by the scores, and a run that is done
# again may need the model of another program.
ALLOWED_SIDEWAYS = {("training", "evaluation"), ("runs", "exchange")}
WITHOUT_TORCH = (
    "napari_unet",
    "napari_unet.data",
    "napari_unet.errors",
    "napari_unet.formats",
    "napari_unet.notice",
    "napari_unet.project",
    "napari_unet.samples",
)
WITHOUT_SCREEN = (
    *WITHOUT_TORCH,
    "napari_unet.model",
    "napari_unet.training",
    "napari_unet.prediction",
    "napari_unet.evaluation",
    "napari_unet.exchange",
    "napari_unet.runs",
    "napari_unet.api",
    "napari_unet.cli",
)


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
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def names_on_import(module: str) -> Iterator[str]:
    """Yield the rooms (``data``, ``model``, ``api``, ...) of our own package in a dotted name."""
    parts = module.split(".")
    if parts[0] == "napari_unet" and len(parts) > 1 and parts[1] in FLOOR:
        yield parts[1]


def room_of(path: Path) -> str:
    """Return the room a module lies in."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def ids(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


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
    rooms = {room_of(path) for path in MODULES} - {"__init__"}
    assert rooms <= set(FLOOR), f"no floor is named for {rooms - set(FLOOR)}"


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_only_the_top_floor_mentions_the_screen(path: Path) -> None:
    if room_of(path) in {"widgets", "cli"}:
        return
    found = {name.partition(".")[0] for name in imports_of(path)} & SCREEN
    assert not found


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_data_never_mentions_torch(path: Path) -> None:
    if room_of(path) in {"data", "errors", "formats", "notice", "samples"}:
        assert "torch" not in {name.partition(".")[0] for name in imports_of(path)}


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_arrows_point_down(path: Path) -> None:
    here = room_of(path)
    if here == "__init__":  # the lazy front door may name every floor
        return
    on_top = FLOOR[here] == max(FLOOR.values())
    for name in imports_of(path):
        for there in names_on_import(name):
            neighbour = there == here or on_top or (here, there) in ALLOWED_SIDEWAYS
            assert FLOOR[there] < FLOOR[here] + neighbour, f"{here} must not import {name}"


@pytest.mark.parametrize(
    ("room", "other"), [("training", "prediction"), ("prediction", "training")]
)
def test_training_and_prediction_are_strangers(room: str, other: str) -> None:
    for path in (SOURCE / room).rglob("*.py"):
        assert other not in {there for name in imports_of(path) for there in names_on_import(name)}


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_nothing_headless_imports_the_widgets(path: Path) -> None:
    if room_of(path) in {"widgets", "cli"}:
        return
    assert "widgets" not in {there for name in imports_of(path) for there in names_on_import(name)}
