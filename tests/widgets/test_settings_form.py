"""Controls that are made from declared settings."""

from __future__ import annotations

from typing import Any

import pytest

from napari_unet.errors import ConfigError
from napari_unet.prediction.config import PredictConfig
from napari_unet.settings import declared
from napari_unet.training.config import TrainConfig
from napari_unet.widgets.common.settings_form import SettingsForm, editor_of

pytestmark = pytest.mark.usefixtures("qapp")
NUMBERS = [
    (config, name)
    for config in (TrainConfig, PredictConfig)
    for name, setting in declared(config).items()
    if setting.kind in (int, float) and not setting.choices and not setting.words
]


@pytest.mark.parametrize(("config", "name"), NUMBERS, ids=lambda of: getattr(of, "__name__", of))
def test_no_value_of_a_field_is_out_of_bounds(config: type, name: str) -> None:
    setting = declared(config)[name]
    editor = editor_of(setting)
    for end in (-1e12, 1e12):
        editor.widget.setValue(int(max(end, -(2**31))) if end < 0 else editor.widget.maximum())
        setting.check(editor.read())
    if setting.default is None:
        editor.widget.setValue(editor.widget.minimum())
        assert editor.read() is None
        editor.widget.stepUp()
        setting.check(editor.read())
        assert editor.read() is not None


@pytest.mark.parametrize(
    ("config", "name", "lowest", "highest"),
    [
        (TrainConfig, "momentum", 0, 0.99),
        (TrainConfig, "learning_rate", 0.00001, 10),
        (PredictConfig, "threshold", 0, 0.99),
    ],
)
def test_bounds_are_rounded_inward(config: type, name: str, lowest: float, highest: float) -> None:
    box: Any = editor_of(declared(config)[name]).widget
    assert (box.minimum(), box.maximum()) == (lowest, highest)


def test_a_device_that_is_not_in_the_list_is_kept() -> None:
    form = SettingsForm(PredictConfig(), ["device"])
    form.set_value(PredictConfig(device="cuda:7"))
    assert form.value().device == "cuda:7"
    assert form.editors["device"].widget.currentText() == "cuda:7"
    form.set_value(PredictConfig(device="cpu"))
    assert form.value().device == "cpu"


def test_a_value_that_is_no_choice_is_refused() -> None:
    editor = editor_of(declared(PredictConfig)["views"])
    with pytest.raises(ConfigError, match="views is 5; choose 1, 4 or 8"):
        editor.show(5)
