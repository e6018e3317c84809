"""Images that cannot be read any more while a training goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from napari_unet.errors import UnreadableError
from napari_unet.run import Notice
from napari_unet.training import validation
from napari_unet.training.events import StepDone

from .builders import data_of, painted_cells, run, tiny_config

CONFIG = tiny_config(steps=20, validate_every=3)


class OnDisk:
    """An image whose disk may be pulled out."""

    def __init__(self, pixels: Any) -> None:
        self._pixels, self.there = pixels, True
        self.shape, self.dtype = pixels.shape, np.dtype(pixels.dtype)

    def __getitem__(self, key: Any, /) -> Any:
        if not self.there:
            raise OSError("no such device")
        return self._pixels[key]


@pytest.fixture(autouse=True)
def fast_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor on which it is tried, at the end, whether the model may predict in bfloat16."""
    monkeypatch.setattr(validation, "fastest_precision", lambda device: torch.bfloat16)


def trained_until(last: int) -> tuple[list[Any], Any]:
    """Train, and pull out the disk after a step."""
    pixels, labels = painted_cells()
    image = OnDisk(pixels)

    def pull_out(event: object) -> None:
        image.there &= not (isinstance(event, StepDone) and event.step >= last)

    return run(data_of(image, labels, CONFIG), CONFIG, watch=pull_out)


@pytest.mark.fault(32)
def test_the_best_network_is_kept_and_the_reason_told() -> None:
    events, result = trained_until(7)
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert any("the best network is kept" in n and "no such device" in n for n in notices)
    assert result.trained.record.steps < CONFIG.steps
    assert result.stopped
    assert result.trained.record.bfloat16_agreement is None  # not measured: exact


@pytest.mark.fault(32)
def test_without_a_network_to_keep_it_is_an_error_that_names_the_place() -> None:
    with pytest.raises(UnreadableError, match=r"cannot be read at \[.*no such device"):
        trained_until(1)


def test_a_training_that_reads_to_its_end_knows_whether_bfloat16_will_do() -> None:
    _, result = trained_until(CONFIG.steps + 1)
    assert 0 < result.trained.record.bfloat16_agreement <= 1
