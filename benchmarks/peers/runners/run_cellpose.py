"""Train Cellpose 3 from scratch, or from ready weights where somebody has them, and predict."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from cellpose import models, train
from exchange import Budget, SpentError, given
from torch.optim.optimizer import register_optimizer_step_post_hook

if TYPE_CHECKING:
    from exchange import Job
    from numpy.typing import NDArray

_GREY = [0, 0]
# By default 8: of these one core takes ten in a minute. The least that keeps its batches mixed.
_BATCH = 2
_TRIED = 3


def main() -> None:
    """Answer one job."""
    job = given()
    steps: list[float] = []
    register_optimizer_step_post_hook(lambda *_: steps.append(time.process_time()))
    began = time.process_time()
    _train(job, _TRIED)
    per_step = steps[-1] - steps[-2]
    # Flows are computed before the first step. The rate of learning falls towards a planned end.
    left = job.settings["seconds"] - (steps[0] - began - per_step)
    steps.clear()
    budget = Budget(job.settings["seconds"])
    budget.stop_torch()
    model = _train(job, max(1, int(left / per_step)))
    notes = {"seconds": budget.used, "steps": len(steps)}
    diameter = float(model.net.diam_labels.item())

    def predict(image: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = model.eval(image, channels=_GREY, diameter=diameter)[0]
        return found

    job.answer(predict, notes, ["cellpose", "torch"])


def _train(job: Job, steps: int) -> Any:
    """Return a model that took so many steps, or fewer where the seconds were spent before."""
    torch.manual_seed(job.settings["seed"])
    model = models.CellposeModel(gpu=False, pretrained_model=job.settings["weights"] or False)
    images, masks = job.training()
    try:
        train.train_seg(
            model.net,
            images,
            masks,
            channels=_GREY,
            n_epochs=steps,
            batch_size=_BATCH,
            nimg_per_epoch=_BATCH,
            min_train_masks=1,
            save_path=job.folder,
        )
    except SpentError:
        print("Stopped: the seconds are spent.")
    return model


if __name__ == "__main__":
    main()
