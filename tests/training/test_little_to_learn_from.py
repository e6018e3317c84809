"""Tiny or constant images, a stroke or two, any label numbers: it trains, and says what lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_unet as nu
from device import DEVICE_NAME
from napari_unet.errors import ImageError, LabelsError
from napari_unet.run import Notice

from .builders import data_of, painted_cells, run, tiny_config

if TYPE_CHECKING:
    from pathlib import Path

Array = Any


def noise(*shape: int) -> Array:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def two_strokes(*shape: int) -> Array:
    """Background in the first row, a cell in the last; or side by side in a single row."""
    labels = np.zeros(shape, np.uint8)
    if shape[0] == 1:
        half = shape[1] // 2
        labels[:, :half], labels[:, half:] = 1, 2
    else:
        labels[0], labels[-1] = 1, 2
    return labels


def trained_on(image: Array, labels: Array, **changes: Any) -> tuple[list[str], nu.TrainedModel]:
    told: list[str] = []

    def note(event: object) -> None:
        if isinstance(event, Notice):
            told.append(event.text)

    model = nu.train(image, labels, tiny_config(steps=2, **changes), on_event=note)
    return told, model


@pytest.mark.fault(19, 28)
@pytest.mark.parametrize("kind", ["objects", "classes"])
@pytest.mark.parametrize("shape", [(5, 5), (1, 2), (1, 40), (40, 1), (2, 2)], ids=str)
def test_an_image_of_a_few_pixels_trains_and_predicts(shape: tuple[int, int], kind: str) -> None:
    told, model = trained_on(noise(*shape), two_strokes(*shape), kind=kind)
    assert model.predict(noise(*shape), device=DEVICE_NAME).shape == shape
    # of objects the judged paint says how it goes
    assert kind == "objects" or any("hold some back" in text for text in told)


@pytest.mark.fault(19)
@pytest.mark.parametrize("shape", [(1, 5, 5), (2, 3, 4)], ids=str)
def test_a_volume_of_a_few_pixels_trains_and_predicts(shape: tuple[int, ...]) -> None:
    labels = np.zeros(shape, np.uint8)
    labels[0, 0], labels[-1, -1] = 1, 2
    _, model = trained_on(noise(*shape), labels, ndim=3)
    assert model.predict(noise(*shape), device=DEVICE_NAME).shape == shape


@pytest.mark.fault(28)
def test_one_pixel_of_each_of_two_classes_is_enough_to_train() -> None:
    labels = np.zeros((48, 48), np.uint8)
    labels[5, 5], labels[30, 30] = 1, 2
    _, model = trained_on(noise(48, 48), labels)
    assert model.trained.record.steps == 2


@pytest.mark.fault(16)
@pytest.mark.parametrize("value", [0, 7, np.nan], ids=str)
def test_an_image_of_one_value_trains_and_is_told_of(value: float) -> None:
    _, labels = painted_cells(48)
    told, model = trained_on(np.full((48, 48), value, np.float32), labels)
    assert any("same value everywhere: nothing can be seen" in text for text in told)
    assert np.isfinite(model.predict(noise(48, 48), "probabilities", device=DEVICE_NAME)).all()


@pytest.mark.fault(26)
def test_sparse_classes_come_back_as_painted_from_a_saved_model(tmp_path: Path) -> None:
    image, labels = painted_cells(64)
    values = np.array([1, 7, 200, 2**40], np.uint64)
    painted = np.where(labels == 0, 0, values[labels % 4])
    _, model = trained_on(image, painted, kind="classes")
    model.save(tmp_path / "m.safetensors")
    again = nu.load_model(tmp_path / "m.safetensors")
    found = again.predict(noise(200, 200), device=DEVICE_NAME)
    assert set(np.unique(found).tolist()) <= {0, 7, 200, 2**40}
    assert again.trained.record.classes.painted == (1, 7, 200, 2**40)


@pytest.mark.fault(26)
def test_more_classes_than_a_byte_holds_train() -> None:
    labels = np.arange(48 * 48).reshape(48, 48) // 4  # 576 classes
    _, model = trained_on(noise(48, 48), labels, kind="classes", unpainted="background")
    found = model.predict(noise(48, 48), device=DEVICE_NAME)
    assert model.trained.record.classes.n_classes == 576
    assert found.dtype == np.uint16


@pytest.mark.fault(18)
@pytest.mark.parametrize("dtype", ["f2", "f8", "c8", "O", "M8[s]", "S3", [("a", "u1")]], ids=str)
def test_labels_that_are_no_whole_numbers_are_refused_by_their_dtype(dtype: Any) -> None:
    labels = np.zeros((48, 48), dtype)
    with pytest.raises(LabelsError) as caught:
        data_of(noise(48, 48), labels, tiny_config())
    assert str(caught.value) == (
        f"Labels of dtype {labels.dtype} cannot be used; save them as whole numbers, for example "
        "uint16."
    )


@pytest.mark.fault(18)
@pytest.mark.parametrize("dtype", ["c8", "O", "M8[s]", "S3", [("a", "u1")]], ids=str)
def test_images_that_are_no_grey_values_are_refused_by_their_dtype(dtype: Any) -> None:
    image = np.zeros((48, 48), dtype)
    with pytest.raises(ImageError) as caught:
        data_of(image, two_strokes(48, 48), tiny_config())
    assert str(caught.value).startswith(f"Images of dtype {image.dtype} cannot be used")


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    "dtype",
    ["u1", "u2", ">u2", "u4", "u8", "i1", "i2", ">i4", "i8", "f2", "f4", ">f8", "longdouble"],
)
def test_the_dtype_of_an_image_changes_nothing_of_what_is_learned(dtype: str) -> None:
    image = np.random.default_rng(0).integers(0, 100, (48, 48))
    _, labels = painted_cells(48)
    _, expected = run(
        data_of(image.astype("f4"), labels, tiny_config(steps=2)), tiny_config(steps=2)
    )
    read_only = image.astype(dtype)
    read_only.setflags(write=False)
    _, found = run(data_of(read_only, labels, tiny_config(steps=2)), tiny_config(steps=2))
    for name, tensor in expected.trained.network.state_dict().items():
        other = found.trained.network.state_dict()[name]
        assert (tensor - other).abs().max() < 1e-4, name


@pytest.mark.fault(18, 19, 26)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    dtype=st.sampled_from(["u1", "u2", "u4", "u8", "i2", "i8", ">u2"]),
    kind=st.sampled_from(["objects", "classes"]),
    unpainted=st.sampled_from(["unlabelled", "background"]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_the_weights_of_any_paint_are_finite_and_none_where_nothing_is_painted(
    height: int, width: int, dtype: str, kind: str, unpainted: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    ids = np.array([0, 1, 2, 7, int(np.iinfo(dtype).max)], dtype)
    labels = ids[rng.integers(0, len(ids), (height, width))]
    config = tiny_config(kind=kind, unpainted=unpainted)
    try:
        data = data_of(noise(height, width), labels, config)
    except LabelsError as error:
        assert "Paint at least two" in str(error) or "a single class" in str(error)  # noqa: PT017
        return
    for frame in data.frames:
        assert np.isfinite(frame.weights).all()
        assert (frame.weights >= 0).all()
        assert not frame.weights[~frame.target.painted].any()
        assert frame.weights.any()
