"""``napari-unet predict``."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.cli.arguments import given_settings
from napari_unet.cli.common import given_pixel_size
from napari_unet.cli.printing import fail, note, say, terminal_bar
from napari_unet.cli.progress import stop_on_interrupt
from napari_unet.errors import ConfigError
from napari_unet.external.importing import is_external_model, load_any_model
from napari_unet.io.files import find_images
from napari_unet.model.starting import STARTING_MODELS
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.files import (
    FileFailed,
    FilePredicted,
    FileStarted,
    earlier_results,
    identity_of,
    predict_files,
)
from napari_unet.prediction.results import PredictionProgress, PredictionStarted
from napari_unet.provenance.prediction_card import is_as_written, writing_cards
from napari_unet.run import Notice

if TYPE_CHECKING:
    import argparse
    import threading
    from collections.abc import Generator, Iterator

    from tqdm import tqdm

    from napari_unet.io.files import ImageFile
    from napari_unet.prediction.files import FileFormat, IntoZarr
    from napari_unet.prediction.results import Prediction, PredictionEvent


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Predict each file; one that fails is reported and does not stop the others."""
    options.pixel_size = given_pixel_size(options.pixel_size)
    config = PredictConfig(**given_settings(PredictConfig, options))
    _check_cluster(options)
    trained = load_any_model(options.model)
    if trained.record.origin and not options.json:  # how a model of another program is understood
        note(trained.record.origin)
    paths = find_images(options.paths)
    folder = Path(options.output).expanduser()
    written: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    with (
        stop_on_interrupt() as stop,
        PredictionBar(quiet=options.json) as bar,
        _cluster(options) as into_zarr,
    ):
        file_format: FileFormat = "zarr" if into_zarr else options.format
        may_replace = None if options.overwrite else is_as_written
        events = predict_files(
            trained, paths, folder, config, stop, file_format, into_zarr, may_replace
        )
        name, file = _used(options.model)
        for event in writing_cards(events, trained, name, file, config.device):
            if isinstance(event, FileStarted) and event.number == 1:
                _tell_of_replaced(earlier_results(paths, folder, file_format))
            bar.show(event)
            if isinstance(event, FilePredicted):
                written.append(_row(event))
            elif isinstance(event, FileFailed):
                failed.append({"input": str(event.path), "error": event.text})
                fail(f"{event.path.name}: {event.text}")
        stopped = stop.is_set()
    if not options.json:
        say(_summary(written, len(paths), options.output))
        if stopped:
            say("Stopped. Results that go into OME-Zarr go on where they were when asked again.")
    all_done = len(written) == len(paths) and not failed
    return {"predictions": written, "failed": failed}, 0 if all_done else 1


def _check_cluster(options: argparse.Namespace) -> None:
    """Refuse what workers cannot open: they load model files alone."""
    asked = options.scheduler is not None or options.workers is not None
    if asked and is_external_model(Path(options.model).expanduser()):
        raise ConfigError(
            f"Workers cannot open {options.model}, a model of another program. Make a model file "
            f"of it first: napari-unet import-model {options.model} --output MODEL"
        )


def _tell_of_replaced(earlier: list[Path]) -> None:
    """Say before the first image which results are lost, while Ctrl+C keeps them."""
    if earlier:
        more = f" and {len(earlier) - 1} more" if len(earlier) > 1 else ""
        note(f"{earlier[0]}{more} will be replaced; another --output keeps what is there.")


def _used(model: str) -> tuple[str, Path | None]:
    """Return name and file of the model that is meant: see `load_model_or_starting_model`."""
    path = Path(model)
    if model in STARTING_MODELS and not path.is_file():
        return model, None
    return path.stem, path


@contextlib.contextmanager
def _cluster(options: argparse.Namespace) -> Iterator[IntoZarr | None]:
    """Connect to a cluster, or start one on this machine, where that is asked for."""
    if options.scheduler is None and options.workers is None:
        yield None
        return
    from napari_unet.prediction.cluster import connected

    with connected(options.scheduler, options.workers) as client:
        yield partial(_on_cluster, client, options.model)


def _on_cluster(
    client: Any,
    model: str,
    image: ImageFile,
    config: PredictConfig,
    target: Path,
    stop: threading.Event,
) -> Generator[PredictionEvent, None, Prediction]:
    from napari_unet.prediction.cluster import predict_on_cluster

    source = identity_of(image.path)
    return (
        yield from predict_on_cluster(
            client, model, image.path.resolve(), config, target.resolve(), stop, source
        )
    )


class PredictionBar(contextlib.AbstractContextManager["PredictionBar"]):
    """A progress bar per file, on stderr, from the first file on; only notices where `quiet`."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: tqdm[Any] | None = None
        self._progress = PredictionProgress()
        self._told = ""

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, event: object) -> None:
        """Show one event."""
        if isinstance(event, FileStarted):
            self.__exit__()
            self._progress, self._told = PredictionProgress(), ""
            self._bar = terminal_bar(event.path.name, unit="tile", disable=self._quiet)
        if self._bar is None:
            return
        if isinstance(event, Notice):
            note(event.text)
        self._progress = self._progress.after(event)
        if isinstance(event, PredictionStarted):
            self._bar.reset(self._progress.tiles)
        told = self._progress.objects
        changed = told != self._told
        self._told = told
        self._bar.set_postfix_str(told, refresh=False)
        self._bar.update(self._progress.tile - self._bar.n)
        if changed:  # the bar redraws itself with tiles alone
            self._bar.refresh()


def _summary(written: list[dict[str, Any]], n_files: int, output: str) -> str:
    """Say what came of a prediction; a count of objects that is absurd is seen at once."""
    if not written:
        return f"0 of {n_files} predicted."
    counts = [row["objects"] for row in written if "objects" in row]
    found = f" Objects found: {sum(counts)}." if counts else ""
    return f"{len(written)} of {n_files} predicted, written to {output}.{found}"


def _row(done: FilePredicted) -> dict[str, Any]:
    row = {"input": str(done.path), "output": str(done.target), "axes": done.axes}
    return row if done.objects is None else row | {"objects": done.objects}
