"""What is done to the pages while the site is built; mkdocs.yml names this file."""

from __future__ import annotations

from typing import Any

import reference_pages

# A line of a page, and what stands in its place on the site.
_PARTS = {
    "<!-- every command -->": reference_pages.command_line,
    "<!-- every setting -->": reference_pages.settings,
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the parts that are made from the code."""
    for marker, make in _PARTS.items():
        if marker in markdown:
            markdown = markdown.replace(marker, make())
    return markdown
