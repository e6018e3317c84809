"""What a running training tells, a frozen value per happening, and what it is told."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from napari_unet.run import Notice
from napari_unet.tasks import scores_in_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.data.axes import Region
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.training.dataset import AnnotatedImage
    from napari_unet.training.state import TrainingState
    from napari_unet.training.validation import PaintedCell


@dataclass(frozen=True)
class TrainingStarted:
    """The data are prepared and the network stands."""

    device: str
    """Where it computes, for people."""
    frames: int
    """Painted frames."""
    painted: int
    """Painted pixels, validation included."""
    validation_blocks: int
    """Blocks held back; 0 where the paint is too little to spare any."""
    steps: int
    """Planned steps, the finished ones of a resumed training included; 0 where time decides."""


@dataclass(frozen=True)
class StepDone:
    """One optimiser update was made."""

    step: int
    """Its number, from 1."""
    loss: float
    """Weighted cross entropy of what is painted on its patches; what a starting model teaches
    besides is not in it.
    """
    progress: float
    """Share of the training that is done, 0 to 1."""
    seconds_left: float
    """Estimate of the time that remains."""
    seconds: float = 0.0
    """How long it took."""
    memory: int = 0
    """Bytes that the training holds: on the GPU, or of the whole program on the CPU."""


@dataclass(frozen=True)
class Validated:
    """The held-back blocks were predicted and scored."""

    step: int
    """After which step."""
    loss: float
    """Weighted cross entropy on the painted pixels of the blocks; of images the squared error."""
    iou: float | None
    """Foreground IoU with objects, mean IoU of the classes; None with images."""
    object_f1: float | None
    """F1 of the objects at IoU 0.5; None with classes, or where no object is held back."""
    best: bool
    """Whether the weights are kept: their score is the best so far, or as good within the noise of
    few labels.
    """
    psnr: float | None = None
    """Of images, in dB; see `ValidationScore`."""
    ssim: float | None = None
    """Of images."""

    @property
    def text(self) -> str:
        """The scores, in words."""
        return scores_in_words(self.iou, self.object_f1, self.psnr, self.ssim)


@dataclass(frozen=True)
class PaintJudged:
    """The painted cells were predicted and compared with their paint."""

    step: int
    """After which step."""
    cells: tuple[PaintedCell, ...]
    """One per painted cell; of very many an even choice."""
    best: bool = False
    """Whether the weights are kept; see `Validated`."""

    @property
    def found(self) -> int:
        """How many of the painted cells come out right."""
        return sum(cell.verdict == "found" for cell in self.cells)


@dataclass(frozen=True)
class AnnotationsJoined:
    """Newly painted labels are learned from, from the next step on."""

    step: int
    """After which step."""
    painted: int
    """Painted pixels now, validation included."""
    validation_blocks: int
    """Blocks held back now."""
    new_cells: tuple[PaintedCell, ...] = ()
    """What the network makes of the cells that are new, before it learns them: an honest score,
    which costs no paint.
    """


@dataclass(frozen=True)
class ViewPredicted:
    """What is on screen was predicted with the weights as they are now, or the best ones."""

    step: int
    """After which step."""
    image: int
    """Number of the annotated image."""
    frame: tuple[int, ...]
    """Index on its frame axes."""
    region: Region
    """The predicted box, in ``[Z]YX``."""
    labels: NDArray[np.integer[Any]]
    """Of that box: 0 background; objects 1..N, or classes as painted."""
    seconds: float
    """How long it took."""
    share_of_network: float = 1.0
    """Below 1 a pixel classifier predicted it as well; at 0 it alone."""
    by_best: bool = False
    """Whether earlier weights predicted it, which are kept: the newest were found to be worse."""


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on if the program ends now; whoever listens may write it down."""

    trained: TrainedNetwork
    """The best network so far."""
    state: TrainingState
    """From which the training can go on."""


TrainingEvent = (
    TrainingStarted
    | StepDone
    | Validated
    | PaintJudged
    | AnnotationsJoined
    | ViewPredicted
    | Checkpoint
    | Notice
)


# --- What it is told: newly painted labels, and what is on screen -------------------------------


@dataclass(frozen=True)
class View:
    """What is on screen."""

    image: int
    """Number of the annotated image."""
    frame: tuple[int, ...]
    """Index on its frame axes."""
    region: Region
    """The visible box, in ``[Z]YX``."""


class Inbox:
    """What one training is told: any thread may write, the training reads between steps."""

    def __init__(self) -> None:
        self.view: View | None = None  # what to predict now and then
        self.checkpoint_wanted: Final = threading.Event()  # set it for one after the present step
        self.checkpoint_saved: Final = threading.Event()  # set by whoever has written it down
        # Nobody listens any more: on another machine it goes on, here nothing becomes of it.
        self.left: Final = threading.Event()
        self._annotations: deque[tuple[AnnotatedImage, ...]] = deque(maxlen=1)

    def annotate(self, images: tuple[AnnotatedImage, ...]) -> None:
        """Leave the images as they are painted now: all of them, in the order of the start."""
        self._annotations.append(images)

    def take_annotations(self) -> tuple[AnnotatedImage, ...] | None:
        """Take the newest annotated images out; None where there are none."""
        return self._annotations.pop() if self._annotations else None
