"""Compare U-Net and random forest in the hands of a simulated person, round by round.

Each round she paints a few strokes where the present answer is visibly wrong; the U-Net trains
some seconds further, the forest learns the same strokes afresh, and both are scored against the
full truth. By default she looks at the answers of the two in turn, so that neither alone gets
the strokes that suit it. Objects are made of the forest's foreground in two ways (4-connected
components, and this package's separation of objects); the better score counts for it.

Run from the checkout (it needs scikit-learn)::

    python benchmarks/simulated_annotator.py [--rounds 6] [--seconds 5] [--draws 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import tifffile
from annotator import Annotator
from forest import Forest, ForestScores, Scores, require_sklearn, score_forest, scores_of

from napari_unet.api.model import TrainedModel
from napari_unet.errors import ConfigError, FileProblemError, NapariUNetError
from napari_unet.objects.separation import separate_objects
from napari_unet.run import Run
from napari_unet.samples import load_nuclei_2d
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.loop import TrainingResult, train_network
from napari_unet.training.preparation import prepare_training

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Guide = Literal["unet", "forest", "both"]
Score = Literal["iou", "f1"]

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
DEFAULT_IMAGES = ("nuclei2d", "dsb2018_fluo/044", "ctc_dic_hela/033")
# In the Cell Tracking Challenge nobody has labelled cells within this border of the images.
_UNLABELLED_BORDER = {"ctc_dic_hela": 50}


@dataclass(frozen=True)
class Options:
    """What the command line says; see ``--help``."""

    images: tuple[str, ...]
    rounds: int
    seconds: float
    draws: int
    threads: int
    guided_by: Guide
    forest_samples: float
    json: Path | None

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in ("rounds", "seconds", "draws", "threads", "forest_samples"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; choose more than 0.")
        if self.forest_samples > 1:
            raise ConfigError(f"forest_samples is {self.forest_samples}; choose at most 1.")


@dataclass(frozen=True)
class LabelledImage:
    """An image with all its cells: ``YX[C]``, and ``YX`` labels with background 0."""

    name: str
    image: NDArray[Any]
    truth: NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Round:
    """What one round brought; counts and seconds are cumulative but for the forest's."""

    number: int
    strokes: int
    painted: float
    seconds: float
    steps: int
    unet: Scores
    forest: ForestScores
    forest_seconds: float


@dataclass(frozen=True)
class Session:
    """All rounds of one person on one image, and the seconds that the forest's features took."""

    image: str
    draw: int
    feature_seconds: float
    rounds: tuple[Round, ...]


def load_image(name: str) -> LabelledImage:
    """Load the bundled nuclei, or ``SET/NUMBER`` of ``../shared/data``.

    Raises
    ------
    FileProblemError
        There is no such image, or it has no labels.
    """
    if name == "nuclei2d":
        image, _, truth = load_nuclei_2d()
        return LabelledImage(name, image, truth)
    folder, _, number = name.partition("/")
    image_path = SHARED_DATA / folder / "images" / f"{number}.tif"
    labels_path = SHARED_DATA / folder / "labels" / f"{number}.tif"
    if not image_path.is_file() or not labels_path.is_file():
        raise FileProblemError(
            f"{name!r} is no labelled image (looked for {image_path} and {labels_path}); choose "
            "nuclei2d, or SET/NUMBER of ../shared/data."
        )
    border = _UNLABELLED_BORDER.get(folder, 0)
    inner = (slice(border, -border or None),) * 2
    image, truth = tifffile.imread(image_path)[inner], tifffile.imread(labels_path)[inner]
    return LabelledImage(name, np.ascontiguousarray(image), np.ascontiguousarray(truth))


def default_images() -> list[str]:
    """Return the default images that are there; the first one is bundled."""
    shared = [n for n in DEFAULT_IMAGES[1:] if (SHARED_DATA / n).parent.is_dir()]
    return [DEFAULT_IMAGES[0], *shared]


def train_some_seconds(
    images: Sequence[AnnotatedImage],
    previous: TrainingResult | None,
    seconds: float,
    config: TrainConfig,
) -> TrainingResult:
    """Train a U-Net for some seconds, from where it was.

    The time limit makes each call one cycle of the learning rate. (A limit of very many steps,
    ended by the clock, would not: the rate would still be in its warm-up after a minute.)

    Parameters
    ----------
    images : sequence of AnnotatedImage
        With what is painted by now.
    previous : TrainingResult or None
        What the last call returned, with the same settings.
    seconds : float
        Of training and validating; preparing the data does not count.
    config : TrainConfig
        The settings.
    """
    config = config.changed(minutes=seconds / 60)
    data = prepare_training(images, config, previous.data if previous else None)
    state = previous.state if previous else None
    return Run(train_network(data, config, threading.Event(), state)).finish()


def run_session(labelled: LabelledImage, draw: int, options: Options) -> Session:
    """Let a person paint in rounds, and print each."""
    person = Annotator(labelled.image, labelled.truth, draw)
    forest = Forest(labelled.image, options.threads, draw, options.forest_samples)
    config = TrainConfig.preset("fast", seed=draw)
    result: TrainingResult | None = None
    answers: dict[str, NDArray[np.integer[Any]]] = {}
    rounds = []
    for number in range(1, options.rounds + 1):
        if result is None:
            person.begin()
        else:
            person.correct(answers[guide_of(number, options.guided_by)])
        images = [AnnotatedImage(labelled.name, labelled.image, person.labels.copy())]
        result = train_some_seconds(images, result, options.seconds, config)
        network = result.latest  # what she sees while it learns; the best one may be rounds old
        answers["unet"] = TrainedModel(network).predict(labelled.image)
        answer = forest.answer(person.labels)
        smallest = network.record.smallest_object
        answers["forest"] = separate_objects(answer.foreground, smallest)
        rounds.append(
            Round(
                number,
                person.n_strokes,
                float(np.mean(person.labels > 0)),
                result.state.seconds,
                result.state.step,
                scores_of(answers["unet"], labelled.truth),
                score_forest(answer.foreground, smallest, labelled.truth),
                answer.seconds,
            )
        )
        print(round_text(rounds[-1]), flush=True)
    return Session(labelled.name, draw, forest.feature_seconds, tuple(rounds))


def guide_of(number: int, guided_by: Guide) -> str:
    """Return whose mistakes decide the strokes of a round: with "both" they alternate."""
    if guided_by == "both":
        return "unet" if number % 2 == 0 else "forest"
    return guided_by


def ahead_from(ours: Sequence[float], theirs: Sequence[float]) -> int | None:
    """Return the round, from 1, from which on ours is always larger; None where it is not."""
    first = len(ours) + 1
    while first > 1 and ours[first - 2] > theirs[first - 2]:
        first -= 1
    return first if first <= len(ours) else None


def lead_of(session: Session, score: Score) -> tuple[float, float]:
    """Return round and training second from which the U-Net is ahead; infinite where never."""
    rounds = session.rounds
    ours = [getattr(r.unet, score) for r in rounds]
    first = ahead_from(ours, [getattr(r.forest.best, score) for r in rounds])
    if first is None:
        return float("inf"), float("inf")
    return float(first), rounds[first - 1].seconds


def lead_text(lead: tuple[float, float]) -> str:
    """Word a lead: ``round 2, 10.1 s``, or ``never``."""
    return "never" if lead[0] == float("inf") else f"round {lead[0]:g}, {lead[1]:.1f} s"


HEADER = "round strokes painted train s  steps | U-Net IoU    F1 | forest IoU    F1  fit+predict s"


def round_text(r: Round) -> str:
    """Word a round as a line under `HEADER`."""
    return (
        f"{r.number:5d} {r.strokes:7d} {r.painted:7.2%} {r.seconds:7.1f} {r.steps:6d} | "
        f"{r.unet.iou:9.3f} {r.unet.f1:5.3f} | "
        f"{r.forest.best.iou:10.3f} {r.forest.best.f1:5.3f} {r.forest_seconds:14.2f}"
    )


def lead_table(sessions: Sequence[Session]) -> str:
    """Tell from when the U-Net is ahead: per draw, then (upper) medians per image and of all."""
    groups = {f"{s.image}, draw {s.draw}": [s] for s in sessions}
    for name in dict.fromkeys(session.image for session in sessions):
        groups[f"{name}, median"] = [s for s in sessions if s.image == name]
    groups["all, median"] = list(sessions)
    lines = [f"{'U-Net ahead from':28} {'in foreground IoU':>20} {'in object F1':>20}"]
    for title, chosen in groups.items():
        iou = statistics.median_high(lead_of(s, "iou") for s in chosen)
        f1 = statistics.median_high(lead_of(s, "f1") for s in chosen)
        lines.append(f"{title:28} {lead_text(iou):>20} {lead_text(f1):>20}")
    return "\n".join(lines)


def run(options: Options) -> None:
    """Run all sessions; print their rounds and the table of leads, and write the JSON file."""
    import torch

    require_sklearn()
    torch.set_num_threads(options.threads)
    images = [load_image(name) for name in options.images]
    sessions = []
    for labelled in images:
        for draw in range(options.draws):
            print(f"\n{labelled.name}, draw {draw}\n{HEADER}")
            sessions.append(run_session(labelled, draw, options))
            print(f"The forest's features took {sessions[-1].feature_seconds:.2f} s, once.")
    print(f"\n{lead_table(sessions)}")
    if options.json is not None:
        try:
            options.json.write_text(json.dumps([asdict(s) for s in sessions], indent=1) + "\n")
        except OSError as error:
            raise FileProblemError(f"{options.json} cannot be written: {error}.") from error


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--images", nargs="+", default=default_images(), help="nuclei2d, or SET/NUMBER of shared")
    add("--rounds", type=int, default=6, help="of painting and training")
    add("--seconds", type=float, default=5.0, help="of training per round")
    add("--draws", type=int, default=3, help="persons per image, each with another seed")
    add("--threads", type=int, default=2, help="for the U-Net and for the forest")
    add("--guided-by", choices=get_args(Guide), default="both", help="whose mistakes are painted")
    add("--forest-samples", type=float, default=0.05, help="share of the paint per tree")
    add("--json", type=Path, help="also write all numbers to this file")
    values = vars(parser.parse_args())
    try:
        run(Options(**{**values, "images": tuple(values["images"])}))
    except NapariUNetError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
