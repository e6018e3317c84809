"""Noise removed from the noisy image alone: ours beside CAREamics, both Noise2Void.

Images and noises are those of `benchmarks/denoise.py`; the scores are of the whole image, for
nobody sees the clean one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import here  # noqa: F401  (finds the modules of the other benchmarks)
import numpy as np
from denoise import images_of, noisy
from jobs import Job

from napari_unet.tasks.validation import ssim_of

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray
    from rows import Row, Rows

NOISES = ("gaussian", "poisson", "both")
DENOISING = ("napari-unet-paint, denoise", "CAREamics")


def add_restorations(rows: Rows, options: argparse.Namespace) -> None:
    """Measure both programs on each image and noise, with the same seconds to learn."""
    for name, clean in images_of(options.data, options.images):
        for noise in NOISES:
            for peer in DENOISING:
                measured = partial(_denoised, peer, clean, noise, options)
                rows.measure(("restoration", name, noise, peer), options.seconds, measured)


def _denoised(peer: str, clean: NDArray[Any], noise: str, options: argparse.Namespace) -> Row:
    image = noisy(clean, noise)
    settings = {"seconds": options.seconds, "seed": options.seed, "large": options.large}
    nothing = np.zeros(0, np.uint8)
    found, (answer,) = Job([(image, nothing)], [image], settings).run(peer, options.environments)
    scores = {
        **_scores(answer.astype(np.float32), clean),
        "noisy_psnr": _scores(image, clean)["psnr"],
    }
    return {"scores": scores, **found}


def _scores(found: NDArray[Any], clean: NDArray[Any]) -> dict[str, float]:
    error = float(np.mean((found - clean) ** 2))
    return {"psnr": -10 * float(np.log10(error)), "ssim": float(ssim_of(found, clean))}
