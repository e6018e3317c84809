"""What is decided before the first tile: channels, dimensions, pixel sizes."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_unet.errors import ConfigError, ImageError, ModelMismatchError
from napari_unet.model.starting import load_starting_model, starting_weights
from napari_unet.model.trained import TrainedNetwork
from napari_unet.model.unet import UNet
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.plan import PredictionPlan, plan_prediction
from napari_unet.tasks import ClassTable

from .builders import a_model, noise, predict, see_the_image

MODEL = a_model()
HALF, ONE = {"Y": 0.5, "X": 0.5}, {"Y": 1.0, "X": 1.0}


def with_record(model: TrainedNetwork, **fields: Any) -> TrainedNetwork:
    return TrainedNetwork(model.network, replace(model.record, **fields))


def plan(model: TrainedNetwork, *shape: int, **config: Any) -> PredictionPlan:
    return plan_prediction(model.record, noise(*shape), PredictConfig(**config))


# --- channels ----------------------------------------------------------------------------------


def test_a_model_takes_the_channels_that_it_learned() -> None:
    model = with_record(a_model(in_channels=2), used_channels=(2, 0))
    image = noise(3, 20, 24)
    found = predict(model, image, axes="CYX", result="probabilities")[1].array
    expected = predict(model, image[[2, 0]], axes="CYX", result="probabilities")[1].array
    np.testing.assert_array_equal(found, expected)


def test_an_image_of_just_the_channels_is_taken_as_it_is() -> None:
    model = with_record(a_model(in_channels=2), used_channels=(2, 0))
    assert plan(model, 2, 20, 24, axes="CYX").used_channels == ()


def test_other_channels_can_be_chosen() -> None:
    image = noise(3, 20, 24)
    found = predict(MODEL, image, axes="CYX", used_channels=(1,), result="probabilities")[1].array
    expected = predict(MODEL, image[1], result="probabilities")[1].array
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("shape", "config", "text"),
    [
        pytest.param((3, 20, 24), {}, r"expects 2 channel\(s\), image has 3", id="too many"),
        pytest.param((20, 24), {"axes": "YX"}, r"expects 2 channel\(s\), image has 1", id="few"),
        pytest.param((3, 20, 24), {"used_channels": (0, 7)}, r"Channel 7 .* has 3", id="absent"),
        pytest.param((3, 20, 24), {"used_channels": (0,)}, r"expects 2.*\[0\]", id="too few"),
    ],
)
def test_channels_that_do_not_fit_are_named_with_both_numbers(
    shape: tuple[int, ...], config: dict[str, Any], text: str
) -> None:
    with pytest.raises(ModelMismatchError, match=text):
        plan(a_model(in_channels=2), *shape, **{"axes": "CYX", **config})


def test_channels_of_the_model_that_an_image_lacks_were_chosen_by_nobody() -> None:
    model = with_record(a_model(in_channels=2), used_channels=(0, 7))
    with pytest.raises(ModelMismatchError, match=r"expects 2 channel\(s\) \(numbers 0, 7\)"):
        plan(model, 3, 20, 24, axes="CYX")


# --- dimensions --------------------------------------------------------------------------------


def test_a_volume_model_and_a_flat_image_are_both_named() -> None:
    with pytest.raises(ImageError, match=r"3D network .*YX"):
        plan(a_model(ndim=3), 20, 24, axes="YX")


def test_a_model_of_a_time_window_needs_time() -> None:
    with pytest.raises(ModelMismatchError, match=r"3 frames of a time-lapse.*no time.*ZYX"):
        plan(a_model(window=3), 5, 20, 24, axes="ZYX")


def test_a_window_is_read_around_each_frame() -> None:
    film = noise(4, 30, 30)
    found = predict(a_model(window=3), film, result="probabilities")[1].array
    shorter = predict(a_model(window=3), film[1:4], result="probabilities")[1].array
    np.testing.assert_array_equal(found[2], shorter[1])


# --- pixel size --------------------------------------------------------------------------------


def test_an_image_of_the_same_pixel_size_is_seen_as_it_is() -> None:
    assert plan(with_record(MODEL, pixel_size=ONE), 40, 40, pixel_size=ONE).factors == (1, 1)


def test_an_image_of_smaller_pixels_is_binned() -> None:
    found = plan(with_record(MODEL, pixel_size=ONE), 40, 40, pixel_size=HALF)
    assert found.factors == (2, 2)
    assert "0.5 x 0.5 µm" in found.notices[0]


def test_binning_of_the_model_adds_to_it() -> None:
    model = with_record(MODEL, pixel_size=ONE, binning=3)
    assert plan(model, 40, 40, pixel_size=HALF).factors == (6, 6)


def test_an_image_of_larger_pixels_is_seen_finer() -> None:
    assert plan(with_record(MODEL, pixel_size=HALF), 40, 40, pixel_size=ONE).factors == (0.5, 0.5)


@pytest.mark.parametrize(
    ("of_model", "of_image", "rescale"),
    [
        pytest.param({}, ONE, True, id="model unknown"),
        pytest.param(ONE, {}, True, id="image unknown"),
        pytest.param(ONE, {"Y": 0.5}, True, id="one axis unknown"),
        pytest.param(ONE, HALF, False, id="switched off"),
        pytest.param(ONE, {"Y": 1.01, "X": 0.99}, True, id="nearly equal"),
    ],
)
def test_otherwise_pixels_are_taken_as_they_are(of_model: Any, of_image: Any, rescale: Any) -> None:
    model = with_record(MODEL, pixel_size=of_model)
    assert plan(model, 40, 40, pixel_size=of_image, rescale=rescale).factors == (1, 1)


def test_a_wrong_unit_is_found() -> None:
    model = with_record(MODEL, pixel_size=ONE)
    with pytest.raises(ModelMismatchError, match="differ too much"):
        plan(model, 40, 40, pixel_size={"Y": 0.001, "X": 0.001})


def test_debris_is_as_large_as_it_was() -> None:
    model = with_record(a_model(smallest_object=10), pixel_size=ONE)
    assert plan(model, 40, 40, pixel_size=HALF).limits.smallest == 40


@pytest.mark.parametrize("zoom", [2.0, 1.6, 0.5], ids=str)
def test_a_magnified_image_gives_the_magnified_result_on_its_own_grid(
    zoom: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_record(a_model(seed=3), pixel_size=ONE)
    image = ndi.gaussian_filter(noise(120, 120), 3)
    magnified = ndi.zoom(image, zoom, order=1, grid_mode=True, mode="nearest")
    size = {"Y": 1 / zoom, "X": 1 / zoom}
    expected = predict(model, image, result="probabilities")[1].array[1]
    found = predict(model, magnified, result="probabilities", pixel_size=size)[1].array[1]
    assert found.shape == magnified.shape
    back = ndi.zoom(found, 120 / found.shape[0], order=1, grid_mode=True, mode="nearest")
    assert np.abs(back - expected)[20:-20, 20:-20].mean() < 0.1 * expected.std() + 0.01


def test_objects_of_a_rescaled_image_lie_on_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    see_the_image(monkeypatch)
    image = np.zeros((60, 60), np.float32)
    image[10:30, 10:30] = 1
    model = with_record(MODEL, pixel_size=ONE)
    labels = predict(model, image, pixel_size=HALF)[1].array
    np.testing.assert_array_equal(labels > 0, image > 0)


# --- cell size ---------------------------------------------------------------------------------

CELLS = load_starting_model("cells")


def knowing(cell_size: float, **fields: Any) -> TrainedNetwork:
    return with_record(MODEL, cell_size=cell_size, **fields)


def test_larger_cells_are_seen_as_large_as_those_of_the_training() -> None:
    found = plan(knowing(20), 40, 40, cell_size=50.0)
    assert found.factors == (2.5, 2.5)
    assert "Cells of 50 pixels are seen as large as the model expects them" in found.notices[0]


def test_smaller_cells_are_enlarged() -> None:
    assert plan(knowing(20), 40, 40, cell_size=5.0).factors == (0.25, 0.25)


def test_the_binning_of_the_model_counts_as_well() -> None:
    assert plan(knowing(60, binning=2), 40, 40, cell_size=90.0).factors == (3, 3)


@pytest.mark.parametrize(("cell_size", "factor"), [(6.0, 0.2), (30.0, 1.0), (90.0, 3.0)])
def test_the_starting_models_expect_cells_of_30_pixels(cell_size: float, factor: float) -> None:
    found = plan(CELLS, 40, 40, cell_size=cell_size).factors
    assert found == pytest.approx((factor, factor))


def test_who_says_how_large_cells_are_says_what_is_debris_to_a_starting_model() -> None:
    assert plan(CELLS, 40, 40, cell_size=100.0).limits.smallest == round(0.15 * np.pi / 4 * 100**2)


def test_a_trained_model_knows_its_debris_from_the_paint() -> None:
    found = plan(knowing(20, smallest_object=10), 40, 40, cell_size=40.0)
    assert found.limits.smallest == 40


def test_a_smallest_object_that_is_given_counts() -> None:
    assert plan(CELLS, 40, 40, cell_size=100.0, smallest=7).limits.smallest == 7


def test_without_a_cell_size_all_is_as_it_was() -> None:
    assert plan(knowing(20), 40, 40).factors == (1, 1)


def test_the_word_of_the_user_counts_more_than_pixel_sizes() -> None:
    model = knowing(20, pixel_size=ONE)
    assert plan(model, 40, 40, pixel_size=HALF, cell_size=30.0).factors == (1.5, 1.5)


def test_debris_is_as_large_beside_larger_cells() -> None:
    model = with_record(a_model(smallest_object=10), cell_size=20)
    assert plan(model, 40, 40, cell_size=60.0).limits.smallest == 90


def test_a_typical_object_is_as_large_as_the_cells_that_were_painted() -> None:
    assert plan(knowing(20), 40, 40).typical == pytest.approx(100 * np.pi)


def test_in_an_image_of_other_pixels_it_is_as_large_in_micrometres() -> None:
    found = plan(knowing(20, pixel_size=ONE), 40, 40, pixel_size=HALF)
    assert found.typical == pytest.approx(400 * np.pi)


def test_it_is_as_large_as_the_cell_size_that_is_given() -> None:
    assert plan(CELLS, 40, 40, cell_size=40.0).typical == pytest.approx(400 * np.pi)


def test_a_starting_model_has_seen_cells_of_all_sizes() -> None:
    assert plan(CELLS, 40, 40).typical == 0


def test_a_typical_object_of_a_volume_is_a_ball_in_its_voxels() -> None:
    thick = {"Z": 2.0, "Y": 1.0, "X": 1.0}
    model = with_record(a_model(ndim=3), cell_size=12, pixel_size=thick)
    found = plan_prediction(model.record, np.zeros((8, 32, 32)), PredictConfig(axes="ZYX"))
    assert found.typical == pytest.approx(144 * np.pi)


def test_no_cell_size_can_be_given_to_a_model_of_volumes() -> None:
    model = with_record(a_model(ndim=3), cell_size=12)
    with pytest.raises(ModelMismatchError, match="train on painted cells in 2D"):
        plan_prediction(
            model.record, np.zeros((8, 32, 32)), PredictConfig(axes="ZYX", cell_size=12.0)
        )


def test_a_model_that_knows_no_size_refuses_one() -> None:
    with pytest.raises(ModelMismatchError, match=r"cell_size is 50, but the model does not know"):
        plan(MODEL, 40, 40, cell_size=50.0)


def test_a_cell_size_far_from_what_the_model_knows_is_refused_with_what_is_possible() -> None:
    with pytest.raises(ConfigError, match=r"cell_size is 500, .* choose 1 to 400"):
        plan(knowing(20), 40, 40, cell_size=500.0)


@pytest.mark.parametrize("cell_size", [-1.0, float("nan"), float("inf")])
def test_a_cell_size_that_no_cell_has_is_refused(cell_size: float) -> None:
    with pytest.raises(ConfigError, match="cell_size is"):
        PredictConfig(cell_size=cell_size)


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_tiles_do_not_show_in_what_is_seen_at_another_size(factor: float) -> None:
    image = noise(70, 90)
    whole, cut = (
        predict(knowing(20), image, result="probabilities", cell_size=20 * factor, tile_size=size)[
            1
        ].array
        for size in (256, 16)
    )
    np.testing.assert_allclose(cut, whole, atol=1e-5)


# --- channels of a starting model --------------------------------------------------------------


@pytest.mark.parametrize("axes", ["CYX", "YXC"])
def test_a_starting_model_sees_the_mean_of_all_channels(axes: str) -> None:
    bands = [noise(40, 44), noise(40, 44)[::-1], noise(40, 44)[:, ::-1]]
    image = np.stack(bands, axis=axes.index("C"))
    found = predict(CELLS, image, axes=axes, result="probabilities")[1].array
    assert found.shape == (2, 40, 44)
    alone = predict(CELLS, bands[0], result="probabilities")[1].array
    assert np.abs(found - alone).max() > 1e-3


def test_a_starting_model_predicts_what_a_training_that_begins_with_it_does() -> None:
    image = np.stack([noise(40, 44), noise(40, 44)[::-1], noise(40, 44)[:, ::-1]])
    config = replace(CELLS.record.network, in_channels=3)
    network = UNet(config)
    weights = starting_weights("cells", config, dict(network.state_dict()))
    assert weights is not None
    network.load_state_dict(weights)
    three = TrainedNetwork(network.eval(), replace(CELLS.record, network=config))
    found, expected = (
        predict(model, image, axes="CYX", result="probabilities", precision="float32")[1].array
        for model in (CELLS, three)
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_starting_model_takes_some_channels_of_many() -> None:
    image = np.stack([noise(40, 44)] * 2 + [noise(40, 44)[::-1]])
    found = predict(CELLS, image, axes="CYX", used_channels=(0, 1), result="probabilities")
    alone = predict(CELLS, image[0], result="probabilities")
    np.testing.assert_allclose(found[1].array, alone[1].array, atol=1e-5)


def test_a_channel_that_is_not_there_is_refused_for_a_starting_model_too() -> None:
    with pytest.raises(ModelMismatchError, match="Channel 7 was chosen, but the image has 3"):
        plan(CELLS, 3, 40, 44, axes="CYX", used_channels=(0, 7))


# --- what a worker is sent ---------------------------------------------------------------------


def test_a_plan_of_a_huge_image_is_small() -> None:
    class Huge:
        shape = (10_000_000, 10_000_000)
        dtype = np.dtype(np.uint16)

        def __getitem__(self, key: Any, /) -> Any:
            raise AssertionError("read")

    found = plan_prediction(MODEL.record, Huge(), PredictConfig())
    assert len(found.tiles) > 10**8
    assert len(pickle.dumps(found)) < 5000


def test_a_plan_knows_its_result() -> None:
    found = plan(a_model(ClassTable("classes", "unlabelled", (1, 2, 3))), 4, 40, 50)
    assert (found.result_axes, found.result_shape) == ("TYX", (4, 40, 50))


# --- frames ------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [((5,),), (1,)], ids=["beyond the last", "a bare number"])
def test_frames_of_which_the_image_has_none_are_refused(frames: Any) -> None:
    with pytest.raises(ConfigError, match=r"the image has none; choose among \(0,\) to \(2,\)"):
        plan(MODEL, 3, 20, 24, axes="TYX", frames=frames)


def test_of_frames_that_are_asked_for_those_that_are_there_are_predicted() -> None:
    chosen = plan(MODEL, 3, 20, 24, axes="TYX", frames=((1,), (7,)))
    assert list(chosen.frames) == [1]


def test_of_few_painted_cells_what_is_smaller_than_any_must_be_surer() -> None:
    painted = ClassTable("objects", "unlabelled")
    model = knowing(20, smallest_object=100, classes=painted, starting_model="cells")
    limits = plan(model, 40, 40).limits
    assert (limits.smallest, limits.sure, limits.doubtful) == (31, 0.4, 100)  # a tenth of a cell
    assert plan(model, 40, 40, smallest=5).limits == (5, 0.4, 0)


def test_who_painted_all_knows_how_sure_an_object_is() -> None:
    model = knowing(20, smallest_object=100, classes=ClassTable("objects", "background"))
    assert plan(model, 40, 40).limits == (100, 0.0, 0)


def test_a_starting_model_counts_what_it_is_sure_of() -> None:
    assert plan(CELLS, 40, 40, cell_size=20.0).limits == (47, 0.3, 0)


def test_what_began_with_random_weights_counts_what_is_above_the_threshold() -> None:
    model = knowing(20, smallest_object=100, classes=ClassTable("objects", "unlabelled"))
    assert plan(model, 40, 40).limits == (100, 0.0, 0)
