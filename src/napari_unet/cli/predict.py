"""``napari-unet predict``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from napari_unet.cli.progress import stop_on_interrupt
from napari_unet.data.files import find_images
from napari_unet.errors import ModelFileError
from napari_unet.model.cards import STARTING_MODELS
from napari_unet.model.starting import load_starting_model
from napari_unet.model.trained import load_network
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.events import PredictionStarted, TilePredicted
from napari_unet.prediction.files import FileFailed, FilePredicted, FileStarted, predict_files

if TYPE_CHECKING:
    import argparse

    from napari_unet.model.trained import TrainedNetwork


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Predict each file; one that fails is reported and does not stop the others."""
    config = PredictConfig(
        options.result,
        options.axes,
        options.tile_size,
        options.device,
        options.threshold,
        options.views,
    )
    trained = _load(options.model)
    paths = find_images(options.paths)
    written: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    with stop_on_interrupt() as stop, _Bar(quiet=options.json) as bar:
        folder = Path(options.output).expanduser()
        for event in predict_files(trained, paths, folder, config, stop):
            bar.show(event)
            if isinstance(event, FilePredicted):
                written.append(_row(event))
            elif isinstance(event, FileFailed):
                failed.append({"input": str(event.path), "error": event.text})
                print(f"napari-unet: {event.path.name}: {event.text}", file=sys.stderr)
    if not options.json:
        print(f"{len(written)} of {len(paths)} predicted, written to {options.output}.")
    all_done = len(written) == len(paths)
    return {"predictions": written, "failed": failed}, 0 if all_done else 1


def _load(model: str) -> TrainedNetwork:
    """Load a model file, or the starting model of that name where there is no such file."""
    path = Path(model)
    if model in STARTING_MODELS and not path.is_file():
        return load_starting_model(model)
    if not path.exists() and len(path.parts) == 1 and not path.suffix:
        names = ", ".join(STARTING_MODELS)
        raise ModelFileError(
            f"There is no model file {model}, and the starting models are {names}."
        )
    return load_network(path)


class _Bar(contextlib.AbstractContextManager["_Bar"]):
    """A progress bar per file, on stderr; the first appears with the first file."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: tqdm[Any] | None = None

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, event: object) -> None:
        if isinstance(event, FileStarted):
            self.__exit__()
            self._bar = tqdm(desc=event.path.name, unit="tile", disable=self._quiet)
        elif isinstance(event, PredictionStarted) and self._bar is not None:
            self._bar.reset(event.tiles)
        elif isinstance(event, TilePredicted) and self._bar is not None:
            self._bar.update()


def _row(done: FilePredicted) -> dict[str, Any]:
    row: dict[str, Any] = {
        "input": str(done.path),
        "output": str(done.target),
        "axes": done.axes,
    }
    if done.objects is not None:
        row["objects"] = done.objects
    return row
