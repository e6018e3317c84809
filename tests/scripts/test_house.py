"""What the table of the house counts."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import house


def test_the_longest_chain_counts_modules() -> None:
    assert house.longest_chain({"a": {"b"}, "b": {"c"}, "c": set(), "d": {"c"}}) == (3, 0)


def test_modules_in_a_circle_are_counted() -> None:
    assert house.longest_chain({"a": {"b"}, "b": {"a"}, "c": set()})[1] == 2


@pytest.mark.parametrize(
    ("source", "asks"),
    [
        ("table.kind == 'objects'", True),
        ("kind != 'classes'", True),
        ("kind in ('objects', 'classes')", True),
        ("dtype.kind == 'f'", False),
    ],
)
def test_questions_after_the_kind_are_those_of_objects_and_classes(source: str, asks: bool) -> None:
    assert house.asks_kind(ast.parse(source, mode="eval").body) is asks


def test_a_module_of_one_function_has_no_class(tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text("import os\n\ndef one(): ...\n")
    other = tmp_path / "two.py"
    other.write_text("def one(): ...\n\nclass Two: ...\n")
    assert [house.holds_one_function(each) for each in (path, other)] == [True, False]
