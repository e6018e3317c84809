"""The questions that a task answers; the other modules of this room hold the answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from napari_unet.data.intensity import IntensityNormalization
from napari_unet.data.labels import DEFAULT_THRESHOLD, check_labels
from napari_unet.objects.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.data.axes import Region
    from napari_unet.data.frames import Frame
    from napari_unet.data.intensity import IntensityRange, Scaling
    from napari_unet.data.labels import IntArray, Kind, Output, Target, Unpainted
    from napari_unet.objects.corrections import Edit
    from napari_unet.tasks.table import ClassTable

    # Of the classes of a target, of any shape, those pixels that give it.
    Answer = Callable[[NDArray[np.int16]], NDArray[np.bool_]]


class Decision(NamedTuple):
    """What a result depends on besides the network's probabilities."""

    threshold: float = DEFAULT_THRESHOLD
    limits: Limits = Limits()
    """What an object must be to count."""
    typical: float = 0
    """Pixels of a typical object; 0: unknown."""
    binning: float = 1
    """Pixels of the map per pixel of the network."""


class Look(NamedTuple):
    """How a result is shown over its image."""

    outline: int
    """Width of the outlines in pixels; 0: filled."""
    opacity: float


# So many dB count as perfect.
_BEST_PSNR = 60.0
OUTLINES, FILLED = Look(2, 1.0), Look(0, 0.4)


@dataclass(frozen=True)
class ValidationScore:
    """How well the held-back paint was predicted."""

    loss: float
    """That of the training: weighted cross entropy; of images the error that is minimised."""
    iou: float | None
    """Foreground IoU with objects, else mean IoU of the classes; None with images."""
    object_f1: float | None
    """F1 at IoU 0.5; None with classes, or where no object is held back."""
    threshold: float = DEFAULT_THRESHOLD
    """Probability above which pixels belong to objects: that of the best mean AP, with which F1 was
    counted. With membranes: above which they are of the second class, that of the least Rand error.
    """
    psnr: float | None = None
    """Of images: peak signal-to-noise ratio in dB, 1 being the range of the grey values."""
    ssim: float | None = None
    """Of images: structural similarity, at most 1."""

    @property
    def value(self) -> float:
        """The one number, 0 to 1, that decides which weights are best; higher is better."""
        if self.iou is None:
            return min(max((self.psnr or 0.0) / _BEST_PSNR, 0.0), 1.0)
        return self.iou if self.object_f1 is None else (self.iou + self.object_f1) / 2


def scores_in_words(
    iou: float | None = None,
    object_f1: float | None = None,
    psnr: float | None = None,
    ssim: float | None = None,
    **others: object,
) -> str:
    """Return the scores of a `ValidationScore`, or of the entry that a history has of one."""
    told = (
        ("IoU {:.3f}", iou),
        ("object F1 {:.3f}", object_f1),
        ("PSNR {:.2f} dB", psnr),
        ("SSIM {:.3f}", ssim),
    )
    return ", ".join(text.format(score) for text, score in told if score is not None)


class Counts(Protocol):
    """What is counted over held-back blocks, one after the other."""

    def add(
        self, probabilities: NDArray[np.float32], target: Target, weights: NDArray[np.float32]
    ) -> None:
        """Compare what was predicted of a block with its target."""

    def scores(self) -> ValidationScore:
        """Sum it up."""


@dataclass(frozen=True)
class Task(ABC):
    """What a network is trained for. One frozen value each; `task_of` finds them by their kind."""

    kind: Kind
    """Its name in settings, flags and model files."""
    thing: str
    """What the user paints, in a word: "object"."""
    things: str
    """The same of several."""
    named: bool = False
    """Whether a number stands for a class, which has a name and a colour; else it is one thing
    among others, and the number itself means nothing."""
    border_weighted: bool = False
    """Whether gaps between things weigh more in the loss."""
    judged_singly: bool = False
    """Whether each painted thing is judged, where not all of the image is painted."""
    starting_model_teaches: bool = False
    """Whether the starting model, which knows cells, may teach what is unpainted."""
    pixel_classifier: bool = False
    """Whether a pixel classifier answers until the network is as good, and teaches it meanwhile."""
    by_threshold: bool = False
    """Whether pixels are decided by a threshold, whatever it is; else by the most probable class,
    until a better threshold was found."""
    membranes: bool = False
    """Whether one of two classes may be the membrane between cells."""
    activation: Output = "softmax"
    """What makes probabilities of the network's scores: an output of `UNetConfig`."""
    result: Literal["objects", "classes", "overlapping", "object-classes", "image"] = "classes"
    """The kind of result that a prediction gives where no other is asked for."""
    look: Look = FILLED
    """How results are shown at first."""
    paints: bool = True
    """Whether labels are learned from and predicted; else images are."""
    fewest_classes: int = 2
    """So many channels of the network, at least, must be painted."""
    bends: bool = True
    """Whether patches may be bent, and turned by any angle; else by quarter turns, so that no pixel
    is a mixture of others."""
    teaches_itself: bool = False
    """Whether the image alone is learned from, and nothing beside it."""
    enough_pixels: int = 0
    """So many pixels, of evenly spaced frames, are learned from; 0: all."""
    intensity: IntensityNormalization = IntensityNormalization()
    """How images are brought to the network's range."""
    fixed: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Settings of `TrainConfig` that have no other value with this task."""
    loss_settings: tuple[Literal["error", "balance"], ...] = ()
    """What its loss depends on: how images are compared, "squared" or "absolute"; a weight of each
    answer, which the weights of pixels do not hold."""
    in_layers: bool = False
    """Whether each class is painted, and found, in a layer of its own; `labels` then hold all of
    them in one number per pixel."""
    layer_kind: Kind = "classes"
    """Then: what is painted, and found, in such a layer by itself."""

    # --- From paint or files to a target -----------------------------------------------------

    def painted(
        self, labels: Iterable[NDArray[Any]], unpainted: Unpainted, known: Iterable[int]
    ) -> tuple[int, ...]:
        """Return the painted value of each network class, ascending; nothing without classes.

        `unpainted` is what 0 means in the labels; `known` are values that a previous training
        knows.
        """
        return ()

    @abstractmethod
    def n_classes(self, painted: Sequence[int]) -> int:
        """Return how many channels the network has for what is painted."""

    @abstractmethod
    def target(
        self, labels: IntArray, table: ClassTable, sliver: float, anisotropy: float
    ) -> Target:
        """Turn painted labels into a training target; arguments as of `target_of`."""

    def check(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Return what is to be learned; LabelsError where it can be no target of this task."""
        return check_labels(labels)

    def paint_of(self, labels: NDArray[Any], frame: Frame) -> NDArray[Any]:
        """Return the paint of a frame, ``[Z]YX``, as far as the frame goes."""
        return labels

    def values_of(self, n_names: int) -> tuple[int, ...]:
        """Return the painted value of each of so many classes, where each is in a layer."""
        raise NotImplementedError("all is in one layer")

    def packed(self, layers: Mapping[str, NDArray[Any]], unpainted: Unpainted) -> IntArray:
        """Put the labels of the layers together, by the names of their classes."""
        raise NotImplementedError("all is in one layer")

    def unpacked(self, values: NDArray[Any], n_classes: int) -> NDArray[Any]:
        """Return what a result holds for each layer, in a first axis."""
        raise NotImplementedError("all is in one layer")

    def measured(
        self, table: ClassTable, frames: Iterable[tuple[NDArray[Any], IntensityRange]]
    ) -> ClassTable:
        """Complete the table by what the paint of frames, and their intensities, say."""
        return table

    def scaled(self, target: Target, intensity: IntensityRange, table: ClassTable) -> Target:
        """Bring a target to the range of the network, for an image of this intensity."""
        return target

    def painted_classes(self, target: Target, table: ClassTable) -> NDArray[np.int16]:
        """Return the classes of a target that somebody painted."""
        return target.classes

    def answers(self, table: ClassTable) -> list[Answer]:
        """Return, for each answer there is, where classes of a target give it.

        There are equally many by question. Patches are drawn from all answers alike, and each keeps
        paint to learn from.
        """
        return [partial(np.equal, number) for number in range(table.n_classes)]

    def missing(self, present: set[int], table: ClassTable) -> str:
        """Return what is not painted besides at least two classes, and the remedy; "": nothing.

        `present` are the classes that targets hold anywhere.
        """
        return ""

    def questions(self, table: ClassTable) -> int:
        """Return how many questions each pixel is asked: one, unless it may be of several classes.

        Rare answers are weighed against the others to the same question.
        """
        return 1

    def diameter(self, labels: Iterable[NDArray[Any]], unpainted: Unpainted) -> float:
        """Measure how large the painted things are in pixels; 0: they have no size."""
        return 0.0

    @abstractmethod
    def corrections(self, before: IntArray, after: IntArray, annotation: IntArray) -> Edit:
        """Return what a corrected prediction changes in the annotation of a frame, ``[Z]YX``."""

    # --- Training ----------------------------------------------------------------------------

    def asked(
        self,
        images: Tensor,
        targets: Tensor,
        chances: Sequence[np.random.Generator],
        table: ClassTable,
    ) -> tuple[Tensor, Tensor]:
        """Change patches (B, C, *), or what is asked of them: answers and weights (B, 2, *').

        Each by its own chance. An unpadded network answers for the middle of a patch.
        """
        return images, targets

    def for_loss(self, answers: Tensor) -> Tensor:
        """Return the answers of a batch, float32, as the loss wants them."""
        return answers.long()

    def loss(self, scores: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
        """Compare the network's scores (B, C, *) with its target; see `tasks.losses`.

        That of a task also takes its `loss_settings`, by these names.
        """
        from napari_unet.tasks.losses import weighted_cross_entropy

        return weighted_cross_entropy(scores, classes, weights)

    def weights(
        self, classes: NDArray[np.int16], balance: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return how much each painted pixel counts, of a weight per answer."""
        weights: NDArray[np.float32] = balance[classes]
        return weights

    @abstractmethod
    def counts(
        self, table: ClassTable, decision: Decision, dense: bool, membrane: int | None
    ) -> Counts:
        """Return what counts how well held-back paint is predicted.

        The decision is how results are made on the network's grid; which threshold is best is
        found out. `dense` is whether most of the paint's surroundings are painted too; `membrane`
        which of two classes is the membrane between cells, None where there is none.
        """

    # --- From probabilities to results -------------------------------------------------------

    @abstractmethod
    def results(self, table: ClassTable) -> tuple[int, ...]:
        """Return the value of each network class in a result: background is 0."""

    def decide(
        self, probabilities: NDArray[np.float32], table: ClassTable, threshold: float
    ) -> NDArray[np.intp]:
        """Decide which network class each pixel is of; as `ClassTable.decide`."""
        if table.takes_most_probable(threshold):
            return np.asarray(probabilities.argmax(axis=0))
        return np.asarray(probabilities[1] > threshold, np.intp)

    def of_pixels(
        self, probabilities: NDArray[np.float32], table: ClassTable, threshold: float
    ) -> IntArray:
        """Turn probabilities into the value of each pixel by itself, in the smallest dtype."""
        results = np.array(table.results, np.min_scalar_type(max(table.results)))
        values: IntArray = results[self.decide(probabilities, table, threshold)]
        return values

    def uncertainty(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how unsure each pixel is, 0 to 1, of probabilities C, then ``[Z]YX``."""
        from napari_unet.data.uncertainty import uncertainty_of

        return uncertainty_of(probabilities)

    def decode(
        self, probabilities: NDArray[np.float32], table: ClassTable, decision: Decision
    ) -> IntArray:
        """Turn probabilities, C then ``[Z]YX``, into what the user is shown."""
        return self.of_pixels(probabilities, table, decision.threshold)

    @abstractmethod
    def as_result(self, annotation: IntArray) -> NDArray[Any]:
        """Give finished paint the numbers of results: 0 is background, of the same dtype.

        Paint is 0 where unlabelled, 1 on background, and from 2 up on things.
        """

    def completed(
        self,
        said: NDArray[np.float32],
        frame: Frame,
        intensity: Scaling,
        region: Region,
        table: ClassTable,
    ) -> NDArray[np.float32]:
        """Add to what the network says of a region (C, *) what it was not asked for."""
        return said

    def in_image(
        self, values: NDArray[np.float32], intensity: Scaling, table: ClassTable
    ) -> NDArray[np.float32]:
        """Bring what the network says of a tile (C, *) to the grey values of its image."""
        return values

    def keep_corrections(
        self, new: IntArray, before: IntArray, after: IntArray, unused: int
    ) -> tuple[IntArray, NDArray[np.bool_]]:
        """Put what was corrected in a result, `before` to `after`, into a `new` one of its place.

        Numbers from `unused` up belong to nothing. Also returns which pixels stay as they are.
        """
        stays = before != after
        return np.where(stays, after, new), stays

    def keep_painted(self, found: IntArray, painted: IntArray, smallest: int) -> IntArray:
        """Put what was painted into a result of its place, where that has no pixels of its own."""
        return found

    # --- Words -------------------------------------------------------------------------------

    def wish(self, n_painted: int) -> str:
        """Return what would help most where so many things are painted; "": there are enough."""
        return ""

    @abstractmethod
    def channel_names(self, table: ClassTable) -> tuple[str, ...]:
        """Return what each channel of an exported model is the probability of."""

    @abstractmethod
    def recipe(self, table: ClassTable, decision: Decision) -> str:
        """Return how another program makes results of an exported model's probabilities."""

    @abstractmethod
    def recipe_in_python(self, table: ClassTable, decision: Decision) -> str:
        """Return the same as a line of Python; `probabilities` and `facts` are known in it."""
