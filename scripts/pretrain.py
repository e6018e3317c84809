"""Train the starting models: model files in ``src/napari_unet/model/weights/``.

Run from the checkout::

    python scripts/pretrain.py fast --data FOLDER --rounds 2 --minutes 43
    python scripts/pretrain.py accurate --data FOLDER --rounds 2 --minutes 60
    python scripts/pretrain.py 3d --rounds 4 --minutes 30 --threads 2

FOLDER holds the open data sets that `pretraining_images` names; cells that `synthetic_cells` draws
are learned as well. Each round goes on with other crops and other drawn cells. Of every set each
third group of images is left out, so that the weights can be scored on it. The same seed and time
on another machine give other weights.

The 3D one learns from what `synthetic_volumes` draws alone.
"""

from __future__ import annotations

import argparse
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pretraining_images import training_images
from synthetic_volumes import synthetic_volume

from napari_unet.model.trained import TrainedNetwork, save_compact_network
from napari_unet.run import Notice, Run
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.events import StepDone, Validated
from napari_unet.training.loop import train_network
from napari_unet.training.preparation import prepare_training

WEIGHTS = Path(__file__).resolve().parents[1] / "src/napari_unet/model/weights"
FILES = {
    "fast": "cells.safetensors",
    "accurate": "cells_accurate.safetensors",
    "3d": "cells_3d.safetensors",
}
# Flat levels would not suit slices of every thickness.
_VOLUME_SETTINGS = {"depth": 3, "flat_levels": 0, "patch_size": 64, "border_sigma": 2.0}
_VOLUMES = 60  # in each round


def main() -> None:
    """Gather images, train, write."""
    options = _options()
    torch.set_num_threads(options.threads)
    options.output.mkdir(exist_ok=True)
    target = options.output / FILES[options.preset]
    trained: TrainedNetwork | None = None
    for seed in range(options.seed, options.seed + options.rounds):
        trained = _trained(options, seed, trained)
        # Hundreds of hashes of crops and synthetic images tell nobody anything.
        plain = replace(trained.record, images=())
        save_compact_network(TrainedNetwork(trained.network, plain), target)
        size = target.stat().st_size / 1e6
        print(f"{target.name}: {plain.steps} steps, {size:.1f} MB", flush=True)


def _trained(
    options: argparse.Namespace, seed: int, previous: TrainedNetwork | None
) -> TrainedNetwork:
    changes = {
        "border_sigma": 3.0,
        "elastic_sigma": 4.0,
        **(_VOLUME_SETTINGS if options.preset == "3d" else {}),
    }
    config = TrainConfig.preset(
        options.preset,
        unpainted="background",
        minutes=options.minutes,
        validation_share=0.01,
        validate_every=1000,
        start="random",
        binning=1,
        # With full border weights a random network first learns that all is background.
        border_weight=4.0,
        intensity_jitter=0.3,
        zoom=0.2,
        views=1,
        seed=seed,
        device=options.device,
        **changes,
    )
    images = _volumes(seed) if options.preset == "3d" else training_images(options.data, seed)
    data = prepare_training(images, config)
    print(f"{len(data.frames)} images, {data.painted / 1e6:.1f} megapixels", flush=True)
    return Run(train_network(data, config, threading.Event(), previous)).finish(_tell).latest


def _volumes(seed: int) -> list[AnnotatedImage]:
    rng = np.random.default_rng(seed)
    drawn = (synthetic_volume(rng) for _ in range(_VOLUMES))
    return [
        AnnotatedImage(f"synthetic {number}", scene.image, scene.labels, axes="ZYX")
        for number, scene in enumerate(drawn, start=1)
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("preset", choices=tuple(FILES), help="shape of the network")
    parser.add_argument("--data", type=Path, help="folder of the data sets, for 2D")
    parser.add_argument("--rounds", type=int, default=2, help="trainings, one after the other")
    parser.add_argument("--minutes", type=float, default=43, help="of each round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    if options.data is None and options.preset != "3d":
        parser.error(f"the preset {options.preset} needs --data FOLDER")
    return options


def _tell(event: object) -> None:
    if isinstance(event, Validated):
        print(f"step {event.step}: IoU {event.iou:.3f}, object F1 {event.object_f1}", flush=True)
    elif isinstance(event, StepDone) and event.step % 200 == 0:
        print(f"step {event.step}: loss {event.loss:.3f}, {event.progress:.0%}", flush=True)
    elif isinstance(event, Notice):
        print(event.text)


if __name__ == "__main__":
    main()
