"""What is exported here can be imported here, and predicts the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.builders import a_model, blobs, export, needs_packages
from napari_unet.api.model import TrainedModel
from napari_unet.export.package import release_packages
from napari_unet.external.importing import load_any_model

pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
IMAGE = blobs(150, 140)


@pytest.fixture(autouse=True)
def _nothing_is_left_open() -> Iterator[None]:
    """Else a later test is told of the packages that bioimageio leaves open."""
    yield
    release_packages()


def probabilities(model: Any) -> Any:
    return TrainedModel(model).predict(IMAGE, result="probabilities")


@pytest.mark.slow
def test_a_package_comes_back_as_a_model_that_predicts_the_same(tmp_path: Path) -> None:
    needs_packages()
    model = a_model()
    _, result = export(model, tmp_path / "cells", "bioimageio", image=IMAGE)

    again = load_any_model(str(result.path))

    assert np.abs(probabilities(again) - probabilities(model)).max() < 1e-4
