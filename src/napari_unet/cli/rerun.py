"""``napari-unet rerun``."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.cli.predict import PredictionBar
from napari_unet.cli.printing import say
from napari_unet.cli.progress import run_training, stop_on_interrupt
from napari_unet.io.outputs import make_output_folder
from napari_unet.provenance.card import TrainingCard, read_card
from napari_unet.provenance.prediction_card import predict_again
from napari_unet.provenance.training_card import train_again
from napari_unet.run import Run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from napari_unet.provenance.card import RunCard
    from napari_unet.provenance.rerun import RerunReport


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Do it again and compare; return the report and the exit code."""
    path = Path(options.card).expanduser()
    card = read_card(path)
    with _folder(options.output) as folder:
        found = _again(card, path, folder, quiet=options.json)
    if not options.json:
        say(found)
        if options.output:
            say(f"The new result: {found.output}")
    report = {
        "card": str(path),
        "run": card.what,
        "identical": found.identical,
        "difference": found.difference,
        "causes": list(found.causes),
        "compared": found.compared or "all",
        "output": str(found.output) if options.output else None,
    }
    return report, 0 if found.identical else 1


@contextlib.contextmanager
def _folder(output: str | None) -> Iterator[Path]:
    """Give the folder for the new result, a temporary one without --output."""
    if output is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    folder = Path(output).expanduser()
    make_output_folder(folder)
    yield folder


def _again(card: RunCard, path: Path, folder: Path, *, quiet: bool) -> RerunReport:
    with stop_on_interrupt("Stopping after this step.") as stop:
        if isinstance(card, TrainingCard):
            return run_training(train_again(card, path, folder, stop), quiet)
        with PredictionBar(quiet=quiet) as bar:
            return Run(predict_again(card, path, folder, stop)).finish(bar.show)
