"""Train, save, load and predict from Python."""

from __future__ import annotations

import threading
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

import napari_unet as nu
from device import DEVICE_NAME
from napari_unet.errors import ConfigError, FileProblemError, LabelsError, ModelFileError
from napari_unet.prediction.results import PredictionStarted, TilePredicted
from napari_unet.training.events import StepDone, TrainingStarted

if TYPE_CHECKING:
    from pathlib import Path

Array = Any
CONFIG = nu.TrainConfig(
    base_channels=2, depth=2, patch_size=32, batch_size=2, steps=3, device=DEVICE_NAME
)


def painting(size: int = 48) -> tuple[Array, Array]:
    """Two bright squares, painted as objects 2 and 3, and some background."""
    image = np.random.default_rng(0).random((size, size), dtype=np.float32)
    labels = np.zeros((size, size), np.uint8)
    labels[:6] = 1
    for number, column in ((2, 8), (3, 26)):
        image[10:20, column : column + 10] += 3
        labels[10:20, column : column + 10] = number
    return image, labels


IMAGE, LABELS = painting()


@pytest.fixture(scope="module")
def model() -> nu.TrainedModel:
    return nu.train(IMAGE, LABELS, CONFIG)


def same_weights(one: nu.TrainedModel, other: nu.TrainedModel) -> bool:
    first, second = one.trained.network.state_dict(), other.trained.network.state_dict()
    return all(bool((first[name] == second[name]).all()) for name in first)


# --- train -------------------------------------------------------------------------------------


def test_one_image_is_trained_on(model: nu.TrainedModel) -> None:
    assert model.record.steps == 3


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_of_one_image_is_the_same(model: nu.TrainedModel, kind: type) -> None:
    assert same_weights(nu.train(kind([IMAGE]), kind([LABELS]), CONFIG), model)


def test_several_images_of_different_sizes_are_trained_on() -> None:
    model = nu.train([IMAGE, IMAGE[:40, :30]], [LABELS, LABELS[:40, :30]], CONFIG)
    assert [image.shape for image in model.record.images] == [(48, 48), (40, 30)]


def test_images_are_named_by_their_number() -> None:
    model = nu.train([IMAGE, IMAGE], [LABELS, LABELS], CONFIG)
    assert [image.name for image in model.record.images] == ["image 0", "image 1"]


def test_lists_of_unequal_length_are_refused() -> None:
    with pytest.raises(LabelsError, match="There are 2 images but 1 label images"):
        nu.train([IMAGE, IMAGE], [LABELS], CONFIG)


def test_empty_lists_are_refused() -> None:
    with pytest.raises(LabelsError, match="no image to train on"):
        nu.train([], [], CONFIG)


def test_labels_may_be_a_nested_list() -> None:
    assert nu.train([IMAGE], [LABELS.tolist()], CONFIG).record.steps == 3


def test_events_are_handed_on_while_training() -> None:
    events: list[object] = []
    nu.train(IMAGE, LABELS, CONFIG, on_event=events.append)
    assert [event.step for event in events if isinstance(event, StepDone)] == [1, 2, 3]


def test_a_training_can_be_stopped() -> None:
    stop = threading.Event()

    def stop_after_two(event: object) -> None:
        if isinstance(event, StepDone) and event.step == 2:
            stop.set()

    assert nu.train(IMAGE, LABELS, CONFIG, stop_after_two, stop=stop).record.steps == 2


def painted_pixels(**more: Any) -> int:
    """How many pixels a training is told to learn from."""
    events: list[object] = []
    nu.train(IMAGE, LABELS, CONFIG.changed(steps=1), events.append, **more)
    (started,) = [event for event in events if isinstance(event, TrainingStarted)]
    return started.painted


def test_unpainted_pixels_of_a_fully_annotated_region_are_background() -> None:
    box = (slice(30, 40), slice(0, 20))
    assert painted_pixels(regions=[box]) == painted_pixels() + 200


def test_regions_and_corrections_are_of_each_image() -> None:
    box = (slice(30, 40), slice(0, 20))
    nu.train(
        [IMAGE, IMAGE],
        [LABELS, LABELS],
        CONFIG.changed(steps=1),
        regions=[[box], []],
        corrected=[None, LABELS > 1],
    )


def test_corrected_pixels_change_what_is_learned(model: nu.TrainedModel) -> None:
    assert not same_weights(nu.train(IMAGE, LABELS, CONFIG, corrected=LABELS == 2), model)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"regions": [(slice(3, 9),)]}, "one slice per axis"),
        ({"regions": [((3, 9), (3, 9))]}, "one slice per axis"),
        ({"regions": [(slice(3, 9), slice(400, 500))]}, "that lies within them"),
        ({"regions": (slice(3, 9), slice(3, 9))}, "one slice per axis"),
        ({"corrected": LABELS[:9] > 1}, r"Corrections \(9, 48\) do not match labels"),
    ],
    ids=["region", "no slices", "outside", "a single box", "corrections"],
)
def test_what_does_not_fit_the_labels_is_refused(more: dict[str, Any], text: str) -> None:
    with pytest.raises(LabelsError, match=text):
        nu.train(IMAGE, LABELS, CONFIG, **more)


def test_regions_of_fewer_images_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 images but 1 values of regions"):
        nu.train([IMAGE, IMAGE], [LABELS, LABELS], CONFIG, regions=[[]])


def test_a_training_goes_on_exactly_where_its_file_ended(tmp_path: Path) -> None:
    whole = nu.train(IMAGE, LABELS, CONFIG.changed(steps=4))
    path, stop = tmp_path / "m.safetensors", threading.Event()

    def stop_after_two(event: object) -> None:
        if isinstance(event, StepDone) and event.step == 2:
            stop.set()

    config = CONFIG.changed(steps=4)
    nu.train(IMAGE, LABELS, config, stop_after_two, output=path, stop=stop)
    assert nu.load_model(path).record.steps == 2
    assert same_weights(nu.train(IMAGE, LABELS, previous=path), whole)


def test_a_finished_training_says_how_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    nu.train(IMAGE, LABELS, CONFIG, output=path)
    with pytest.raises(ConfigError, match="already made 3 steps"):
        nu.train(IMAGE, LABELS, previous=path)


def test_a_model_is_trained_further_with_its_own_network(model: nu.TrainedModel) -> None:
    events: list[object] = []
    further = nu.train(
        IMAGE, LABELS, nu.TrainConfig(steps=2, device="cpu"), events.append, previous=model
    )
    assert further.record.network == model.record.network
    assert further.record.steps == 5
    assert [event.step for event in events if isinstance(event, StepDone)] == [4, 5]


def test_an_output_that_cannot_be_written_is_refused_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileProblemError):
        nu.train(IMAGE, LABELS, CONFIG, output=tmp_path / "file" / "m.safetensors")


def test_training_leaves_its_inputs_alone() -> None:
    image, labels = IMAGE.copy(), LABELS.copy()
    nu.train(image, labels, CONFIG)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(labels, LABELS)


def test_read_only_arrays_are_trained_on() -> None:
    image, labels = IMAGE.copy(), LABELS.copy()
    image.flags.writeable = labels.flags.writeable = False
    assert nu.train(image, labels, CONFIG).record.steps == 3


def test_a_model_says_in_one_line_what_it_is(model: nu.TrainedModel) -> None:
    assert repr(model) == "<TrainedModel: objects in 2D images of 1 channel, 3 training steps>"


# --- predict -----------------------------------------------------------------------------------


def test_objects_are_predicted_by_default(model: nu.TrainedModel) -> None:
    labels = model.predict(IMAGE, device=DEVICE_NAME)
    assert labels.shape == IMAGE.shape
    assert labels.dtype.kind == "u"


def test_probabilities_have_a_class_axis(model: nu.TrainedModel) -> None:
    assert model.predict(IMAGE, "probabilities", device=DEVICE_NAME).shape == (2, 48, 48)


def test_events_are_handed_on_while_predicting(model: nu.TrainedModel) -> None:
    events: list[object] = []
    model.predict(IMAGE, tile_size=16, device=DEVICE_NAME, on_event=events.append)
    assert isinstance(events[0], PredictionStarted)
    tiles = [event for event in events if isinstance(event, TilePredicted)]
    assert len(tiles) == events[0].tiles == 9


def test_a_read_only_image_is_predicted(model: nu.TrainedModel) -> None:
    image = IMAGE.copy()
    image.flags.writeable = False
    np.testing.assert_array_equal(
        model.predict(image, device=DEVICE_NAME), model.predict(IMAGE, device=DEVICE_NAME)
    )


def test_one_model_predicts_in_two_threads_at_once(model: nu.TrainedModel) -> None:
    expected = model.predict(IMAGE, "probabilities", device=DEVICE_NAME)
    found: list[Array] = []

    def predict() -> None:
        found.append(model.predict(IMAGE, "probabilities", tile_size=16, device=DEVICE_NAME))

    threads = [threading.Thread(target=predict) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in found:
        np.testing.assert_allclose(result, expected, atol=1e-5)
    assert len(found) == 2


def test_a_model_cannot_be_changed_in_place(model: nu.TrainedModel) -> None:
    with pytest.raises(FrozenInstanceError):
        model.trained = None  # type: ignore[misc, assignment]


# --- save and load -----------------------------------------------------------------------------


@pytest.mark.parametrize("as_text", [True, False], ids=["text", "Path"])
def test_a_loaded_model_predicts_as_before(
    model: nu.TrainedModel, tmp_path: Path, as_text: bool
) -> None:
    path = tmp_path / "m.safetensors"
    model.save(str(path) if as_text else path)
    loaded = nu.load_model(str(path) if as_text else path)
    before = model.predict(IMAGE, "probabilities", device=DEVICE_NAME)
    after = loaded.predict(IMAGE, "probabilities", device=DEVICE_NAME)
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize("result", ["objects", "classes"])
def test_a_loaded_model_gives_the_same_labels(
    model: nu.TrainedModel, tmp_path: Path, result: Literal["objects", "classes"]
) -> None:
    model.save(tmp_path / "m.safetensors")
    loaded = nu.load_model(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(
        loaded.predict(IMAGE, result, device=DEVICE_NAME),
        model.predict(IMAGE, result, device=DEVICE_NAME),
    )


def test_a_loaded_model_has_the_memory_layout_of_the_trained_one(
    model: nu.TrainedModel, tmp_path: Path
) -> None:
    model.save(tmp_path / "m.safetensors")
    loaded = nu.load_model(tmp_path / "m.safetensors").trained.network.state_dict()
    for name, tensor in model.trained.network.state_dict().items():
        assert tensor.stride() == loaded[name].stride()


def test_a_loaded_model_has_the_same_record(model: nu.TrainedModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m.safetensors")
    assert nu.load_model(tmp_path / "m.safetensors").record == model.record


def test_a_training_that_made_no_step_leaves_the_file_as_it_was(
    model: nu.TrainedModel, tmp_path: Path
) -> None:
    model.save(tmp_path / "m.safetensors")
    before, stop = (tmp_path / "m.safetensors").read_bytes(), threading.Event()
    stop.set()
    with pytest.raises(FileProblemError, match="ended before its first step"):
        nu.train(IMAGE, LABELS, CONFIG, output=tmp_path / "m.safetensors", stop=stop)
    assert (tmp_path / "m.safetensors").read_bytes() == before


def test_a_model_without_its_state_says_how_it_is_trained_further(
    model: nu.TrainedModel, tmp_path: Path
) -> None:
    model.save(tmp_path / "m.safetensors")
    with pytest.raises(ModelFileError, match=r"no m\.state\.safetensors beside .*load_model"):
        nu.train(IMAGE, LABELS, previous=tmp_path / "m.safetensors")


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"There is no model file .*m\.safetensors"):
        nu.load_model(tmp_path / "m.safetensors")


def test_a_folder_that_does_not_exist_is_named(model: nu.TrainedModel, tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match="nowhere"):
        model.save(tmp_path / "nowhere" / "m.safetensors")
