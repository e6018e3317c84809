"""The source of the package, read once, for the tests that look at it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "napari_unet"
MODULES = sorted(SOURCE.rglob("*.py"))


def name_of(path: Path) -> str:
    """Return the path of a module within the package."""
    return path.relative_to(SOURCE).as_posix()


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Return all nodes of a module's syntax tree."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
