"""A bioimage.io package: accepted by bioimageio.core, and the same in the blocks that it cuts."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_unet.errors import ConfigError, ModelMismatchError
from napari_unet.export import package as export_package
from napari_unet.export.checks import make_sample
from napari_unet.export.description import Facts, package_sides
from napari_unet.export.package import release_packages

from .builders import AUTHORS, CLASSES, a_model, blobs, export, needs_packages

# bioimageio leaves the packages that it has read open until they are collected as garbage.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("packages"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="session")
def packages() -> None:
    needs_packages()


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_left_open() -> Iterator[None]:
    """Else a test of another module is told of the packages that bioimageio leaves open."""
    yield
    release_packages()


@pytest.fixture(scope="session")
def package(packages: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A package of a model of objects, written and checked; read only."""
    model = a_model(record={"pixel_size": {"Y": 0.5, "X": 0.5}, "threshold": 0.4})
    path = tmp_path_factory.mktemp("package") / "My nuclei"
    _, result = export(model, path, "bioimageio", description="Nuclei.", image=blobs(150, 140))
    return model, result


@pytest.fixture(scope="session")
def stack(packages: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A package of a model of classes in stacks of two channels, checked on a small one."""
    model = a_model(CLASSES, ndim=3, depth=1, flat_levels=1, in_channels=2)
    path, image = tmp_path_factory.mktemp("package") / "stack", blobs(2, 3, 30, 28)
    return export(model, path, "bioimageio", image=image, axes="CZYX")[1]


def described(path: Path) -> Any:
    from bioimageio.spec import load_model_description

    return load_model_description(path, perform_io_checks=False)


def test_both_weights_agree_with_our_prediction_whole_and_in_tiles(package: Any) -> None:
    _, result = package
    assert [check.way for check in result.checks] == ["whole image", "tiles"] * 2
    assert {check.program.partition("(")[2] for check in result.checks} == {"ONNX)", "TorchScript)"}
    assert max(check.largest_difference for check in result.checks) < 1e-5
    assert min(check.agreement for check in result.checks) == 1


def test_it_says_who_made_it_under_which_licence_and_whom_to_cite(package: Any) -> None:
    description = described(package[1].path)
    assert description.name == "My nuclei"
    assert description.authors[0].name == AUTHORS[0]["name"]
    assert description.authors[0].affiliation == AUTHORS[0]["affiliation"]
    assert str(description.license) == "CC-BY-4.0"
    assert description.cite[0].doi == "10.1007/978-3-319-24574-4_28"


def test_it_says_how_to_scale_and_tile(package: Any) -> None:
    model, result = package
    description = described(result.path)
    kwargs = description.inputs[0].preprocessing[1].kwargs
    assert (kwargs.min_percentile, kwargs.max_percentile) == (1, 99.8)
    across = description.inputs[0].axes[-1]
    assert (across.size.min, across.size.step, across.scale) == (52, 4, 0.5)
    assert description.outputs[0].axes[-1].halo == 24
    assert description.config.model_extra["napari_unet"]["threshold"] == model.record.threshold


def blockwise(path: Path, pixels: Any, facts: Facts) -> Any:
    """Predict C[Z]YX in the smallest blocks that bioimageio.core itself cuts."""
    from bioimageio.core import Tensor, create_prediction_pipeline
    from bioimageio.core.digest_spec import create_sample_for_model
    from bioimageio.spec import load_model_description

    letters = facts.axes[2:].lower()
    description = load_model_description(path, perform_io_checks=False)
    image = Tensor(pixels[np.newaxis], dims=("batch", "channel", *letters))
    sizes = dict(zip(letters, package_sides(facts), strict=True))
    block = {"image": {"batch": 1, "channel": len(pixels), **sizes}}
    with create_prediction_pipeline(description, weight_format="onnx") as pipeline:
        sample = create_sample_for_model(description, inputs={"image": image})
        predicted = pipeline.predict_sample_with_fixed_blocking(sample, block)
    return np.asarray(predicted.members["probabilities"].data)[0]


def test_the_blocks_that_bioimageio_cuts_give_what_our_prediction_gives(package: Any) -> None:
    model, result = package
    facts = Facts(model.record, 1, "", "")
    sample = make_sample(model, None, None, (68, 64), 1)  # multiples of the step
    theirs = blockwise(result.path, sample.pixels, facts)
    assert np.abs(theirs - sample.answer(sample.pixels)).max() < 1e-5


def test_the_channels_of_a_model_of_classes_have_their_names(stack: Any) -> None:
    names = described(stack.path).outputs[0].axes[1].channel_names
    assert names == ["background", "class_3", "class_7"]


def test_a_stack_that_is_smaller_than_a_block_is_mirrored_for_the_check(stack: Any) -> None:
    assert stack.checked_on == "the image"
    assert max(check.largest_difference for check in stack.checks) < 1e-5


def test_a_package_that_predicts_something_else_is_refused(
    package: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(package[1].path) as files:
        of_another = {name: files.read(name) for name in ("weights.onnx", "weights.pt")}
    for writer in ("write_onnx", "write_torchscript"):
        monkeypatch.setattr(
            export_package, writer, lambda n, f, path: path.write_bytes(of_another[path.name])
        )
    with pytest.raises(ModelMismatchError, match="Nothing was exported"):
        export(a_model(depth=1), tmp_path / "cells", "bioimageio")
    assert list(tmp_path.iterdir()) == []


def test_a_licence_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'mine' is no SPDX"):
        export(a_model(), tmp_path / "cells", "bioimageio", licence="mine")
