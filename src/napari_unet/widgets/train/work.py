"""What a training does in its worker thread, and saving its model: torch is imported on use."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_unet.errors import FileProblemError, NapariUNetError
from napari_unet.run import Run
from napari_unet.widgets.common.controls import MODEL_FILES
from napari_unet.widgets.common.importing_torch import quietly

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Sequence

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.project.elsewhere import Elsewhere
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import AnnotatedImage, TrainingData
    from napari_unet.training.events import Inbox, TrainingEvent
    from napari_unet.training.held_back import Block
    from napari_unet.training.loop import TrainingResult
    from napari_unet.training.state import TrainingState
    from napari_unet.widgets.common.session import Session


# What a training uses; by the first optimiser, and by the first border weights, too.
_MODULES = (
    "torch._dynamo",
    "napari_unet.data.border_kernel",
    "napari_unet.provenance.card",
    "napari_unet.provenance.script_bundle",
    "napari_unet.training.checkpoint",
    "napari_unet.training.loop",
)


def import_for_training(stop: threading.Event) -> None:
    """Import what a training uses, while the window goes on."""
    with quietly:
        for name in _MODULES:
            import_module(name)


def training_events(
    images: Sequence[AnnotatedImage],
    config: TrainConfig,
    inbox: Inbox,
    stop: threading.Event,
    *,
    previous: TrainingState | TrainedNetwork | None = None,
    previous_data: TrainingData | None = None,
    held_back: tuple[Block, ...] = (),
    checkpoint: Path | None = None,
    files: Sequence[str | None] = (),
    on: str | None = None,
    trusted: bool = False,
    taken_up: Elsewhere | None = None,
) -> Generator[object, None, TrainingResult]:
    """Prepare and train, `on` another machine or here; the last event is a `TrainingOrigin`.

    A training on another machine is noted beside the checkpoint as long as it goes on; `taken_up`
    is the note of one that is there already. `previous_data` is what the previous training learned
    from, if that was in this session, `held_back` what one in an earlier session held back,
    `checkpoint` a model file, `files` where the layers of the images come from.
    """
    import_for_training(stop)
    from napari_unet.project.elsewhere import Elsewhere, forget_note
    from napari_unet.run import Notice
    from napari_unet.training.checkpoint import save_checkpoint, saving_checkpoints
    from napari_unet.training.loop import train_network
    from napari_unet.training.preparation import prepare_training

    data = prepare_training(images, config, previous_data or previous, held_back)
    if on is None:
        events = train_network(data, config, stop, previous, inbox=inbox)
    else:
        from napari_unet.remote.training import name_of, train_on

        run = taken_up.run if taken_up else ""
        events = train_on(on, trusted, data, config, stop, previous, inbox, images, run)
        if checkpoint is not None:
            known = tuple((each.name, tuple(each.labels.shape)) for each in images)
            run = run or name_of(data, config, previous)
            Elsewhere(on, trusted, run, known).note(checkpoint.parent)
    events = _with_origin(events, config, files or [None] * len(images), previous is not None)
    if checkpoint is None:
        return (yield from events)
    result = yield from saving_checkpoints(events, checkpoint, inbox.checkpoint_saved)
    try:
        save_checkpoint(result.trained, result.state, checkpoint)
    except FileProblemError as error:
        yield Notice(f"The state of the training was not saved: {error}")
    forget_note(checkpoint.parent)
    return result


def _with_origin(
    events: Generator[TrainingEvent, None, TrainingResult],
    config: TrainConfig,
    files: Sequence[str | None],
    continues: bool,
) -> Generator[Any, None, TrainingResult]:
    """Pass on the events of a training, and at its end what its run card needs."""
    from napari_unet.model.devices import choose_device
    from napari_unet.provenance.card import CONTINUED, JOINED, Environment, TrainingOrigin, now
    from napari_unet.provenance.script_bundle import files_of
    from napari_unet.training.events import AnnotationsJoined

    started = now()
    why_not = CONTINUED if continues else ""
    run = Run(events)
    for event in run:
        if isinstance(event, AnnotationsJoined):
            why_not = JOINED
        yield event
    yield TrainingOrigin(
        config,
        [(path, None) for path in files_of(files)],
        getattr(run.result, "environment", None) or Environment.of(choose_device(config.device)),
        started,
        now(),
        not_repeatable=why_not,
    )
    return run.result


_ALONE = " It is the network alone, without the quick guess that is shown beside it here."


def ask_to_save(parent: QWidget, session: Session) -> None:
    """Ask for a file name and save the model there."""
    suggested = f"{session.model_name or 'model'}.safetensors"
    name, _ = QFileDialog.getSaveFileName(parent, "Save model", suggested, MODEL_FILES)
    if name:
        save_model(session, Path(name))


def save_model(session: Session, path: Path) -> None:
    """Save the session's model, with its run card where it was trained here; show a message."""
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
        alone = session.beside(session.model) is not None
        show_info(f"Saved {path}.{_ALONE if alone else ''}")


def _write_card(session: Session, path: Path) -> None:
    """Write the card of a model of the last training here; remove that of any other."""
    from napari_unet.provenance.card import card_beside_model, write_card
    from napari_unet.provenance.training_card import card_of_training

    card, result, origin = card_beside_model(path), session.trained, session.origin
    is_best = result is not None and session.model is result.trained
    is_last = result is not None and session.model is result.latest
    if result is None or origin is None or not (is_best or is_last):
        card.unlink(missing_ok=True)
        return
    write_card(card_of_training(result, origin, path, card, "best" if is_best else "last"), card)
