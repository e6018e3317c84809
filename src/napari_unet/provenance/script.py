"""Runs as text: the command line and the Python lines that do the same.

Only settings that differ from the preset's, or from what the model decides, are named.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.io.files import stem_of
from napari_unet.prediction.config import PredictConfig
from napari_unet.settings import as_text, changed_settings, declared
from napari_unet.tasks import task_of
from napari_unet.training.config import PRESET_HELP, PresetName, TrainConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_unet.data.axes import PixelSize

_PROGRAM = "napari-unet"
_ON_WINDOWS = os.name == "nt"
_INDENT = "    "


@dataclass(frozen=True)
class TrainingScript:
    """A training, as files and settings."""

    images: tuple[str, ...]
    labels: tuple[str, ...]
    """Files, one of each per image, in the order of the training; no labels where the images teach
    themselves."""
    output: str
    """The model file to write."""
    config: TrainConfig
    preset: PresetName = "fast"
    """Settings that differ from it are written."""
    axes: tuple[str | None, ...] = ()
    """Of each image; None where they are guessed."""
    pixel_sizes: tuple[PixelSize, ...] = ()
    """Of each image, in micrometres; empty where it is not known."""
    named: bool = True
    """Whether the files name their axes and pixel sizes; else the command line does."""
    notes: tuple[str, ...] = ()
    """What the script does not express."""

    def arguments(self) -> list[str]:
        """Return the command line as a list, the program first."""
        found = [_PROGRAM, "train", "--images", *self.images]
        if self.labels:
            flag = "--labels" if task_of(self.config.kind).paints else "--targets"
            found += [flag, *self.labels]
        found += ["--output", self.output]
        if self.preset != "fast":
            found += ["--preset", self.preset]
        for name, value in _changed(self.config, self.preset).items():
            found += _flag(TrainConfig, name, value)
        if not self.named:
            axes, size = _same(self.axes), _same(self.pixel_sizes)
            found += ["--axes", axes] if axes else []
            found += _pixel_size_flag(size or {})
        return found

    def command(self) -> str:
        """Return the command line as text; notes stand above it as comments."""
        return _with_notes(self.arguments(), self.notes)

    def python(self) -> str:
        """Return Python lines that do the same."""
        changed = _changed(self.config, self.preset)
        settings = [repr(self.preset), *_keywords(changed)]
        lines = [*_comments(self.notes, "# "), "import napari_unet as nu", ""]
        lines += _listed("images", "nu.read_image({}).array", self.images)
        read = (
            "nu.read_labels({})" if task_of(self.config.kind).paints else "nu.read_image({}).array"
        )
        lines += _listed("labels", read, self.labels) if self.labels else []
        lines += _call("config = nu.TrainConfig.preset", settings)
        given = ["images", "labels" if self.labels else "None", "config"]
        if any(self.axes):
            given.append(f"axes={_one_or_all(self.axes)}")
        if any(self.pixel_sizes):
            sizes = tuple(dict(size) for size in self.pixel_sizes)
            given.append(f"pixel_size={_one_or_all(sizes)}")
        lines += _call("model = nu.train", given)
        lines.append(f"model.save({self.output!r})")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class PredictionScript:
    """A prediction, as files and settings."""

    model: str
    """The model file, or the name of a starting model."""
    image: str
    output: str
    """Folder for the result."""
    config: PredictConfig
    result_axes: str
    starting: bool = False
    """Whether `model` names a starting model."""
    file_axes: str | None = None
    file_pixel_size: PixelSize = field(default_factory=dict)
    """What the file says of both itself: the command line need not repeat it."""
    file_format: str = "auto"
    """One of auto, tiff, zarr."""
    notes: tuple[str, ...] = ()
    """What the script does not express."""

    def arguments(self) -> list[str]:
        """Return the command line as a list, the program first."""
        changed, of_file = changed_settings(self.config), dict(self.file_pixel_size)
        if self.config.axes == self.file_axes:
            changed.pop("axes", None)
        if of_file and "pixel_size" not in changed:
            changed["rescale"] = False
        if self.config.pixel_size == of_file:
            changed.pop("pixel_size", None)
        found = [_PROGRAM, "predict", self.model, self.image, "--output", self.output]
        for name, value in changed.items():
            found += _flag(PredictConfig, name, value)
        if self.file_format != "auto":
            found += ["--format", self.file_format]
        return found

    def command(self) -> str:
        """Return the command line as text, for whole images; notes stand above it as comments."""
        notes = self.notes
        if self.config.region is not None or self.config.frames is not None:
            notes += ("The command line predicts the whole image; the Python lines the part.",)
        return _with_notes(self.arguments(), notes)

    def python(self) -> str:
        """Return Python lines that predict into an array and write it as a TIFF."""
        load = "nu.starting_model" if self.starting else "nu.load_model"
        size = dict(self.config.pixel_size)
        changed = changed_settings(self.config) | ({"pixel_size": size} if size else {})
        target = f"folder / {stem_of(Path(self.image)) + '.tif'!r}"
        written = [target, "result", repr(self.result_axes), *([repr(size)] if size else [])]
        lines = [
            *_comments(self.notes, "# "),
            "from pathlib import Path",
            "",
            "import napari_unet as nu",
            "",
            f"model = {load}({self.model!r})",
            f"image = nu.read_image({self.image!r})",
            *_call("result = model.predict", ["image.array", *_keywords(changed)]),
            f"folder = Path({self.output!r})",
            "folder.mkdir(parents=True, exist_ok=True)",
            *_call("nu.write_image", written),
        ]
        return "\n".join(lines) + "\n"


def quoted(arguments: Sequence[str]) -> str:
    """Return a command line as text: for cmd on Windows, for sh elsewhere."""
    return subprocess.list2cmdline(arguments) if _ON_WINDOWS else shlex.join(arguments)


def _with_notes(arguments: Sequence[str], notes: Sequence[str]) -> str:
    mark = "rem " if _ON_WINDOWS else "# "
    return "\n".join([*_comments(notes, mark), quoted(arguments)]) + "\n"


def _comments(notes: Sequence[str], mark: str) -> list[str]:
    return [mark + " ".join(note.split()) for note in notes]  # names may hold line breaks


def _changed(config: TrainConfig, preset: PresetName) -> dict[str, Any]:
    """Return the settings that differ from a preset's; of steps and minutes what decides."""
    assert preset in PRESET_HELP
    changed = changed_settings(config, TrainConfig.preset(preset))
    if config.minutes:
        changed.pop("steps", None)
    return changed


def _flag(config: type, name: str, value: Any) -> list[str]:
    setting = declared(config)[name]
    if "command line" in setting.lacks:
        return []
    if setting.kind is dict:
        return _pixel_size_flag(value)
    if setting.kind is bool:
        return [setting.flag if value else setting.flag.replace("--", "--no-", 1)]
    return [setting.flag, as_text(value)]


def _pixel_size_flag(size: Mapping[str, float]) -> list[str]:
    letters = [letter for letter in "ZYX" if letter in size]
    return ["--pixel-size", *(repr(float(size[letter])) for letter in letters)] if letters else []


def _same(values: Sequence[Any]) -> Any:
    """Return what all values are; None where they differ."""
    return values[0] if values and all(value == values[0] for value in values) else None


def _one_or_all(values: Sequence[Any]) -> str:
    return repr(values[0] if all(value == values[0] for value in values) else list(values))


def _keywords(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value!r}" for name, value in values.items()]


def _listed(name: str, call: str, paths: Sequence[str]) -> list[str]:
    return [f"{name} = [", *(f"{_INDENT}{call.format(repr(path))}," for path in paths), "]"]


def _call(function: str, arguments: Sequence[str]) -> list[str]:
    """Write a call on one line where it is short, else an argument a line."""
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= 100:
        return [line]
    return [f"{function}(", *(f"{_INDENT}{argument}," for argument in arguments), ")"]
