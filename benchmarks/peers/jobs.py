"""One program, what it learns from, what it predicts, and what both scorers say of that."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import here  # noqa: F401  (finds the modules of the other benchmarks)
import matching
import numpy as np
import tifffile
from datasets import entering_field
from environments import run_peer

from napari_unet.evaluation.scores import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from datasets import Labels, Sample
    from numpy.typing import NDArray
    from rows import Row

    Pair = tuple[NDArray[Any], Labels]

_SCORES = ("f1_50", "f1_75", "map", "seg")


@dataclass(frozen=True)
class Job:
    """What a program is asked to do.

    Parameters
    ----------
    given : sequence of (ndarray, ndarray)
        Images and labels to learn from.
    tested : sequence of ndarray
        Images to predict.
    settings : dict
        See `Job` of `runners/exchange.py`.
    """

    given: Sequence[Pair]
    tested: Sequence[NDArray[Any]]
    settings: dict[str, Any]

    def run(self, peer: str, environments: Path) -> tuple[Row, list[NDArray[Any]]]:
        """Return what the program says of its work, and what it predicted."""
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            for name in ("train", "test", "predicted"):
                (folder / name).mkdir()
            for number, (image, labels) in enumerate(self.given):
                np.savez(folder / "train" / f"{number:03}.npz", image=image, labels=labels)
            for number, image in enumerate(self.tested):
                np.savez(folder / "test" / f"{number:03}.npz", image=image)
            (folder / "job.json").write_text(json.dumps(self.settings), encoding="utf-8")
            run_peer(peer, folder, environments)
            found = json.loads((folder / "result.json").read_text())
            large = folder / "large.json"
            if large.is_file():
                found["large"] = json.loads(large.read_text())
            predicted = sorted((folder / "predicted").glob("*.tif"))
            return found, [tifffile.imread(path) for path in predicted]


@dataclass(frozen=True)
class Segmentation:
    """A job whose answers are objects, and the truth of them.

    Parameters
    ----------
    peer : str
        One of `PEERS`.
    given : sequence of (ndarray, ndarray)
        Images and labels to learn from.
    tested : sequence of Sample
        To predict and to score.
    settings : dict
        See `Job`.
    border : int
        Objects that lie wholly within so many pixels of the image's edge are not scored.
    """

    peer: str
    given: Sequence[Pair]
    tested: Sequence[Sample]
    settings: dict[str, Any]
    border: int = 0

    def measured(self, environments: Path) -> Row:
        """Let the program learn and predict, and score it."""
        job = Job(self.given, [sample.image for sample in self.tested], self.settings)
        found, predicted = job.run(self.peer, environments)
        pairs = list(self._pairs(predicted))
        ours = evaluate([p for p, _ in pairs], [t for _, t in pairs])
        scores = {key: float(ours[key]) for key in _SCORES}
        return {
            "scores": scores,
            "by_another": matching.scores(pairs),
            "images": len(pairs),
            **found,
        }

    def _pairs(self, predicted: Sequence[Labels]) -> Iterator[tuple[Labels, Labels]]:
        """Yield predicted and true labels, without what does not enter the field of interest."""
        for labels, sample in zip(predicted, self.tested, strict=True):
            found = entering_field(labels.astype(np.int32), self.border)
            yield found, entering_field(sample.labels, self.border)
