"""Super-resolution: the target of a pair is finer, and so is what is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.data.finer import FinerImage
from napari_unet.data.rescaling import mean_of_blocks
from napari_unet.errors import ConfigError, LabelsError, ModelMismatchError
from napari_unet.run import Notice
from napari_unet.tasks import ClassTable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

QUICK = nu.TrainConfig(
    kind="image",
    base_channels=8,
    depth=2,
    patch_size=48,
    batch_size=4,
    steps=100,
    validate_every=50,
    start="random",
    views=1,
    learning_rate=3e-3,
    device="cpu",
)


def squares(
    seed: int, factor: int, size: int = 128
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw squares with sharp edges: as a coarse camera sees them, and as they are."""
    rng = np.random.default_rng(seed)
    fine = np.full((size, size), 100, np.float32)
    for y, x, edge in zip(
        *rng.integers(4, size - 4, (2, 60)), rng.integers(3, 12, 60), strict=True
    ):
        fine[y : y + edge, x : x + edge] = rng.integers(200, 1000)
    return mean_of_blocks(fine[np.newaxis], (1, factor, factor))[0], fine


def psnr(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    return float(-10 * np.log10(((found - wanted) ** 2).mean() / np.ptp(wanted) ** 2))


@pytest.fixture(scope="module")
def model() -> nu.TrainedModel:
    return nu.train(*squares(0, 2), QUICK)


def test_it_is_better_than_bicubic_enlargement(model: nu.TrainedModel) -> None:
    coarse, fine = squares(1, 2)
    made = model.predict(coarse)
    assert made.shape == fine.shape
    assert psnr(made, fine) > psnr(np.asarray(FinerImage(coarse, "YX", 2)), fine) + 1


def test_what_is_made_does_not_depend_on_tiles(model: nu.TrainedModel, tmp_path: Path) -> None:
    coarse, _ = squares(1, 2)
    whole = model.predict(coarse)
    np.testing.assert_array_equal(model.predict(coarse, tile_size=32), whole)
    done = model.predict_to_zarr(coarse, tmp_path / "made.ome.zarr", tile_size=48)
    np.testing.assert_array_equal(np.asarray(done.array), whole)


def test_a_model_that_was_saved_knows_how_fine(model: nu.TrainedModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model.safetensors")
    loaded = nu.load_model(tmp_path / "model.safetensors")
    assert loaded.record.classes.finer == 2
    coarse, _ = squares(1, 2)
    np.testing.assert_array_equal(loaded.predict(coarse), model.predict(coarse))


def test_a_training_goes_on(model: nu.TrainedModel) -> None:
    further = nu.train(*squares(2, 2), QUICK.changed(steps=2), previous=model)
    assert further.record.classes.finer == 2


def test_a_training_goes_on_with_pairs_of_one_kind(model: nu.TrainedModel) -> None:
    with pytest.raises(ModelMismatchError, match="makes images 2 times as fine, and these targets"):
        nu.train(*squares(2, 4), QUICK.changed(steps=2), previous=model)


def test_the_figure_of_bicubic_enlargement_is_told() -> None:
    told: list[str] = []
    nu.train(
        *squares(0, 4),
        QUICK.changed(steps=1),
        on_event=lambda event: told.append(event.text) if isinstance(event, Notice) else None,
    )
    (text,) = (each for each in told if "Bicubic" in each)
    assert text.startswith("Images are made 4 times as fine. Bicubic enlargement, to compare: PSNR")


def test_pixels_of_the_model_are_the_fine_ones() -> None:
    size = {"Y": 0.5, "X": 0.5}
    model = nu.train(*squares(0, 2), QUICK.changed(steps=1), pixel_size=size)
    assert model.record.pixel_size == {"Y": 0.25, "X": 0.25}


def test_stacks_are_finer_in_their_planes(model: nu.TrainedModel) -> None:
    coarse, _ = squares(1, 2)
    made = model.predict(np.stack([coarse, coarse]), axes="ZYX")
    np.testing.assert_array_equal(made[0], model.predict(coarse))


def test_targets_of_another_grid_are_refused() -> None:
    coarse, fine = squares(0, 2)
    with pytest.raises(LabelsError, match="or targets of exactly 2, 3 or 4 times as many along"):
        nu.train(coarse, fine[:-1], QUICK)


def test_pairs_of_two_kinds_are_refused() -> None:
    coarse, fine = squares(0, 2)
    with pytest.raises(LabelsError, match="The targets are 1 and 2 times as fine"):
        nu.train([coarse, fine], [fine, fine], QUICK)


def test_only_images_can_be_made_finer() -> None:
    with pytest.raises(ConfigError, match="finer is 2"):
        ClassTable("objects", "unlabelled", finer=2)
