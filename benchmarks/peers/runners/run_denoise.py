"""Denoise with this program, from the noisy image alone."""

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
    (image,), _ = job.training()
    config = nu.TrainConfig.preset(
        "fast",
        kind="denoise",
        minutes=job.settings["seconds"] / 60,
        seed=job.settings["seed"],
        device="cpu",
    )
    began = time.process_time()
    # Minutes are those of a wall clock; here they are to be those of the processor.
    with mock.patch.object(time, "monotonic", time.process_time):
        model = nu.train(image, config=config, axes="YX")
    notes = {"seconds": time.process_time() - began, "steps": model.record.steps}

    def predict(image: NDArray[Any]) -> NDArray[Any]:
        return model.predict(image, axes="YX", device="cpu")

    job.answer(predict, notes, ["napari-unet-paint", "torch"])


if __name__ == "__main__":
    main()
