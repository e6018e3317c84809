"""Train a starting model: one of the model files in ``src/napari_unet/model/weights/``.

Run from the checkout::

    python scripts/pretrain.py cells --minutes 16
    python scripts/pretrain.py nuclei --data FOLDER --minutes 8

"cells" sees synthetic images only. "nuclei" goes on from "cells" with the images of a folder that
holds ``images/``, ``labels/`` and ``manifest.csv``: fluorescence images of the Data Science Bowl
2018 (CC0). Every third mosaic is left out, so that the weights can be scored on it. The same seed
and time on another machine give other weights.
"""

from __future__ import annotations

import argparse
import csv
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
from synthetic_cells import synthetic_cells

from napari_unet.api import drain
from napari_unet.data.files import find_images, pair_files, read_image, read_labels
from napari_unet.model.trained import TrainedNetwork, load_network, save_compact_network
from napari_unet.notice import Notice
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.events import Validated
from napari_unet.training.loop import train_network
from napari_unet.training.preparation import prepare_training

WEIGHTS = Path(__file__).resolve().parents[1] / "src/napari_unet/model/weights"
_LEFT_OUT_OF = 3  # mosaics: each third one


def main() -> None:
    """Gather images, train, write."""
    options = _options()
    if options.model == "cells":
        images = _synthetic_images(options.images, options.seed)
        former = None
    else:
        images = _annotated_images(options.data)
        former = load_network(options.output / "cells.safetensors")
    config = TrainConfig.preset(
        "fast",
        unpainted="background",
        minutes=options.minutes,
        validation_share=0.03,
        validate_every=250,
        start="random",
        binning=1,
        # Sheets of small cells are mostly border: with full weights a random network first
        # learns that all is background.
        border_weight=3.0 if options.model == "cells" else 10.0,
        intensity_jitter=0.3,
        zoom=0.35,
        seed=options.seed,
        device=options.device,
    )
    data = prepare_training(images, config)
    result = drain(train_network(data, config, threading.Event(), former), _tell)
    trained = result.latest
    if options.model == "cells":  # hundreds of hashes of synthetic images tell nobody anything
        trained = TrainedNetwork(trained.network, replace(trained.record, images=()))
    options.output.mkdir(exist_ok=True)
    target = options.output / f"{options.model}.safetensors"
    save_compact_network(trained, target)
    print(f"{target.name}: {trained.record.steps} steps, {target.stat().st_size / 1e6:.1f} MB")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=("cells", "nuclei"))
    parser.add_argument("--data", type=Path, help="folder with images/ and labels/, for nuclei")
    parser.add_argument("--minutes", type=float, default=16)
    parser.add_argument("--images", type=int, default=400, help="synthetic images, for cells")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    if options.model == "nuclei" and options.data is None:
        parser.error("nuclei needs --data FOLDER, with images/ and labels/ in it.")
    return options


def _synthetic_images(number: int, seed: int) -> list[AnnotatedImage]:
    rng = np.random.default_rng(seed)
    images = []
    for index in range(number):
        image, labels = synthetic_cells(rng)
        images.append(AnnotatedImage(f"synthetic {index}", image, labels))
    return images


def _annotated_images(folder: Path) -> list[AnnotatedImage]:
    pairs = pair_files(find_images([folder / "images"]), find_images([folder / "labels"]))
    kept = _kept_numbers(folder / "manifest.csv")
    return [
        AnnotatedImage(image.name, read_image(image).array, read_labels(labels))
        for image, labels in pairs
        if int(image.stem) in kept
    ]


def _kept_numbers(manifest: Path) -> set[int]:
    """Return the numbers of the images whose mosaic is not left out."""
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    groups = list(dict.fromkeys(row["mosaic_group"] for row in rows))
    fold = {group: number % _LEFT_OUT_OF for number, group in enumerate(groups)}
    return {int(row["index"]) for row in rows if fold[row["mosaic_group"]] != _LEFT_OUT_OF - 1}


def _tell(event: object) -> None:
    if isinstance(event, Validated):
        print(f"step {event.step}: IoU {event.iou:.3f}, object F1 {event.object_f1}", flush=True)
    elif isinstance(event, Notice):
        print(event.text)


if __name__ == "__main__":
    main()
