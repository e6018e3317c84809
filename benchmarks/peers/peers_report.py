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
_HEAD = (
    *("set", "program", "runs", "F1 0.5", "F1 0.75", "mean AP", "SEG"),
    *("F1 0.5, F1 0.75, mean AP by the other scorer", "trained, s", "steps"),
)


def report(rows: Sequence[Row]) -> str:
    """Return the page as Markdown; `words.md` has a mark for each table."""
    page = _WORDS.read_text(encoding="utf-8")
    made: dict[str, Callable[[list[Row]], str]] = {
        "painted": _painted,
        "finished": _finished,
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


def _painted(rows: list[Row]) -> str:
    """Of one small image each, predicted once without a warm-up: no speed is read from that."""
    return _table(_HEAD, [_line(*each) for each in _grouped(rows, "set", "seconds", "peer")])


def _finished(rows: list[Row]) -> str:
    lines = []
    for key, group in _grouped(rows, "set", "seconds", "peer"):
        speeds = [row["seconds_of_prediction"] / row["pixels"] * 1e6 for row in group]
        lines.append([*_line(key, group), f"{np.mean(speeds):.1f}"])
    return _table([*_HEAD, "s per Mpx"], lines)


def _line(key: tuple[Any, ...], group: list[Row]) -> list[str]:
    name, seconds, peer = key
    others = ", ".join(f"{_mean(group, 'by_another', key):.3f}" for key in _SCORES[:3])
    return [
        f"{name}, {seconds:g} s",
        peer,
        str(len(group)),
        *(f"{_mean(group, 'scores', key):.3f}" for key in _SCORES),
        others,
        f"{_mean(group, 'training', 'seconds'):.0f}",
        f"{_mean(group, 'training', 'steps'):.0f}",
    ]


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
