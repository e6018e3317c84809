"""docs/reliability.md tells the truth: each fault has a test that provokes it, and is marked so."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"


class Row(NamedTuple):
    """A fault of the table, and the tests that it names."""

    fault: int
    happens: str
    tests: tuple[str, ...]


def rows_of(page: str) -> list[Row]:
    """Return the rows ``| number | fault | what happens | tests |`` of the page."""
    found = []
    for line in page.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and cells[0].isdigit():
            tests = tuple(re.findall(r"tests/[\w/]+\.py::\w+", cells[3]))
            found.append(Row(int(cells[0]), cells[2], tests))
    return found


ROWS = rows_of(PAGE.read_text(encoding="utf-8"))


@cache
def faults_by_test(path: Path) -> dict[str, set[int]]:
    """Return the tests of a module, and the faults that they are marked with."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    of_module: set[int] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and "pytestmark" in ast.dump(node.targets[0]):
            of_module |= marked_faults(node.value)
    return {
        node.name: of_module.union(*map(marked_faults, node.decorator_list))
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def marked_faults(mark: ast.expr) -> set[int]:
    """Return the numbers in every ``pytest.mark.fault(...)`` of an expression."""
    return {
        argument.value
        for call in ast.walk(mark)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.fault"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, int)
    }


def test_no_figure_is_still_to_be_filled_in() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert not re.findall(r"\b[NX] minutes|\b(?:HOUR|SOAK|TODO|XXX)\b", page)


def test_the_table_has_each_fault_once_and_in_order() -> None:
    faults = [row.fault for row in ROWS]
    assert faults == sorted({*faults})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"fault {row.fault}")
def test_a_fault_names_tests_that_exist_and_are_marked_with_it(row: Row) -> None:
    assert row.happens
    assert row.tests
    for test in row.tests:
        path, _, name = test.partition("::")
        assert row.fault in faults_by_test(ROOT / path)[name], test
