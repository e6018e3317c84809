"""Train and predict with this program, as a script of a user does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from unittest import mock

from exchange import given

import napari_unet as nu

if TYPE_CHECKING:
    from numpy.typing import NDArray


def main() -> None:
    """Answer one job."""
    job = given()
    settings = job.settings
    images, labels = job.training()
    config = nu.TrainConfig.preset(
        settings["preset"],
        unpainted=settings["unpainted"],
        minutes=settings["seconds"] / 60,
        seed=settings["seed"],
        device="cpu",
    )
    began = time.process_time()
    # Minutes are those of a wall clock; here they are to be those of the processor.
    with mock.patch.object(time, "monotonic", time.process_time):
        model = nu.train(images, labels, config, axes=_axes(images[0]))
    seconds = time.process_time() - began
    steps = model.record.steps

    def predict(image: NDArray[Any]) -> NDArray[Any]:
        return model.predict(image, axes=_axes(image), device="cpu")

    job.answer(predict, {"seconds": seconds, "steps": steps}, ["napari-unet-paint", "torch"])


def _axes(image: NDArray[Any]) -> str:
    return "YXC" if image.ndim == 3 else "YX"


if __name__ == "__main__":
    main()
