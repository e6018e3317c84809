"""What is done to the pages while the site is built; mkdocs.yml names this file."""

from __future__ import annotations

import re
from typing import Any

import reference_pages
from mkdocs.exceptions import PluginError

# A line of a page, and what stands in its place on the site.
_PARTS = {
    "<!-- every command -->": reference_pages.command_line,
    "<!-- every setting -->": reference_pages.settings,
}

# What a browser fetches by itself when it shows a page.
_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video)[^>]*\ssrc=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link[^>]*rel=["']?(?:stylesheet|preconnect|icon|preload)[^>]*href=["']?(?:https?:)?//[^>]+"""
)


# The tables of results are written by benchmarks, which know no readers.
_RESULTS = "\n*For those who check a figure; [what the tables are](%sREADME.md).*\n"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in the parts that are made from the code, and whom a table of results is for."""
    path = page.file.src_uri
    if path.startswith("results/") and not path.endswith("README.md"):
        title, rest = markdown.split("\n", 1)
        markdown = title + "\n" + _RESULTS % ("../" * (path.count("/") - 1)) + rest
    for marker, make in _PARTS.items():
        if marker in markdown:
            markdown = markdown.replace(marker, make())
    return markdown


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse a page that would fetch something: the site works without a connection."""
    fetched = _FETCHED.search(output)
    if fetched:
        raise PluginError(f"{page.file.src_path} would fetch {fetched[0]}; keep a copy of it here.")
    return output
