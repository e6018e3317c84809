"""What a prediction does in its worker thread: torch is imported here."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import ImageError
from napari_unet.run import Notice
from napari_unet.widgets.common.layers import pixels_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Sequence

    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike
    from napari_unet.data.frames import Beside
    from napari_unet.data.uncertainty import Spot
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.prediction.results import Prediction


_NOT_ALONE = (
    "The quick guess from single pixels had its say, as while it trained: a saved model, and "
    "results in files, are the network alone."
)
_AS_PAINTED = "Painted cells are shown as they were painted, the others as the network found them."


@dataclass(frozen=True)
class UncertainSpots:
    """Where a network is unsure."""

    spots: tuple[Spot, ...]
    """The most uncertain first."""


@dataclass(frozen=True)
class Source:
    """What a run card states about model and image, beside their numbers."""

    model: str
    image: str
    path: Path | None
    """File of the image; None: unknown."""

    @classmethod
    def of(cls, model: str, image: Image) -> Source:
        """Name a model, and an image by its layer."""
        return cls(model, image.name, Path(image.source.path) if image.source.path else None)

    def identity(self) -> str:
        """Return a text that differs between images: layers of one file are often its channels.

        When the file was changed is looked up: not for the window's thread.
        """
        from napari_unet.prediction.files import identity_of

        known = self.path is not None and self.path.exists()
        origin = identity_of(self.path) if self.path and known else str(self.path or "")
        return f"{origin} {self.image}"


def predict_with_card(
    source: Source,
    model: TrainedNetwork,
    image: ArrayLike,
    config: PredictConfig,
    target: Path | None,
    stop: threading.Event,
    before: Prediction | None = None,
    beside: Beside | None = None,
    painted: NDArray[Any] | None = None,
) -> Generator[object, None, Prediction]:
    """Predict, and make a run card of the result: it is yielded for a layer, written for a file.

    `target` is the OME-Zarr to write; None: the result stays in memory. The card comes last, and
    not of a prediction that was stopped. Of what the network has said `before`, which has kept its
    foreground, objects are separated again. `beside` and `painted` as of `predict_image`.
    """
    from napari_unet.io.outputs import card_beside_result
    from napari_unet.prediction.predictor import predict_image, separate_again
    from napari_unet.provenance.card import now
    from napari_unet.provenance.prediction_card import card_of_window, written

    started = now()
    identity = "" if target is None else source.identity()
    if before is not None:
        result = yield from separate_again(model, image, config, before, stop, painted)
    else:
        result = yield from predict_image(
            model, image, config, stop, target, identity, True, beside, painted
        )
    if result.complete:
        named = (source.image, image, source.path)
        card = card_of_window(model, source.model, named, result, config, started)
        if beside is not None:
            card = card.model_copy(update={"not_repeatable": _NOT_ALONE})
            yield Notice(_NOT_ALONE)
        if painted is not None:
            card = card.model_copy(update={"not_repeatable": _AS_PAINTED})
        yield from [card] if target is None else written(card, card_beside_result(target))
    return result


def uncertainty_events(
    model: TrainedNetwork,
    image: ArrayLike,
    painted: NDArray[np.bool_] | None,
    config: PredictConfig,
    stop: threading.Event,
) -> Generator[object, None, Prediction]:
    """Predict where a network is unsure, then rank the spots: `UncertainSpots` come last."""
    from napari_unet.data.uncertainty import find_spots
    from napari_unet.prediction.predictor import predict_image

    config = replace(config, result="uncertainty")
    result = yield from predict_image(model, image, config, stop)
    unsure = result.whole()
    spots: list[Spot] = []
    for frame in np.ndindex(*unsure.shape[: unsure.ndim - model.record.network.ndim]):
        if unsure[frame].any():
            known = None if painted is None else painted[frame]
            spots.extend(find_spots(unsure[frame], known, frame=frame))
    spots.sort(key=lambda spot: -spot.score)
    yield UncertainSpots(tuple(spots))
    return result


def files_events(
    model: TrainedNetwork,
    paths: Sequence[Path],
    target: Path,
    config: PredictConfig,
    stop: threading.Event,
) -> Generator[object, None, Any]:
    """Predict image files into a folder, with a run card beside each result."""
    from napari_unet.prediction.files import predict_files
    from napari_unet.provenance.prediction_card import is_as_written, writing_cards

    events = predict_files(model, paths, target, config, stop, may_replace=is_as_written)
    return (yield from writing_cards(events, model, "model", None, config.device))


# --- How large a result may be that is held in memory --------------------------------------------

# Pixels of a result that is held at once: 1 GB, and as much again for what it was before edits.
LARGEST_IN_MEMORY = 2**28
# The result of a part of a larger image covers that part alone.
LARGEST_COVERED = 2**26


def is_large(image: Image, keep: Sequence[int]) -> bool:
    """Return whether a layer for all of a result would be a waste of memory.

    `keep` are the axes of the image that the result has.
    """
    return math.prod(pixels_of(image).shape[axis] for axis in keep) > LARGEST_COVERED


def check_size(shape: Sequence[int]) -> None:
    """Refuse, by ImageError, a result that has too many pixels to fit into memory."""
    if math.prod(shape) > LARGEST_IN_MEMORY:
        raise ImageError(
            f"{' x '.join(f'{size:,}' for size in shape)} pixels are too large a result for "
            "memory. Predict into a file (To file…), or a smaller view."
        )
