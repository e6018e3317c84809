from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_unet.errors import ConfigError, ModelMismatchError
from napari_unet.model.starting import load_starting_model
from napari_unet.model.trained import TrainedNetwork
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.proposals import (
    Proposals,
    find_cell_size,
    propose,
    quality_of,
)
from napari_unet.run import PartsDone, Run
from prediction.builders import a_model

REGION = (slice(0, 64), slice(0, 64))


def discs(diameter: int, spacing: int, size: int = 192) -> NDArray[np.uint8]:
    """Bright discs in rows on dark ground, with a little noise."""
    y, x = np.mgrid[:size, :size] % spacing - spacing / 2
    noise = np.random.default_rng(0).normal(0, 5, (size, size))
    image: NDArray[np.uint8] = (40 + 160 * (np.hypot(y, x) < diameter / 2) + noise).astype(np.uint8)
    return image


@pytest.fixture(scope="module")
def cells() -> TrainedNetwork:
    return load_starting_model("cells")


@pytest.fixture(scope="module")
def found(cells: TrainedNetwork) -> Proposals:
    return Run(propose(cells, discs(30, 48), PredictConfig(), threading.Event())).finish()


def proposals_of(foreground: NDArray[np.uint8], cell_size: float = 30) -> Proposals:
    return Proposals({cell_size: foreground}, {cell_size: 1.0}, (), REGION, 30.0, 0.5, True)


def two_blobs() -> NDArray[np.uint8]:
    """One sure object of 400 pixels, one unsure object of 100."""
    foreground = np.zeros((64, 64), np.uint8)
    foreground[5:25, 5:25] = 250
    foreground[40:50, 40:50] = 150
    return foreground


def test_cells_of_thirty_pixels_are_found_at_about_that_size(found: Proposals) -> None:
    assert 20 < found.cell_size < 45
    assert found.objects().max() == 16
    assert found.fits


def test_each_size_is_reported_and_kept(cells: TrainedNetwork) -> None:
    events = Run(propose(cells, discs(30, 48), PredictConfig(), threading.Event(), (30, 60)))
    tried = [event for event in events if isinstance(event, PartsDone)]
    assert tried == [PartsDone(1, 2), PartsDone(2, 2)]
    assert set(events.result.foreground) == {30, 60}
    assert events.result.complete


def test_colours_and_bright_ground_need_no_word(cells: TrainedNetwork) -> None:
    stained = np.stack([255 - discs(30, 48), 230 - discs(30, 48) // 2, 250 - discs(30, 48)], -1)
    run = Run(propose(cells, stained, PredictConfig(axes="YXC"), threading.Event(), (30, 60)))
    assert run.finish().objects().max() == 16


def test_only_the_view_is_looked_at(cells: TrainedNetwork) -> None:
    region = (slice(48, 144), slice(0, 96))
    config = PredictConfig(frames=((1,),), region=region)
    stack = np.stack([discs(30, 48)] * 2)
    result = Run(propose(cells, stack, config, threading.Event(), (30,))).finish()
    assert (result.frame, result.region) == ((1,), region)
    assert result.objects().shape == (96, 96)


def test_of_a_large_view_the_middle_is_looked_at(
    cells: TrainedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_unet.prediction.proposals.LARGEST_VIEW", 96)
    run = Run(propose(cells, discs(30, 48), PredictConfig(), threading.Event(), (30,)))
    assert run.finish().region == (slice(48, 144), slice(48, 144))


def test_a_stop_keeps_the_sizes_that_are_finished(cells: TrainedNetwork) -> None:
    stop = threading.Event()
    run = Run(propose(cells, discs(30, 48), PredictConfig(), stop, (30, 60)))
    result = run.finish(lambda event: stop.set() if isinstance(event, PartsDone) else None)
    assert set(result.foreground) == {60}
    assert not result.complete


def test_stopped_at_once_there_is_no_size(cells: TrainedNetwork) -> None:
    stop = threading.Event()
    stop.set()
    result = Run(propose(cells, discs(30, 48), PredictConfig(), stop)).finish()
    assert result.cell_size == 0
    assert not result.fits
    with pytest.raises(ConfigError, match="stopped before anything"):
        result.objects()


def test_the_size_of_cells_can_be_asked_for_alone(cells: TrainedNetwork) -> None:
    run = Run(find_cell_size(cells, discs(15, 24), PredictConfig(), threading.Event()))
    assert run.finish() == 15


def test_a_model_that_knows_no_size_is_refused() -> None:
    events = propose(a_model(), discs(30, 48), PredictConfig(), threading.Event())
    with pytest.raises(ModelMismatchError, match="take a starting model"):
        next(events)


def test_a_trained_model_that_sees_an_image_reduced_knows_how_wide_its_ridges_are(
    cells: TrainedNetwork,
) -> None:
    record = replace(cells.record, binning=2, cell_size=50, smallest_object=40)
    trained = TrainedNetwork(cells.network, record)
    run = Run(propose(trained, discs(30, 48), PredictConfig(), threading.Event(), (50,)))
    assert run.finish().clickable().binning == 2


def test_higher_sensitivity_finds_what_is_unsure() -> None:
    proposals = proposals_of(two_blobs(), 12)
    assert [proposals.objects(sensitivity=s).max() for s in (0.3, 0.5, 0.8)] == [1, 1, 2]


def test_smaller_objects_are_dropped() -> None:
    proposals = proposals_of(two_blobs(), 12)
    assert proposals.objects(smallest=99, sensitivity=0.8).max() == 2
    assert proposals.objects(smallest=101, sensitivity=0.8).max() == 1


def test_another_size_takes_the_nearest_that_was_tried() -> None:
    small, large = two_blobs(), np.zeros((64, 64), np.uint8)
    proposals = Proposals(
        {15.0: small, 60.0: large}, {15.0: 0.8, 60.0: 0.1}, (), REGION, 30.0, 0.5, True
    )
    assert proposals.cell_size == 15
    assert proposals.objects(20).any()
    assert not proposals.objects(50).any()


def test_a_click_selects_what_was_proposed(found: Proposals) -> None:
    mask = found.clickable().at((24, 24)).mask
    np.testing.assert_array_equal(mask, found.objects() == found.objects()[24, 24])


@pytest.mark.parametrize("wrong", [{"sensitivity": 0.0}, {"sensitivity": 1.0}, {"cell_size": 0}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        proposals_of(two_blobs()).objects(**wrong)  # type: ignore[arg-type]


def quality(foreground: NDArray[np.uint8], cell_size: float) -> float:
    objects = proposals_of(foreground, cell_size).objects(cell_size, smallest=1)
    return quality_of(foreground, objects, cell_size, 0.5)


def test_objects_of_the_expected_size_are_better_than_others() -> None:
    sure = np.where(two_blobs() > 200, 250, 0).astype(np.uint8)  # 400 pixels: 22.6 wide
    assert quality(sure, 23) > 2 * quality(sure, 10)
    assert quality(sure, 23) > 2 * quality(sure, 60)


def test_sure_objects_are_better_than_unsure_ones() -> None:
    sure = np.where(two_blobs() > 200, 250, 0).astype(np.uint8)
    unsure = np.where(sure > 0, 180, 0).astype(np.uint8)
    assert quality(sure, 23) > 1.2 * quality(unsure, 23)


def test_what_is_found_at_another_size_too_is_better_than_what_falls_apart_there() -> None:
    whole = np.zeros((64, 64), np.uint8)
    whole[10:34, 10:34] = 250
    objects = (whole > 0).astype(np.int32)
    parts = objects.copy()
    parts[:, 21:] *= 2
    same, apart = (quality_of(whole, objects, 27, 0.5, [others]) for others in (objects, parts))
    assert same > 2 * apart
    assert quality_of(whole, objects, 27, 0.5, [parts, objects]) == same


def test_nothing_found_is_worth_nothing() -> None:
    assert quality(np.zeros((64, 64), np.uint8), 30) == 0
