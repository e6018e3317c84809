"""Channels, scale, and what does not fit, in the Predict widget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_unet.model.trained import TrainedNetwork
from napari_unet.prediction.config import PredictConfig

from .conftest import HAND, Desk, disks
from .test_predict import predict_with, untrained


def of_size(micrometres: float) -> TrainedNetwork:
    """A network that learned from pixels of a size."""
    model = untrained()
    sizes = {"Y": micrometres, "X": micrometres}
    return TrainedNetwork(model.network, replace(model.record, pixel_size=sizes))


def use(desk: Desk, model: TrainedNetwork, name: str = "untrained") -> None:
    desk.predict._session.set_model(model, name)


@pytest.mark.parametrize(
    ("axes", "expected"), [("cyx", True), ("zyx", False)], ids=["channels", "slices"]
)
def test_channels_are_chosen_where_there_are_some(
    make_desk: Callable[..., Desk], axes: str, expected: bool
) -> None:
    desk = make_desk(np.stack([disks()] * 3), axis_labels=tuple(axes))

    assert desk.predict.options.channels_edit.isEnabled() == expected


def test_chosen_channels_are_read_in_their_order(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(np.stack([disks()] * 3), axis_labels=("c", "y", "x"))
    HAND.keyClicks(desk.predict.options.channels_edit, "2, 0")

    predict_with(desk, untrained(channels=2))

    assert desk.predict.options.config(desk.image).used_channels == (2, 0)
    assert desk.viewer.layers["disks prediction"].data.shape == (96, 96)


def test_channels_that_are_no_numbers_are_refused(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(np.stack([disks()] * 3), axis_labels=("c", "y", "x"))
    HAND.keyClicks(desk.predict.options.channels_edit, "red")

    predict_with(desk, untrained())

    assert "channels is 'red'" in desk.predict.status.text()


@pytest.mark.parametrize(
    ("axes", "channels", "expected"),
    [("cyx", 2, "Model expects 2 channel(s), image has 3"), ("zyx", 2, "image has 1")],
    ids=["too many", "none"],
)
def test_what_does_not_fit_is_one_text_that_names_both(
    make_desk: Callable[..., Desk], axes: str, channels: int, expected: str
) -> None:
    desk = make_desk(np.stack([disks()] * 3), axis_labels=tuple(axes))

    predict_with(desk, untrained(channels=channels))

    text = desk.predict.status.text()
    assert text.startswith("The model 'untrained' cannot predict 'disks': ")
    assert expected in text
    assert desk.last_notice == text


def test_the_two_pixel_sizes_are_shown(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(scale=(0.25, 0.25), units=("um", "um"))

    use(desk, of_size(0.5))

    assert desk.predict.options.size_note.text() == "Pixels: model 0.5 µm, image 0.25 µm."
    assert desk.predict.options.scale_check.isEnabled()


def test_a_corrected_scale_is_shown_at_once(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(scale=(0.25, 0.25), units=("um", "um"))
    use(desk, of_size(0.5))

    desk.image.scale = (1, 1)

    assert "image 1 µm" in desk.predict.options.size_note.text()


@pytest.mark.parametrize("known", ["image", "model"])
def test_where_a_size_is_unknown_nothing_is_rescaled(
    make_desk: Callable[..., Desk], known: str
) -> None:
    desk = make_desk(**({"units": ("um", "um")} if known == "image" else {}))

    use(desk, of_size(0.5) if known == "model" else untrained())

    assert not desk.predict.options.scale_check.isEnabled()
    assert "know" in desk.predict.options.scale_check.toolTip()


def test_a_rescaled_prediction_says_so_when_it_is_done(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(scale=(0.25, 0.25), units=("um", "um"))

    predict_with(desk, of_size(0.5))

    assert "seen at the model's pixel size" in desk.predict.status.text()
    assert desk.viewer.layers["disks prediction"].data.shape == (96, 96)


def test_without_the_check_mark_the_image_is_seen_as_it_is(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(scale=(0.25, 0.25), units=("um", "um"))
    use(desk, of_size(0.5))
    desk.predict.options.advanced.open()
    desk.qtbot.wait(50)  # it is laid out
    desk.click(desk.predict.options.scale_check)

    predict_with(desk, of_size(0.5))

    assert "rescaling is off" in desk.predict.status.text()


def test_a_turned_image_with_channels_has_a_turned_result(make_desk: Callable[..., Desk]) -> None:
    turned = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    desk = make_desk(np.stack([disks()] * 2), rotate=turned, translate=(0, 3, 4))

    predict_with(desk, untrained(channels=2))

    result = desk.viewer.layers["disks prediction"]
    np.testing.assert_allclose(
        result.data_to_world((5, 6)), desk.image.data_to_world((0, 5, 6))[1:]
    )


def test_untouched_controls_leave_all_to_the_model(desk: Desk) -> None:
    assert desk.predict.options.config_of_files() == PredictConfig()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 0.7),
        ("smallest", 0),
        ("smallest", 40),
        ("tile_size", 128),
        ("device", "cpu"),
        ("precision", "bfloat16"),
        ("result", "uncertainty"),
    ],
)
def test_what_is_chosen_is_asked_for_and_can_be_taken_back(
    desk: Desk, name: str, value: object
) -> None:
    editor = desk.predict.options.form.editors[name]
    editor.show(value)
    assert getattr(desk.predict.options.config(desk.image), name) == value
    assert getattr(desk.predict.options.config_of_files(), name) == value
    editor.show(getattr(PredictConfig(), name))
    assert desk.predict.options.config_of_files() == PredictConfig()


@pytest.mark.parametrize("result", ["objects", "classes", "uncertainty"])
def test_each_kind_of_result_becomes_a_layer(desk: Desk, result: str) -> None:
    desk.predict.options.form.editors["result"].show(result)

    predict_with(desk, untrained())

    assert desk.predict.status.text().startswith("Done.")
    kind = Image if result == "uncertainty" else Labels
    name = "disks uncertainty" if result == "uncertainty" else "disks prediction"
    layer = desk.viewer.layers[name]
    assert isinstance(layer, kind)
    assert result != "uncertainty" or (layer.data.any() and layer.data.max() <= 1)


def test_objects_below_the_smallest_size_are_dropped(desk: Desk) -> None:
    desk.predict.options.form.editors["smallest"].show(96 * 96 + 1)

    predict_with(desk, untrained())

    assert "Done. 0 objects." in desk.predict.status.text()
