"""Nothing of the site is missing, left over, or of the place where it was written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from .pages import DOCS, PAGES, ROOT, name_of

IMAGES = sorted(path for path in (DOCS / "images").rglob("*") if path.is_file())
_IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)[^)]*\)|<img[^>]+src=\"([^\"]+)\"")
_BANNED = re.compile(
    r"(?<![\w.])/(?:work|root|tmp|home/\w+)/"  # folders of somebody's machine
    r"|\b(?:TODO|FIXME|TBD|XXX|lorem ipsum)\b"
    r"|\b(?:blazing|revolutionary|state-of-the-art|seamless(?:ly)?|effortless(?:ly)?)\b",
    re.IGNORECASE,
)
_OUR_FILE = re.compile(r"`((?:src|tests|scripts|benchmarks|docs)/[\w./-]+\.\w+)")


def images_of(page: Path) -> list[Path]:
    """Return the files of the pictures that a page shows."""
    found = _IMAGE.findall(page.read_text(encoding="utf-8"))
    return [(page.parent / (first or second)).resolve() for first, second in found]


def pages_of_navigation() -> set[str]:
    """Return the pages that mkdocs.yml names, relative to docs/."""
    configuration = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return set(leaves(configuration["nav"]))


def leaves(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    children = entry.values() if isinstance(entry, dict) else entry
    return [leaf for child in children for leaf in leaves(child)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_picture_of_a_page_is_there(page: Path) -> None:
    assert [path for path in images_of(page) if not path.is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_picture_is_told_to_those_who_do_not_see_it(page: Path) -> None:
    assert "![](" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("image", IMAGES, ids=name_of)
def test_a_picture_stands_on_some_page(image: Path) -> None:
    assert any(image in images_of(page) for page in PAGES)


WRITTEN = [
    page
    for page in PAGES
    if page.is_relative_to(DOCS)
    and page.parent not in (DOCS / "results", DOCS / "results" / "vnc")  # scripts/docs_hooks.py
    and name_of(page) not in ("docs/guide/images.md", "docs/reference/python.md")
]


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_a_page_says_in_its_first_line_whom_it_is_for(page: Path) -> None:
    first = page.read_text(encoding="utf-8").split("\n", 3)[2]
    assert first.startswith("*For "), f"begin {name_of(page)} with “*For those who …*”"


def test_each_page_is_in_the_navigation() -> None:
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert pages <= pages_of_navigation()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_holds_no_trace_of_where_it_was_written(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [match[0] for match in _BANNED.finditer(text)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_file_of_the_repository_that_a_page_names_is_there(page: Path) -> None:
    named = set(_OUR_FILE.findall(page.read_text(encoding="utf-8")))
    assert {path for path in named if "NAME" not in path and not (ROOT / path).exists()} == set()
