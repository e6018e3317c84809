"""Tables as JSON with every run, and as Markdown with means and standard deviations."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from experiment import Record, Scores

    # From the key of a score and its values in several runs to the words in a cell.
    Summary = Callable[[str, Sequence[float]], str]

COLUMN_TITLES = {
    "pixel_error": "pixel error",
    "rand_error": "Rand error",
    "warping_error": "warping error",
    "seg": "SEG",
    "iou": "IoU",
    "f1_50": "F1 0.5",
    "f1_ratio": "F1 / F1 of all",
    "f1_75": "F1 0.75",
    "ap_50": "AP 0.5",
    "ap_75": "AP 0.75",
    "map": "mean AP",
    "n_merged": "merged",
    "n_split": "split",
    "n_missed": "missed",
    "n_false": "false",
    "painted_50": "painted found 0.5",
    "painted_75": "painted found 0.75",
    "shown_f1_50": "shown: F1 0.5",
    "shown_f1_75": "shown: F1 0.75",
    "shown_painted_50": "shown: painted found 0.5",
    "shown_painted_75": "shown: painted found 0.75",
    "area": "area / true",
    "gain": "F1 0.5 gained",
    "gain_75": "F1 0.75 gained",
    "seconds": "s",
}

# Keys of differences between runs, and of the scores that differ.
GAINS = {"gain": "f1_50", "gain_75": "f1_75"}


@dataclass(frozen=True)
class Circumstances:
    """How a table came about; what is the same for its header in both files."""

    command: str
    form: str
    threads: int
    machine: str
    date: str
    versions: dict[str, str]


def mean_and_deviation(values: Sequence[float]) -> str:
    """Word the mean, with the standard deviation where there are several values."""
    mean = statistics.fmean(values)
    decimals = 1 if abs(mean) >= 10 else 3 if abs(mean) >= 0.01 or mean == 0 else 6
    if len(values) == 1:
        return f"{mean:.{decimals}f}"
    return f"{mean:.{decimals}f} ± {statistics.stdev(values):.{decimals}f}"


def spread(_: str, values: Sequence[float]) -> str:
    """Word what most tables tell of several runs: see `mean_and_deviation`."""
    return mean_and_deviation(values)


def mean_and_worst(key: str, values: Sequence[float]) -> str:
    """Word the mean and the worst of several values.

    The worst area is the one that is farthest from the true one, the worst number of seconds the
    largest; of all else it is the smallest.
    """
    mean = statistics.fmean(values)
    if key == "seconds":
        return f"{mean:.1f} / {max(values):.1f}"
    worst = max(values, key=lambda ratio: abs(ratio - 1)) if key == "area" else min(values)
    sign = "+" if key in GAINS else ""
    return f"{mean:{sign}.3f} / {worst:{sign}.3f}"


def with_gains_to(base: Scores, record: Record) -> Record:
    """Add to each way of a finished trial what it gained to other scores of the same paint."""
    scores = {
        way: {
            **found,
            **{gain: found[key] - base[key] for gain, key in GAINS.items() if key in found},
        }
        for way, found in record.scores.items()
    }
    return replace(record, scores=scores)


def rows_of(records: Iterable[Record]) -> dict[tuple[str, str, str], list[Record]]:
    """Group finished trials by data set, row and way; each group is averaged."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        for way in record.scores:
            groups.setdefault((record.dataset, record.row, way), []).append(record)
    return dict(sorted(groups.items(), key=lambda item: item[0][0]))


def markdown_rows(
    records: Sequence[Record],
    columns: Sequence[str],
    published: Mapping[tuple[str, str], float],
    summary: Summary = spread,
) -> list[str]:
    """Write the body of a table.

    Parameters
    ----------
    records : sequence of Record
        The finished trials.
    columns : sequence of str
        Keys of scores; those that no trial has are left out.
    published : mapping
        From data set and key to the figure of others, which is added in brackets.
    summary : callable
        Words the values of several runs.
    """
    present = {key for r in records for scores in r.scores.values() for key in scores}
    shown = [key for key in columns if key in present]
    titles = ["data set", "row", "objects", "runs", "steps", *map(_title, shown)]
    lines = [_line(titles), _line(["---"] * len(titles))]
    for (dataset, row, way), group in rows_of(records).items():
        cells = [dataset, row, way, str(len(group))]
        cells.append(str(round(statistics.fmean(r.steps for r in group))))
        for key in shown:
            values = [r.scores[way][key] for r in group if key in r.scores[way]]
            cell = summary(key, values) if values else ""
            if values and (dataset, key) in published:
                cell += f" (paper: {published[dataset, key]:g})"
            cells.append(cell)
        lines.append(_line(cells))
    return lines


def header_lines(title: str, circumstances: Circumstances, records: Sequence[Record]) -> list[str]:
    """Say under which circumstances a table came about."""
    words = ", ".join(f"{name} {version}" for name, version in circumstances.versions.items())
    commits = ", ".join(sorted({record.commit for record in records}))
    devices = ", ".join(sorted({record.device for record in records}))
    return [
        f"# {title}",
        "",
        circumstances.form,
        "",
        f"- Command: `{circumstances.command}`",
        f"- Date: {circumstances.date}",
        f"- Machine: {circumstances.machine}; trained on: {devices}",
        f"- Versions: {words}; commit {commits}",
        "",
    ]


def _title(key: str) -> str:
    return COLUMN_TITLES.get(key, key)


def _line(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
