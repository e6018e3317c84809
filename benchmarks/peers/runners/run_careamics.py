"""Denoise with CAREamics' Noise2Void, from the noisy image alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from careamics import CAREamist
from careamics.config.factories.n2v_factory import create_n2v_config
from exchange import Budget, given
from pytorch_lightning.callbacks import Callback

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_STEPS = 100_000
_TILE = 512


class _Stop(Callback):  # type: ignore[misc]  # it is installed beside CAREamics only
    """Ends the training when its seconds are spent."""

    def __init__(self, seconds: float) -> None:
        self.budget, self.steps = Budget(seconds), 0

    def on_train_batch_end(self, trainer: Any, *_: object) -> None:
        """Count a step."""
        self.steps += 1
        trainer.should_stop = trainer.should_stop or self.budget.left <= 0


def main() -> None:
    """Answer one job."""
    job = given()
    (image,), _ = job.training()
    config = create_n2v_config(
        "n2v", "array", "YX", [64, 64], 16, num_epochs=1, num_steps=_MOST_STEPS
    )
    stop = _Stop(job.settings["seconds"])
    careamist = CAREamist(config, work_dir=job.folder / "careamics", callbacks=[stop])
    careamist.train(train_data=image)
    notes = {"seconds": stop.budget.used, "steps": stop.steps}

    def predict(image: NDArray[Any]) -> NDArray[Any]:
        tiles = {"tile_size": (_TILE, _TILE), "tile_overlap": (48, 48)}
        made = careamist.predict(image, **(tiles if max(image.shape) > _TILE else {}))
        while isinstance(made, (list, tuple)):
            made = made[0]
        pixels: NDArray[Any] = np.squeeze(made)
        return pixels

    job.answer(predict, notes, ["careamics", "torch"])


if __name__ == "__main__":
    main()
