"""Save the model in use to a file, with its run card where it was trained here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_unet.errors import FileProblemError, NapariUNetError
from napari_unet.widgets.controls import MODEL_FILES

if TYPE_CHECKING:
    from napari_unet.widgets.session import Session


def ask_to_save(parent: QWidget, session: Session) -> None:
    """Ask for a file name and save the model there."""
    suggested = f"{session.model_name or 'model'}.safetensors"
    name, _ = QFileDialog.getSaveFileName(parent, "Save model", suggested, MODEL_FILES)
    if name:
        save_model(session, Path(name))


def save_model(session: Session, path: Path) -> None:
    """Save the session's model; say what came of it."""
    if session.model is None:
        show_warning("There is no model yet: train one first.")
        return
    from napari_unet.model.trained import save_network

    if path.suffix != ".safetensors":
        path = path.with_name(path.name + ".safetensors")
    try:
        save_network(session.model, path)
    except NapariUNetError as error:
        show_error(str(error))
        return
    try:
        _write_card(session, path)
    except FileProblemError as error:
        show_warning(f"Saved {path}, but not its run card: {error}")
    else:
        show_info(f"Saved {path}.")


def _write_card(session: Session, path: Path) -> None:
    """Write the card of a model that the last training here left; of others nothing is known."""
    from napari_unet.runs.card_file import card_beside_model, write_card
    from napari_unet.runs.training import card_of_training

    card, result, origin = card_beside_model(path), session.trained, session.origin
    is_best = result is not None and session.model is result.trained
    is_last = result is not None and session.model is result.latest
    if result is None or origin is None or not (is_best or is_last):
        card.unlink(missing_ok=True)  # of a model that was here before
        return
    write_card(card_of_training(result, origin, path, card, "best" if is_best else "last"), card)
