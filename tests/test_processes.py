"""No process is forked, and none opens a second window: child processes begin from scratch."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from package_source import MODULES, name_of, nodes_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORKING = {"fork", "forkpty", "Pool", "Process", "ProcessPoolExecutor", "DataLoader"}
FORKING_MODULES = {"multiprocessing", "torch.multiprocessing", "concurrent.futures.process"}


def names_in(path: Path) -> Iterator[str]:
    """Yield every name that a module imports or reads from another."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute) and not is_psutil(node):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id


def is_psutil(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "psutil"


@pytest.mark.fault(42)
@pytest.mark.fault(43)
def test_nothing_forks_or_loads_data_in_processes() -> None:
    forking = FORKING | FORKING_MODULES
    assert [name_of(path) for path in MODULES if forking & set(names_in(path))] == []


@pytest.mark.fault(42)
def test_a_child_that_imports_the_command_line_runs_nothing() -> None:
    """A spawned process imports the main module of its parent under another name."""
    program = (
        "import runpy, sys\n"
        "sys.argv = ['napari-unet', '--version']\n"
        "runpy.run_module('napari_unet.__main__', run_name='__mp_main__')\n"
        "print('nothing was run')\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert child.stdout == "nothing was run\n", child.stderr
