"""The page of the comparison, made from the rows: a table each, and the versions compared."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rows import Row

_WORDS = Path(__file__).resolve().parent / "words.md"
_SCORES = ("f1_50", "f1_75", "map", "seg")


def report(rows: Sequence[Row]) -> str:
    """Return the page as Markdown; `words.md` has a mark for each table."""
    page = _WORDS.read_text(encoding="utf-8")
    made: dict[str, Callable[[list[Row]], str]] = {
        "painted": _segmentation,
        "finished": _segmentation,
        "large": _large,
        "tracking": _tracking,
        "restoration": _restoration,
    }
    for name, table in made.items():
        chosen = [
            row for row in rows if row["table"] == name or (name == "large" and "large" in row)
        ]
        page = page.replace(f"<!-- {name} -->", table(chosen) if chosen else "Not measured yet.")
    return page.replace("<!-- versions -->", _versions(rows))


def _segmentation(rows: list[Row]) -> str:
    head = ["set", "program", "runs", "F1 0.5", "F1 0.75", "mean AP", "SEG"]
    head += ["F1 0.5, F1 0.75, mean AP by the other scorer", "trained, s", "steps", "s per Mpx"]
    lines = []
    for (name, seconds, peer), group in _grouped(rows, "set", "seconds", "peer"):
        others = ", ".join(f"{_mean(group, 'by_another', key):.3f}" for key in _SCORES[:3])
        lines.append(
            [
                f"{name}, {seconds:g} s",
                peer,
                str(len(group)),
                *(f"{_mean(group, 'scores', key):.3f}" for key in _SCORES),
                others,
                f"{_mean(group, 'training', 'seconds'):.0f}",
                f"{_mean(group, 'training', 'steps'):.0f}",
                f"{np.mean([r['seconds_of_prediction'] / r['pixels'] * 1e6 for r in group]):.1f}",
            ]
        )
    return _table(head, lines)


def _large(rows: list[Row]) -> str:
    head = (
        "set",
        "program",
        "Mpx per processor second",
        "peak memory, MB",
        "before, MB",
        "objects",
    )
    lines = [
        [
            row["set"],
            row["peer"],
            f"{row['large']['mpx_per_second']:.3f}",
            f"{row['large']['peak_mb']:.0f}",
            f"{row['large']['before_mb']:.0f}",
            str(row["large"]["objects"]),
        ]
        for row in rows
    ]
    return _table(head, lines)


def _tracking(rows: list[Row]) -> str:
    head = ("objects", "program", "true links found", "daughters found", "false links")
    lines = [
        [r["run"], r["peer"], f"{r['links']:.3f}", f"{r['daughters']:.3f}", str(r["false"])]
        for r in rows
    ]
    return _table(head, lines)


def _restoration(rows: list[Row]) -> str:
    head = ["image", "noise", "program", "PSNR", "of the noisy image", "SSIM"]
    head += ["trained, s", "steps", "s per Mpx"]
    lines = [
        [
            r["set"],
            r["run"],
            r["peer"],
            f"{r['scores']['psnr']:.2f}",
            f"{r['scores']['noisy_psnr']:.2f}",
            f"{r['scores']['ssim']:.3f}",
            f"{r['training']['seconds']:.0f}",
            str(r["training"]["steps"]),
            f"{r['seconds_of_prediction'] / r['pixels'] * 1e6:.1f}",
        ]
        for r in rows
    ]
    return _table(head, lines)


def _versions(rows: Iterable[Row]) -> str:
    """List what was compared, each version once, and from when to when."""
    found = sorted({f"{n} {v}" for row in rows for n, v in row.get("versions", {}).items()})
    dates = sorted(row["date"] for row in rows)
    return f"Measured {dates[0]} to {dates[-1]} with {', '.join(found)}." if dates else ""


def _grouped(rows: Iterable[Row], *keys: str) -> Iterable[tuple[tuple[Any, ...], list[Row]]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return groups.items()


def _mean(rows: Iterable[Row], part: str, key: str) -> float:
    return float(np.mean([row[part][key] for row in rows]))


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
