"""Images that are made of images: of pairs, and of noisy images alone (Noise2Void)."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_unet.api.model import TrainedModel
from napari_unet.data.intensity import IntensityRange
from napari_unet.data.labels import Target
from napari_unet.errors import (
    ImageError,
    LabelsError,
    ModelMismatchError,
    NapariUNetError,
)
from napari_unet.export.config import ExportConfig
from napari_unet.export.writing import export_network
from napari_unet.model.trained import load_network, save_network
from napari_unet.tasks import ClassTable, table, task_of
from napari_unet.tasks.losses import weighted_error
from napari_unet.tasks.validation import GreyValues
from napari_unet.training.checkpoint import load_training, save_checkpoint
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.events import Validated
from napari_unet.training.patches import PatchSampler
from napari_unet.training.preparation import prepare_training

from .builders import (
    Array,
    data_of,
    of_type,
    run,
    same_weights,
    stop_after,
    tiny_config,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.training.loop import TrainingResult

IMAGE, DENOISE = task_of("image"), task_of("denoise")


def clean(*shape: int) -> NDArray[np.float32]:
    """Smooth waves between 1000 and 3000."""
    positions = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    waves = sum(np.sin(at / 5 + axis) for axis, at in enumerate(positions[-2:]))
    return (2000 + 500 * np.asarray(waves)).astype(np.float32)


def noisy(*shape: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(1).normal(0, 200, shape)
    return (clean(*shape) + noise).astype(np.float32)


def nothing(image: Array) -> Array:
    """Stands where labels are asked for: noise is learned from the image itself."""
    return np.broadcast_to(np.uint8(0), image.shape)


def images(kind: str, **changes: Any) -> TrainConfig:
    return tiny_config(kind=kind, **{"steps": 4, **changes})


def trained_on(kind: str, shape: tuple[int, ...] = (64, 64), **changes: Any) -> TrainingResult:
    image = noisy(*shape)
    target = clean(*shape) * 10 - 20000 if kind == "image" else nothing(image)
    config = images(kind, **changes)
    return run(data_of(image, target, config), config)[1]


@pytest.fixture(scope="module")
def of_pairs() -> TrainedModel:
    return TrainedModel(trained_on("image", steps=40, learning_rate=1e-2, base_channels=4).trained)


# --- What is learned, and what comes out ---------------------------------------------------------


def test_what_is_made_of_pairs_has_the_grey_values_of_the_targets(of_pairs: TrainedModel) -> None:
    made, wanted = of_pairs.predict(noisy(64, 64)), clean(64, 64) * 10 - 20000
    assert made.dtype == np.float32
    assert made.shape == wanted.shape
    assert abs(made.mean() - wanted.mean()) < 0.3 * wanted.std()
    assert np.corrcoef(made.ravel(), wanted.ravel())[0, 1] > 0.7


def test_negative_targets_come_out_negative() -> None:
    result = trained_on("image", steps=1)
    low, high = result.data.classes.target_range
    target = result.data.frames[0].target.values
    assert target is not None
    back = IMAGE.in_image(target[None], result.data.frames[0].intensity, result.data.classes)
    assert high > low
    assert back.min() < 0
    assert np.allclose(back, clean(64, 64) * 10 - 20000, atol=0.05)


@pytest.mark.parametrize(("kind", "shape"), [("image", (64, 64)), ("denoise", (64, 64))])
def test_tiles_give_what_one_tile_gives(kind: str, shape: tuple[int, ...]) -> None:
    model = TrainedModel(trained_on(kind, shape, steps=2).trained)
    image = noisy(100, 90)
    whole = model.predict(image, views=1)
    assert np.allclose(model.predict(image, views=1, tile_size=16), whole, atol=1e-2, rtol=0)
    assert whole.std() > 0


def test_volumes_and_time_lapses_are_denoised_too() -> None:
    volume = TrainedModel(trained_on("denoise", (12, 32, 32), ndim=3, depth=1, steps=1).trained)
    assert volume.predict(noisy(2, 9, 20, 20), axes="TZYX", views=1).shape == (2, 9, 20, 20)
    movie = noisy(5, 32, 32)
    config = images("denoise", window=3, steps=1)
    annotated = AnnotatedImage("movie", movie, nothing(movie), axes="TYX")
    model = TrainedModel(run(prepare_training([annotated], config), config)[1].trained)
    assert model.predict(movie, axes="TYX", views=1).shape == movie.shape


def test_scores_are_psnr_and_ssim_on_held_back_blocks() -> None:
    config = images("image", validation_share=0.3)
    events, result = run(data_of(noisy(64, 64), clean(64, 64), config), config)
    told = of_type(events, Validated)[-1]
    assert told.iou is None
    assert told.text.startswith("PSNR ")
    assert "SSIM" in told.text
    assert result.trained.record.history[-1]["psnr"] == told.psnr


def test_scores_are_those_of_the_formulas() -> None:
    counts, wanted = GreyValues(), np.zeros((8, 8), np.float32)
    asked = Target(wanted.astype(np.int16), wanted.astype(np.int32), None, wanted)
    counts.add(np.full((1, 8, 8), 0.1, np.float32), asked, np.ones((8, 8), np.float32))
    score = counts.scores()
    assert score.psnr == pytest.approx(20)
    assert score.ssim is not None
    assert score.loss == pytest.approx(0.01)


@pytest.mark.parametrize(("error", "expected"), [("squared", 4.0), ("absolute", 2.0)])
def test_the_loss_counts_where_there_is_weight(error: str, expected: float) -> None:
    weights = torch.tensor([[[1.0, 0.0]]])
    scores, values = torch.tensor([[[[-1.0, 99.0]]]]), torch.tensor([[[-3.0, 0.0]]])
    assert float(weighted_error(scores, values, weights, error)) == expected


@pytest.mark.parametrize("kind", ["image", "denoise"])
def test_a_training_goes_on_exactly(kind: str, tmp_path: Path) -> None:
    image = noisy(64, 64)
    target = clean(64, 64) if kind == "image" else nothing(image)
    config = images(kind)
    whole = run(data_of(image, target, config), config)[1]
    stop = threading.Event()
    part = run(data_of(image, target, config), config, stop=stop, watch=stop_after(stop, 2))[1]
    save_checkpoint(part.trained, part.state, tmp_path / "m.safetensors")
    state, settings = load_training(tmp_path / "m.safetensors")
    data = prepare_training([AnnotatedImage("an image", image, target)], settings, state)
    resumed = run(data, settings, resume=state)[1]
    assert same_weights(resumed.state.last, whole.state.last)


def test_a_model_file_keeps_the_range_of_the_targets(
    of_pairs: TrainedModel, tmp_path: Path
) -> None:
    save_network(of_pairs.trained, tmp_path / "m.safetensors")
    record = load_network(tmp_path / "m.safetensors").record
    assert record.classes == of_pairs.record.classes
    assert record.intensity == IMAGE.intensity


# --- Patches: no pixel is a mixture of others, and blind ones are not seen -----------------------


def test_patches_hold_pixels_of_the_image_and_no_mixtures() -> None:
    image = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
    config = images("image", batch_size=8)
    data = data_of(image, image, config)
    batch = PatchSampler(data, config).of_step(1)
    inside = batch.weights > 0
    assert torch.allclose(batch.images[:, 0][inside], batch.classes[inside], atol=2e-3)


def test_blind_pixels_alone_are_asked_for_and_show_another_value() -> None:
    image = torch.arange(32.0 * 32).reshape(1, 32, 32)
    target = torch.stack([image[0], torch.ones(32, 32)])
    of_batch = DENOISE.asked(
        image[None], target[None], [np.random.default_rng(0)], ClassTable("denoise", "background")
    )
    shown, asked = of_batch[0][0], of_batch[1][0]
    blind = asked[1] > 0
    assert 30 < int(blind.sum()) <= 51
    assert bool((shown[0] != image[0])[blind].all())
    assert torch.equal(shown[0][~blind], image[0][~blind])
    assert torch.equal(asked[0], image[0])


def test_bright_beads_stay_as_bright_as_they_are() -> None:
    image = noisy(64, 64)
    image[10, 10] = 20_000
    data = data_of(image, nothing(image), images("denoise"))
    frame = data.frames[0]
    assert frame.target.values is not None
    back = DENOISE.in_image(frame.target.values[None], frame.intensity, data.classes)
    assert back[0, 10, 10] == pytest.approx(20_000, rel=1e-3)


def test_of_a_huge_image_enough_is_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(DENOISE, enough_pixels=2 * 32 * 32)
    monkeypatch.setitem(table.TASKS, "denoise", small)
    movie, large = noisy(9, 32, 32), noisy(128, 128)
    config = images("denoise")
    of_movie = prepare_training([AnnotatedImage("m", movie, nothing(movie))], config)
    assert [frame.frame.index for frame in of_movie.frames] == [(0,), (8,)]
    (frame,) = prepare_training([AnnotatedImage("l", large, nothing(large))], config).frames
    assert np.prod(frame.frame.spatial_shape) <= 2 * 32 * 32


# --- What is refused -----------------------------------------------------------------------------

GOOD = noisy(64, 64)
HOLED = np.where(np.eye(64) > 0, np.nan, GOOD)
FLAT = np.full((64, 64), 7.0)


@pytest.mark.parametrize(
    ("kind", "image", "target", "error", "words"),
    [
        ("image", GOOD, clean(60, 64), LabelsError, "not of the shape"),
        ("image", GOOD, HOLED, LabelsError, "64 pixels of the target image are not finite"),
        ("image", GOOD, FLAT, ImageError, "target images have the same value"),
        ("image", FLAT, GOOD, ImageError, "same value everywhere"),
        ("denoise", FLAT, nothing(FLAT), ImageError, "same value everywhere"),
        ("image", GOOD, GOOD + 1j, LabelsError, "complex64"),
        ("denoise", noisy(2, 64, 64), nothing(GOOD), ImageError, "2 channels"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_a_bad_image_is_refused(
    kind: str, image: Array, target: Array, error: type[NapariUNetError], words: str
) -> None:
    with pytest.raises(error, match=words):
        data_of(image, target, images(kind))


def test_pixels_that_are_no_numbers_teach_no_denoising() -> None:
    data = data_of(HOLED, nothing(HOLED), images("denoise"))
    assert not data.frames[0].target.painted.diagonal().any()
    assert np.isfinite(data.frames[0].target.values).all()  # type: ignore[arg-type]


def test_a_model_that_makes_images_gives_no_objects_and_is_not_exported(
    of_pairs: TrainedModel, tmp_path: Path
) -> None:
    with pytest.raises(ModelMismatchError, match="trained to make an image"):
        of_pairs.predict(GOOD, "objects")
    events = export_network(
        of_pairs.trained, tmp_path / "m", ExportConfig("torchscript"), threading.Event()
    )
    with pytest.raises(ModelMismatchError, match="models of labels alone"):
        next(events)


def test_a_range_that_no_target_has_is_refused() -> None:
    with pytest.raises(NapariUNetError, match="target_range"):
        ClassTable("image", "background", (), (1.0, 1.0))


def test_an_intensity_is_undone_where_the_image_is_constant() -> None:
    flat = IntensityRange((5.0,), (5.0,), (5.0,))
    classes = ClassTable("denoise", "background")
    assert (DENOISE.in_image(np.zeros((1, 2, 2), np.float32), flat, classes) == 5).all()
