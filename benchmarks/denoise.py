"""How well noise is removed that was added to clean images: PSNR and SSIM, beside bare references.

    python benchmarks/denoise.py --data shared/data --steps 200 --output denoise.json

Each image gets Gaussian noise (a tenth of its range), Poisson noise (20 photons where it is
brightest), or both. *Noise alone* is ``kind="denoise"`` (Noise2Void), trained on that noisy image;
*pair* is ``kind="image"``, trained on its upper half with the clean one as target. All scores are
of the lower half. *nl_means* is told how strong the noise is, which no training is. ``--careamics
PYTHON`` runs CAREamics (0.3.5) for as many steps of 16 patches, in an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from scipy.signal import wiener
from skimage.restoration import denoise_nl_means

import napari_unet as nu
from napari_unet.tasks.validation import ssim_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Pixels = NDArray[np.float32]

SETS = ("dsb2018_fluo/images", "dsb2018_rest/fluo/images")
EDGE = 256
GAUSSIAN, PHOTONS = 0.1, 20.0
_CAREAMICS = """
import sys, tifffile
from careamics import CAREamist
from careamics.config.factories.n2v_factory import create_n2v_config
source, target, steps = sys.argv[1:]
image = tifffile.imread(source)
config = create_n2v_config("n2v", "array", "YX", [64, 64], 16, num_epochs=1, num_steps=int(steps))
trainer = CAREamist(config, work_dir=source + " work")
trainer.train(train_data=image)
made = trainer.predict(image)
while isinstance(made, (list, tuple)):
    made = made[0]
tifffile.imwrite(target, made.squeeze())
"""


def main() -> None:
    """Measure, print a row each, and write all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the image sets")
    parser.add_argument("--images", type=int, default=1, help="of each set")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--noises", nargs="+", default=["gaussian", "poisson", "both"])
    parser.add_argument("--careamics", metavar="PYTHON", help="an interpreter that has CAREamics")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, clean in images_of(options.data, options.images):
        for noise in options.noises:
            for row in scores_of(clean, noise, options):
                rows.append({"image": name, "noise": noise, **row})
                print(json.dumps(rows[-1]), flush=True)
                options.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def images_of(data: Path, number: int) -> Iterator[tuple[str, Pixels]]:
    """Yield clean images, evenly chosen, of at most 256 x 256 pixels, from 0 to 1."""
    for folder in SETS:
        files = sorted((data / folder).glob("*.tif"))
        for path in files[:: max(1, len(files) // number)][:number]:
            pixels = tifffile.imread(path)[:EDGE, :EDGE].astype(np.float32)
            pixels -= pixels.min()
            yield f"{folder.split('/')[0]}/{path.stem}", pixels / pixels.max()


def noisy(clean: Pixels, noise: str) -> Pixels:
    """Add noise, the same for the same image."""
    chance, found = np.random.default_rng(0), clean
    if noise in ("poisson", "both"):
        found = (chance.poisson(clean * PHOTONS) / PHOTONS).astype(np.float32)
    if noise in ("gaussian", "both"):
        found = found + chance.normal(0, GAUSSIAN, clean.shape).astype(np.float32)
    return found


def scores_of(clean: Pixels, noise: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the scores of each way to remove the noise."""
    image, half = noisy(clean, noise), len(clean) // 2

    def row(way: str, made: Any, began: float) -> dict[str, Any]:
        found, wanted = np.asarray(made, np.float32)[half:], clean[half:]
        error = float(np.mean((found - wanted) ** 2))
        psnr, ssim = -10 * np.log10(error), ssim_of(found, wanted)
        seconds = time.process_time() - began
        return {"way": way, "psnr": round(float(psnr), 2), "ssim": round(ssim, 3),
                "processor_seconds": round(seconds, 1)}  # fmt: skip

    yield row("noisy", image, time.process_time())
    began = time.process_time()
    yield row("wiener", wiener(image, 5), began)
    sigma, began = float(np.std(image - clean)), time.process_time()
    means = denoise_nl_means(image, h=0.8 * sigma, sigma=sigma, patch_size=5, patch_distance=6)
    yield row("nl_means", means, began)
    began = time.process_time()
    config = nu.TrainConfig(kind="denoise", steps=options.steps)
    yield row("noise alone", nu.denoise(image, config), began)
    began = time.process_time()
    model = nu.train(image[:half], clean[:half], config.changed(kind="image"))
    yield row("pair", model.predict(image), began)
    if options.careamics:
        yield row("careamics", by_careamics(image, options), time.process_time())


def by_careamics(image: Pixels, options: argparse.Namespace) -> Pixels:
    """Denoise with CAREamics, in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "noisy.tif"), Path(folder, "made.tif")
        tifffile.imwrite(source, image)
        subprocess.run(
            [options.careamics, "-c", _CAREAMICS, source, target, str(options.steps)],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
        return np.asarray(tifffile.imread(target), np.float32)


if __name__ == "__main__":
    main()
