"""The bundled starting models by name: what each is for, and where it comes from. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_unet.errors import ModelFileError

_WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class StartingCard:
    """What a bundled model is."""

    name: str
    """How settings, Python and the command line call it."""
    title: str
    """How the widgets call it."""
    suits: str
    """The kind of images that it is for."""
    trained_on: str
    scores: str
    """What it reaches with nothing painted."""
    licence: str
    """Of its weights and of its training images."""
    command: str
    """What trains it again, in a checkout."""

    @property
    def path(self) -> Path:
        """Where its model file is to lie."""
        return _WEIGHTS / f"{self.name}.safetensors"

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """Model files that trainings may begin with: `path`, and networks of other shapes."""
        return tuple(sorted(_WEIGHTS.glob(f"{self.name}*.safetensors")))

    def __str__(self) -> str:
        """Return the card as a few lines of text."""
        return (
            f"{self.title}: {self.suits}\nTrained on {self.trained_on}\n{self.scores}\n"
            f"{self.licence}\n"
            f"Trained again by: {self.command}"
        )


STARTING_MODELS = {
    card.name: card
    for card in (
        StartingCard(
            "cells",
            "General cells",
            "cells and nuclei of any kind, 14 to 48 pixels wide: fluorescence, stained tissue, "
            "phase contrast, DIC, membranes, electron microscopy.",
            "open images of fluorescent nuclei, stained tissue, smears, phase contrast, axons and "
            "chloroplasts, and images that scripts/synthetic_cells.py draws.",
            "Nothing painted, one cell circled, F1 at IoU 0.5 on images that it has not seen: see "
            "docs/results/starting_models.md.",
            "BSD-3-Clause, as this program; the images are CC0 or MIT (weights/NOTICES.txt).",
            "python scripts/pretrain.py fast --data FOLDER --rounds 2 --minutes 43 (and accurate)",
        ),
    )
}


def starting_card(name: str) -> StartingCard:
    """Return the card of a starting model; ModelFileError where there is none, or no file of it."""
    card = STARTING_MODELS.get(name)
    if card is None:
        raise ModelFileError(
            f"There is no starting model {name!r}; choose {', '.join(STARTING_MODELS)}."
        )
    if not card.path.is_file():
        raise ModelFileError(
            f"The starting model {name!r} is missing from this installation ({card.path.name}). "
            f"Reinstall napari-unet-paint, or in a checkout run: {card.command}"
        )
    return card
