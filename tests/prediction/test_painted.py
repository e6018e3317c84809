"""A prediction of an image that was painted on shows painted cells as they were painted."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device import DEVICE_NAME
from napari_unet.api.model import TrainedModel
from napari_unet.errors import ConfigError, LabelsError
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predictor import predict_image, separate_again
from napari_unet.prediction.results import FrameFinished, Prediction
from napari_unet.run import Run
from napari_unet.tasks import ClassTable

from .builders import a_model, see_the_image

MODEL = a_model()
LEFT, RIGHT = (slice(10, 30), slice(5, 20)), (slice(10, 30), slice(20, 35))


def merged_cells(*frames: int) -> np.ndarray[Any, Any]:
    """An image in which a network that sees brightness finds one object per frame."""
    image = np.zeros((*frames, 40, 60), np.float32)
    image[..., 10:30, 5:35] = 1
    return image


def painted_cells(*frames: int) -> np.ndarray[Any, Any]:
    painted = np.zeros((*frames, 40, 60), np.uint8)
    painted[(..., *LEFT)], painted[(..., *RIGHT)] = 2, 3
    return painted


def events_of(image: Any, painted: Any, **settings: Any) -> tuple[list[object], Prediction]:
    config = PredictConfig(device=DEVICE_NAME, **settings)
    stop = threading.Event()
    run = Run(predict_image(MODEL, image, config, stop, keeps_foreground=True, painted=painted))
    return list(run), run.result


def predicted(image: Any, painted: Any, **settings: Any) -> Prediction:
    return events_of(image, painted, **settings)[1]


@pytest.fixture(autouse=True)
def _brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    see_the_image(monkeypatch)


def test_cells_that_the_network_merges_come_out_as_they_were_painted() -> None:
    assert predicted(merged_cells(), None).objects == 1

    result = predicted(merged_cells(), painted_cells())

    labels = result.whole()
    assert result.objects == 2
    assert len(set(labels[LEFT].ravel())) == len(set(labels[RIGHT].ravel())) == 1
    assert labels[15, 10] != labels[15, 30]


def test_what_is_told_of_a_finished_frame_is_what_the_result_holds() -> None:
    events, result = events_of(merged_cells(), painted_cells())
    finished = next(event for event in events if isinstance(event, FrameFinished))
    np.testing.assert_array_equal(finished.labels, result.whole())


def test_objects_of_later_frames_get_higher_numbers() -> None:
    labels = predicted(merged_cells(3), painted_cells(3)).whole()
    assert [sorted(set(frame[frame > 0])) for frame in labels] == [[1, 2], [3, 4], [5, 6]]


def test_paint_of_one_frame_leaves_the_others_as_they_were_found() -> None:
    painted = painted_cells(3)
    painted[0] = painted[2] = 0
    labels = predicted(merged_cells(3), painted).whole()
    assert [len(set(frame[frame > 0])) for frame in labels] == [1, 2, 1]


def test_in_a_part_of_an_image_what_was_painted_there_counts() -> None:
    result = predicted(merged_cells(), painted_cells(), region=(slice(5, 35), slice(10, 50)))
    assert result.objects == 2


def test_another_threshold_keeps_what_was_painted() -> None:
    image, painted = merged_cells(), painted_cells()
    before = predicted(image, painted)
    config = PredictConfig(device=DEVICE_NAME, threshold=0.7)
    again = separate_again(MODEL, image, config, before, threading.Event(), painted)
    assert Run(again).finish().objects == 2


def test_other_results_than_objects_are_as_without_paint() -> None:
    image = merged_cells()
    as_found = predicted(image, None, result="probabilities").whole()
    result = predicted(image, painted_cells(), result="probabilities").whole()
    np.testing.assert_array_equal(result, as_found)


def test_a_model_of_classes_leaves_paint_aside() -> None:
    model = TrainedModel(a_model(ClassTable("classes", "unlabelled", (1, 2))))
    image = merged_cells()
    result = model.predict(image, device=DEVICE_NAME, painted=painted_cells())
    np.testing.assert_array_equal(result, model.predict(image, device=DEVICE_NAME))


def test_python_gives_what_was_painted() -> None:
    model = TrainedModel(MODEL)
    labels = model.predict(merged_cells(), device=DEVICE_NAME, painted=painted_cells())
    assert labels.max() == 2


def test_paint_of_another_image_is_refused() -> None:
    with pytest.raises(LabelsError, match=r"\(40, 61\).*\(40, 60\)"):
        predicted(merged_cells(), np.zeros((40, 61), np.uint8))


def test_a_file_does_not_keep_paint(tmp_path: Path) -> None:
    config, target = PredictConfig(device=DEVICE_NAME), tmp_path / "a.ome.zarr"
    events = predict_image(
        MODEL, merged_cells(), config, threading.Event(), target, painted=painted_cells()
    )
    with pytest.raises(ConfigError, match="leave out painted"):
        Run(events).finish()
