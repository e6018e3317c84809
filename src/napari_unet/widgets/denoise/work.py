"""What the Denoise dock does in its worker thread: train, then predict; torch is imported here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_unet.widgets.train.work import import_for_training

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.dataset import AnnotatedImage


@dataclass(frozen=True)
class Made:
    """An image that was made."""

    pixels: NDArray[Any]
    model: TrainedNetwork
    steps: int
    """That it has learned; less than planned where it was stopped."""


def made_of(
    image: AnnotatedImage,
    config: TrainConfig | None,
    known: TrainedNetwork | None,
    prediction: PredictConfig,
    stop: threading.Event,
) -> Generator[object, None, Made | None]:
    """Train on an image, and make of it what was learned; without settings `known` makes it.

    Stopped, a training still makes an image of what it has learned; stopped again, there is none.
    """
    import_for_training(stop)
    from napari_unet.prediction.predictor import predict_image
    from napari_unet.training.loop import train_network
    from napari_unet.training.preparation import prepare_training

    model = known
    if config is not None:
        learned = image if image.labels.size else _beside_itself(image, config)
        result = yield from train_network(prepare_training([learned], config), config, stop)
        if result.state.step == 0:
            return None
        model = result.trained
        stop.clear()
    assert model is not None
    predicted = yield from predict_image(model, image.image, prediction, stop)
    return Made(predicted.whole(), model, model.record.steps) if predicted.complete else None


def _beside_itself(image: AnnotatedImage, config: TrainConfig) -> AnnotatedImage:
    from napari_unet.training.sources import no_labels

    return replace(image, labels=no_labels(tuple(image.image.shape), image.axes, config.ndim))
