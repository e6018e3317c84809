"""Train the weights that new trainings of the preset "fast" begin with, on synthetic cells alone.

Run from the checkout: ``python scripts/pretrain.py [--minutes 15]``. It writes
``src/napari_unet/model/weights/``; the same seed and time on another machine give other weights.
"""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

import numpy as np
import torch
from synthetic_cells import synthetic_cells

from napari_unet.api import drain
from napari_unet.model.tensor_file import write_tensors
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.events import Notice, Validated
from napari_unet.training.loop import train_network
from napari_unet.training.preparation import prepare_training

TARGET = (
    Path(__file__).resolve().parents[1] / "src/napari_unet/model/weights/synthetic_2d.safetensors"
)


def main() -> None:
    """Draw, train, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    images = []
    for number in range(options.images):
        image, labels = synthetic_cells(rng)
        images.append(AnnotatedImage(f"synthetic {number}", image, labels))
    config = TrainConfig.preset(
        "fast",
        unpainted="background",
        minutes=options.minutes,
        validation_share=0.03,
        validate_every=250,
        start="random",
        intensity_jitter=0.3,
    )
    data = prepare_training(images, config)
    result = drain(train_network(data, config, threading.Event()), _tell)
    weights = {
        name: tensor.to(torch.float16) if tensor.is_floating_point() else tensor
        for name, tensor in result.latest.network.state_dict().items()
    }
    TARGET.parent.mkdir(exist_ok=True)
    content = {
        "trained_on": f"{options.images} synthetic images of scripts/synthetic_cells.py",
        "steps": result.state.step,
        "seed": options.seed,
    }
    write_tensors(TARGET, weights, content)
    print(f"{TARGET.name}: {result.state.step} steps, {TARGET.stat().st_size / 1e6:.1f} MB")


def _tell(event: object) -> None:
    if isinstance(event, Validated):
        print(f"step {event.step}: IoU {event.iou:.3f}, object F1 {event.object_f1}", flush=True)
    elif isinstance(event, Notice):
        print(event.text)


if __name__ == "__main__":
    main()
