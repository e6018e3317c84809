"""Choosing a starting model: to predict with, or to begin a training with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.notifications import show_error
from qtpy.QtWidgets import QComboBox, QSizePolicy

from napari_unet.errors import ModelFileError
from napari_unet.model.starting import STARTING_MODELS, starting_card
from napari_unet.widgets.common.controls import choice

if TYPE_CHECKING:
    from napari_unet.widgets.common.session import Session

_TITLES = [(card.title, card.name) for card in STARTING_MODELS.values()]
_SUITS = " ".join(f"{card.title}: for {card.suits}" for card in STARTING_MODELS.values())

_WHOLE = QComboBox.SizeAdjustPolicy.AdjustToContents  # its texts are short, and are not cut off


def start_box() -> QComboBox:
    """Return the choice of what a training begins with."""
    box = choice(
        [*_TITLES, ("Random weights", "random")],
        f"What a new training begins with. {_SUITS} Random weights: for images unlike all of "
        "these, and for other networks than the presets fast and accurate in 2D.",
    )
    box.setSizeAdjustPolicy(_WHOLE)
    return box


def starting_model_box(session: Session) -> QComboBox:
    """Return a choice that loads a starting model into the session."""
    box = choice(
        [("Starting model…", None), *_TITLES], f"Predict at once, with nothing painted. {_SUITS}"
    )
    box.setAccessibleName("Starting model")
    box.setSizeAdjustPolicy(_WHOLE)
    box.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)

    def load() -> None:
        name = box.currentData()
        box.setCurrentIndex(0)  # what is in use is said beside it
        if name is not None:
            _load(session, name)

    box.activated.connect(lambda _: load())
    return box


def _load(session: Session, name: str) -> None:
    try:
        card = starting_card(name)
    except ModelFileError as error:
        show_error(str(error))
        return
    session.begin_loading(card.path, card.title)
