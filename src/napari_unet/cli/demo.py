"""``napari-unet demo``: from the painted sample image to a segmentation, start to end."""

from __future__ import annotations

import importlib.util
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
from napari_unet.api import drain
from napari_unet.cli.progress import run_training, stop_on_interrupt
from napari_unet.data.disk import why_not_written
from napari_unet.data.files import write_image
from napari_unet.errors import FileProblemError
from napari_unet.evaluation import evaluate
from napari_unet.model.trained import save_network
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predictor import predict_image
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.loop import TrainingResult, train_network
from napari_unet.training.preparation import prepare_training

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Train on the strokes, predict the image, show or write the result."""
    image, strokes, truth = samples.load_nuclei_2d()
    folder = _make_folder(options.output) if options.no_window or not _has_screen() else None
    result = _train(options, image, strokes)
    config = PredictConfig(device=options.device)
    events = predict_image(result.trained, image, config, threading.Event())
    prediction = drain(events, None).array
    scores = evaluate(prediction, truth, "objects")
    report: dict[str, Any] = {
        "f1_50": scores["f1_50"],
        "nuclei": scores["n_truth"],
        "found": scores["n_predicted"],
        "steps": result.state.step,
        "seconds": round(time.monotonic() - options.started, 1),
    }
    if folder is not None:
        _write_files(folder, image, strokes, prediction, result)
        report["files"] = str(folder)
    if not options.json:
        _print(report)
    if folder is None:
        _show(image, strokes, prediction)
    return report, 0


def _train(
    options: argparse.Namespace, image: NDArray[Any], strokes: NDArray[Any]
) -> TrainingResult:
    changes = {} if options.steps is None else {"steps": options.steps}
    config = TrainConfig.preset("fast", device=options.device, **changes)
    data = prepare_training([AnnotatedImage("nuclei2d_image.tif", image, strokes)], config)
    share = np.count_nonzero(strokes) / strokes.size
    print(
        f"Sample image {image.shape[0]}x{image.shape[1]}: {strokes.max() - 1} nuclei and some "
        f"background are painted, {share:.1%} of the pixels.",
        file=sys.stderr,
    )
    with stop_on_interrupt() as stop:
        result: TrainingResult = run_training(train_network(data, config, stop), options.json)
    return result


def _print(report: dict[str, Any]) -> None:
    print(
        f"{report['found']} nuclei found of {report['nuclei']} in {report['seconds']:.0f} s. "
        f"F1 at IoU 0.5 against the full labels: {report['f1_50']:.3f}"
    )
    if "files" in report:
        print(f"Labels, model and a picture (overlay.png) are in {report['files']}/.")


def _make_folder(text: str) -> Path:
    folder = Path(text).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileProblemError(
            f"{why_not_written(folder, error)} Choose another --output folder."
        ) from error
    return folder


def _has_screen() -> bool:
    if importlib.util.find_spec("napari") is None or importlib.util.find_spec("qtpy") is None:
        return False
    if sys.platform != "linux":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _write_files(
    folder: Path,
    image: NDArray[Any],
    strokes: NDArray[Any],
    prediction: NDArray[Any],
    result: TrainingResult,
) -> None:
    write_image(folder / "prediction.tif", prediction, "YX")
    write_image(folder / "strokes.tif", strokes, "YX")
    save_network(result.trained, folder / "model.safetensors")
    Image.fromarray(draw_overlay(image, strokes, prediction)).save(folder / "overlay.png")


def draw_overlay(
    image: NDArray[Any], strokes: NDArray[Any], prediction: NDArray[Any]
) -> NDArray[np.uint8]:
    """Draw what was painted (left) beside the outlines that were predicted (right).

    Parameters
    ----------
    image, strokes, prediction : ndarray
        ``YX``, of one shape.

    Returns
    -------
    ndarray
        ``YXC``, RGB, three times as high as the image and six times as wide.
    """
    zoom = np.ones((3, 3), int)
    bright = np.clip(image / max(float(np.percentile(image, 99.5)), 1.0), 0, 1) ** 0.5
    grey = np.repeat(np.kron(bright, zoom)[..., np.newaxis], 3, axis=-1)
    painted, outlined = grey.copy(), grey
    large_strokes = np.kron(strokes, zoom)
    for where, colour in (
        (large_strokes == 1, (0.0, 0.45, 0.70)),
        (large_strokes > 1, (0.90, 0.60, 0.0)),
    ):
        painted[where] = 0.4 * painted[where] + 0.6 * np.array(colour)
    outlined[find_boundaries(np.kron(prediction, zoom), mode="inner")] = (0.90, 0.60, 0.0)
    both = np.concatenate([painted, outlined], axis=1)
    return (both * 255).astype(np.uint8)


def _show(image: NDArray[Any], strokes: NDArray[Any], prediction: NDArray[Any]) -> None:
    import napari

    viewer = napari.Viewer(title="U-Net Paint demo")
    viewer.add_image(image, name="nuclei 2D")
    viewer.add_labels(strokes.astype(np.int32), name="nuclei 2D strokes", visible=False)
    viewer.add_labels(prediction.astype(np.int32), name="prediction").contour = 2
    napari.run()
