from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

from napari_unet.prediction.results import (
    FrameFinished,
    PredictionProgress,
    PredictionStarted,
    TilePredicted,
)
from napari_unet.run import Notice

STARTED = PredictionStarted("CPU", 4, (8, 8), "objects")
BOX = (slice(0, 8), slice(0, 8))


def after(*events: object) -> PredictionProgress:
    return reduce(PredictionProgress.after, events, PredictionProgress())


def test_it_starts_until_the_tiles_are_counted() -> None:
    assert after().text == "starting"


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(TilePredicted(2, (), BOX, np.zeros((8, 8))), id="here"),
        pytest.param(PredictionProgress(2, 4), id="elsewhere"),
    ],
)
def test_a_tile_counts_wherever_it_was_predicted(event: object) -> None:
    assert after(STARTED, event).text == "tile 2 of 4"


def test_blocks_count_while_objects_are_separated() -> None:
    assert after(STARTED, PredictionProgress(4, 4, 1, 3)).text == "objects: block 1 of 3"


def test_tiles_count_again_in_the_next_frame() -> None:
    assert (
        after(STARTED, PredictionProgress(2, 4, 3, 3), PredictionProgress(3, 4)).text
        == "tile 3 of 4"
    )


def test_notices_are_collected() -> None:
    assert (
        after(STARTED, Notice("One."), PredictionProgress(1, 4), Notice("Two.")).notices
        == "One. Two."
    )


def test_the_notices_of_one_image_are_not_those_of_the_next() -> None:
    assert after(STARTED, Notice("One."), STARTED).notices == ""


def test_another_event_changes_nothing() -> None:
    finished = FrameFinished((), BOX, np.zeros((8, 8)))
    assert after(STARTED, PredictionProgress(4, 4), finished) == after(
        STARTED, PredictionProgress(4, 4)
    )
