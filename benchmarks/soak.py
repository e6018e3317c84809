"""Wear out the window: train and stop 200 times, or use everything for an hour.

Run from the checkout on a screen, or ``xvfb-run -a -s "-screen 0 1280x800x24" python
benchmarks/soak.py cycles --cycles 200``, and ``... soak.py hour --minutes 60``. The hand is seeded:
the same seed clicks the same. Both write their part of ``soak.json`` and ``soak.md`` in the folder
given by --output; the hour also writes a line a minute into ``soak_hour.csv``. Exits 1 if a bound
is not held, or if anything was shown or raised that should not be.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gui import live, wait
from soak_window import Window, handles, memory, since

if TYPE_CHECKING:
    from collections.abc import Callable

_RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
_FIRST = 10  # cycles until everything is imported and every cache is filled
_MOST_MEGABYTES = 100
_MOST_LAYERS = 12


def main() -> int:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("cycles", "hour"))
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=_RESULTS, help="folder for the results")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    window = Window()
    rng = np.random.default_rng(options.seed)
    if options.what == "cycles":
        found = cycles(window, options.cycles, rng)
    else:
        found = hour(window, options.minutes, rng, options.output / "soak_hour.csv")
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
        window.reopen_dock("Train")
    window.click(window.train.stop_button, times=2 if cycle % 9 == 0 else 1)
    wait(window.idle, 120)
    if cycle % 20 == 13:
        window.reopen_dock("Train")


def hour(window: Window, minutes: float, rng: np.random.Generator, table: Path) -> dict[str, Any]:
    """Use everything in random order, and write a line a minute.

    Returns
    -------
    dict
        The lines, what was done how often, and what was held in the end.
    """
    actions = _actions(window, rng)
    names, chances = list(actions), np.array([chance for chance, _ in actions.values()], float)
    chances /= chances.sum()
    lines: list[dict[str, float]] = []
    done, worst = dict.fromkeys(names, 0), dict.fromkeys(names, 0.0)
    begin = time.perf_counter()
    window.lateness.start()
    with table.open("w", newline="", encoding="utf-8") as file:
        while since(begin) < 60 * minutes:
            name = str(rng.choice(names, p=chances))
            done[name] += 1
            ticks = len(window.lateness.milliseconds)
            actions[name][1]()
            live(float(rng.uniform(0.05, 1.0)))
            worst[name] = max(worst[name], *window.lateness.milliseconds[ticks:], 0.0)
            if since(begin) > 60 * (len(lines) + 1):
                lines.append(_line(window, len(lines) + 1))
                writer = csv.DictWriter(file, list(lines[-1]))
                if len(lines) == 1:
                    writer.writeheader()
                writer.writerow(lines[-1])
                file.flush()
    window.lateness.stop()
    for task in (window.session.training, window.session.prediction):
        task.stop()
    return {
        "minutes": minutes,
        "done": done,
        "worst_lateness_ms": {name: round(late) for name, late in worst.items()},
        "trainings": window.trainings,
        "predictions": window.predictions,
        "told": window.complaints.told,
        "lines": lines,
        "last": window.held().as_dict(),
        "holds": True,
    }


def _line(window: Window, minute: int) -> dict[str, float]:
    import psutil

    late = np.array(window.lateness.milliseconds)
    window.lateness.start()
    return {
        "minute": minute,
        "memory": round(memory(), 1),
        "threads": psutil.Process().num_threads(),
        "handles": handles(),
        "worst_lateness_ms": round(float(late.max()), 1),
        "p95_lateness_ms": round(float(np.percentile(late, 95)), 1),
        "trainings": window.trainings,
        "steps": window.events,
        "predictions": window.predictions,
        "layers": len(window.viewer.layers),
        "complaints": len(window.complaints.texts),
    }


def _actions(
    window: Window, rng: np.random.Generator
) -> dict[str, tuple[int, Callable[[], object]]]:
    """Return what a user does, each with how often compared with the others.

    No layer is removed: napari alone, without this plugin, that adds and removes layers at random
    crashes in Mesa's software renderer (22.3) within a minute. So predictions are seldom painted
    on, since each of these stays and the next one gets a layer of its own.
    """
    viewer = window.viewer

    def paint() -> None:
        layer = window.annotate.target.annotation
        if layer is None:
            window.click(window.annotate.new_button)
            return
        viewer.layers.selection.active = layer
        layer.mode, layer.brush_size = "paint", int(rng.integers(2, 12))
        for _ in range(rng.integers(1, 4)):
            layer.selected_label = int(rng.integers(0, 20))
            window.drag(rng)

    def undo() -> None:
        layer = window.annotate.target.annotation
        if layer is not None:
            layer.undo()

    def correct() -> None:
        tools = list(window.predict.correct.buttons.values())
        window.click(tools[rng.integers(len(tools))])
        window.drag(rng)
        window.predict.correct.put_down()

    def train() -> None:
        window.train.steps_box.setValue(int(rng.integers(20, 2000)))
        window.click(window.train.train_button)

    def preset() -> None:
        box = window.train.preset_box
        box.setCurrentIndex(box.findData(str(rng.choice(["fast", "accurate"]))))
        live(0.1)
        if rng.random() < 0.8:
            window.choose_tiny()

    def add_layer() -> None:
        if len(viewer.layers) >= _MOST_LAYERS:
            return
        if rng.random() < 0.5:
            window.click(window.annotate.new_button)
        else:
            viewer.add_image(window.image.data[::-1].copy(), name="another")

    def rename() -> None:
        layer = viewer.layers[rng.integers(len(viewer.layers))]
        layer.visible = not layer.visible
        if layer.name != window.image.name:
            layer.name = f"layer {rng.integers(100)}"

    def choose_image() -> None:
        window.predict.options.image_box.layer = window.image

    def predict(button: str) -> None:
        choose_image()
        window.click(getattr(window.predict, button))

    def reopen() -> None:
        window.reopen_dock(str(rng.choice(["Annotate", "Train", "Predict"])))

    return {
        "paint": (30, paint),
        "undo": (6, undo),
        "train": (8, train),
        "continue": (3, lambda: window.click(window.train.continue_button)),
        "stop": (5, lambda: window.click(window.train.stop_button)),
        "live": (1, lambda: window.click(window.train.live_box)),
        "preset": (2, preset),
        "view": (5, lambda: predict("view_button")),
        "whole": (5, lambda: predict("predict_button")),
        "cancel": (2, lambda: window.click(window.predict.buttons.cancel)),
        "correct": (1, correct),
        "teach": (2, lambda: window.click(window.predict.correct.teach_button)),
        "add layer": (2, add_layer),
        "rename": (2, rename),
        "reopen": (1, reopen),
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
    if "hour" in known:
        lines += _hour_in_words(known["hour"])
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


def _hour_in_words(found: dict[str, Any]) -> list[str]:
    lines = found["lines"]
    columns = list(lines[0]) if lines else []
    shown = [line for line in lines if line["minute"] in (1, 2, 5) or line["minute"] % 10 == 0]
    done = ", ".join(
        f"{name} {count} ({found['worst_lateness_ms'][name]} ms)"
        for name, count in found["done"].items()
    )
    return [
        f"## Everything, for {found['minutes']:g} minutes",
        "",
        f"Done at random, and how late a 10 ms timer came at worst meanwhile: {done}. "
        f"{found['trainings']} trainings, {found['predictions']} predictions, {found['told']} "
        f"notices, {len(found['complaints'])} complaints. "
        f"{found['machine']}, {found['date']}.",
        "",
        "| " + " | ".join(column.replace("_", " ") for column in columns) + " |",
        "|---" * len(columns) + "|",
        *("| " + " | ".join(f"{line[column]:g}" for column in columns) + " |" for line in shown),
        "",
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as data_folder:
        os.environ["XDG_DATA_HOME"] = data_folder
        sys.exit(main())
