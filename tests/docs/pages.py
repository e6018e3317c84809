"""The pages that users read, and the blocks of commands and lines that stand in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# What is read: the site, and what stands beside it in the repository.
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(DOCS.rglob("*.md")),
)
RUN = ("bash", "python")
LANGUAGES = (*RUN, "console", "py", "text", "json", "csv")

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>[^`\n]*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Parameters
    ----------
    language : str
        The word behind the fence.
    text : str
        Its lines, without the indent of a list or a tab.
    line : int
        Of the page, where it begins.
    """

    language: str
    text: str
    line: int


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, top-down."""
    blocks: list[Block] = []
    lines: list[str] = []
    opened: tuple[re.Match[str], int] | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if opened is None:
            opened = (fence, number) if fence else None
            lines = []
        elif fence and fence["ticks"] == opened[0]["ticks"] and not fence["language"]:
            blocks.append(Block(opened[0]["language"].strip(), "\n".join(lines), opened[1]))
            opened = None
        else:
            lines.append(line.removeprefix(opened[0]["indent"]))
    assert opened is None, f"{page}: the block of line {opened[1]} never ends"
    return blocks


def commands_of(text: str) -> list[str]:
    """Return the commands of a block, one a line: those that go on behind a backslash as well."""
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    stripped = (line.strip() for line in joined.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]
