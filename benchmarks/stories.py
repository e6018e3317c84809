"""Go through the Paint & Segment dock as a biologist does, on nine kinds of images, and keep score.

The real window is driven with mouse and keyboard: open an image, look at what is suggested, use it,
paint four cells, train, paint eight more, correct three mistakes, let the training end by itself,
export a table. Each click and key is counted, each step is a picture. Run from the checkout::

    xvfb-run -a -s "-screen 0 1280x720x24" python benchmarks/stories.py --data FOLDER --pictures OUT

FOLDER holds sets of ``images/NNN.tif`` and ``labels/NNN.tif``; names of stories choose. Prints a
table in Markdown, and writes it with the numbers to OUT.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from scipy.ndimage import binary_erosion, distance_transform_edt

sys.path.append(str(Path(__file__).resolve().parents[1] / "scripts"))
sys.path.append(str(Path(__file__).resolve().parent / "accuracy"))
import window_pictures as window
from datasets import CTC_BORDER, field_of_interest
from gui import Lateness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

_CELLS_FIRST, _CELLS, _CORRECTIONS = 4, 12, 3
_MOST_EFFORT = 35  # clicks and keys from opening an image to the table: more is a failure
_PATIENCE = 75.0  # seconds that a person waits for a training to end
_LOOK = 4.0  # seconds between painting and looking
_MOSAIC = 6000


@dataclass(frozen=True)
class Story:
    """An image, its truth, and what kind of image it is."""

    name: str
    folder: str
    numbers: tuple[str, ...]
    classes: bool = False
    stack: str = ""
    """``z`` or ``t`` where it has more than a plane; ``mosaic`` of planes side by side."""

    def load(self, data: Path) -> tuple[NDArray[Any], NDArray[Any]]:
        """Read the image and its truth."""
        image, truth = (
            [tifffile.imread(data / self.folder / kind / f"{n}.tif") for n in self.numbers]
            for kind in ("images", "labels")
        )
        if self.stack == "mosaic":
            return _mosaic(image, False), _mosaic(truth, True)
        if self.stack == "t":
            return np.stack(image), np.stack(truth)
        return image[0], truth[0]


STORIES = (
    Story("fluorescence", "dsb2018_fluo", ("000",)),
    Story("phase T98G", "usiigaci_phc", ("000",)),
    Story("phase U373", "ctc_phc_u373", ("001",)),
    Story("stained tissue", "dsb2018_other", ("000",)),
    Story("DIC HeLa", "ctc_dic_hela", ("002",)),
    Story("EM classes", "vnc_sstem_semantic", ("000",), classes=True),
    Story("3D stack", "cells3d_nuclei", ("000",), stack="z"),
    Story("time-lapse", "bacteria_timelapse", ("000", "004", "008", "012"), stack="t"),
    Story("mosaic", "usiigaci_phc", ("000", "001", "002"), stack="mosaic"),
)


def _mosaic(planes: list[NDArray[Any]], numbered: bool) -> NDArray[Any]:
    """Lay planes side by side until they are 6,000 pixels wide and high."""
    height, width = planes[0].shape[:2]
    across = -(-_MOSAIC // width), -(-_MOSAIC // height)
    rows, largest = [], 0
    for row in range(across[1]):
        tiles = []
        for column in range(across[0]):
            tile = planes[(row * across[0] + column) % len(planes)]
            if numbered:
                tile = np.where(tile > 0, tile.astype(np.int32) + largest, 0)
                largest = max(largest, int(tile.max()))
            tiles.append(tile)
        rows.append(np.concatenate(tiles, axis=1))
    return np.concatenate(rows)[:_MOSAIC, :_MOSAIC]


class Watch(Lateness):
    """How late the window is while the person acts or waits; in which step it was latest."""

    def __init__(self) -> None:
        super().__init__()
        self.step = "opening"
        self.worst: dict[str, float] = {}

    @contextmanager
    def away(self) -> Iterator[None]:
        """Leave out what this script itself computes."""
        self._timer.stop()
        yield
        self._last = time.perf_counter()
        self._timer.start()

    def _tick(self) -> None:
        super()._tick()
        self.worst[self.step] = max(self.milliseconds[-1], self.worst.get(self.step, 0.0))


@dataclass
class Notes:
    """What was seen in a story."""

    story: str
    numbers: dict[str, float] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def note(self, what: str, value: float) -> None:
        """Write down a number."""
        self.numbers[what] = round(float(value), 3)
        print(f"  {what}: {value:.3g}", flush=True)

    def say(self, text: str) -> None:
        """Write down what the window says."""
        self.said.append(text)
        print(f"  {text}", flush=True)


class Hand:
    """A person at the window: mouse, keyboard, eyes; what it does is counted."""

    def __init__(self, viewer: Any, dock: Any, pictures: Path, notes: Notes) -> None:
        self.viewer, self.dock, self.notes = viewer, dock, notes
        self.lateness = Watch()
        self.clicks = self.keys = 0
        self._pictures, self._n_pictures = pictures, 0

    @property
    def effort(self) -> int:
        """Clicks and keys so far."""
        return self.clicks + self.keys

    def click(self, widget: Any) -> None:
        """Click a button."""
        if not widget.isVisible() or not widget.isEnabled():
            self.notes.say(f"NOT CLICKABLE: {widget.text()!r}")
            return
        self.clicks += 1
        window.click(widget)

    def press(self, key: str) -> None:
        """Press a key over the canvas."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        hand: Any = QTest
        codes = {"[": "BracketLeft", "]": "BracketRight"}
        code = getattr(Qt.Key, f"Key_{codes.get(key, key)}")
        self.viewer.window._qt_window.activateWindow()
        window.live(0.02)
        hand.keyClick(self.viewer.window._qt_viewer.canvas.native, code)
        self.keys += 1
        window.live(0.1)

    def drag(self, points: list[tuple[float, float]]) -> None:
        """Drag through points of the plane on screen; a single point is a click."""
        self.clicks += 1
        window.drag(self.viewer, points)

    def until(self, condition: Callable[[], bool], seconds: float = 120.0) -> bool:
        """Wait, as long as a person does."""
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            window.live(0.05)
        return condition()

    def look(self, step: str) -> None:
        """Take a picture."""
        self._n_pictures += 1
        path = self._pictures / f"{self.notes.story}_{self._n_pictures:02d}_{step}.png"
        self.lateness.step = f"after {step}"
        with self.lateness.away():
            self.viewer.window.screenshot(str(path), canvas_only=False, flash=False)
        layers = [
            f"{each.name}{'' if each.visible else ' (hidden)'}" for each in self.viewer.layers
        ]
        self.notes.say(f"[{step}] layers: {', '.join(layers)}")
        dock = self.dock
        texts = (dock.suggestions.text, dock.tools.text, dock.learn.cells.text, dock.learn.text)
        said = [each.text() for each in texts if each.isVisible() and each.text()]
        self.notes.say(f"[{step}] {' | '.join([*said, dock.progress.line.text()])}")


class Telling:
    """One story, told step by step."""

    def __init__(self, story: Story, data: Path, pictures: Path) -> None:
        from napari_unet.widgets.common.session import session_of

        self.story, self.notes = story, Notes(story.name.replace(" ", "_"))
        self.image, self.truth = story.load(data)
        viewer = window.open_viewer("light")
        viewer.window.resize(1280, 720)
        _, dock = viewer.window.add_plugin_dock_widget(window.PLUGIN, "Paint & Segment")
        window.live(1.0)
        self.viewer: Any = viewer
        self.dock: Any = dock
        self.session: Any = session_of(viewer)
        self.hand = Hand(viewer, dock, pictures, self.notes)
        self.lateness = self.hand.lateness

    def tell(self) -> Notes:
        """Go through all of it."""
        self.lateness.start()
        self._open()
        if self.story.classes:
            self._paint_classes()
        else:
            self._use()
            self._paint_cells()
        self._end()
        if not self.story.classes:
            self._export()
        late = self.lateness.stop()
        self.notes.note("late p95", np.percentile(late, 95))
        self.notes.note("late worst", late.max())
        for step, worst in self.lateness.worst.items():
            self.notes.say(f"latest {step}: {worst:.0f} ms")
        from napari.utils.notifications import notification_manager

        for record in notification_manager.records:
            self.notes.say(f"message: {record.message}")
        self.viewer.close()
        return self.notes

    # --- Steps ------------------------------------------------------------------------------------

    def _open(self) -> None:
        story, begin = self.story, time.monotonic()
        rgb = self.image.ndim == 3 and self.image.shape[-1] == 3
        self.layer = self.viewer.add_image(self.image, name=story.name, rgb=rgb)
        if story.stack == "z":
            self.viewer.dims.set_current_step(0, self.image.shape[0] // 2)
        elif story.stack == "mosaic":
            window.look_at(self.viewer, 800, 800, 0.6)
        if story.classes:
            self._choose_classes()
        panel = self.dock.suggestions
        self.hand.until(lambda: panel.isVisible() and "Looking" in panel.text.text(), 15)
        found = self.hand.until(
            lambda: not panel._task.running and "Looking" not in panel.text.text()
        )
        if found and "found" in panel.text.text():
            self.hand.until(lambda: self._has_result, 10)
        self.notes.note("shown after", time.monotonic() - begin)
        self.notes.note("clicks until shown", self.hand.effort)
        self.hand.look("suggested")
        self._score("suggested")

    def _choose_classes(self) -> None:
        self.dock.target.kind_box.setCurrentIndex(1)
        self.hand.clicks += 2
        window.live(0.2)

    def _use(self) -> None:
        if not self.dock.suggestions.use_button.isVisible():
            self.notes.say("Nothing was suggested to use.")
            return
        self.hand.click(self.dock.suggestions.use_button)
        self.hand.until(lambda: not self.session.prediction.running)
        window.live(0.5)
        self.hand.look("used")
        self._score("used")

    def _paint_cells(self) -> None:
        with self.lateness.away():
            cells = self._cells_to_paint()
        self._take_brush(cells)
        for cell in cells[:_CELLS_FIRST]:
            self._paint_cell(cell)
        self.hand.press("B")
        with self.lateness.away():
            ground = self._ground()
        self.hand.drag(ground)
        self.hand.look("painted")
        self.hand.press("T")
        begin = time.monotonic()
        told = self.hand.until(lambda: self.dock.learn.cells.text.text() != "", 60)
        self.notes.note("first score after", time.monotonic() - begin if told else np.nan)
        window.live(_LOOK)
        self.hand.look("training")
        self._score("four cells")
        self.hand.press("N")
        for cell in cells[_CELLS_FIRST:]:
            self._paint_cell(cell)
        self._count_painted(len(cells))
        window.live(_LOOK)
        self.hand.look("twelve")
        self._correct()
        window.live(_LOOK)
        self.hand.look("corrected")
        self._score("twelve cells, corrections")

    def _count_painted(self, meant: int) -> None:
        """Note how many cells were painted by so many strokes: each has a number of its own."""
        painted = np.unique(self.dock.target.annotation.data)
        self.notes.note("cells painted", int(np.count_nonzero(painted > 1)))
        self.notes.note("cells meant", meant)

    def _end(self) -> None:
        begin = time.monotonic()
        if not self.hand.until(lambda: not self.session.training.running, _PATIENCE):
            self.notes.say("The training had not ended by itself: paused.")
            self.hand.press("T")
            self.hand.until(lambda: not self.session.training.running, 30)
        self.notes.note("ended after", time.monotonic() - begin)
        window.live(0.5)
        self.hand.until(lambda: not self.session.prediction.running, _PATIENCE)
        window.live(0.5)
        self.hand.look("ended")
        self._score("ended")

    def _export(self) -> None:
        from qtpy.QtWidgets import QFileDialog

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cells.csv"
            chooser: Any = QFileDialog
            chooser.getSaveFileName = staticmethod(lambda *_, **__: (str(path), ""))
            self.hand.click(self.dock.finish.csv_button)
            self.hand.keys += 1  # Enter in the dialog
            self.hand.until(path.exists, 60)
            window.live(0.5)
            rows = len(path.read_text().splitlines()) - 1 if path.exists() else 0
        self.hand.look("exported")
        self.notes.note("rows of the table", rows)
        self.notes.note("clicks and keys", self.hand.effort)

    # --- Painting ---------------------------------------------------------------------------------

    @property
    def _plane(self) -> NDArray[Any]:
        """The truth of what is on screen."""
        lead = tuple(self.viewer.dims.current_step[: self.truth.ndim - 2])
        plane: NDArray[Any] = self.truth[lead]
        return plane

    def _window_on_plane(self) -> tuple[slice, slice]:
        """Return what a person sees of the plane."""
        (top, left), (bottom, right) = np.asarray(self.layer.corner_pixels)[:, -2:]
        if self.layer.rgb:
            (top, left), (bottom, right) = np.asarray(self.layer.corner_pixels)[:, :2]
        return slice(int(top), int(bottom) + 1), slice(int(left), int(right) + 1)

    @property
    def _has_result(self) -> bool:
        return self._result is not None and bool(np.any(self._result.data))

    def _ground(self) -> list[tuple[float, float]]:
        """Plan a stroke where there are no cells, of what is seen."""
        view = self._window_on_plane()
        stroke = _stroke(self._plane[view] == 0, np.random.default_rng(0))
        return [(y + view[0].start, x + view[1].start) for y, x in stroke]

    def _cells_to_paint(self) -> list[NDArray[np.bool_]]:
        """Choose cells of the commonest size that are seen whole."""
        plane, view = self._plane, self._window_on_plane()
        inside = np.zeros(plane.shape, bool)
        inside[view] = True
        sizes = np.bincount(plane.ravel())
        whole = sizes == np.bincount(plane[inside].ravel(), minlength=len(sizes))
        whole[0] = False
        numbers = np.flatnonzero(whole & (sizes > 20))
        middle = np.median(sizes[numbers])
        nearest = sorted(numbers, key=lambda n: abs(np.log(sizes[n] / middle)))[:_CELLS]
        return [plane == n for n in nearest]

    def _take_brush(self, cells: list[NDArray[np.bool_]]) -> None:
        """Take the brush, and a third of a cell wide."""
        self.hand.press("N")
        if not cells or self.dock.target.annotation is None:
            return
        wanted = max(2.0, np.sqrt(np.median([cell.sum() for cell in cells])) / 2.5)
        paint = self.dock.target.annotation
        for _ in range(30):
            ratio = wanted / paint.brush_size
            if 1 / 1.15 < ratio < 1.15:
                break
            self.hand.press("]" if ratio > 1 else "[")

    def _paint_cell(self, cell: NDArray[np.bool_]) -> None:
        """Brush over a cell: that it is the next one needs no key."""
        with self.lateness.away():
            points = self._zigzag(cell)
        self.hand.drag(points)

    def _zigzag(self, cell: NDArray[np.bool_]) -> list[tuple[float, float]]:
        """Plan how to brush over a cell."""
        brush = self.dock.target.annotation.brush_size
        top, left = np.argwhere(cell).min(axis=0)
        bottom, right = np.argwhere(cell).max(axis=0) + 1
        part = np.pad(cell[top:bottom, left:right], 1)
        inner = binary_erosion(part, iterations=max(1, round(brush / 2)))
        ys, xs = np.nonzero(inner if inner.any() else part)
        ys, xs = ys + top - 1, xs + left - 1
        points: list[tuple[float, float]] = []
        for n, y in enumerate(np.unique(ys)[:: max(1, round(brush / 2))]):
            row = xs[ys == y]
            ends = [(float(y), float(row.min())), (float(y), float(row.max()))]
            points += ends if n % 2 == 0 else ends[::-1]
        return points

    def _paint_classes(self) -> None:
        """Paint a stroke or more in each of the classes of the truth."""
        rng = np.random.default_rng(0)
        plane = self._plane
        values = [int(v) for v in np.unique(plane) if 0 < v <= 4]
        self.hand.press("N")
        paint = self.dock.target.annotation
        self.hand.look("class_table")
        for n in range(6):
            for value in values:
                self.hand.press(str(value))
                if paint.brush_size > 6:
                    paint.brush_size = 5
                with self.lateness.away():
                    points = _stroke(plane == value, rng)
                self.hand.drag(points)
            if n == 0:
                self.hand.press("T")
                begin = time.monotonic()
                self.hand.until(lambda: self._has_result, 30)
                self.notes.note("first score after", time.monotonic() - begin)
                self.hand.look("first_strokes")
                self._score("four cells")
        window.live(_LOOK)
        self.hand.look("strokes")
        self._score("twelve cells, corrections")

    def _correct(self) -> None:
        """Delete what is no cell, accept what is right: what a look at the outlines tells."""
        with self.lateness.away():
            mistakes = self._mistakes()
        in_hand = ""
        for tool, place in mistakes:
            if tool != in_hand:
                self.hand.press(tool)
                in_hand = tool
            before = np.array(self._shown)
            self.hand.drag([place])
            window.live(0.5)
            changed = np.count_nonzero(before != self._shown)
            self.notes.say(f"correction {tool}: {changed} pixels; {self.dock.tools.text.text()}")

    def _mistakes(self) -> list[tuple[str, tuple[float, float]]]:
        plane, found = self._plane, self._shown
        if found is None:
            return []
        view = np.zeros(plane.shape, bool)
        view[self._window_on_plane()] = True
        wrong: list[tuple[float, float]] = []
        right: list[tuple[float, float]] = []
        for number in np.unique(found[view & (found > 0)]):
            mask = found == number
            y, x = np.argwhere(mask)[mask.sum() // 2]
            share = np.count_nonzero(plane[mask]) / mask.sum()
            (wrong if share < 0.3 else right).append((float(y), float(x)))
        taken = [("D", place) for place in wrong[:_CORRECTIONS]]
        return [*taken, *(("A", place) for place in right[: _CORRECTIONS - len(taken)])]

    # --- Scores -----------------------------------------------------------------------------------

    @property
    def _result(self) -> Any:
        from napari_unet.widgets.common.result_layer import shown_result

        return shown_result(self.viewer)

    @property
    def _shown(self) -> Any:
        """What is found in the plane on screen."""
        if self._result is None:
            return None
        found = np.asarray(self._result.data)
        return found[tuple(self.viewer.dims.current_step[: found.ndim - 2])]

    def _score(self, step: str) -> None:
        """Score what is on screen against its truth: F1 of cells, or the mean IoU of classes."""
        with self.lateness.away():
            self._compare(step)

    def _in_field(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Drop objects that lie wholly where nobody labelled anything."""
        border = CTC_BORDER if self.story.folder.startswith("ctc_") else 0
        field = field_of_interest(labels.shape, border)
        return np.where(np.isin(labels, np.unique(labels[field])), labels, 0)

    def _compare(self, step: str) -> None:
        from napari_unet import evaluate

        found = self._shown
        if found is None:
            self.notes.note(f"F1 {step}", 0.0)
            return
        view = self._window_on_plane()
        if found.shape != self._plane.shape:
            self.notes.say(f"result of {found.shape}, image of {self._plane.shape}")
            return
        truth, found = (self._in_field(each)[view] for each in (self._plane, found))
        if self.story.classes:
            values = [int(v) for v in np.unique(truth) if 0 < v <= 4]
            ious = [_iou(truth == v, found == (v if v > 1 else 0)) for v in values]
            self.notes.say(f"IoU of each class: {np.round(ious, 2).tolist()}")
            self.notes.note(f"F1 {step}", float(np.mean(ious)))
            return
        scores = evaluate(found.astype(np.int32), truth.astype(np.int32), kind="objects")
        self.notes.note(f"F1 {step}", float(scores["f1_50"]))


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return int(np.count_nonzero(one & other)) / max(1, int(np.count_nonzero(one | other)))


def _stroke(mask: NDArray[np.bool_], rng: np.random.Generator) -> list[tuple[float, float]]:
    """Draw a short line that stays within a mask."""
    depth = distance_transform_edt(mask)
    return max((_line(depth, rng) for _ in range(5)), key=len)


def _line(depth: Any, rng: np.random.Generator) -> list[tuple[float, float]]:
    places = np.argwhere(depth >= min(3.0, depth.max() * 0.7))
    y, x = places[rng.integers(len(places))]
    points = [(float(y), float(x))]
    angle = rng.uniform(0, 2 * np.pi)
    for step in range(4, 40, 4):
        at = round(y + step * np.sin(angle)), round(x + step * np.cos(angle))
        inside = all(0 <= i < n for i, n in zip(at, depth.shape, strict=True))
        if not inside or depth[at] < 2:
            break
        points.append((float(at[0]), float(at[1])))
    return points


# --- The table ------------------------------------------------------------------------------------

_COLUMNS = {
    "shown after": "s until shown",
    "clicks until shown": "clicks",
    "F1 suggested": "suggested",
    "F1 used": "Use",
    "F1 four cells": "four cells",
    "F1 twelve cells, corrections": "twelve + 3",
    "F1 ended": "ended",
    "ended after": "s to the end",
    "clicks and keys": "to CSV",
    "late p95": "late p95, ms",
    "late worst": "worst, ms",
}


def table(told: list[Notes]) -> str:
    """Lay the stories out as a table in Markdown."""
    lines = [
        "| story | " + " | ".join(_COLUMNS.values()) + " |",
        "|---" * (len(_COLUMNS) + 1) + "|",
    ]
    for notes in told:
        cells = [_in_words(what, notes.numbers.get(what)) for what in _COLUMNS]
        lines.append(f"| {notes.story.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _in_words(what: str, value: float | None) -> str:
    if value is None:
        return "-"
    if what.startswith("F1"):
        return f"{value:.2f}"
    return f"{value:.1f}" if what == "shown after" else f"{value:.0f}"


def main() -> int:
    """Tell the stories that are named, each in a process and a home of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="STORY")
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--pictures", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    stories = [each for each in STORIES if not options.names or each.name in options.names]
    options.pictures.mkdir(parents=True, exist_ok=True)
    if options.here:
        notes = Telling(stories[0], options.data, options.pictures).tell()
        written = {"story": notes.story, "numbers": notes.numbers, "said": notes.said}
        (options.pictures / f"{notes.story}.json").write_text(json.dumps(written, indent=1))
        return 0
    told = []
    for story in stories:
        print(f"{story.name}:", flush=True)
        with tempfile.TemporaryDirectory() as home:
            own = {"XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home, "QT_SCALE_FACTOR": "1"}
            command = [sys.executable, __file__, story.name, "--here"]
            command += ["--data", str(options.data), "--pictures", str(options.pictures)]
            done = subprocess.run(command, check=False, env={**os.environ, **own})
        if done.returncode == 0:
            file = options.pictures / f"{story.name.replace(' ', '_')}.json"
            told.append(Notes(**json.loads(file.read_text())))
    (options.pictures / "stories.md").write_text(table(told) + "\n")
    print(table(told))
    effort = [notes.numbers.get("clicks and keys", 0) for notes in told]
    return 0 if len(told) == len(stories) and max(effort, default=0) <= _MOST_EFFORT else 1


if __name__ == "__main__":
    sys.exit(main())
