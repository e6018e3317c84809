"""``napari-unet predict``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from napari_unet.cli.progress import stop_on_interrupt
from napari_unet.data.axes import check_axes
from napari_unet.data.files import (
    TIFF_SUFFIXES,
    ImageFile,
    check_writable,
    find_images,
    read_image,
    write_image,
)
from napari_unet.errors import (
    ConfigError,
    DeviceError,
    FileProblemError,
    ImageError,
    NapariUNetError,
)
from napari_unet.model.trained import load_network
from napari_unet.prediction.events import PredictionStarted, TilePredicted
from napari_unet.prediction.predictor import PredictConfig, PredictionResult, predict_image

if TYPE_CHECKING:
    import argparse
    import threading
    from collections.abc import Sequence

    from napari_unet.model.trained import TrainedNetwork


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Predict each file; one that fails is reported and does not stop the others."""
    config = PredictConfig(options.result, options.axes, options.tile_size, options.device)
    trained = load_network(Path(options.model))
    paths = find_images(options.paths)
    targets = _targets(paths, Path(options.output).expanduser())
    written: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    with stop_on_interrupt() as stop:
        for path, target in zip(paths, targets, strict=True):
            if stop.is_set():
                break
            try:
                result = _predict_file(trained, path, config, stop, quiet=options.json)
                if result.complete:
                    write_image(target, result.array, result.axes)
                    written.append(_row(path, target, result))
            except (ConfigError, DeviceError):
                raise  # the same for every file
            except NapariUNetError as error:
                failed.append({"input": str(path), "error": str(error)})
                print(f"napari-unet: {path.name}: {error}", file=sys.stderr)
    if not options.json:
        print(f"{len(written)} of {len(paths)} predicted, written to {options.output}.")
    all_done = len(written) == len(paths)
    return {"predictions": written, "failed": failed}, 0 if all_done else 1


def _targets(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Name the result of each file; refuse to overwrite inputs or each other."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileProblemError(
            f"Cannot write to {folder}: {error.strerror or error}. Choose another folder."
        ) from error
    check_writable(folder)
    targets = [
        folder / (p.name if p.suffix.lower() in TIFF_SUFFIXES else f"{p.stem}.tif") for p in paths
    ]
    inputs, seen = {path.resolve() for path in paths}, set[Path]()
    for target in targets:
        if target.resolve() in inputs:
            raise FileProblemError(
                f"{target} would overwrite the image itself; choose another --output folder."
            )
        if target in seen:
            raise FileProblemError(
                f"Two images would both be written to {target}; predict their folders one by one."
            )
        seen.add(target)
    return targets


def _predict_file(
    trained: TrainedNetwork,
    path: Path,
    config: PredictConfig,
    stop: threading.Event,
    *,
    quiet: bool,
) -> PredictionResult:
    image = read_image(path)
    ndim = trained.record.network.ndim
    axes = config.axes or _usable_axes(image, ndim)
    config = PredictConfig(
        config.result, axes, config.tile_size, config.device, config.threshold, config.smallest
    )
    events = predict_image(trained, image.array, config, stop)
    with tqdm(desc=path.name, unit="tile", disable=quiet) as bar:
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                result: PredictionResult = end.value
                return result
            if isinstance(event, PredictionStarted):
                bar.reset(event.tiles)
            elif isinstance(event, TilePredicted):
                bar.update()


def _usable_axes(image: ImageFile, ndim: int) -> str | None:
    """Trust a file's axes where the network can read them; instruments often mistake Z for T."""
    if image.axes is None:
        return None
    try:
        check_axes(image.axes, image.array.ndim, ndim)
    except ImageError:
        return None
    return image.axes


def _row(path: Path, target: Path, result: PredictionResult) -> dict[str, Any]:
    row: dict[str, Any] = {"input": str(path), "output": str(target), "axes": result.axes}
    if result.kind == "objects":
        row["objects"] = int(result.array.max())
    return row
