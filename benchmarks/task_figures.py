"""Print what objects of several classes, and finer images, reach on the sample of nuclei.

    python benchmarks/task_figures.py classes --steps 150
    python benchmarks/task_figures.py finer --steps 400

The left half is learned from, the right half is scored. Classes: nuclei above and below a mean grey
value. Finer: the image as a camera with pixels two and four times as large sees it.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy import ndimage as ndi
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import napari_unet as nu
from napari_unet.data.finer import FinerImage
from napari_unet.data.rescaling import mean_of_blocks
from napari_unet.samples import load_nuclei_2d

BRIGHT = 77  # mean grey value
SMALL = nu.TrainConfig(
    kind="image", base_channels=8, depth=2, learning_rate=3e-3, views=1, device="cpu"
)


def classes(steps: int) -> None:
    """Train on the objects of two classes, with and without the starting model."""
    image, _, labels = load_nuclei_2d()
    numbers = np.unique(labels)[1:]
    bright = np.isin(labels, numbers[ndi.mean(image, labels, numbers) >= BRIGHT])
    layers = {"bright": labels * bright, "dim": labels * ~bright}
    half = image.shape[1] // 2
    for start in ("cells", "random"):
        config = nu.TrainConfig(
            kind="object-classes", unpainted="background", steps=steps, start=start, device="cpu"
        )
        began = time.monotonic()
        model = nu.train(image[:, :half], {n: e[:, :half] for n, e in layers.items()}, config)
        seconds = time.monotonic() - began
        found = model.predict(image[:, half:])
        truth = {name: each[:, half:] for name, each in layers.items()}
        scores = nu.evaluate(found, truth, kind="object-classes")
        alone = nu.evaluate(found.max(axis=0), labels[:, half:])
        of_each = ", ".join(f"{n} {f1:.3f}" for n, f1 in scores["f1_50_per_class"].items())
        merged = scores["n_merged"]
        print(f"| {start} | {alone['f1_50']:.3f} | {of_each} | {merged} | {seconds:.0f} s |")


def finer(steps: int) -> None:
    """Train on pairs of a coarse and a fine half, and compare with bicubic enlargement."""
    image = load_nuclei_2d()[0].astype(np.float32)
    half = image.shape[1] // 2
    for factor in (2, 4):
        coarse = mean_of_blocks(image[np.newaxis], (1, factor, factor))[0]
        left, right = coarse[:, : half // factor], coarse[:, half // factor :]
        config = SMALL.changed(steps=steps)
        began = time.monotonic()
        model = nu.train(left, image[:, :half], config)
        seconds = time.monotonic() - began
        truth = image[:, half:]
        bicubic = np.asarray(FinerImage(right, "YX", factor))
        figures = " | ".join(_figures(made, truth) for made in (bicubic, model.predict(right)))
        print(f"| {factor} x | {figures} | {seconds:.0f} s |", flush=True)


def _figures(made: np.ndarray, truth: np.ndarray) -> str:
    span = float(np.ptp(truth))
    psnr = peak_signal_noise_ratio(truth, made, data_range=span)
    return f"{psnr:.2f} / {structural_similarity(truth, made, data_range=span):.3f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("classes", "finer"))
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args()
    {"classes": classes, "finer": finer}[options.what](options.steps)
