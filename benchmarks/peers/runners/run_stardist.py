"""Train StarDist from scratch, as its example notebook does, and predict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from csbdeep.utils import normalize
from exchange import Budget, given
from stardist.models import Config2D, StarDist2D
from tensorflow import keras

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exchange import Job
    from numpy.typing import NDArray

    Pixels = NDArray[Any]

_LARGEST_PATCH = 256
_STEPS_PER_EPOCH = 20
_HELD_BACK = 0.15
_TILE = 1024


def main() -> None:
    """Answer one job."""
    job = given()
    np.random.seed(job.settings["seed"])
    keras.utils.set_random_seed(job.settings["seed"])
    images, masks = job.training()
    images = [_normalized(image) for image in images]
    held_back = max(1, round(_HELD_BACK * len(images))) if len(images) > 1 else 0
    learned = (images[held_back:], masks[held_back:])
    checked = (images[:held_back], masks[:held_back]) if held_back else learned
    model, steps, budget = _trained(job, learned, checked)
    model.optimize_thresholds(*checked)
    notes = {"seconds": budget.used, "steps": steps}

    def predict(image: Pixels) -> Pixels:
        tiles = [max(1, round(size / _TILE)) for size in image.shape[:2]] + [1] * (image.ndim - 2)
        found: Pixels = model.predict_instances(
            _normalized(image), n_tiles=tiles, show_tile_progress=False
        )[0]
        return found

    job.answer(predict, notes, ["stardist", "tensorflow-cpu", "keras"])


def _trained(
    job: Job,
    learned: tuple[Sequence[Pixels], Sequence[Pixels]],
    checked: tuple[Sequence[Pixels], Sequence[Pixels]],
) -> tuple[Any, int, Budget]:
    """Return the model, trained until the seconds are spent, its steps and its seconds."""
    images = [*learned[0], *checked[0]]
    edge = min(_LARGEST_PATCH, *(16 * (size // 16) for i in images for size in i.shape[:2]))
    config = Config2D(
        n_channel_in=1 if images[0].ndim == 2 else images[0].shape[-1],
        grid=(2, 2),
        train_patch_size=(edge, edge),
        train_steps_per_epoch=_STEPS_PER_EPOCH,
        train_epochs=100_000,
        train_tensorboard=False,
    )
    model = StarDist2D(config, name="stardist", basedir=str(job.folder))
    model.prepare_for_training()
    taken, budget = 0, Budget(job.settings["seconds"])

    def after_step(batch: int, logs: object = None) -> None:
        nonlocal taken, budget
        taken += 1
        if taken == 1:  # it also compiled the network, which is no learning
            budget = Budget(job.settings["seconds"])
        if budget.left <= 0:
            model.keras_model.stop_training = True

    model.callbacks.append(keras.callbacks.LambdaCallback(on_train_batch_end=after_step))
    model.train(*learned, validation_data=checked, augmenter=_augmented)
    return model, taken, budget


def _normalized(image: Pixels) -> Pixels:
    scaled: Pixels = normalize(image, 1, 99.8, axis=(0, 1))
    return scaled


def _augmented(image: Pixels, mask: Pixels) -> tuple[Pixels, Pixels]:
    """Turn, mirror, and change brightness and contrast: the augmentation of the notebook."""
    turns = np.random.randint(4)
    image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    if np.random.rand() < 0.5:
        image, mask = image[::-1], mask[::-1]
    image = image * np.random.uniform(0.6, 2) + np.random.uniform(-0.2, 0.2)
    return image + 0.02 * np.random.uniform(0, 1) * np.random.normal(0, 1, image.shape), mask


if __name__ == "__main__":
    main()
