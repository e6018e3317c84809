"""Settings on the run card of a prediction: those of version 0.1, and damaged ones."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from napari_unet.prediction.config import PredictConfig
from napari_unet.provenance.card import card_settings, config_of

# As version 0.1 wrote them.
WRITTEN: dict[str, Any] = {
    **{"result": None, "axes": "YX", "tile_size": None, "threshold": 0.4, "views": None},
    **{"smallest": 5, "frames": None, "region": None, "used_channels": None},
    **{"pixel_size": {"Y": 0.5, "X": 0.5}, "rescale": True, "precision": "float32"},
}
MODEL: Any = type(card_settings(PredictConfig()))


def test_a_card_of_the_first_version_is_read() -> None:
    expected = PredictConfig(
        axes="YX",
        threshold=0.4,
        smallest=5,
        pixel_size={"Y": 0.5, "X": 0.5},
        precision="float32",
        device="cpu",
    )
    assert config_of(MODEL.model_validate(WRITTEN), "cpu") == expected


@pytest.mark.parametrize("name", WRITTEN)
def test_a_card_that_lacks_a_setting_is_refused(name: str) -> None:
    lacking = {key: value for key, value in WRITTEN.items() if key != name}
    with pytest.raises(ValidationError, match=name):
        MODEL.model_validate(lacking)
