"""What the starting models find with nothing painted, as they are and with one cell circled.

Run from the checkout::

    python benchmarks/accuracy/starting_models.py

Images are those that `scripts/pretraining_images.py` leaves out of the training, and three sets
that no starting model has learned from.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import paths
import torch

from napari_unet.api.model import starting_model
from napari_unet.data.binning import typical_diameter
from napari_unet.evaluation.scores import evaluate
from napari_unet.io.files import read_image, read_labels
from napari_unet.model.starting import STARTING_MODELS

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from pretraining_images import KINDS, Sample, left_out, read_sample

if TYPE_CHECKING:
    from collections.abc import Iterator

UNSEEN = ("ctc_dic_hela", "ctc_phc_u373", "bacteria_timelapse")
_EDGE = 700  # pixels of an image that are predicted and scored, along each axis


def main() -> None:
    """Predict, score, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=paths.DEFAULT_DATA)
    parser.add_argument("--images", type=int, default=6, help="of each set, evenly spaced")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=paths.DEFAULT_RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ways = [f"{name}{way}" for name in STARTING_MODELS for way in ("", ", circled")]
    lines = [f"| images | number | {' | '.join(ways)} |", "|---" * (2 + len(ways)) + "|"]
    for name, files in _sets(options.data):
        chosen = np.unique(np.linspace(0, len(files) - 1, options.images).round().astype(int))
        samples = [_read(*files[i]) for i in chosen]
        samples = [sample for sample in samples if sample.labels.any()]
        lines.append(f"| {name} | {len(samples)} | {' | '.join(_scores(samples))} |")
        print(lines[-1], flush=True)
    text = (
        "# Starting models, nothing painted\n\n"
        f"Made by `python benchmarks/accuracy/starting_models.py --images {options.images}`. Mean "
        "and worst F1 at IoU 0.5, as the model is and with the diameter of a typical cell given. "
        f"Of each image at most {_EDGE} x {_EDGE} pixels; of colours a random mixture. The sets in "
        f"the last {len(UNSEEN)} rows were not learned from.\n\n"
    )
    target = options.output / "starting_models.md"
    target.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")


def _sets(data: Path) -> Iterator[tuple[str, list[tuple[Path, Path]]]]:
    for kind in KINDS:
        yield kind.folder, left_out(data, kind)
    for name in UNSEEN:
        images = sorted((data / name / "images").glob("*.tif"))
        yield name, [(image, data / name / "labels" / image.name) for image in images]


def _read(image: Path, labels: Path) -> Sample:
    if image.parents[1].name in UNSEEN:
        sample = Sample(image.name, np.asarray(read_image(image).array), read_labels(labels))
    else:
        sample = read_sample(image, labels, np.random.default_rng(0))
    box = (slice(_EDGE), slice(_EDGE))
    return Sample(sample.name, sample.image[box], sample.labels[box])


def _scores(samples: list[Sample]) -> Iterator[str]:
    for name in STARTING_MODELS:
        model = starting_model(name)
        for circled in (False, True):
            sizes = [
                typical_diameter([s.labels], "background") if circled else 0.0 for s in samples
            ]
            found = [
                evaluate(model.predict(s.image, cell_size=size), s.labels)["f1_50"]
                for s, size in zip(samples, sizes, strict=True)
            ]
            yield f"{np.mean(found):.2f} / {min(found):.2f}"


if __name__ == "__main__":
    main()
