"""Arguments of a wrong type: our own error, which names the argument and what to give instead."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import napari_unet as nu
from napari_unet.errors import NapariUNetError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IMAGE = np.random.default_rng(0).integers(0, 255, (48, 48)).astype(np.uint8)
LABELS = np.zeros((48, 48), np.uint8)
LABELS[:6], LABELS[10:20, 10:20], LABELS[30:40, 30:40] = 1, 2, 3
TINY = nu.TrainConfig(
    steps=1, base_channels=2, depth=1, patch_size=32, batch_size=1, device="cpu", start="random"
)
ODD: tuple[Any, ...] = (
    3,
    2.5,
    "x",
    object(),
    [],
    {},
    (1,),
    True,
    b"x",
    [3],
    ["x"],
    np.zeros(3),
    {"a": 1},
)
# A function that is called with events may raise whatever it likes.
BEYOND_US = {"on_event"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a label image and a model."""
    folder = tmp_path_factory.mktemp("arguments")
    nu.write_image(folder / "l.tif", LABELS, "YX")
    nu.train(IMAGE, LABELS, TINY).save(folder / "m.safetensors")
    return folder


def functions(folder: Path) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Return functions of the package, and arguments with which they work."""
    model: Any = nu.load_model(folder / "m.safetensors")
    path, file = {"path": folder / "l.tif"}, folder / "l.tif"
    return {
        "train": (nu.train, {"images": IMAGE, "labels": LABELS, "config": TINY}),
        "predict": (model.predict, {"image": IMAGE, "device": "cpu"}),
        "predict_to_zarr": (model.predict_to_zarr, {"image": IMAGE, "path": folder / "z.zarr"}),
        "save": (model.save, {"path": folder / "n.safetensors"}),
        "load_model": (nu.load_model, {"path": folder / "m.safetensors"}),
        "starting_model": (nu.starting_model, {"name": "cells"}),
        "evaluate": (nu.evaluate, {"predictions": LABELS, "truth": LABELS}),
        "error_map": (nu.error_map, {"prediction": LABELS, "truth": LABELS}),
        "border_weight_map": (nu.border_weight_map, {"labels": LABELS}),
        "read_annotations": (nu.read_annotations, path),
        "read_image": (nu.read_image, path),
        "read_labels": (nu.read_labels, path),
        "write_image": (nu.write_image, {**path, "array": LABELS, "axes": "YX"}),
        "write_objects": (nu.write_objects, {"path": file.with_name("o.csv"), "labels": LABELS}),
        "measure": (nu.measure, {"labels": LABELS}),
        "link": (nu.link, {"labels": np.stack([LABELS] * 2)}),
        "TrainConfig": (nu.TrainConfig, {}),
        "UNetConfig": (nu.UNetConfig, {}),
    }


NAMES = (
    *("train", "predict", "predict_to_zarr", "save", "load_model", "starting_model", "evaluate"),
    *("error_map", "border_weight_map", "read_annotations", "read_image", "read_labels"),
    *("write_image", "write_objects", "measure", "link", "TrainConfig", "UNetConfig"),
)


@pytest.mark.parametrize("name", NAMES)
def test_no_raw_error_of_python_comes_of_an_argument_of_a_wrong_type(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    function, good = functions(folder)[name]
    parameters = inspect.signature(function).parameters.values()
    named = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]
    for argument in set(named) - BEYOND_US:
        for value in ODD:
            try:
                function(**good | {argument: value})
            except NapariUNetError:
                continue


def test_the_error_names_the_argument_the_value_and_what_to_give() -> None:
    call: Any = nu.train
    good: dict[str, Any] = {"images": IMAGE, "labels": LABELS}
    for argument, value, words in (
        ("stop", 3, "stop is 3; give a threading.Event."),
        ("output", 3, "output is 3; give a path, such as 'cells.tif'."),
        ("config", "fast", "config is 'fast'; give a TrainConfig."),
        ("axes", 5, "axes is 5; give a letter of TCZYX for each axis, such as 'ZYX', or a list"),
    ):
        with pytest.raises(NapariUNetError, match=words.split(";")[0]) as raised:
            call(**good | {argument: value})
        assert words in str(raised.value)


def test_none_is_what_a_default_is() -> None:
    assert nu.measure(LABELS, None, axes=None)["index"].tolist() == [1, 2, 3]


def test_wrong_calls_stay_errors_of_python() -> None:
    call: Any = nu.read_image
    with pytest.raises(TypeError, match=r"read_image.* missing 1 required"):
        call()
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        call("a.tif", colour=3)
