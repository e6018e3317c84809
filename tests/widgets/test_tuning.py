"""Threshold and smallest object change what is shown at once: the network is not asked again."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_unet.data.axes import Region
from napari_unet.data.frames import Frame
from napari_unet.model.execution import Runner
from napari_unet.prediction.frame_objects import FrameObjects
from napari_unet.widgets.common.session import session_of

from .conftest import Desk
from .test_predict import predict_with, untrained
from .test_result_layer import press, result_of

Cancelled = Generator[object, None, tuple[int, bool]]
LARGE, SMALL = (slice(8, 24), slice(8, 24)), (slice(40, 44), slice(40, 44))


@pytest.fixture
def asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A result of a sure large cell and an unsure small one; lists how often a network answers."""
    calls: list[object] = []

    def compute(self: Runner, pixels: object, frame: Frame, region: Region) -> NDArray[Any]:
        calls.append(region)
        seen = np.zeros((96, 96), np.float32)
        seen[LARGE], seen[SMALL] = 0.9, 0.6
        return np.stack([1 - seen[region], seen[region]])

    monkeypatch.setattr(Runner, "compute", compute)
    predict_with(desk, untrained())
    calls.clear()
    return calls


def tune(desk: Desk, name: str, value: float) -> None:
    desk.predict.options.form.editors[name].show(value)
    desk.qtbot.waitUntil(lambda: not desk.predict.starter._tuning.isActive(), timeout=10_000)
    desk.wait_until_idle()


@pytest.mark.parametrize(("name", "value"), [("threshold", 0.8), ("smallest", 50)])
def test_what_it_excludes_goes_without_asking_the_network(
    desk: Desk, asked: list[object], name: str, value: float
) -> None:
    layer = result_of(desk)
    assert layer.data[SMALL].all()

    tune(desk, name, value)

    assert layer.data[LARGE].all()
    assert not layer.data[SMALL].any()
    assert asked == []


def test_a_corrected_cell_stays_whatever_the_threshold(desk: Desk, asked: list[object]) -> None:
    layer = result_of(desk)
    layer.data_setitem(np.nonzero(layer.data == layer.data[10, 10]), 0)

    tune(desk, "threshold", 0.8)

    assert not layer.data.any()


def test_a_change_that_was_cancelled_can_be_made_again(
    desk: Desk, asked: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(
        self: FrameObjects, last: int, *more: object
    ) -> Generator[object, None, tuple[int, bool]]:
        return last, False
        yield

    with monkeypatch.context() as patch:
        patch.setattr(FrameObjects, "finish", cancelled)
        tune(desk, "threshold", 0.8)

    tune(desk, "threshold", 0.75)

    assert result_of(desk).data[LARGE].all()
    assert not result_of(desk).data[SMALL].any()
    assert asked == []


def test_the_comma_key_brings_back_what_was_there_before_all_of_them(
    desk: Desk, asked: list[object]
) -> None:
    before = result_of(desk).data.copy()
    for threshold in (0.7, 0.8, 0.95):
        tune(desk, "threshold", threshold)
    assert not result_of(desk).data.any()

    press(desk, ",")

    np.testing.assert_array_equal(result_of(desk).data, before)


def test_what_is_painted_in_stays_selected(desk: Desk, asked: list[object]) -> None:
    desk.click(desk.annotate.new_button)
    annotation = desk.annotate.target.annotation
    desk.viewer.layers.selection.active = annotation

    tune(desk, "threshold", 0.8)

    assert desk.viewer.layers.selection.active is annotation


def test_of_another_model_nothing_is_shown_until_it_is_asked(
    desk: Desk, asked: list[object]
) -> None:
    before = result_of(desk).data.copy()
    session_of(desk.viewer).set_model(untrained(), "another")

    tune(desk, "threshold", 0.8)

    np.testing.assert_array_equal(result_of(desk).data, before)
