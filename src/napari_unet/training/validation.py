"""Score a network on what was held back and what is painted, and keep the best."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from scipy.ndimage import center_of_mass

from napari_unet.data.frames import grown
from napari_unet.data.labels import DEFAULT_THRESHOLD, marked_boxes, pixels_per_number
from napari_unet.errors import DeviceError, UnreadableError
from napari_unet.model.devices import fastest_precision
from napari_unet.model.execution import Runner
from napari_unet.model.inference import InferenceNetwork
from napari_unet.model.memory import Shortage, within_memory
from napari_unet.run import Notice
from napari_unet.tasks import Decision
from napari_unet.training.events import PaintJudged, Validated
from napari_unet.training.networks import all_finite, copy_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import Scaling
    from napari_unet.model.unet import UNet
    from napari_unet.tasks import ValidationScore
    from napari_unet.training.dataset import TrainingData, TrainingFrame
    from napari_unet.training.events import TrainingEvent

_DENSE_PAINT = 0.5  # of the held-back pixels
# Scores on little held-back paint scatter by this much: among equals, the longer trained wins.
NOISE_OF_SCORES = 0.02
# So much better than all before is a gain: learning creeps on in smaller steps than noise.
_LEAST_GAIN = 0.005
# Bfloat16 is tried on boxes of at most so many pixels, in the first and the last frame.
_BOX = {2: (192, 192), 3: (16, 64, 64)}


class BestSoFar:
    """The best weights of a training, their scores, and the scores of all that were assessed."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}
        self.value: float = -math.inf
        self.gained_at: int = 0  # after this step the scores last rose
        self._gained_to: float | None = None  # that score; not known where a training is resumed
        self.is_start: bool = False  # whether the weights are those that the training began with
        self.is_ahead: bool = False  # whether what was assessed last did not come up to them
        self.cells: tuple[PaintedCell, ...] = ()  # what the weights make of them
        self.threshold: float = DEFAULT_THRESHOLD
        self.history: list[dict[str, float | bool | None]] = []

    def judge(
        self, network: UNet, data: TrainingData, device: torch.device, effort: float = 1.0
    ) -> tuple[PaintedCell, ...]:
        """Compare painted cells with what a network makes of them at the present threshold."""
        return judge_painted_cells(validation_runner(network, device), data, self.threshold, effort)

    def assess(
        self, network: UNet, data: TrainingData, device: torch.device, step: int
    ) -> list[TrainingEvent]:
        """Score what is held back and what is painted; keep the weights if none are better.

        Empty where there is neither a held-back block nor a painted cell.
        """
        runner = validation_runner(network, device)
        cells = judge_painted_cells(runner, data, self.threshold)
        score = validate(runner, data) if data.blocks else None
        values = [] if score is None else [score.value]
        if cells:
            values.append(mean_iou_of_found(cells))
        if not values:
            return []
        value = sum(values) / len(values)
        if value > self._reference + _LEAST_GAIN:
            self.gained_at, self._gained_to = step, value
        good = value >= self.value + self._least_gain(data)
        weights = copy_weights(network) if good else {}
        best = good and all_finite(weights)
        self.is_ahead = not best
        if best:
            self.weights, self.value, self.cells = weights, max(value, self.value), cells
            self.is_start = False
            self.threshold = self.threshold if score is None else score.threshold
        events: list[TrainingEvent] = []
        if cells:
            events.append(PaintJudged(step, cells, best))
        if score is not None:
            loss = score.loss if math.isfinite(score.loss) else None  # files hold numbers only
            self.history.append({"step": step, "best": best, **asdict(score), "loss": loss})
            scores = score.loss, score.iou, score.object_f1
            events.append(Validated(step, *scores, best, score.psnr, score.ssim))
        if good and not best:
            text = f"The weights of step {step} are not kept: not all of them are finite."
            events.append(Notice(text))
        return events

    def forget_unscored(self) -> None:
        """Let go of weights that have no score: whatever comes is as good."""
        if self.value == -math.inf:
            self.weights, self.is_start = {}, False

    @property
    def _reference(self) -> float:
        """What a score must exceed to be a gain: so small gains count together, and each once."""
        if self._gained_to is None or self.value == -math.inf:  # other paint: nothing compares
            return self.value
        return self._gained_to

    def _least_gain(self, data: TrainingData) -> float:
        """Return by how much a score must exceed the best one.

        Where nothing is held back, scores are of what was learned, which flatters: what a training
        began with is then given up for a clear gain only.
        """
        flattered = self.is_start and not data.blocks
        return NOISE_OF_SCORES if flattered else -NOISE_OF_SCORES


class Predictor(Protocol):
    """What tells the class of pixels: a `Runner`, or a pixel classifier."""

    def probabilities(
        self, frame: Frame, intensity: Scaling, region: Region
    ) -> NDArray[np.float32]:
        """Compute the class probabilities in one region of a frame, C then the region's sizes."""


def validation_runner(network: UNet, device: torch.device) -> Runner:
    """Make a network ready to be validated; where its device has no memory, on the CPU."""
    on_cpu = partial(InferenceNetwork, network, torch.device("cpu"))
    ready = within_memory(lambda: InferenceNetwork(network, device), device)
    if isinstance(ready, Shortage):
        return Runner(on_cpu())
    return Runner(ready, spare=on_cpu if device.type != "cpu" else None)


def validate(predictor: Predictor, data: TrainingData) -> ValidationScore:
    """Predict the held-back blocks, at least one, and compare with their paint."""
    places = data.in_blocks()
    painted = [frame.target.within(region).painted for frame, region in places]
    dense = sum(int(p.sum()) for p in painted) >= _DENSE_PAINT * sum(p.size for p in painted)
    decision = Decision(limits=data.limits, typical=data.typical_object)
    counts = data.classes.task.counts(data.classes, decision, dense, data.membrane)
    for frame, region in places:
        target = frame.target.within(region)
        if target.painted.any():
            where = frame.frame, frame.intensity, region
            said = data.classes.task.completed(
                predictor.probabilities(*where), *where, data.classes
            )
            counts.add(said, target, frame.weights[region])
    return counts.scores()


# --- Whether a model may predict in bfloat16: how its labels compare with those in float32 --------


def bfloat16_agreement(
    network: UNet, data: TrainingData, threshold: float, device: torch.device
) -> float | None:
    """Measure the share of pixels (0 to 1) that get the same label in bfloat16 and in float32.

    Compared are two frames, around the paint. None where bfloat16 is not fast on the device, there
    are no labels, or it cannot be measured: a model is worth more than this, it predicts in float32
    then.
    """
    if fastest_precision(device) != torch.bfloat16 or not data.classes.task.paints:
        return None
    try:
        return _agreement(network, data, threshold, device)
    except (RuntimeError, MemoryError, UnreadableError, DeviceError):  # also CUDA's errors
        return None


def _agreement(network: UNet, data: TrainingData, threshold: float, device: torch.device) -> float:
    exact = Runner.of(network, device)
    rounded = Runner.of(network, device, torch.bfloat16)
    same = total = 0
    for frame in {id(frame): frame for frame in (data.frames[0], data.frames[-1])}.values():
        region = _around_paint(frame)
        one, other = (
            runner.probabilities(frame.frame, frame.intensity, region)
            for runner in (exact, rounded)
        )
        table = data.classes
        alike = table.decide(one, threshold) == table.decide(other, threshold)
        same, total = same + int(alike.sum()), total + alike.size
    return same / total


def _around_paint(frame: TrainingFrame) -> Region:
    """Return a box around the median row, column, ... of the paint, as far as there is any."""
    painted = frame.target.painted
    parts = []
    for axis, edge in enumerate(_BOX[painted.ndim]):
        others = tuple(other for other in range(painted.ndim) if other != axis)
        counts = np.cumsum(painted.sum(axis=others))
        middle, size = int(np.searchsorted(counts, counts[-1] / 2)), len(counts)
        start = min(max(0, middle - edge // 2), max(0, size - edge))
        parts.append(slice(start, min(size, start + edge)))
    return tuple(parts)


# --- Which of the painted cells come out right: what the painter looks at first ------------------

Verdict = Literal["found", "missed", "merged"]

FOUND_IOU = 0.5
# Around painted cells so much is predicted too: objects are cut at the edge of what is predicted.
_MARGIN = 48
# Of much paint a part tells as much, and takes no longer than a few training steps: so many pixels
# are looked at, with those around a box that a network of the preset fast, or 3d, reads for it.
_MOST_PIXELS, _READ_AROUND = {2: 2**21, 3: 2**23}, {2: 44, 3: 20}


@dataclass(frozen=True)
class PaintedCell:
    """One painted cell, and what became of it."""

    image: int
    """Number of the annotated image."""
    frame: tuple[int, ...]
    """Index on its frame axes."""
    centre: tuple[int, ...]
    """A pixel of the cell in ``[Z]YX`` of the image."""
    iou: float
    """IoU with the object that overlaps it most, on painted pixels."""
    verdict: Verdict
    """Merged: one object covers most of this cell and of another painted one."""


def judge_painted_cells(
    runner: Runner, data: TrainingData, threshold: float, effort: float = 1.0
) -> tuple[PaintedCell, ...]:
    """Predict the painted cells, undeformed and with their surroundings, and compare.

    Empty where cells are not judged one by one. Less `effort` looks at fewer where they are many.
    """
    if not data.classes.judged_singly:
        return ()
    cells: dict[tuple[int, int], PaintedCell] = {}  # boxes overlap: each cell counts once
    pixels = {id(frame): pixels_per_number(frame.target.objects) for frame in data.frames}
    for frame, box in _boxes(data.frames, effort):
        for number, cell in _judge(runner, data, frame, box, pixels[id(frame)], threshold):
            cells.setdefault((id(frame), number), cell)
    return tuple(cells.values())


def mean_iou(cells: Sequence[PaintedCell]) -> float:
    """Return the mean IoU of cells, a merged one counting nothing."""
    return float(np.mean([0.0 if cell.verdict == "merged" else cell.iou for cell in cells]))


def mean_iou_of_found(cells: Sequence[PaintedCell]) -> float:
    """Return the mean IoU of cells; one that is not found counts nothing, why ever it is not."""
    return float(np.mean([cell.iou if cell.verdict == "found" else 0.0 for cell in cells]))


def was_painted(cell: PaintedCell, data: TrainingData) -> bool:
    """Return whether the middle of a cell is painted as one in data, which may be older."""
    for frame in data.frames:
        if (frame.image, frame.frame.index) == (cell.image, cell.frame):
            factors = (1,) * (len(cell.centre) - 2) + (data.binning,) * 2
            at = tuple(
                int(position / k) - start
                for position, k, start in zip(cell.centre, factors, frame.frame.origin, strict=True)
            )
            objects = frame.target.objects
            inside = all(0 <= i < n for i, n in zip(at, objects.shape, strict=True))
            return inside and bool(objects[at])
    return False


def _boxes(
    frames: Sequence[TrainingFrame], effort: float
) -> Iterator[tuple[TrainingFrame, Region]]:
    """Choose what to predict: boxes around cells, by chance as many as the effort allows.

    The same paint gets the same boxes, so that scores compare.
    """
    found = [
        (frame, grown(box, (_MARGIN,) * len(box), frame.target.objects.shape))
        for frame in frames
        for box in marked_boxes(frame.target.objects > 0)
    ]
    ndim = frames[0].frame.ndim
    left = most = int(effort * _MOST_PIXELS[ndim])
    around = 2 * _READ_AROUND[ndim]
    chosen: list[int] = []
    for i in np.random.default_rng(0).permutation(len(found)).tolist():
        cost = math.prod(part.stop - part.start + around for part in found[i][1])
        if cost <= left or not chosen:
            chosen.append(i)
            left -= cost
    for i in sorted(chosen):
        frame, box = found[i]
        yield frame, _first_pixels(box, most)


def _first_pixels(box: Region, pixels: int) -> Region:
    """Shorten a box along its longest axis to at most so many pixels."""
    sizes = [part.stop - part.start for part in box]
    axis = int(np.argmax(sizes))
    kept = min(sizes[axis], pixels * sizes[axis] // math.prod(sizes))
    return (*box[:axis], slice(box[axis].start, box[axis].start + kept), *box[axis + 1 :])


def _judge(
    runner: Runner,
    data: TrainingData,
    frame: TrainingFrame,
    box: Region,
    pixels: NDArray[np.int64],
    threshold: float,
) -> Iterator[tuple[int, PaintedCell]]:
    """Judge the cells, of so many pixels each, that lie in a box as a whole.

    Yields their numbers too.
    """
    probabilities = runner.probabilities(frame.frame, frame.intensity, box)
    decision = Decision(threshold, data.limits, data.typical_object)
    found = data.classes.task.decode(probabilities, data.classes, decision)
    target = frame.target.within(box)
    inside = np.bincount(target.objects.ravel(), minlength=pixels.size)
    whole = (inside > 0) & (inside == pixels)
    whole[0] = False
    numbers = np.flatnonzero(whole).astype(np.int32)
    if not numbers.size:
        return
    truth = np.where(whole[target.objects], target.objects, 0)
    seen = np.where(target.painted, found, 0)
    best, ious = _best_objects(seen, truth, numbers)
    held_by = np.bincount(best[best > 0], minlength=int(found.max()) + 1)
    start = np.array(frame.frame.origin) + [part.start for part in box]
    centres = _centres(truth, numbers)
    for number, cell, iou, centre in zip(numbers, best, ious, centres, strict=True):
        merged = cell > 0 and held_by[cell] > 1
        verdict: Verdict = "merged" if merged else "found" if iou >= FOUND_IOU else "missed"
        at = [int(position) for position in (start + centre)]
        at[-2:] = [int((position + 0.5) * data.binning) for position in at[-2:]]
        judged = PaintedCell(frame.image, frame.frame.index, tuple(at), float(iou), verdict)
        yield int(number), judged


def _best_objects(
    found: NDArray[np.int32], truth: NDArray[np.int32], numbers: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return, per painted cell, the object over most of it, 0 for none, and its IoU."""
    position = np.searchsorted(numbers, truth)  # of cells; others are left out below
    inside = truth > 0
    shared = np.zeros((len(numbers), int(found.max()) + 1), np.int64)
    np.add.at(shared, (position[inside], found[inside]), 1)
    areas, found_areas = shared.sum(axis=1), np.bincount(found.ravel(), minlength=shared.shape[1])
    shared[:, 0] = 0
    best = shared.argmax(axis=1)
    common = shared[np.arange(len(numbers)), best]
    ious = common / np.maximum(areas + found_areas[best] - common, 1)
    over_most = 2 * common > areas
    return np.where(over_most, best, 0), np.where(common > 0, ious, 0.0)


def _centres(truth: NDArray[np.int32], numbers: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """Return a pixel of each cell, near its middle: that of a bent stroke lies outside of it."""
    centres = []
    for number, middle in zip(numbers, center_of_mass(truth > 0, truth, numbers), strict=True):
        centre = np.array(middle).astype(np.int64)
        if truth[tuple(centre)] != number:
            pixels = np.argwhere(truth == number)
            centre = pixels[((pixels - middle) ** 2).sum(axis=1).argmin()]
        centres.append(centre)
    return centres
