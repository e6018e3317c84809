"""What ``crash_drill.py`` kills, and what must be there afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import tifffile
import zarr
from crash_victims import strokes

from napari_unet.errors import NapariUNetError
from napari_unet.io.files import is_run_card
from napari_unet.project.contents import is_project
from napari_unet.project.folder import load_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Said = Callable[[str], list[str]]

_VICTIMS = Path(__file__).with_name("crash_victims.py")


class Scene:
    """A program at work: when to kill it, and what is then to be there."""

    name: str
    safe: str  # what is said to be safe
    moments: tuple[str, ...]  # beginnings of lines that it says
    seconds: float  # of its life, where it is killed by the clock
    late: float  # how many times a moment is let pass, on average
    most: Mapping[str, int] = MappingProxyType({})  # how often rare ones happen

    def prepare(self, folder: Path) -> None:
        """Write what it works on."""

    def problems(self, folder: Path, said: Said, ended: int | None) -> Iterator[str]:
        """Yield what is lost or wrong after a kill."""
        raise NotImplementedError

    def torn(self, folder: Path) -> bool:
        """Return whether it died in the middle of a write."""
        raise NotImplementedError

    def end(self, folder: Path) -> Iterator[str]:
        """Go on undisturbed after the last kill, where there is an end, and look at that."""
        return iter(())


class Training(Scene):
    """The command line trains, with a checkpoint after every step."""

    name, safe, seconds, late = "training", "save_checkpoint", 6.0, 6.0
    moments = (
        *("by the clock", "at save_network", "at fsync", "at replace", "at save_state"),
        *("at save_checkpoint", "done save_checkpoint"),
    )

    def __init__(self) -> None:
        self._unfinished: set[str] = set()
        self._steps = (0, 0)

    def prepare(self, folder: Path) -> None:
        """Write an image of bright squares, some of them painted."""
        image = np.random.default_rng(0).integers(0, 20, (144, 144)).astype(np.uint8)
        labels = np.zeros(image.shape, np.uint8)
        labels[::24] = 1
        for number, (row, column) in enumerate(np.ndindex(6, 6)):
            square = np.s_[24 * row + 8 : 24 * row + 18, 24 * column + 8 : 24 * column + 18]
            image[square] += 100
            labels[square] = 2 + number
        for kind, array in (("images", image), ("labels", labels)):
            (folder / kind).mkdir()
            tifffile.imwrite(folder / kind / "a.tif", array, photometric="minisblack")

    def problems(self, folder: Path, said: Said, ended: int | None) -> Iterator[str]:
        """Look for a whole model and state, at least as new as was said."""
        from napari_unet.model.trained import load_network
        from napari_unet.training.checkpoint import belongs_to, load_state, state_path

        now = {path.name for path in folder.glob(".*.tmp")}
        if said(self.safe) and self._unfinished & now:
            yield f"not swept: {sorted(self._unfinished & now)}"
        self._unfinished = now
        announced = max(map(int, said(self.safe)), default=0)
        if announced and announced < self._steps[1]:
            yield f"--resume went on from {announced}, before {self._steps[1]}"
        path = folder / "m.safetensors"
        try:
            record = load_network(path).record if path.exists() else None
            state = load_state(state_path(path)) if state_path(path).exists() else None
        except NapariUNetError as error:
            yield str(error)
            return
        previous = max(announced, self._steps[1])
        self._steps = (record.steps if record else 0, state.step if state else 0)
        if min(self._steps) < previous:
            yield f"model and state of steps {self._steps}, but {previous} was safe"
        if record and state and not belongs_to(state, record):
            yield f"--resume would refuse: {self._steps}"

    def torn(self, folder: Path) -> bool:
        """Return whether a file was half written, or the model is newer than the state."""
        return bool(self._unfinished) or self._steps[0] != self._steps[1]


class Prediction(Scene):
    """The command line predicts three frames into an OME-Zarr, again and again."""

    name, safe, seconds, late = "prediction", "note_tile", 6.0, 8.0
    moments: tuple[str, ...] = (
        *("by the clock", "at begin_frame", "at write_tile", "at note_tile", "done note_tile"),
        *("at write_block", "at number_block", "at note_frame", "at add_pyramid", "at finish"),
        *("at replace", "at finish", "at add_pyramid"),
    )
    most = MappingProxyType(
        {
            **{"at begin_frame": 3, "at note_frame": 3, "at add_pyramid": 1, "at finish": 1},
            "at replace": 2,
        }
    )

    def __init__(self) -> None:
        self._done: set[str] = set()

    def prepare(self, folder: Path) -> None:
        """Write a model and an image, and predict it once undisturbed."""
        write_model(folder / "m.safetensors")
        pixels = np.random.default_rng(0).random((3, 150, 180), np.float32)
        image = zarr.create_array(
            folder / "image.zarr", shape=pixels.shape, chunks=(1, 64, 64), dtype=pixels.dtype
        )
        image[:] = pixels
        command = [sys.executable, str(_VICTIMS), Prediction.name, str(folder)]
        subprocess.run(command, check=True, capture_output=True)
        (folder / "out").rename(folder / "expected")

    def problems(self, folder: Path, said: Said, ended: int | None) -> Iterator[str]:
        """Look for all tiles said to be safe, and compare a result that is whole."""
        told = said(self.safe)
        (result,) = [folder / "out" / path.name for path in _results(folder / "expected")]
        again = self._done & set(told)
        if again:
            yield f"{len(again)} tiles were predicted again"
        journal = folder / "out" / f"{result.name}.partial" / ".scratch" / "journal.txt"
        noted = journal.read_text().splitlines() if journal.exists() else []
        self._done = {line.removeprefix("tile ") for line in noted if line.startswith("tile ")}
        whole = ended == 0 or not journal.exists()
        if not whole and not set(told) <= self._done:
            yield f"lost: {sorted(set(told) - self._done)[:3]}"
        if told and not journal.exists() and not result.exists():
            yield "neither the result nor what is done of it is there"
        if result.exists():
            yield from self._differences(result, folder / "expected" / result.name)
        if ended == 0 and (left := [p.name for p in _results(folder / "out") if p != result]):
            yield f"left beside the result: {left}"

    def _differences(self, result: Path, expected: Path) -> Iterator[str]:
        levels = sorted(path.name for path in expected.iterdir() if path.is_dir())
        for level in levels:
            found, right = (np.asarray(zarr.open_array(p / level)) for p in (result, expected))
            if not np.array_equal(found, right):
                yield f"level {level} differs from the undisturbed result"
        if unfinished := [path.name for path in result.rglob("*.partial")]:
            yield f"half chunks in the result: {unfinished}"

    def end(self, folder: Path) -> Iterator[str]:
        """Let a last process finish, and compare its result with the undisturbed one."""
        command = [sys.executable, str(_VICTIMS), self.name, str(folder)]
        last = subprocess.run(command, check=False, capture_output=True, text=True)
        lines = [line.removeprefix("done note_tile ") for line in last.stdout.splitlines()]
        yield from self.problems(folder, lambda _: [x for x in lines if x[:1].isdigit()], 0)
        if last.returncode:
            yield f"the last process ended with {last.returncode}: {last.stderr}"

    def torn(self, folder: Path) -> bool:
        """Return whether a chunk, a block or the last rename was under way."""
        out = folder / "out"
        return any(
            next(iter(out.rglob(pattern)), None) is not None
            for pattern in ("*.partial/**/*.partial", ".*.partial", "*.tmp", "*.unfinished")
        )


class Cluster(Prediction):
    """The same by two workers of a cluster, which may outlive who has started them for a moment."""

    name, seconds, late = "cluster", 20.0, 4.0
    moments = (
        *("by the clock", "at begin_frame", "at note_tile", "done note_tile", "at note_frame"),
        *("at add_pyramid", "at finish", "at replace"),
    )


class Annotations(Scene):
    """A loop saves annotations for recovery, as a session does but without a pause."""

    name, safe, seconds, late = "annotations", "save", 2.5, 4.0
    moments: tuple[str, ...] = (
        *("by the clock", "at new_recovery_folder", "at write_labels", "at write_stored"),
        *("at replace", "at sweep", "done save"),
    )
    most = MappingProxyType({"at new_recovery_folder": 1})

    def __init__(self) -> None:
        self._expected_offer = ""

    def problems(self, folder: Path, said: Said, ended: int | None) -> Iterator[str]:
        """Look for the annotation last said to be safe, and for the offer of the one before."""
        offered = said("offered")
        if offered and offered[0] != self._expected_offer:
            yield f"offered {offered[0]!r} instead of {self._expected_offer!r}"
        newest = max(self._folders(folder), key=lambda path: path.name, default=None)
        announced = max(map(int, said(self.safe)), default=0)
        if newest is None or not is_project(newest):
            if announced:
                yield f"no project, but {announced} strokes were safe"
            return
        self._expected_offer = newest.name
        yield from lost_strokes(newest, announced if said(self.safe) else 0)

    def torn(self, folder: Path) -> bool:
        """Return whether files lie there that the project does not name."""
        hidden = [p for p in self._root(folder).glob(".*") if p.is_dir()]
        newest = max(self._folders(folder), key=lambda path: path.name, default=None)
        if newest is None:
            return bool(hidden)
        text = (newest / "project.json").read_text() if is_project(newest) else ""
        arrays = [path.name for path in newest.glob("*.tif")]
        return bool(hidden or list(newest.glob(".*"))) or any(name not in text for name in arrays)

    def _root(self, folder: Path) -> Path:
        return folder / "recovery"

    def _folders(self, folder: Path) -> list[Path]:
        root = self._root(folder)
        found = root.iterdir() if root.is_dir() else iter(())
        return [path for path in found if path.name[0] != "."]


class Window(Annotations):
    """A real napari in which somebody paints; it saves by itself."""

    name, seconds, late = "window", 12.0, 3.0
    moments = ("by the clock", "at save_project", "done save")

    def problems(self, folder: Path, said: Said, ended: int | None) -> Iterator[str]:
        """Look for the strokes, and restore them in a new window."""
        announced = max(map(int, said(self.safe)), default=0)
        projects = [path for path in self._folders(folder) if is_project(path)]
        if not projects:
            if announced:
                yield f"no project, but {announced} strokes were safe"
            return
        newest = max(projects, key=lambda path: path.name)
        yield from lost_strokes(newest, announced)
        saved = load_project(newest).images[0].labels
        command = [sys.executable, str(_VICTIMS), "restore", str(folder)]
        told = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        if "Annotations of cells were saved" not in told:
            yield f"not offered: {told}"
        elif not np.array_equal(np.load(folder / "restored.npy"), np.asarray(saved)):
            yield "what was restored is something else"


class Saves(Scene):
    """Models are saved into a library, and results over previous ones."""

    name, safe, seconds, late = "saves", "model", 6.0, 4.0
    moments = ("by the clock", "at replace", "done model")

    def prepare(self, folder: Path) -> None:
        """Write a model."""
        write_model(folder / "m.safetensors")

    def problems(self, folder: Path, said: Said, ended: int | None) -> Iterator[str]:
        """Look for each model and the last result, and see that all that is there is whole."""
        from napari_unet.model.trained import load_network

        models = {path.name for path in folder.glob("models/*.safetensors") if path.name[0] != "."}
        if lost := set(said(self.safe)) - models:
            yield f"models are gone: {sorted(lost)}"
        for name in sorted(models):
            try:
                load_network(folder / "models" / name)
            except NapariUNetError as error:
                yield str(error)
        announced, result = max(map(int, said("result")), default=0), folder / "a.tif"
        if not result.exists():
            if announced:
                yield "the result is gone"
            return
        try:
            labels = tifffile.imread(result)
        except Exception as error:  # readers of torn files raise whatever they come upon
            yield f"the result is torn: {error}"
            return
        number = int(labels.max(initial=0))
        if number < announced or not np.array_equal(labels, strokes(number)):
            yield f"the result is that of {number}, {announced} was safe"

    def torn(self, folder: Path) -> bool:
        """Return whether an unfinished file was left."""
        return next(folder.rglob(".*.tmp"), None) is not None


def lost_strokes(project: Path, announced: int) -> Iterator[str]:
    """Compare the annotations of a project with what was painted."""
    try:
        images = load_project(project).images
    except NapariUNetError as error:
        yield str(error)
        return
    for image in images:
        labels = np.asarray(image.labels)
        number = int(labels.max())
        if number < announced:
            yield f"{number} strokes are there, {announced} were safe"
        if not np.array_equal(labels, strokes(number)):
            yield f"the annotation of {image.name} is not that of {number} strokes"


SCENES: dict[str, type[Scene]] = {
    scene.name: scene for scene in (Training, Prediction, Cluster, Annotations, Saves, Window)
}


def write_model(path: Path) -> None:
    """Write a small model of random weights."""
    import torch

    from napari_unet.model.config import UNetConfig
    from napari_unet.model.record import ModelRecord
    from napari_unet.model.trained import TrainedNetwork, save_network
    from napari_unet.model.unet import UNet
    from napari_unet.tasks import ClassTable

    torch.manual_seed(0)
    config = UNetConfig(base_channels=2, depth=2, padding="same", out_channels=2)
    record = ModelRecord(config, ClassTable("objects", "unlabelled"))
    save_network(TrainedNetwork(UNet(config).eval(), record), path)


def _results(folder: Path) -> list[Path]:
    """Return what lies in a folder besides run cards."""
    return [path for path in folder.iterdir() if not is_run_card(path)]
