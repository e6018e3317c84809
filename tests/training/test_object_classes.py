"""Objects of several classes: touching cells of two looks come apart, and have the right class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.errors import ConfigError, LabelsError, ModelMismatchError, NothingToLearnError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Layers = dict[str, NDArray[np.uint16]]

QUICK = nu.TrainConfig(
    kind="object-classes",
    unpainted="background",
    base_channels=8,
    depth=2,
    patch_size=48,
    batch_size=2,
    steps=150,
    validate_every=50,
    start="random",
    elastic_sigma=0.0,
    views=1,
    learning_rate=1e-2,
    device="cpu",
)


def touching_cells(seed: int = 0, size: int = 128) -> tuple[NDArray[np.float32], Layers]:
    """Draw pairs of touching cells, the one smooth and the other striped, in any order."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 0.05, (size, size)).astype(np.float32)
    layers: Layers = {name: np.zeros((size, size), np.uint16) for name in ("smooth", "striped")}
    y, x = np.indices((size, size))
    for cy in range(16, size, 32):
        for cx in range(16, size, 32):
            kinds = ["smooth", "striped"] if rng.random() < 0.5 else ["striped", "smooth"]
            for kind, side in zip(kinds, (-1, 1), strict=True):
                inside = np.hypot((y - cy) / 1.5, x - cx - 6.5 * side) < 6.7
                inside &= (x - cx) * side > (0 if side > 0 else -1)
                layers[kind][inside] = layers[kind].max() + 1
                image[inside] += 0.6 if kind == "smooth" else 0.3 + 0.6 * (y[inside] // 2 % 2)
    return image, layers


@pytest.fixture(scope="module")
def model() -> nu.TrainedModel:
    image, layers = touching_cells()
    return nu.train(image, layers, QUICK)


def test_touching_cells_come_apart_and_have_their_class(model: nu.TrainedModel) -> None:
    image, layers = touching_cells(1)
    found = model.predict(image)
    scores = nu.evaluate(found, layers, kind="object-classes")
    assert found.shape == (2, *image.shape)
    assert scores["n_truth_per_class"] == {"smooth": 16, "striped": 16}
    assert min(scores["f1_50_per_class"].values()) > 0.9
    assert scores["n_merged"] == 0


def test_an_object_has_a_number_that_no_other_class_has(model: nu.TrainedModel) -> None:
    smooth, striped = (set(np.unique(each)) - {0} for each in model.predict(touching_cells(1)[0]))
    assert smooth | striped == set(range(1, 1 + len(smooth) + len(striped)))


def test_objects_across_blocks_have_one_number_and_class(
    model: nu.TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, _ = touching_cells(2)
    whole = model.predict(image)
    monkeypatch.setattr("napari_unet.prediction.tiles.BLOCK_SIZE", {2: 64})
    monkeypatch.setattr("napari_unet.prediction.tiles.BLOCK_MARGIN", {2: 32})
    monkeypatch.setattr("napari_unet.prediction.tiles.DEFAULT_TILE_SIZE", {2: 32})
    in_blocks = model.predict(image)
    assert nu.evaluate(in_blocks, whole, kind="object-classes")["map"] == 1
    assert in_blocks.max() == whole.max()
    done = model.predict_to_zarr(image, tmp_path / "found.ome.zarr")
    stored = [nu.read_labels(tmp_path / f"found.ome.zarr/labels/{n}") for n in done.names]
    np.testing.assert_array_equal(stored, in_blocks)


def test_numbers_go_on_from_frame_to_frame(model: nu.TrainedModel) -> None:
    image, layers = touching_cells(1)
    found = model.predict(np.stack([image, image]), axes="TYX")
    np.testing.assert_array_equal(found[:, 0] > 0, found[:, 1] > 0)
    assert found[:, 1][found[:, 1] > 0].min() == found[:, 0].max() + 1
    assert nu.evaluate(found[:, 1], layers, kind="object-classes")["f1_50"] > 0.9


def test_half_painted_cells_teach_where_something_is_painted() -> None:
    image, layers = touching_cells()
    paint = {name: np.where(each, each + 1, 0).astype(np.uint16) for name, each in layers.items()}
    background = ~np.any([each > 0 for each in paint.values()], axis=0)
    paint["smooth"][background] = 1
    for each in paint.values():
        each[:, 96:] = 0
    model = nu.train(image, paint, QUICK.changed(unpainted="unlabelled", class_balance=1.0))
    other, truth = touching_cells(3)
    found = model.predict(other)
    assert nu.evaluate(found, truth, kind="object-classes")["f1_50"] > 0.8


def test_classes_keep_their_weights_in_another_order(model: nu.TrainedModel) -> None:
    image, layers = touching_cells()
    settings = QUICK.changed(steps=1, learning_rate=1e-8)
    further = nu.train(image, dict(reversed(layers.items())), settings, previous=model)
    assert further.record.classes.names == ("striped", "smooth")
    before, after = (m.predict(image, "probabilities") for m in (model, further))
    np.testing.assert_allclose(after[[0, 2, 1]], before, atol=0.1)


def test_an_object_within_one_of_another_class_is_named() -> None:
    image, layers = touching_cells()
    layers["smooth"] = np.where(layers["striped"] == 5, 99, layers["smooth"])
    with pytest.raises(LabelsError, match="Most of object 99 of 'smooth' lies in objects of other"):
        nu.train(image, layers, QUICK)


def test_a_class_without_an_object_is_named() -> None:
    image, layers = touching_cells()
    layers["striped"][:] = 0
    with pytest.raises(NothingToLearnError, match="No object is painted as 'striped'"):
        nu.train(image, layers, QUICK)


def test_objects_of_several_classes_need_names() -> None:
    image, layers = touching_cells()
    with pytest.raises(LabelsError, match="need labels for each class, by its name"):
        nu.train(image, layers["smooth"], QUICK)


def test_labels_by_name_are_refused_where_there_is_one_label_image() -> None:
    image, layers = touching_cells()
    with pytest.raises(ConfigError, match="kind is 'objects'; choose 'overlapping', or 'object-c"):
        nu.train(image, layers, QUICK.changed(kind="objects"))


def test_a_model_of_several_classes_gives_no_single_one(model: nu.TrainedModel) -> None:
    with pytest.raises(ModelMismatchError, match="trained on objects of several classes"):
        model.predict(touching_cells()[0], "objects")


def test_an_object_is_found_only_as_one_of_its_class() -> None:
    square = np.zeros((8, 8), int)
    square[2:6, 2:6] = 1
    nothing = np.zeros_like(square)
    truth = {"a": square, "b": np.roll(square, 2, axis=0) * 0}
    scores = nu.evaluate({"a": nothing, "b": square}, truth, kind="object-classes")
    assert (scores["f1_50"], scores["n_missed"], scores["n_false"]) == (0, 1, 1)


def test_what_is_painted_of_one_class_is_not_of_the_others() -> None:
    truth = {"a": np.array([[2, 2, 0, 0]]), "b": np.array([[0, 0, 1, 0]])}
    found = {"a": np.array([[0, 0, 0, 0]]), "b": np.array([[1, 1, 0, 0]])}
    scores = nu.evaluate(found, truth, kind="object-classes", unpainted="unlabelled")
    assert scores["n_false"] == 1
