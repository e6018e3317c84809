"""Reading and writing models and projects in worker threads: torch is imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.errors import ModelFileError
from napari_unet.io.disk import unfinished_path
from napari_unet.run import Notice

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.project.contents import Project
    from napari_unet.project.library import ModelLibrary
    from napari_unet.training.state import TrainingState

    Loaded = tuple[TrainedNetwork, str, TrainingState | None]


def loading_events(path: Path, name: str, stop: threading.Event) -> Generator[object, None, Loaded]:
    """Load a model file, with its name and the state of its training where it lies beside it.

    A damaged state is a `Notice`: the model is not lost with it.
    """
    from napari_unet.model.trained import load_network
    from napari_unet.training.checkpoint import belongs_to, load_state, state_path

    model = load_network(path)
    if not state_path(path).exists():
        return model, name, None
    try:
        state = load_state(state_path(path))
    except ModelFileError as error:
        yield Notice(f"{name} is loaded, but its training cannot be continued: {error}")
        return model, name, None
    return model, name, state if belongs_to(state, model.record) else None


def store_model(
    library: ModelLibrary,
    model: TrainedNetwork,
    name: str,
    picture: NDArray[np.uint8] | None,
    stop: threading.Event,
) -> Path:
    """Save a model to the library under a name that is free, with its thumbnail."""
    from napari_unet.model.trained import save_network

    hidden = unfinished_path(library.path_for(name))  # swept later if this is killed
    try:
        save_network(model, hidden)
        path = library.take_in(hidden, name)
    finally:
        hidden.unlink(missing_ok=True)
    if picture is not None:
        library.save_thumbnail(path, picture)
    return path


def save_project_with_model(
    project: Project,
    folder: Path,
    model: TrainedNetwork | None,
    state: TrainingState | None,
    stop: threading.Event,
) -> Path:
    """Save a project with its model, and the state of its training."""
    from napari_unet.model.trained import save_network
    from napari_unet.project.contents import MODEL_FILE
    from napari_unet.project.folder import save_project
    from napari_unet.training.checkpoint import save_state, state_path

    save_project(project, folder)
    if model is not None:
        save_network(model, folder / MODEL_FILE)
    if state is None:
        state_path(folder / MODEL_FILE).unlink(missing_ok=True)  # of the previous model
    else:
        save_state(state, state_path(folder / MODEL_FILE))
    return folder
