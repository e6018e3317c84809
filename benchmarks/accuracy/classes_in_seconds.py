"""Classes from a few strokes: what is seen after 2, 10, 30 and 60 seconds, beside a random forest.

It needs scikit-learn. Seconds are those of one CPU core, so that a busy machine tells the same::

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/accuracy/classes_in_seconds.py
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import paths  # noqa: F401  (finds the modules of the other benchmarks)
import tifffile
import torch
from forest import require_sklearn
from paint import draw_stroke
from scipy import ndimage as ndi
from skimage.feature import multiscale_basic_features

from napari_unet.model.execution import Runner
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.pixel_classifier import PixelClassifier, Together
from napari_unet.training.preparation import prepare_training
from napari_unet.training.sources import source_frames
from napari_unet.training.trainer import Trainer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.training.validation import Predictor

    Labels = NDArray[np.integer[Any]]

STROKES = 29
SECONDS = (2.0, 10.0, 30.0, 60.0)
STEPS = (50, 100, 200)
_EDGE = 1024
_RADII, _LENGTHS = (1.0, 3.0), (20.0, 70.0)
_SYNAPSE = 5
_WORDS = {PixelClassifier: "classifier", Together: "both", Runner: "U-Net"}


@dataclass(frozen=True)
class Picture:
    """An image and the class of each pixel; 0: not scored, and not painted."""

    name: str
    image: NDArray[Any]
    truth: Labels


def em(folder: Path, number: int) -> Picture:
    """Read a slice of VNC: intracellular, membrane, glia, mitochondria; without synapses."""
    image, labels = _read(folder / "vnc_sstem_semantic", number)
    return Picture(f"EM {number}", image, np.where(labels == _SYNAPSE, 0, labels))


def axons(folder: Path, number: int) -> Picture:
    """Read an image of axons, myelin and background."""
    return Picture(f"axons {number}", *_read(folder / "axon_sem", number))


def borders(folder: Path, number: int) -> Picture:
    """Make background, inside and border of cells of phase contrast."""
    image, cells = _read(folder / "usiigaci_phc", number)
    inside = cells > 0
    grown = ndi.grey_dilation(cells, size=(5, 5)) != ndi.grey_erosion(cells, size=(5, 5))
    return Picture(f"borders {number}", image, np.where(grown, 3, np.where(inside, 2, 1)))


def _read(folder: Path, number: int) -> tuple[NDArray[Any], Labels]:
    files = sorted((folder / "images").glob("*.tif"))
    labels = folder / "labels" / files[number].name
    return tifffile.imread(files[number])[:_EDGE, :_EDGE], tifffile.imread(labels)[:_EDGE, :_EDGE]


def paint_classes(truth: Labels, strokes: int, seed: int) -> NDArray[np.uint16]:
    """Draw strokes through the classes in turn; each stays inside, but may touch its edge."""
    rng = np.random.default_rng(seed)
    paint = np.zeros(truth.shape, np.uint16)
    classes = [int(value) for value in np.unique(truth) if value]
    for number in range(strokes):
        value = classes[number % len(classes)]
        free = (truth == value) & (paint == 0)
        radius = float(rng.uniform(*_RADII))
        depth = ndi.distance_transform_edt(free)
        start = depth >= min(radius, float(np.percentile(depth[free], 50)))
        drawn = draw_stroke(truth == value, start, radius, float(rng.uniform(*_LENGTHS)), rng)
        paint[drawn & free] = value
    return paint


def ious(predicted: Labels, truth: Labels) -> list[float]:
    """Return the IoU of each class, where the truth is known."""
    known = truth > 0
    found = []
    for value in np.unique(truth[known]):
        one, other = predicted[known] == value, truth[known] == value
        found.append(round(float((one & other).sum() / max(1, (one | other).sum())), 3))
    return found


def forest_row(picture: Picture, paint: Labels, seed: int) -> dict[str, Any]:
    """Score the forest of `forest.py` on the same strokes."""
    began = time.process_time()
    features = multiscale_basic_features(picture.image, sigma_min=1, sigma_max=16)
    forest = require_sklearn().RandomForestClassifier(
        n_estimators=100, max_depth=10, max_samples=0.05, n_jobs=1, random_state=seed
    )
    forest.fit(features[paint > 0], paint[paint > 0])
    predicted = forest.predict(features.reshape(paint.size, -1)).reshape(paint.shape)
    seconds = time.process_time() - began
    return {"at": "forest", "seconds": seconds, "iou": ious(predicted, picture.truth)}


class Watch:
    """Trains, and scores what a user would see at moments of a training; scoring is not timed."""

    def __init__(self, picture: Picture, paint: Labels, seed: int, total: int) -> None:
        self._picture, self._total = picture, total
        config = TrainConfig.preset("fast", kind="classes", seed=seed, device="cpu", steps=total)
        began = time.process_time()
        annotated = AnnotatedImage(picture.name, picture.image, np.asarray(paint))
        self._data = prepare_training([annotated], config)
        self._trainer = Trainer(self._data, config, torch.device("cpu"), None)
        self.seconds = time.process_time() - began
        self._frame = source_frames(self._data.sources[0], config)[0]

    def rows(self, seconds: tuple[float, ...], steps: tuple[int, ...]) -> list[dict[str, Any]]:
        """Train as long as asked."""
        trainer = self._trainer
        waiting, rows = list(seconds), []
        if trainer.classifier is not None:
            rows.append(self._row("classifier", trainer.classifier))
        while waiting or trainer.step < max(steps):
            began = time.process_time()
            trainer.train_step(min(1.0, trainer.step / self._total))
            if trainer.step in (10, 25) or trainer.step % 50 == 0:
                trainer.assess()
            self.seconds += time.process_time() - began
            if trainer.step in steps:
                rows.append(self._row(f"U-Net, step {trainer.step}", self._network))
            while waiting and self.seconds >= waiting[0]:
                rows.append(self._row(f"{waiting.pop(0):g} s", self._shown))
        return rows

    @property
    def _network(self) -> Runner:
        return Runner.of(self._trainer.averaged_network, torch.device("cpu"))

    @property
    def _shown(self) -> Predictor:
        classifier = self._trainer.classifier
        if classifier is None:
            return self._network
        return Together(classifier, self._network, self._trainer.share_of_network)

    def _row(self, at: str, predictor: Predictor) -> dict[str, Any]:
        began = time.process_time()
        whole = tuple(slice(0, size) for size in self._frame.spatial_shape)
        intensity = self._data.frames[0].intensity
        probabilities = predictor.probabilities(self._frame, intensity, whole)
        predicted = np.array(self._data.classes.painted)[probabilities.argmax(axis=0)]
        row = {
            "at": at,
            "seconds": round(self.seconds, 1),
            "prediction": round(time.process_time() - began, 1),
            "step": self._trainer.step,
            "shown": _WORDS[type(predictor)],
            "iou": ious(predicted, self._picture.truth),
        }
        print(self._picture.name, row, flush=True)
        return row


def table(runs: list[dict[str, Any]]) -> str:
    """Write what was measured, run by run; the worst runs of a task are its first."""
    lines = [
        "| image, draw | at | shown | step | IoU of each class | mean |",
        "|---|---|---|---|---|---|",
    ]
    for run in sorted(runs, key=lambda run: float(np.mean(run["rows"][-1]["iou"]))):
        for row in run["rows"]:
            single = " ".join(f"{value:.2f}" for value in row["iou"])
            lines.append(
                f"| {run['image']}, {run['draw']} | {row['at']} | {row.get('shown', 'forest')} "
                f"| {row.get('step', '')} | {single} | {np.mean(row['iou']):.3f} |"
            )
    return "\n".join(lines)


TASKS = {"em": em, "axons": axons, "borders": borders}


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, default=Path("../shared/data"))
    add("--images", nargs="+", default=["em/0", "em/5", "em/8", "axons/0", "borders/0"])
    add("--draws", type=int, default=2)
    add("--seconds", type=float, nargs="+", default=SECONDS)
    add("--steps", type=int, nargs="+", default=STEPS)
    add("--total", type=int, default=600, help="planned steps")
    add("--output", type=Path, default=Path("docs/results/classes_in_seconds.json"))
    values = parser.parse_args()
    torch.set_num_threads(1)
    runs = json.loads(values.output.read_text()) if values.output.exists() else []
    done = {(run["image"], run["draw"]) for run in runs}
    for draw in range(values.draws):
        for task, number in (name.split("/") for name in values.images):
            picture = TASKS[task](values.data, int(number))
            if (picture.name, draw) in done:
                continue
            paint = paint_classes(picture.truth, STROKES, draw)
            rows = [forest_row(picture, paint, draw)]
            print(picture.name, rows[0], flush=True)
            watch = Watch(picture, paint, draw, values.total)
            rows += watch.rows(tuple(values.seconds), tuple(values.steps))
            runs.append({"image": picture.name, "draw": draw, "rows": rows})
            values.output.write_text(json.dumps(runs, indent=1) + "\n")
    print(table(runs))


if __name__ == "__main__":
    main()
