"""Thousands of damaged and forged files: each is read, or refused by an error of our own.

Nothing is written by reading, and memory stays bounded. FUZZ_CASES=100000 tries ten times as many;
a case is known by its seed, which the failure names.
"""

from __future__ import annotations

import json
import logging
import os
import random
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import torch
import zarr
from PIL import Image
from safetensors.torch import save

from napari_unet.errors import NapariUNetError
from napari_unet.io.files import in_memory, read_image, read_labels
from napari_unet.model import trained
from napari_unet.model.config import UNetConfig
from napari_unet.model.record import ModelRecord, TrainingImageRecord, record_to_json
from napari_unet.model.trained import TrainedNetwork, hash_of_weights, load_network, save_network
from napari_unet.model.unet import UNet
from napari_unet.project.contents import Project, ProjectImage
from napari_unet.project.folder import load_project, save_project
from napari_unet.project.library import ModelLibrary
from napari_unet.project.recovery import abandoned, sweep
from napari_unet.tasks import ClassTable
from napari_unet.training.checkpoint import load_state, save_state
from napari_unet.training.state import TrainingState

from .mutations import changed_bytes, changed_json, changed_text
from .sandbox import bounded_memory, contents_of, share_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Case = Callable[[random.Random], object]

pytestmark = [pytest.mark.fuzz, pytest.mark.fault(35), pytest.mark.fault(39)]

CONFIG = UNetConfig(base_channels=2, depth=1)
RECORD = ModelRecord(
    CONFIG,
    ClassTable("objects", "unlabelled"),
    training={"seed": 1},
    history=[{"step": 5, "iou": 0.5, "object_f1": None, "best": True}],
    images=(TrainingImageRecord("a.tif", (10, 12), "aa", "bb"),),
    versions={"torch": "2.13"},
    created="2026-11-21T10:00:00+00:00",
    pixel_size={"Y": 0.5},
)
LABELS = (np.arange(600) % 7).reshape(20, 30).astype(np.uint16)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep what the decoders say about damaged files out of the output."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def try_all(cases: int, case: Case) -> None:
    """Run cases; fail with the seed of the first that ends in an error of another kind."""
    messages = {}
    with bounded_memory():
        for seed in range(share_of(cases)):
            try:
                case(random.Random(seed))
            except NapariUNetError as error:
                messages[seed] = str(error)
            except Exception as error:
                raise AssertionError(f"seed {seed} ends in {type(error).__name__}") from error
    assert len(messages) > share_of(cases) // 10, "the damage does no harm: it is not read"
    assert not {seed: text[-500:] for seed, text in messages.items() if len(text.splitlines()) > 1}
    assert not {seed: text[-500:] for seed, text in messages.items() if len(text) > 2000}


def a_network() -> UNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet(CONFIG).eval()


def forge(path: Path, tensors: dict[str, Any], text: str) -> None:
    """Write a file whose checksum is right, whatever its text."""
    metadata = {"napari_unet": text, "sha256": hash_of_weights(tensors, text)}
    path.write_bytes(save(tensors, metadata=metadata))


@pytest.mark.fault(36)
def test_model_files_of_changed_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_network(TrainedNetwork(a_network(), RECORD), path)
    whole, good = path.read_bytes(), load_network(path).network.state_dict()

    def case(chance: random.Random) -> None:
        path.write_bytes(changed_bytes(whole, chance))
        found = load_network(path)
        assert found.record == RECORD
        assert all(torch.equal(good[n], t) for n, t in found.network.state_dict().items())

    try_all(3200, case)


def test_model_files_of_a_changed_header(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_network(TrainedNetwork(a_network(), RECORD), path)
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])

    def case(chance: random.Random) -> None:
        text = changed_text(header, chance).encode("utf-8", "surrogatepass")
        path.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + length :])
        load_network(path)

    try_all(1000, case)


def test_model_files_of_a_forged_record(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    tensors, record = dict(a_network().state_dict()), record_to_json(RECORD)

    def case(chance: random.Random) -> None:
        forge(path, tensors, changed_text(record, chance))
        load_network(path)

    try_all(500, case)


def test_model_files_in_the_library(tmp_path: Path) -> None:
    library = ModelLibrary(tmp_path)
    good, bad = library.path_for("good"), tmp_path / "bad.safetensors"
    save_network(TrainedNetwork(a_network(), RECORD), good)
    whole, record = good.read_bytes(), record_to_json(RECORD)
    tensors = dict(a_network().state_dict())

    def case(chance: random.Random) -> None:
        if chance.random() < 0.5:
            bad.write_bytes(changed_bytes(whole, chance))
        else:
            forge(bad, tensors, changed_text(record, chance))
        listed = {entry.path for entry in library.entries()}
        assert good in listed
        assert listed | set(library.unreadable()) == {good, bad}
        if bad not in listed:
            raise NapariUNetError("listed apart")

    try_all(500, case)


def a_state() -> TrainingState:
    weights, average = (
        {"a.weight": torch.ones(2, 3), "a.count": torch.tensor(4)} for _ in range(2)
    )
    history: tuple[dict[str, Any], ...] = (
        {"step": 10, "best": True, "loss": 0.5, "iou": 0.7, "object_f1": None},
    )
    return TrainingState(17, 2.5, weights, average, {}, {"0.step": torch.tensor(1.0)}, 0.7, history)


def test_training_states(tmp_path: Path) -> None:
    path = tmp_path / "m.state.safetensors"
    save_state(a_state(), path)
    whole = path.read_bytes()
    tensors, content = trained.read_tensors(path)

    def case(chance: random.Random) -> None:
        if chance.random() < 0.5:
            path.write_bytes(changed_bytes(whole, chance))
        else:
            forge(path, tensors, changed_text(content, chance))
        load_state(path)

    try_all(1000, case)


def test_projects(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "project"
    images = tuple(ProjectImage(n, image=LABELS, labels=LABELS, corrected=LABELS > 3) for n in "ab")
    save_project(Project(images, {"steps": 3}), folder)
    content = json.loads((folder / "project.json").read_text())
    np.save(tmp_path / "x", LABELS)  # what a name that leads out would reach

    def case(chance: random.Random) -> None:
        (folder / "project.json").write_text(changed_text(content, chance))
        before = contents_of(tmp_path)
        try:
            project = load_project(folder)
        finally:
            assert contents_of(tmp_path) == before
        for image in project.images:
            assert image.labels is None or np.asarray(image.labels).dtype.kind in "uib"

    try_all(700, case)


def test_arrays_of_a_project(tmp_path: Path) -> None:
    images = tuple(ProjectImage(n, image=LABELS, labels=LABELS) for n in "ab")
    save_project(Project(images, {}), tmp_path)
    hit = tmp_path / "a paint.tif"
    whole = hit.read_bytes()

    def case(chance: random.Random) -> None:
        hit.write_bytes(changed_bytes(whole, chance))
        project = load_project(tmp_path)
        np.testing.assert_array_equal(project.images[1].labels, LABELS)
        for problem in project.problems:
            raise NapariUNetError(problem)

    try_all(300, case)


def test_owners_of_recovery_folders(tmp_path: Path) -> None:
    folder = tmp_path / "20260101-000000-000000-1"
    save_project(Project((ProjectImage("a", labels=LABELS),), {}), folder)
    owner = {"pid": os.getpid(), "started": 12.5}

    def case(chance: random.Random) -> None:
        (folder / "owner.json").write_text(changed_text(owner, chance))
        sweep(tmp_path)
        assert (folder / "project.json").exists()
        if abandoned(tmp_path):
            raise NapariUNetError("offered")

    try_all(300, case)


def test_what_a_lock_of_a_recovery_folder_says_costs_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "20260101-000000-000000-1"
    save_project(Project((ProjectImage("a", labels=LABELS),), {}), folder)
    for seed in range(100):
        owner = {"pid": os.getpid(), "started": 12.5}
        (folder / "owner.lock").write_text(changed_text(owner, random.Random(seed)))
        sweep(tmp_path)
        assert (folder / "project.json").exists()


def _write_zarr(path: Path) -> None:
    zarr.create_array(path, data=LABELS, chunks=(10, 30))


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.tif": lambda path: tifffile.imwrite(path, LABELS),
    "zlib.tif": lambda path: tifffile.imwrite(path, LABELS, compression="zlib"),
    "tiled.tif": lambda path: tifffile.imwrite(path, LABELS, tile=(16, 16), compression="lzw"),
    "imagej.tif": lambda path: tifffile.imwrite(path, np.stack([LABELS] * 3), imagej=True),
    "ome.ome.tif": lambda path: tifffile.imwrite(path, np.stack([LABELS] * 3), ome=True),
    "a.png": lambda path: Image.fromarray(LABELS.astype(np.uint8)).save(path),
    "a.npy": lambda path: np.save(path, LABELS),
}


@pytest.mark.parametrize("name", list(WRITERS))
def test_image_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    whole = path.read_bytes()

    def case(chance: random.Random) -> None:
        path.write_bytes(changed_bytes(whole, chance))
        if chance.random() < 0.5:
            read_labels(path)
        else:
            in_memory(read_image(path))

    try_all(150, case)


@pytest.mark.fault(38)
def test_zarr_folders(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.zarr"
    _write_zarr(path)
    group = zarr.open_group(tmp_path / "in" / "ome.zarr", mode="w")
    group.create_array("0", data=LABELS)
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scale = [{"type": "scale", "scale": [0.5, 0.5]}]
    dataset: dict[str, Any] = {"path": "0", "coordinateTransformations": scale}
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [dataset]}]}
    files = [p for p in (tmp_path / "in").rglob("*") if p.is_file()]
    wholes = {file: file.read_bytes() for file in files}

    def case(chance: random.Random) -> None:
        for file, whole in wholes.items():
            file.write_bytes(whole)
        file = chance.choice(files)
        if file.suffix == ".json" and chance.random() < 0.7:
            file.write_text(changed_text(json.loads(wholes[file]), chance))
        else:
            file.write_bytes(changed_bytes(wholes[file], chance))
        before = contents_of(tmp_path)
        try:
            in_memory(read_image(tmp_path / "in" / file.relative_to(tmp_path / "in").parts[0]))
        finally:
            assert contents_of(tmp_path) == before

    try_all(300, case)


def test_damage_is_the_same_for_the_same_seed() -> None:
    one, other = (
        (changed_bytes(bytes(100), random.Random(5)), changed_json({"a": [1]}, random.Random(5)))
        for _ in range(2)
    )
    assert repr(one) == repr(other)
