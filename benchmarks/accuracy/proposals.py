"""What is found with nothing painted at all, and how many clicks on cells select them right.

Run from the checkout::

    python benchmarks/accuracy/proposals.py [--sets dsb2018_fluo ...] [--painted dsb2018_fluo]

The first table tries the starting model at several sizes of cells and lets it choose; the second
clicks on each true cell: in what the starting model finds, and after ten cells were painted and
learned from (the sets after ``--painted``; half a minute to three for each image and draw).
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import paths
import torch
from datasets import CTC_BORDER, Sample, entering_field
from painted_images import IMAGES, Task, load_images
from scipy import ndimage as ndi
from scored_painting import axes_of, measure

from napari_unet.api.model import TrainedModel, starting_model
from napari_unet.data.binning import typical_diameter
from napari_unet.evaluation.scores import evaluate
from napari_unet.io.files import read_image, read_labels
from napari_unet.objects.clicking import Clickable
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.proposals import propose
from napari_unet.run import Run
from napari_unet.training.config import TrainConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from pretraining_images import KINDS, left_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from datasets import Labels
    from numpy.typing import NDArray

    from napari_unet.objects.clicking import Point
    from napari_unet.prediction.proposals import Proposals

UNSEEN = ("ctc_dic_hela", "ctc_phc_u373", "bacteria_timelapse")
SETS = (*(kind.folder for kind in KINDS), *UNSEEN)
_EDGE = 1024  # pixels of an image that are looked at, along each axis
_AXON = 2
_CLICKS = 60  # in an image at most
_ACCEPTED, _MET = 0.75, 0.5


def main() -> None:
    """Print both tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=paths.DEFAULT_DATA)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=SETS, metavar="SET")
    parser.add_argument("--images", type=int, default=6, help="of each set, evenly spaced")
    parser.add_argument("--painted", nargs="*", default=[], choices=list(IMAGES), metavar="SET")
    parser.add_argument("--draws", type=int, default=2, help="of the ten cells, per image")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=paths.DEFAULT_RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    chosen = _Rows(
        "| images | number | proposals | best size | regret | one cell circled | s |",
    )
    clicks = _Rows(
        "| images | model | number | clicks | accepted | met at 0.5 | after a step of the wheel "
        "| nothing there |"
    )
    for name in options.sets:
        samples = list(_samples(options.data, name, options.images))
        found = [_proposed(sample) for sample in samples]
        border = CTC_BORDER if name.startswith("ctc_") else 0
        chosen.add(name, _scores(samples, found, border))
        views = [proposals.clickable() for proposals, _ in found]
        clicks.add(f"{name} | starting", _clicked(samples, views, border))
    for name in options.painted:
        samples, views, border = _after_ten(options.data, name, options.draws)
        clicks.add(f"{name} | ten painted", _clicked(samples, views, border))
    target = options.output / "proposals.md"
    target.write_text(_TEXT.format(chosen=chosen, clicks=clicks, **vars(options)), "utf-8")


_TEXT = """# Nothing painted, and clicks

Made by `python benchmarks/accuracy/proposals.py --images {images} --draws {draws} --threads \
{threads}`; of each image at most 1024 x 1024 pixels, that the starting model has not learned from.

## Nothing painted

Mean / worst F1 at IoU 0.5. *Proposals*: cells of 15 to 170 pixels are tried in eight sizes, and one
is chosen without the truth. *Best size*: that of the eight which the truth says is best, and what
is lost to it (*regret*, mean / worst). *One cell circled*: the model as it was before, told the
diameter of a typical cell. Seconds: mean / worst of all eight sizes.

{chosen}

## Click a cell

A click into each true cell (60 of an image at most), nearer to its middle than to its edge.
*Accepted*: share of the clicks whose mask has an IoU of 0.75 with the cell, mean / worst image;
*after a step of the wheel*: of the mask and its next larger and smaller the best. Starting: the
starting model at the size that it chose. Ten painted: after ten cells, preset fast, 100 steps.

{clicks}
"""


class _Rows:
    """A table that is printed while it grows."""

    def __init__(self, head: str) -> None:
        self._lines = [head, "|---" * (head.count("|") - 1) + "|"]
        print(head, flush=True)

    def add(self, name: str, cells: Sequence[str]) -> None:
        self._lines.append(f"| {name} | {' | '.join(cells)} |")
        print(self._lines[-1], flush=True)

    def __str__(self) -> str:
        return "\n".join(self._lines)


def _samples(data: Path, name: str, number: int) -> Iterator[Sample]:
    """Read images of a set that no starting model has learned from."""
    kinds = {kind.folder: kind for kind in KINDS}
    if name in kinds:
        files = left_out(data, kinds[name])
    else:
        images = sorted((data / name / "images").glob("*.tif"))
        files = [(image, data / name / "labels" / image.name) for image in images]
    box = (slice(_EDGE), slice(_EDGE))
    for i in np.unique(np.linspace(0, len(files) - 1, number).round().astype(int)):
        image = np.asarray(read_image(files[i][0]).array)[box]
        labels = np.asarray(read_labels(files[i][1])).astype(np.int32)[box]
        if name == "axon_sem":
            labels = ndi.label(labels == _AXON)[0]
        if labels.any():
            yield Sample(files[i][0].stem, image, labels)


def _proposed(sample: Sample) -> tuple[Proposals, float]:
    """Return what is proposed, and after how many seconds."""
    config = PredictConfig(axes=axes_of(sample.image), device="cpu")
    begin = time.monotonic()
    trained = starting_model("cells").trained
    proposals = Run(propose(trained, sample.image, config, threading.Event())).finish()
    return proposals, time.monotonic() - begin


def _scores(samples: list[Sample], found: list[tuple[Proposals, float]], border: int) -> list[str]:
    chosen, best, circled = [], [], []
    model = starting_model("cells")
    for sample, (proposals, _) in zip(samples, found, strict=True):
        of_size = {
            size: _f1(proposals.objects(size), sample.labels, border)
            for size in proposals.foreground
        }
        chosen.append(of_size[proposals.cell_size])
        best.append(max(of_size.values()))
        size = typical_diameter([sample.labels], "background")
        predicted = model.predict(sample.image, axes=axes_of(sample.image), cell_size=size)
        circled.append(_f1(predicted, sample.labels, border))
    regret = np.subtract(best, chosen)
    seconds = [after for _, after in found]
    return [
        str(len(samples)),
        _mean_and(chosen, min),
        _mean_and(best, min),
        _mean_and(regret, max),
        _mean_and(circled, min),
        f"{np.mean(seconds):.1f} / {max(seconds):.1f}",
    ]


def _f1(predicted: Labels, truth: Labels, border: int) -> float:
    found = evaluate(entering_field(predicted, border), entering_field(truth, border))
    return float(found["f1_50"])


def _mean_and(values: Iterable[float], worst: Callable[[Iterable[float]], float]) -> str:
    values = [float(value) for value in values]
    return f"{np.mean(values):.2f} / {worst(values):.2f}"


def _after_ten(data: Path, name: str, draws: int) -> tuple[list[Sample], list[Clickable], int]:
    """Learn from ten painted cells of each image, and look at the image."""
    samples, views, border = [], [], 0
    for dataset, sample in load_images({name: IMAGES[name]}, data):
        border = dataset.border
        for draw in range(draws):
            paint = Task(name, sample, border, draw).paint()
            config = TrainConfig.preset("fast", steps=100, seed=draw, device="cpu")
            trained = measure(sample, paint, config, border).trained.trained
            axes = axes_of(sample.image)
            probabilities = TrainedModel(trained).predict(sample.image, "probabilities", axes=axes)
            foreground = np.rint(probabilities[1] * np.float32(255)).astype(np.uint8)
            record = trained.record
            size = record.cell_size or typical_diameter([paint], "unlabelled")
            samples.append(sample)
            views.append(Clickable(foreground, size, record.threshold, record.binning))
    return samples, views, border


def _clicked(samples: list[Sample], views: list[Clickable], border: int) -> list[str]:
    images = []
    for sample, view in zip(samples, views, strict=True):
        truth = entering_field(sample.labels, border)
        found = [_ious(view, point, truth == cell) for cell, point in clicks_into(truth)]
        images.append(np.array(found))
    accepted = [float((found[:, 0] >= _ACCEPTED).mean()) for found in images]
    return [
        str(len(images)),
        str(sum(map(len, images))),
        _mean_and(accepted, min),
        _mean_and([(found[:, 0] >= _MET).mean() for found in images], min),
        _mean_and([(found.max(axis=1) >= _ACCEPTED).mean() for found in images], min),
        f"{np.mean([(found[:, 0] == 0).mean() for found in images]):.2f}",
    ]


def _ious(view: Clickable, point: Point, cell: NDArray[np.bool_]) -> list[float]:
    """Return the IoU of what a click selects, then after a step of the wheel up and down."""
    selection = view.at(point)
    masks = [selection.turned(steps).mask for steps in (0, 1, -1)]
    return [float((mask & cell).sum() / (mask | cell).sum()) for mask in masks]


def clicks_into(truth: Labels) -> Iterator[tuple[int, Point]]:
    """Click into each cell of ``YX`` labels at random, the more likely the deeper inside."""
    rng = np.random.default_rng(0)
    cells = np.unique(truth[truth > 0])
    boxes = ndi.find_objects(truth)
    for cell in rng.permutation(cells)[:_CLICKS]:
        rows, columns = boxes[cell - 1]
        inside = np.pad(truth[rows, columns] == cell, 1)
        depth = ndi.distance_transform_edt(inside)[1:-1, 1:-1] ** 2
        at = rng.choice(depth.size, p=depth.ravel() / depth.sum())
        y, x = np.unravel_index(at, depth.shape)
        yield int(cell), (float(y + rows.start), float(x + columns.start))


if __name__ == "__main__":
    main()
