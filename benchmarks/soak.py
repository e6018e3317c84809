"""Wear out the window: train and stop 200 times, or do everything at random for an hour.

Run from the checkout on a screen, or ``xvfb-run -a -s "-screen 0 1280x800x24" python
benchmarks/soak.py cycles --cycles 200``, and ``... soak.py sequences``. The hand is seeded: the
same seed clicks the same. Both write their part of ``soak.json`` and ``soak.md`` in the folder that
--output names. Exits 1 if a bound is not held, or if anything was raised that should not be.

Mesa 22.3 (Debian 12, without a graphics card) crashes within a minute when napari alone adds and
removes layers at random, by llvmpipe as by softpipe; Mesa 25.0 of bookworm-backports does not.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import datetime
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from gui import wait
from soak_actions import Hand
from soak_window import DOCKS, LONGEST_HANG, Window, memory, since

_RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
_FIRST = 10  # cycles until everything is imported and every cache is filled
_SETTLED = 10  # minutes until the same
_MOST_MEGABYTES = 100


def main() -> int:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("cycles", "sequences"))
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--sequences", type=int, default=60)
    parser.add_argument("--length", type=int, default=200, help="actions of a sequence")
    parser.add_argument("--minutes", type=float, default=60, help="no sequence begins later")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=_RESULTS, help="folder for the results")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.what == "cycles":
        window = Window(("Annotate", "Train", "Predict"))
        found = cycles(window, options.cycles, np.random.default_rng(options.seed))
    else:
        window = Window(DOCKS[:1])
        found = sequences(window, options)
    window.close()
    found["complaints"] = window.complaints.texts
    found["holds"] = bool(found["holds"]) and not window.complaints.texts
    _write(options.what, found, options.output)
    print(json.dumps(found, indent=1))
    return 0 if found["holds"] else 1


def cycles(window: Window, number: int, rng: np.random.Generator) -> dict[str, Any]:
    """Train and stop again and again.

    Returns
    -------
    dict
        What was held after the tenth cycle and after the last, and whether that is the same.
    """
    first = None
    begin = time.perf_counter()
    for cycle in range(1, number + 1):
        _one_cycle(window, cycle, rng)
        if cycle == min(_FIRST, number):
            first = window.held()
        if cycle % 10 == 0:
            print(f"{cycle} cycles, {memory():.0f} MB, {since(begin):.0f} s", flush=True)
    assert first is not None
    last = window.held()
    return {
        "cycles": number,
        "trainings": window.trainings,
        "steps": window.events,
        "seconds": round(since(begin)),
        "first": first.as_dict(),
        "last": last.as_dict(),
        "holds": last.memory - first.memory < _MOST_MEGABYTES
        and last.threads <= first.threads
        and last.handles <= first.handles,
    }


def _one_cycle(window: Window, cycle: int, rng: np.random.Generator) -> None:
    """Train for a few steps and stop; now and then in an odd order."""
    window.click(window.train.train_button, times=2 if cycle % 7 == 0 else 1)
    if cycle % 5 != 0:  # else Stop comes at once
        enough = window.events + int(rng.integers(2, 5))
        wait(lambda: window.events >= enough, 120)
    if cycle % 20 == 3:
        _reopen(window)
    window.click(window.train.stop_button, times=2 if cycle % 9 == 0 else 1)
    wait(window.idle, 120)
    if cycle % 20 == 13:
        _reopen(window)


def _reopen(window: Window) -> None:
    window.close_dock("Train")
    window.dock("Train")


def sequences(window: Window, options: argparse.Namespace) -> dict[str, Any]:
    """Do everything in random order, in sequences of their own seeds, each in a viewer of its own.

    Returns
    -------
    dict
        A line for each sequence, what was done how often, how long the window stood still.
    """
    lines: list[dict[str, float]] = []
    done: Counter[str] = Counter()
    begin = time.perf_counter()
    window.lateness.start()
    for number in range(options.sequences):
        if since(begin) > 60 * options.minutes:
            break
        seed = options.seed + number
        print(f"sequence {number + 1}, seed {seed}", flush=True)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            hand = Hand(window, np.random.default_rng(seed), Path(folder))
            hand.new_viewer()
            for _ in range(options.length):
                done[hand.act()] += 1
            window.complaints.doing = window.lateness.doing = "end"
            window.session.stop()
            held = window.held().as_dict()
        lines.append({"minute": round(since(begin) / 60, 1), "seed": seed, **held})
        lines[-1]["complaints"] = len(window.complaints.texts)
        print(lines[-1], flush=True)
        with (options.output / "soak_sequences.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
    window.lateness.stop()
    late = [line["memory"] for line in lines[-5:]]
    early = [line["memory"] for line in lines if 5 < line["minute"] <= _SETTLED] or late
    return {
        "minutes": round(since(begin) / 60),
        "sequences": len(lines),
        "length": options.length,
        "seed": options.seed,
        "done": dict(done.most_common()),
        "worst_seconds": {
            name: [round(each, 2) for each in worst]
            for name, worst in window.lateness.worst.items()
        },
        "hangs": window.lateness.found,
        "trainings": window.trainings,
        "steps": window.events,
        "predictions": window.predictions,
        "told": dict(window.complaints.told.most_common()),
        "of_napari": window.complaints.of_napari,
        "lines": lines,
        "growth": round(float(np.median(late) - np.median(early)), 1),
        "holds": not any(hang["ours"] > 0.5 for hang in window.lateness.found),
    }


def _write(what: str, found: dict[str, Any], folder: Path) -> None:
    """Put the figures into the file beside those of the other part, and both into words."""
    from circumstances import git_commit, machine_in_words, versions

    path = folder / "soak.json"
    known: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        known = json.loads(path.read_text(encoding="utf-8"))
    known[what] = found | {
        "machine": machine_in_words(),
        "versions": versions(),
        "commit": git_commit(),
        "date": f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}",
    }
    path.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    (folder / "soak.md").write_text(_in_words(known), encoding="utf-8")


def _in_words(known: dict[str, Any]) -> str:
    lines = ["# Soak", "", "Written by `benchmarks/soak.py`.", ""]
    if "cycles" in known:
        lines += _cycles_in_words(known["cycles"])
    if "sequences" in known:
        lines += _sequences_in_words(known["sequences"])
    return "\n".join(lines)


def _cycles_in_words(found: dict[str, Any]) -> list[str]:
    held = "held" if found["holds"] else "**not held**"
    rows = [
        f"| {name} | {found['first'][name]:g} | {found['last'][name]:g} |"
        for name in found["first"]
    ]
    return [
        f"## Train and Stop, {found['cycles']} times",
        "",
        f"{found['trainings']} trainings, {found['steps']} steps, {found['seconds']} s, one image "
        f"of 256x256. To hold: less than {_MOST_MEGABYTES} MB more, no more threads or handles: "
        f"{held}. {len(found['complaints'])} complaints. {found['machine']}, {found['date']}.",
        "",
        f"| | after cycle {min(_FIRST, found['cycles'])} | after the last |",
        "|---|---|---|",
        *rows,
        "",
    ]


def _sequences_in_words(found: dict[str, Any]) -> list[str]:
    lines = found["lines"]
    columns = list(lines[0]) if lines else []
    done = ", ".join(
        f"{name} {count} ({found['worst_seconds'].get(name, [0, 0])[1]} s)"
        for name, count in found["done"].items()
    )
    return [
        f"## {found['sequences']} sequences of {found['length']} actions, at random",
        "",
        f"{found['minutes']} minutes, seeds from {found['seed']} on, each in a new viewer. Done, "
        f"and the most processor time of the window's thread at one go: {done}. "
        f"{found['trainings']} trainings, {found['steps']} steps, "
        f"{found['predictions']} predictions, "
        f"{sum(found['told'].values())} notices, {len(found['complaints'])} complaints, "
        f"{len(found['hangs'])} times more than {LONGEST_HANG} s at one go. Memory grew by "
        f"{found['growth']} MB after the first {_SETTLED} minutes (medians of ends of sequences). "
        f"{found['machine']}, {found['date']}.",
        "",
        "| " + " | ".join(columns) + " |",
        "|---" * len(columns) + "|",
        *("| " + " | ".join(f"{line[column]:g}" for column in columns) + " |" for line in lines),
        "",
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as data_folder:
        os.environ["XDG_DATA_HOME"] = os.environ["XDG_CACHE_HOME"] = data_folder
        sys.exit(main())
