"""What to export and what an export tells, as frozen values; no torch is imported here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from napari_unet.errors import ConfigError
from napari_unet.model.config import VIEWS

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.data.axes import ArrayLike

ExportFormat = Literal["onnx", "bioimageio", "torchscript", "torch-export"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
# What their files are called; the first is what is added where a name has none.
EXTENSIONS: dict[ExportFormat, str] = {
    "onnx": ".onnx",
    "bioimageio": ".zip",
    "torchscript": ".pt",
    "torch-export": ".pt2",
}
# What most models and images are shared under; any other SPDX identifier is taken as well.
COMMON_LICENCES = ("CC-BY-4.0", "CC0-1.0", "BSD-3-Clause", "MIT", "Apache-2.0", "CC-BY-SA-4.0")
_SHORTEST_NAME, _LONGEST_NAME = 5, 128
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_+\- ()]")
_LONGEST_DESCRIPTION = 1024


@dataclass(frozen=True)
class ModelAuthor:
    """Somebody who made a model.

    Parameters
    ----------
    name : str
        In full.
    affiliation : str
        Institute; may be empty.
    """

    name: str
    affiliation: str = ""

    @classmethod
    def parse(cls, text: str) -> ModelAuthor:
        """Read "Name, Affiliation"; all after the first comma is the affiliation.

        Raises
        ------
        ConfigError
            There is no name, or it holds a slash.
        """
        name, _, affiliation = (part.strip() for part in text.partition(","))
        if not name or "/" in name or "\\" in name:
            raise ConfigError(
                f"{text!r} is no author; write 'Name, Affiliation', the name without slashes."
            )
        return cls(name, affiliation)


@dataclass(frozen=True)
class ExportConfig:
    """Say what to export and how to describe it.

    Parameters
    ----------
    format : {"onnx", "bioimageio", "torchscript", "torch-export"}
        What to write.
    views : int or None
        1, or 8: whether the average over all quarter turns and mirror images is part of it, at 8
        times the work. None takes the model's own value.
    image : ArrayLike or None
        An image to check the export on; a synthetic texture by default.
    axes : str or None
        Axes of the image; guessed from its shape where None.
    name : str
        Of the model; made from the file's name where empty.
    description : str
        A sentence or two on what it does; made from the model's record where empty.
    authors : tuple of ModelAuthor
        Who made it. A bioimage.io package needs one.
    licence : str
        SPDX identifier, such as CC-BY-4.0. A bioimage.io package needs one.

    Raises
    ------
    ConfigError
        A value is out of its range, or a bioimage.io package lacks an author or a licence.
    """

    format: ExportFormat = "onnx"
    views: int | None = None
    image: ArrayLike | None = None
    axes: str | None = None
    name: str = ""
    description: str = ""
    authors: tuple[ModelAuthor, ...] = ()
    licence: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be exported, before anything is computed."""
        if self.format not in EXPORT_FORMATS:
            raise ConfigError(
                f"format is {self.format!r}; choose one of {', '.join(EXPORT_FORMATS)}."
            )
        if self.views is not None and self.views not in VIEWS:
            raise ConfigError(f"views is {self.views}; choose 1, 4 or 8.")
        if len(self.description) > _LONGEST_DESCRIPTION:
            raise ConfigError(
                f"The description has {len(self.description)} letters; write at most "
                f"{_LONGEST_DESCRIPTION}."
            )
        if self.format == "bioimageio":
            self._check_package()

    def _check_package(self) -> None:
        missing = [
            text
            for text, given in (
                ("an author (--author 'Name, Affiliation')", self.authors),
                ("a licence (--licence CC-BY-4.0, or another SPDX identifier)", self.licence),
            )
            if not given
        ]
        if missing:
            raise ConfigError(f"A bioimage.io package needs {' and '.join(missing)}.")
        name = self.name
        unfit = _NOT_IN_NAMES.search(name)
        if name and (unfit or not _SHORTEST_NAME <= len(name) <= _LONGEST_NAME):
            raise ConfigError(
                f"The name {name!r} cannot be used: take {_SHORTEST_NAME} to {_LONGEST_NAME} "
                "letters A-Z, digits, spaces, or any of _+-()."
            )

    def name_for(self, path: Path) -> str:
        """Return the name that was given, or one made from the file's."""
        if self.name:
            return self.name
        name = " ".join(_NOT_IN_NAMES.sub(" ", path.stem).split())[:_LONGEST_NAME]
        return name if len(name) >= _SHORTEST_NAME else f"{name} model".strip()


def with_extension(path: Path, file_format: ExportFormat) -> Path:
    """Return a path that ends as files of a format do."""
    extension = EXTENSIONS[file_format]
    return path if path.name.endswith(extension) else path.with_name(path.name + extension)


@dataclass(frozen=True)
class ExportStarted:
    """A file is being written under a temporary name.

    Parameters
    ----------
    path : Path
        Its final name.
    format : str
        One of `EXPORT_FORMATS`.
    """

    path: Path
    format: ExportFormat


@dataclass(frozen=True)
class ExportCheck:
    """How well a written file, run by another program, agrees with our own prediction.

    Parameters
    ----------
    program : str
        What ran it.
    way : str
        "whole image" or "tiles".
    pixels : int
        Pixels that were compared.
    largest_difference : float
        Of any probability.
    agreement : float
        Share of pixels with the same label.
    """

    program: str
    way: str
    pixels: int
    largest_difference: float
    agreement: float

    def __str__(self) -> str:
        """Return one line of text."""
        return (
            f"{self.program}, {self.way}: {100 * self.agreement:.2f} % of {self.pixels} labels "
            f"alike, probabilities differ by at most {self.largest_difference:.1e}"
        )


@dataclass(frozen=True)
class ExportChecked:
    """One check was passed.

    Parameters
    ----------
    check : ExportCheck
        Its figures.
    """

    check: ExportCheck


@dataclass(frozen=True)
class Exported:
    """What an export leaves.

    Parameters
    ----------
    path : Path
        The file.
    checks : tuple of ExportCheck
        All were passed.
    readme : Path or None
        The text beside it; a bioimage.io package holds its own.
    checked_on : {"the image", "a texture"}
        A texture where no image was given, or where its middle shows nothing.
    """

    path: Path
    checks: tuple[ExportCheck, ...]
    readme: Path | None = None
    checked_on: str = "the image"

    def __str__(self) -> str:
        """Return the text that is shown."""
        first = f"Exported {self.path}. Checked by running it on {self.checked_on}:"
        return "\n".join([first, *map(str, self.checks)])


ExportEvent = ExportStarted | ExportChecked
