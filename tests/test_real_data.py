"""Real images of every kind, from file to result; each is skipped where its data are missing."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from scipy import ndimage as ndi

import napari_unet as nu
from device import DEVICE_NAME
from napari_unet.io.files import read_image, read_labels, write_image
from napari_unet.model.trained import TrainedNetwork
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.files import FileFailed, FilePredicted, predict_files
from napari_unet.samples import sample_dir
from napari_unet.training.config import PresetName

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = [pytest.mark.shared, pytest.mark.slow]


def pixels(folder: str, number: int = 0) -> Any:
    path = DATA / folder / "images" / f"{number:03}.tif"
    if not path.exists():
        pytest.skip(f"{folder} is not there")
    return np.asarray(read_image(path).array)


def truth(folder: str, number: int = 0) -> Any:
    return read_labels(DATA / folder / "labels" / f"{number:03}.tif")


def f1_of(found: Any, labels: Any) -> float:
    return float(nu.evaluate(found, labels, kind="objects")["f1_50"])


def train(
    images: Any, labels: Any, preset: PresetName = "fast", **settings: Any
) -> nu.TrainedModel:
    about = {name: settings.pop(name) for name in ("axes", "pixel_size") if name in settings}
    config = nu.TrainConfig.preset(preset, device=DEVICE_NAME, **settings)
    return nu.train(images, labels, config, **about)


# --- volumes -----------------------------------------------------------------------------------

EMBRYO = {"Z": 2.18, "Y": 1.0, "X": 1.0}


def embryo() -> tuple[Any, Any]:
    """A part of the mouse embryo that holds whole nuclei, at half the resolution in the plane."""
    image, labels = pixels("mouse_embryo3d"), truth("mouse_embryo3d")
    binned = image[:, :120, :122].reshape(51, 60, 2, 61, 2).mean(axis=(2, 4))
    return binned.astype(np.float32), labels[:, :120:2, :122:2]


SMALL_3D: dict[str, Any] = {"preset": "3d", "base_channels": 8, "patch_size": 32, "steps": 40}


def test_a_volume_network_finds_nuclei_in_3d() -> None:
    image, labels = embryo()
    model = train(image, labels, unpainted="background", pixel_size=EMBRYO, **SMALL_3D)
    assert f1_of(model.predict(image, device=DEVICE_NAME), labels) > 0.5
    assert model.record.pixel_size == EMBRYO


def test_a_few_painted_slices_train_a_volume_network() -> None:
    image, labels = embryo()
    painted = np.zeros(labels.shape, np.uint16)
    painted[8::7] = labels[8::7] + 1  # 1 is background, 0 unlabelled
    model = train(image, painted, pixel_size=EMBRYO, **SMALL_3D)
    found = model.predict(image, device=DEVICE_NAME) > 0
    overlap = (found & (labels > 0)).sum() / (found | (labels > 0)).sum()
    assert overlap > 0.5


def test_em_sections_make_a_volume_of_thick_slices() -> None:
    sections = range(8)
    image = np.stack([pixels("isbi2012_em", number)[:160, :160] for number in sections])
    labels = np.stack([truth("isbi2012_em", number)[:160, :160] for number in sections])
    size = {"Z": 0.05, "Y": 0.004, "X": 0.004}
    model = train(image, labels, kind="classes", pixel_size=size, **SMALL_3D)
    assert model.record.network.flat_levels == 2
    found = model.predict(image, device=DEVICE_NAME)
    scores = nu.evaluate(found, labels, kind="classes", unpainted="unlabelled")
    assert scores["iou"] > 0.4


def test_planes_of_a_flat_network_are_linked_through_z() -> None:
    image, labels = embryo()
    settings: dict[str, Any] = {"unpainted": "background", "steps": 60, "patch_size": 64}
    model = train(image, labels, axes="ZYX", **settings)
    found = model.predict(image, axes="ZYX", device=DEVICE_NAME)
    linked, about = nu.link(found, "ZYX")
    assert len(np.unique(linked)) < len(np.unique(found)) / 2
    assert about.n_tracks == len(np.unique(linked)) - 1
    # nuclei that lie one above the other may be one; none may fall apart
    shares = [np.bincount(linked[labels == nucleus])[1:] for nucleus in np.unique(labels)[1:]]
    whole = [share.max() > 0.9 * share.sum() for share in shares]
    assert sum(whole) >= 7


# --- time-lapse --------------------------------------------------------------------------------


def film() -> tuple[Any, Any]:
    """Four frames of a colony of 16 bacteria."""
    box = (slice(20, 300), slice(60, 260))
    images = np.stack([pixels("bacteria_timelapse", number)[box] for number in range(16, 20)])
    labels = np.stack([truth("bacteria_timelapse", number)[box] for number in range(16, 20)])
    return images, labels


def test_a_window_of_neighbouring_frames_is_trained_and_predicted() -> None:
    images, labels = film()
    settings: dict[str, Any] = {"unpainted": "background", "steps": 50, "patch_size": 96}
    settings |= {"start": "random", "base_channels": 8, "axes": "TYX"}
    model = train(images, labels, window=3, **settings)
    assert model.record.network.window == 3
    found = model.predict(images, axes="TYX", device=DEVICE_NAME)
    assert found.shape == images.shape
    inside = (found > 0) & (labels > 0)
    assert inside.sum() / ((found > 0) | (labels > 0)).sum() > 0.5


# --- channels ----------------------------------------------------------------------------------


def test_a_model_of_one_stain_reads_it_from_any_image() -> None:
    image = pixels("dsb2018_other")
    labels = truth("dsb2018_other")
    model = train(image, labels, unpainted="background", channels="0", axes="YXC", steps=5)
    assert model.record.used_channels == (0,)
    from_colours = model.predict(image, "probabilities", axes="YXC", device=DEVICE_NAME)
    alone = model.predict(image[..., 0], "probabilities", axes="YX", device=DEVICE_NAME)
    np.testing.assert_array_equal(from_colours, alone)


# --- pixel size --------------------------------------------------------------------------------


def test_an_image_of_another_objective_is_predicted_at_the_scale_of_the_training() -> None:
    image, labels = pixels("dsb2018_fluo", 41), truth("dsb2018_fluo", 41)
    start = nu.starting_model("cells").trained
    known = replace(start.record, pixel_size={"Y": 1.0, "X": 1.0})
    model = nu.TrainedModel(TrainedNetwork(start.network, known))
    large = ndi.zoom(image.astype(np.float32), 4, order=1, grid_mode=True, mode="nearest")
    large_labels = labels.repeat(4, axis=0).repeat(4, axis=1)
    size = {"Y": 0.25, "X": 0.25}
    rescaled = model.predict(large, pixel_size=size, device=DEVICE_NAME)
    as_it_is = model.predict(large, pixel_size=size, rescale=False, device=DEVICE_NAME)
    assert rescaled.shape == large.shape
    assert f1_of(rescaled, large_labels) > f1_of(as_it_is, large_labels) + 0.1
    assert (
        f1_of(rescaled, large_labels)
        > f1_of(model.predict(image, device=DEVICE_NAME), labels) - 0.1
    )


# --- formats, memory, batch --------------------------------------------------------------------


def zarr_of(image: Any, path: Path) -> Path:
    stored = zarr.create_array(path, shape=image.shape, chunks=(128, 128), dtype=image.dtype)
    stored[:] = image
    return path


def test_every_format_gives_the_same_result(tmp_path: Path) -> None:
    image = pixels("dsb2018_fluo", 41)
    zarr_of(image, tmp_path / "a.zarr")
    write_image(tmp_path / "b.tif", image, "YX", {"Y": 0.5, "X": 0.5})
    write_image(tmp_path / "c.ome.tif", image, "YX", {"Y": 0.5, "X": 0.5})
    np.save(tmp_path / "d.npy", image)
    model = nu.starting_model("cells")
    expected = model.predict(image, device=DEVICE_NAME)
    paths = sorted(tmp_path.iterdir())
    stop = threading.Event()
    events = predict_files(
        model.trained, paths, tmp_path / "out", PredictConfig(device=DEVICE_NAME), stop
    )
    written = {e.path.name: e.target for e in events if isinstance(e, FilePredicted)}
    assert sorted(written) == ["a.zarr", "b.tif", "c.ome.tif", "d.npy"]
    for name, target in written.items():
        result = read_image(target)
        np.testing.assert_array_equal(np.asarray(result.array[:]), expected, err_msg=name)
        size = {"Y": 0.5, "X": 0.5} if name.endswith(".tif") else {}
        assert result.pixel_size == pytest.approx(size), name


def test_a_broken_file_does_not_stop_the_rest(tmp_path: Path) -> None:
    image = pixels("dsb2018_fluo", 41)
    for name in ("a.tif", "c.tif"):
        write_image(tmp_path / name, image, "YX")
    (tmp_path / "b.tif").write_bytes(b"no image")
    model = nu.starting_model("cells").trained
    config = PredictConfig(device=DEVICE_NAME)
    paths = [tmp_path / name for name in ("a.tif", "b.tif", "c.tif")]
    events = list(predict_files(model, paths, tmp_path / "out", config, threading.Event()))
    assert [e.path.name for e in events if isinstance(e, FilePredicted)] == ["a.tif", "c.tif"]
    assert [e.path.name for e in events if isinstance(e, FileFailed)] == ["b.tif"]


def test_the_bundled_volume_is_learned(tmp_path: Path) -> None:
    image = np.asarray(read_image(sample_dir() / "nuclei3d_image.tif").array)
    labels = read_labels(sample_dir() / "nuclei3d_labels.tif")
    settings: dict[str, Any] = {**SMALL_3D, "steps": 80}
    model = train(image, labels, unpainted="background", axes="ZYX", **settings)
    found = model.predict(image, axes="ZYX", device=DEVICE_NAME) > 0
    assert (found & (labels > 0)).sum() / (found | (labels > 0)).sum() > 0.5
