"""The bundled starting models: what each is for, to predict with at once, to begin trainings with.

Torch is imported where weights are needed: windows and the command line list the models without.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.errors import ModelFileError

if TYPE_CHECKING:
    from torch import Tensor

    from napari_unet.model.config import UNetConfig
    from napari_unet.model.record import ModelRecord
    from napari_unet.model.trained import TrainedNetwork

_WEIGHTS = Path(__file__).parent / "weights"
_FIRST = "contracting.0.0.weight"
_HEAD = ("output.weight", "output.bias")
_FUSION = "expanding.0.0.weight"


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


# Trainings in 3D begin with a file of `cells`, as they do with those of other shapes; to predict
# with, it has a card of its own, which is offered where the file is there.
_VOLUMES = StartingCard(
    "cells_3d",
    "General cells, 3D",
    "stacks of nuclei or of membranes; cells 8 to 30 pixels wide, slices up to 6 pixels thick.",
    "volumes that scripts/synthetic_volumes.py draws, and no real image.",
    "See docs/models.md.",
    "BSD-3-Clause, as this program; its volumes are drawn.",
    "python scripts/pretrain.py 3d --rounds 4 --minutes 30 --threads 2",
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
        *([_VOLUMES] if _VOLUMES.path.is_file() else []),
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


# --- Their networks ------------------------------------------------------------------------------


def load_starting_model(name: str) -> TrainedNetwork:
    """Load a starting model.

    Raises ModelFileError if there is none of that name, or its file is missing or damaged.
    """
    from napari_unet.model.trained import load_network

    return load_network(starting_card(name).path)


def load_model_or_starting_model(name: str) -> TrainedNetwork:
    """Load a model file, or the starting model of that name where there is no such file.

    Raises ModelFileError if there is neither, or the file is damaged.
    """
    from napari_unet.model.trained import load_network

    path = Path(name)
    if name in STARTING_MODELS and not path.is_file():
        return load_starting_model(name)
    # os.path: takes names that are too long for a file as well
    if not os.path.exists(path) and len(path.parts) == 1 and not path.suffix:
        names = ", ".join(STARTING_MODELS)
        raise ModelFileError(f"There is no model file {name}; bundled starting models: {names}.")
    return load_network(path)


def starting_name(record: ModelRecord) -> str:
    """Return the name of the starting model that a record is of; "" of other models."""
    found = (name for name, card in STARTING_MODELS.items() if _record_in(card.path) == record)
    return next(found, "")


def is_starting_model(record: ModelRecord) -> bool:
    """Return whether a model is one of the starting models, as it came with the program."""
    return bool(starting_name(record))


@cache
def _record_in(path: Path) -> ModelRecord | None:
    """Return the record of a bundled model; None if the file is missing or damaged."""
    from napari_unet.model.trained import load_network

    try:
        return load_network(path).record
    except ModelFileError:
        return None


def expected_cell_size(record: ModelRecord) -> float:
    """Return the diameter in image pixels of the cells that a model expects; 0: unknown."""
    from napari_unet.data.binning import BEST_DIAMETER  # scipy, which a prediction may not need

    if is_starting_model(record):  # which has seen all sizes, and knows this one best
        return BEST_DIAMETER * record.binning
    return record.cell_size


def with_channels(weights: dict[str, Tensor], channels: int) -> dict[str, Tensor]:
    """Let the weights of a network of one channel see the mean of several."""
    first = weights[_FIRST]
    if first.shape[1] != 1:
        return weights
    spread = first.expand(-1, channels, *first.shape[2:]) / channels
    return {**weights, _FIRST: spread}


def flat_levels_to_begin_with(config: UNetConfig, name: str) -> int | None:
    """Return the flat levels with which a network can begin with a starting model; None: it cannot.

    A starting model in 3D has learned from slices of every thickness, so that its own suit.
    """
    for known in _networks_of(name) if name in STARTING_MODELS else ():
        if known.ndim == 3 and _is_shaped_like(config, known, (*_OF_ANY, "flat_levels")):
            return known.flat_levels
    return None


# What weights of a starting model are brought to, whatever it is.
_OF_ANY = ("in_channels", "out_channels", "window", "dropout", "output")


def _networks_of(*names: str) -> list[UNetConfig]:
    files = dict.fromkeys(path for name in names for path in STARTING_MODELS[name].weight_files)
    return [record.network for record in filter(None, map(_record_in, files))]


def _is_shaped_like(config: UNetConfig, known: UNetConfig, but_for: tuple[str, ...]) -> bool:
    return replace(config, **{name: getattr(known, name) for name in but_for}) == known


def starting_weights(
    name: str, config: UNetConfig, fresh: dict[str, Tensor]
) -> dict[str, Tensor] | None:
    """Return weights of a starting model for a network of the same shape; None for another one.

    A starting model comes in one or several shapes, one file each. `fresh` are random weights:
    outputs that mean other than background and cell keep them. Images of several channels begin
    with the mean of their channels; a network that sees several timepoints with what it sees of the
    middle one, so that it predicts at first what the starting model does.

    Raises ModelFileError if there is no such model, or its file is missing or damaged.
    """
    for path in starting_card(name).weight_files:
        if (weights := _fitted(_weights_in(path), config, fresh)) is not None:
            return weights
    return None


def _fitted(
    found: dict[str, Tensor], config: UNetConfig, fresh: dict[str, Tensor]
) -> dict[str, Tensor] | None:
    """Give weights of one channel to a network; None where it has another shape."""
    if set(found) != set(fresh):
        return None
    found = with_channels(found, config.in_channels)
    weights = {}
    for name, random in fresh.items():
        known = found[name]
        if name == _FUSION and config.window > 1:
            known = _fusing(known, config.window)
        other = config.output != "softmax" or known.shape != random.shape
        if name in _HEAD and other:
            known = random
        if known.shape != random.shape:
            return None
        weights[name] = known.to(random.dtype).to(random.device)
    return weights


@cache
def _weights_in(path: Path) -> dict[str, Tensor]:
    from napari_unet.model.trained import load_network

    return dict(load_network(path).network.state_dict())


def _fusing(kernel: Tensor, window: int) -> Tensor:
    """Let a convolution of one timepoint ignore the features of the others.

    It meets the skip connection of the middle timepoint, then the features of each timepoint.
    """
    import torch

    skip, features = kernel.chunk(2, dim=1)
    others = torch.zeros_like(features).repeat(1, window // 2, *(1,) * (kernel.ndim - 2))
    return torch.cat([skip, others, features, others], dim=1)
