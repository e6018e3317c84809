"""Independent classes: nuclei inside cells, painted in labels of their own, found side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.errors import ConfigError, LabelsError, ModelMismatchError, NothingToLearnError
from napari_unet.tasks.overlapping_classes import packed_paint

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Masks = dict[str, NDArray[np.uint8]]

QUICK = nu.TrainConfig(
    kind="overlapping",
    unpainted="background",
    base_channels=8,
    depth=2,
    patch_size=48,
    batch_size=2,
    steps=100,
    validate_every=20,
    start="random",
    elastic_sigma=0.0,
    views=1,
    learning_rate=1e-2,
    device="cpu",
)


def nuclei_in_cells(seed: int = 0, size: int = 96) -> tuple[NDArray[np.float32], Masks]:
    """Draw grey cells, each with a bright nucleus; the nucleus is part of the cell."""
    rng = np.random.default_rng(seed)
    cell, nucleus = np.zeros((2, size, size), np.uint8)
    y, x = np.indices((size, size))
    for cy in range(16, size, 32):
        for cx in range(16, size, 32):
            at = np.hypot(y - cy - rng.integers(-2, 3), x - cx - rng.integers(-2, 3))
            cell[at < 12], nucleus[at < 6] = 1, 1
    image = (0.4 * cell + 0.5 * nucleus + rng.normal(0, 0.05, cell.shape)).astype(np.float32)
    return image, {"nucleus": nucleus, "cell": cell}


@pytest.fixture(scope="module")
def model() -> nu.TrainedModel:
    image, masks = nuclei_in_cells()
    return nu.train(image, masks, QUICK)


def test_a_nucleus_is_found_as_part_of_its_cell(model: nu.TrainedModel) -> None:
    image, masks = nuclei_in_cells(1)
    found = model.predict(image)
    scores = nu.evaluate(found, masks, kind="overlapping")
    assert found.shape == (2, *image.shape)
    assert scores["iou_per_class"]["nucleus"] > 0.7
    assert scores["iou_per_class"]["cell"] > 0.8
    assert (found[0] & found[1]).sum() > 0.8 * masks["nucleus"].sum()


def test_the_result_does_not_depend_on_tiles(model: nu.TrainedModel) -> None:
    image, _ = nuclei_in_cells(2)
    whole, tiled = (model.predict(image, tile_size=size) for size in (None, 32))
    np.testing.assert_array_equal(whole, tiled)


def test_probabilities_of_classes_need_not_sum_to_one(model: nu.TrainedModel) -> None:
    image, masks = nuclei_in_cells(1)
    found = model.predict(image, "probabilities")
    assert found[:, masks["nucleus"] > 0].sum(axis=0).mean() > 1.2
    assert model.predict(image, "uncertainty").max() <= 1


def test_a_model_that_was_saved_predicts_the_same(model: nu.TrainedModel, tmp_path: Path) -> None:
    image, _ = nuclei_in_cells(3)
    model.save(tmp_path / "model.safetensors")
    loaded = nu.load_model(tmp_path / "model.safetensors")
    assert loaded.record.classes.names == ("nucleus", "cell")
    np.testing.assert_array_equal(loaded.predict(image), model.predict(image))


def test_a_training_goes_on_exactly_where_it_ended(tmp_path: Path) -> None:
    image, masks = nuclei_in_cells()
    short = QUICK.changed(steps=6, validate_every=3)
    at_once = nu.train(image, masks, short)
    path = tmp_path / "model.safetensors"
    halfway = [3]

    class Stop:
        def is_set(self) -> bool:
            halfway[0] -= 1
            return halfway[0] < 0

    nu.train(image, masks, short, output=path, stop=Stop())  # type: ignore[arg-type]
    resumed = nu.train(image, masks, previous=path)
    assert resumed.record.steps == 6
    np.testing.assert_array_equal(
        resumed.predict(image, "probabilities"), at_once.predict(image, "probabilities")
    )


def test_classes_keep_their_weights_in_another_order(model: nu.TrainedModel) -> None:
    image, masks = nuclei_in_cells()
    turned = dict(reversed(masks.items()))
    settings = QUICK.changed(steps=1, learning_rate=1e-8)
    further = nu.train(image, turned, settings, previous=model)
    assert further.record.classes.names == ("cell", "nucleus")
    before, after = (m.predict(image, "probabilities") for m in (model, further))
    np.testing.assert_allclose(after[::-1], before, atol=0.1)


def test_a_class_learns_only_where_it_is_painted() -> None:
    image, masks = nuclei_in_cells()
    paint = {name: np.where(mask, 2, 1).astype(np.uint8) for name, mask in masks.items()}
    paint["nucleus"][:, 48:] = 0  # nothing is said about nuclei there
    model = nu.train(image, paint, QUICK.changed(unpainted="unlabelled", class_balance=1.0))
    other, truth = nuclei_in_cells(1)
    found = model.predict(other)
    assert nu.evaluate(found, truth, kind="overlapping")["iou"] > 0.65


def test_a_class_without_paint_is_named() -> None:
    image, masks = nuclei_in_cells()
    masks["nucleus"][:] = 0
    with pytest.raises(NothingToLearnError, match="No pixel is painted as 'nucleus'; paint some"):
        nu.train(image, masks, QUICK)


def test_a_class_that_is_everywhere_is_named() -> None:
    image, masks = nuclei_in_cells()
    masks["cell"][:] = 1
    with pytest.raises(
        NothingToLearnError, match="All that is painted for 'cell' is of this class"
    ):
        nu.train(image, masks, QUICK)


def test_labels_of_another_shape_are_named() -> None:
    image, masks = nuclei_in_cells()
    masks["cell"] = masks["cell"][:-1]
    with pytest.raises(LabelsError, match=r"labels of 'cell' have the shape \(95, 96\), those of"):
        nu.train(image, masks, QUICK)


def test_labels_without_names_are_refused() -> None:
    image, masks = nuclei_in_cells()
    with pytest.raises(LabelsError, match="need labels for each class, by its name"):
        nu.train(image, masks["cell"], QUICK)


def test_labels_by_name_are_of_overlapping_classes() -> None:
    image, masks = nuclei_in_cells()
    with pytest.raises(ConfigError, match="kind is 'classes'; choose 'overlapping'"):
        nu.train(image, masks, QUICK.changed(kind="classes"))


@pytest.mark.parametrize("names", [("a", "A"), ("",), ("a/b",), tuple("abcdefghi")])
def test_names_that_cannot_be_told_apart_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        packed_paint(dict.fromkeys(names, np.zeros((2, 2), int)), "unlabelled")


def test_a_model_of_overlapping_classes_gives_no_others(model: nu.TrainedModel) -> None:
    with pytest.raises(ModelMismatchError, match="trained on overlapping classes"):
        model.predict(nuclei_in_cells()[0], "classes")


def test_a_zarr_holds_labels_of_each_class(model: nu.TrainedModel, tmp_path: Path) -> None:
    image, _ = nuclei_in_cells(1)
    done = model.predict_to_zarr(image, tmp_path / "found.ome.zarr", tile_size=48)
    assert done.complete
    stored = [nu.read_labels(tmp_path / f"found.ome.zarr/labels/{n}") for n in done.names]
    np.testing.assert_array_equal(stored, model.predict(image))


def test_truth_by_name_is_scored_where_it_is_painted() -> None:
    found = {"a": np.array([[1, 1, 0]]), "b": np.array([[0, 1, 1]])}
    truth = {"a": np.array([[2, 1, 0]]), "b": np.array([[1, 2, 2]])}
    scores = nu.evaluate(found, truth, kind="overlapping", unpainted="unlabelled")
    assert scores["iou_per_class"] == {"a": 0.5, "b": 1.0}
