"""What to export and what an export reports, as frozen values; no torch is imported here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from napari_unet.errors import ConfigError
from napari_unet.model.config import VIEW_WORDS, VIEWS
from napari_unet.settings import check_settings, setting

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


def read_author(text: str) -> dict[str, str]:
    """Read "Name, Affiliation", all after the first comma, into what a package says of an author.

    Raises ConfigError if there is no name, or it holds a slash.
    """
    name, _, affiliation = (part.strip() for part in text.partition(","))
    if not name or "/" in name or "\\" in name:
        raise ConfigError(
            f"{text!r} is no author; write 'Name, Affiliation', the name without slashes."
        )
    return {"name": name} | ({"affiliation": affiliation} if affiliation else {})


@dataclass(frozen=True)
class ExportConfig:
    """What to export and how to describe it; each setting documents itself.

    ConfigError if a value is out of its range, or a bioimage.io package lacks an author or a
    licence.
    """

    format: ExportFormat = setting(
        "onnx",
        "For which programs: bioimageio (a bioimage.io package: deepImageJ, ilastik and others), "
        "onnx (ONNX Runtime, your own code), torchscript and torch-export (programs made with "
        "PyTorch).",
        choices=EXPORT_FORMATS,
        words={
            "bioimageio": "bioimage.io package (deepImageJ, ilastik)",
            "onnx": "ONNX (onnxruntime, own code)",
            "torchscript": "TorchScript",
            "torch-export": "torch.export",
        },
        label="Format",
    )
    views: int | None = setting(
        None,
        "Average the predictions of the image turned (4), or turned and mirrored (8), in the file: "
        "better, at 4 or 8 times the work.",
        choices=VIEWS,
        kind=int,
        unset="as trained",
        words=VIEW_WORDS,
        label="Smoother",
    )
    image: ArrayLike | None = setting(
        None,
        "An image on which the file is run, to check that it predicts what the model does.",
        kind=str,
        unset="a drawn texture",
        unit="path",
        lacks={"window": "It checks on the selected image."},
    )
    axes: str | None = setting(
        None,
        "Axes of that image, one letter each, as in TCYX.",
        kind=str,
        unset="guessed",
        lacks={"window": "It takes those of the layer."},
    )
    name: str = setting(
        "",
        "What the model is called: 5 to 128 letters A-Z, digits, spaces or _+-() in a package.",
        unset="the file's name",
        label="Name",
    )
    description: str = setting(
        "",
        "What it finds in which images, in a sentence or two.",
        unset="made from the model",
        label="Description",
    )
    authors: tuple[dict[str, str], ...] = setting(
        (),
        "Who made it, as Name, Affiliation; there may be several, and a bioimage.io package needs "
        "one.",
        unit="'name, affiliation'",
        label="Authors",
        flag="--author",
        parse=read_author,
    )
    licence: str = setting(
        "",
        "What others may do with it, by the short name (SPDX) of a licence, such as CC-BY-4.0, "
        "CC0-1.0 or BSD-3-Clause; a bioimage.io package needs one.",
        unit="SPDX",
        label="Licence",
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be exported, before anything is computed."""
        check_settings(self)
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


def readme_beside(path: Path, file_format: ExportFormat) -> Path | None:
    """Return where the text beside a file goes; a bioimage.io package holds its own."""
    return None if file_format == "bioimageio" else path.with_name(path.name + ".md")


@dataclass(frozen=True)
class ExportCheck:
    """How well a written file, run by another program, agrees with our own prediction."""

    program: str
    """What ran it."""
    way: str
    """Either "whole image" or "tiles"."""
    pixels: int
    """How many were compared."""
    largest_difference: float
    """Of any probability."""
    agreement: float
    """Share of pixels with the same label."""

    def __str__(self) -> str:
        """Return one line of text."""
        return (
            f"{self.program}, {self.way}: {100 * self.agreement:.2f} % of {self.pixels} labels "
            f"alike, probabilities differ by at most {self.largest_difference:.1e}"
        )


@dataclass(frozen=True)
class Exported:
    """What an export leaves."""

    path: Path
    checks: tuple[ExportCheck, ...]
    """All were passed."""
    readme: Path | None = None
    """The text beside it; a bioimage.io package holds its own."""
    checked_on: str = "the image"
    """Is "a texture" where no image was given, or where its middle shows nothing."""

    def __str__(self) -> str:
        """Return the text that is shown."""
        first = f"Exported {self.path}. Checked by running it on {self.checked_on}:"
        return "\n".join([first, *map(str, self.checks)])
