"""``napari-unet demo``: what the starting model finds, and what it learns from a painted sample."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from skimage.segmentation import find_boundaries

from napari_unet import samples
from napari_unet.cli.common import check_targets
from napari_unet.cli.printing import say, tell
from napari_unet.cli.progress import run_training, stop_on_interrupt
from napari_unet.evaluation.overlap import matched_pairs, overlap_of
from napari_unet.evaluation.scores import evaluate
from napari_unet.io.disk import write_file
from napari_unet.io.files import write_image
from napari_unet.io.outputs import make_output_folder
from napari_unet.model.starting import load_starting_model
from napari_unet.model.trained import TrainedNetwork, save_network
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predictor import predict_image
from napari_unet.run import Run
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.loop import TrainingResult, train_network
from napari_unet.training.preparation import prepare_training

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray


# The preset's 600 would take minutes on two CPU cores; these take less than one. On the cells in
# phase contrast F1 at IoU 0.75 is 0.11 with nothing painted, 0.79 after one step (for the paint
# says how large cells are), 0.86 after 200.
STEPS = 200
_FILES = ("paint.tif", "starting_model.tif", "prediction.tif", "model.safetensors", "overlay.png")
_OTHER = "another --output folder"


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Predict with nothing painted, train on what is painted, show or write both results."""
    sample, truth, things = _load(options.sample)
    painted = np.unique(truth[(sample.labels > 1) & (truth > 0)])
    folder = _make_folder(options) if options.no_window or not _has_screen() else None
    changes = {"steps": STEPS if options.steps is None else options.steps}
    config = TrainConfig.preset("fast", device=options.device, **changes)
    before = _predict(load_starting_model(config.start), sample, options.device)
    began = time.monotonic()
    data = prepare_training([sample], config)
    _print_paint(sample.labels, f"{len(painted)} {things}")
    with stop_on_interrupt() as stop:
        result = run_training(train_network(data, config, stop), options.json)
    trained = time.monotonic()
    after = _predict(result.trained, sample, options.device)
    report: dict[str, Any] = {
        "sample": options.sample,
        **{f"{key}_before": value for key, value in _scores(before, truth, painted).items()},
        **_scores(after, truth, painted),
        "cells": len(np.unique(truth[truth > 0])),
        "painted": len(painted),
        "steps": result.state.step,
        "training_seconds": round(trained - began, 1),
        "seconds": round(time.monotonic() - options.started, 1),
    }
    if folder is not None:
        _write_files(folder, sample, before, after, result)
        report["files"] = str(folder)
    if not options.json:
        _print(report, things)
    if folder is None:
        _show(sample, before, after)
    return report, 0


def _load(name: str) -> tuple[AnnotatedImage, NDArray[Any], str]:
    """Return a painted sample image, the truth, and what it shows in the plural."""
    if name == "nuclei":
        image, paint, truth = samples.load_nuclei_2d()
        return AnnotatedImage("nuclei 2D", image, paint), truth, "nuclei"
    image, paint, truth = samples.load_phase_2d()
    return AnnotatedImage("phase contrast 2D", image, paint), truth, "cells"


def _print_paint(paint: NDArray[Any], painted: str) -> None:
    height, width = paint.shape
    tell(
        f"Sample image {height}x{width}: {painted} and some background are painted, "
        f"{np.count_nonzero(paint) / paint.size:.1%} of the pixels."
    )


def _predict(trained: TrainedNetwork, sample: AnnotatedImage, device: str) -> NDArray[Any]:
    config = PredictConfig(device=device, result="objects")
    return Run(predict_image(trained, sample.image, config, threading.Event())).finish().whole()


def _scores(prediction: NDArray[Any], truth: NDArray[Any], painted: NDArray[Any]) -> dict[str, Any]:
    """Return F1, the objects predicted, the cells found, and those found that are not painted."""
    overlap = overlap_of(prediction, truth)
    found = overlap.truth_ids[overlap.truth_index[matched_pairs(overlap)]]
    scores = evaluate(prediction, truth, "objects")
    return {
        "f1_50": scores["f1_50"],
        "f1_75": scores["f1_75"],
        "objects": scores["n_predicted"],
        "found": len(found),
        "unpainted_found": len(np.setdiff1d(found, painted)),
    }


def _print(report: dict[str, Any], things: str) -> None:
    cells, painted = report["cells"], report["painted"]
    say(
        f"The starting model alone: F1 {report['f1_50_before']:.2f}; {report['objects_before']} "
        f"objects, {report['found_before']} of {cells} {things} found. After {painted} painted "
        f"{things} and {report['steps']} steps ({report['training_seconds']:.0f} s): F1 "
        f"{report['f1_50']:.2f}; {report['objects']} objects, {report['found']} of {cells} "
        f"{things} found, {report['unpainted_found']} of the {cells - painted} unpainted ones "
        "among them."
    )
    if "files" in report:
        say(f"Labels, model and a picture (overlay.png) are in {report['files']}/.")


def _make_folder(options: argparse.Namespace) -> Path:
    folder = Path(options.output).expanduser()
    make_output_folder(folder)
    check_targets([folder / name for name in _FILES], (), _OTHER, overwrite=options.overwrite)
    return folder


def _has_screen() -> bool:
    if importlib.util.find_spec("napari") is None or importlib.util.find_spec("qtpy") is None:
        return False
    if sys.platform != "linux":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _write_files(
    folder: Path,
    sample: AnnotatedImage,
    before: NDArray[Any],
    after: NDArray[Any],
    result: TrainingResult,
) -> None:
    paint, first, second, model, picture = (folder / name for name in _FILES)
    write_image(paint, sample.labels, "YX")
    write_image(first, before, "YX")
    write_image(second, after, "YX")
    save_network(result.trained, model)
    overlay = draw_overlay(np.asarray(sample.image), sample.labels, before, after)
    content = io.BytesIO()
    Image.fromarray(overlay).save(content, "PNG")
    write_file(picture, content.getvalue())


def draw_overlay(
    image: NDArray[Any], paint: NDArray[Any], before: NDArray[Any], after: NDArray[Any]
) -> NDArray[np.uint8]:
    """Draw what was painted (left), and outlines: of the starting model alone, and of the result.

    All are ``YX``, of one shape; the RGB image is twice as high and six times as wide.
    """
    zoom = np.ones((2, 2), int)
    grey = np.repeat(np.kron(_brightness(image), zoom)[..., np.newaxis], 3, axis=-1)
    painted = grey.copy()
    large_paint = np.kron(paint, zoom)
    for where, colour in (
        (large_paint == 1, (0.0, 0.45, 0.70)),
        (large_paint > 1, (0.90, 0.60, 0.0)),
    ):
        painted[where] = 0.4 * painted[where] + 0.6 * np.array(colour)
    pictures = [painted]
    for labels in (before, after):
        outlined = grey.copy()
        outlined[find_boundaries(np.kron(labels, zoom), mode="thick")] = (1.0, 0.70, 0.0)
        pictures.append(outlined)
    return (np.concatenate(pictures, axis=1) * 255).astype(np.uint8)


def _brightness(image: NDArray[Any]) -> NDArray[Any]:
    """Return the image from 0 to 1; what is mostly dark, as fluorescence is, brightened."""
    low, middle, high = np.percentile(image, (0.5, 50.0, 99.5))
    span = max(float(high - low), 1.0)
    gamma = 0.5 if middle - low < span / 4 else 1.0
    brightness: NDArray[Any] = np.clip((image - low) / span, 0, 1) ** gamma
    return brightness


def _show(sample: AnnotatedImage, before: NDArray[Any], after: NDArray[Any]) -> None:
    import napari

    viewer = napari.Viewer(title="U-Net Paint demo")
    viewer.add_image(sample.image, name=sample.name)
    viewer.add_labels(sample.labels.astype(np.int32), name=f"{sample.name} paint", visible=False)
    alone = viewer.add_labels(before.astype(np.int32), name="starting model alone", visible=False)
    alone.contour = 2
    viewer.add_labels(after.astype(np.int32), name="prediction").contour = 2
    napari.run()
