"""Import models of other programs: bioimage.io packages and ONNX files.

The outcome is a model of ours, in one file like any other: the weights of a U-Net where it is one
of ours exactly, else those of a known network, or the ONNX graph as it is. Nothing of a package is
run but arithmetic, and what a package says of its own answers decides whether it was understood.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.errors import ModelFileError
from napari_unet.external.answers import compare_with_example, in_order, normalised
from napari_unet.external.build import finished
from napari_unet.external.known_networks import recognise
from napari_unet.external.package_files import (
    LARGEST_WEIGHTS,
    SCRIPT,
    FolderFiles,
    open_files,
    read_example,
    read_source,
    read_state_dict,
)
from napari_unet.external.package_text import read_text
from napari_unet.external.reading import Reading, postprocessing, preprocessing
from napari_unet.model.external import ExternalNetwork
from napari_unet.model.starting import load_model_or_starting_model
from napari_unet.run import Run

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from napari_unet.external.package_files import PackageFiles
    from napari_unet.external.package_text import PackageText
    from napari_unet.external.reading import Example
    from napari_unet.model.record import Activation, LayersConfig
    from napari_unet.model.trained import TrainedNetwork

SUFFIXES = (".zip", ".onnx", ".yaml", ".yml")
_DESCRIPTIONS = ("rdf.yaml", "bioimageio.yaml", "model.yaml")


def is_external_model(path: Path) -> bool:
    """Return whether a path looks like a model of another program."""
    if path.suffix.lower() in SUFFIXES:
        return path.is_file()
    return path.is_dir() and any((path / name).is_file() for name in _DESCRIPTIONS)


def load_any_model(name: str) -> TrainedNetwork:
    """Load a model file, a starting model by its name, or a model of another program.

    Raises ModelFileError if there is none, it is damaged, or it cannot be used here.
    """
    path = Path(name).expanduser()
    if not is_external_model(path):
        return load_model_or_starting_model(name)
    return Run(import_model(path)).finish()[0]


def import_model(path: Path) -> Generator[str, None, tuple[TrainedNetwork, str]]:
    """Import a model of another program; yields what it is doing, returns the model and its name.

    `path` is an ``.onnx`` file, or a model package of bioimage.io: a zip archive, its folder, or
    the description in it. `record.origin` says in words how it is understood. Raises ModelFileError
    if the model is damaged or hostile, no plain U-Net, or does not return what its package says.
    """
    yield f"Reading {path.name} …"
    if path.suffix.lower() == ".onnx":
        data = FolderFiles(path.parent).read(path.name, LARGEST_WEIGHTS)
        yield "Looking through the ONNX graph …"
        return finished(Reading.of_graph(data, path.name), data), path.stem
    files = open_files(path)
    text, folder = read_text(files)
    example = _example(files, folder, text)
    reading = Reading(
        text.name,
        text.image,
        text.result,
        preprocessing(text.image.operations, text.image.letters),
        *postprocessing(text.result.operations),
        text.labels,
        example,
    )
    yield "Comparing with the package's own example …"
    return _of_package(files, folder, text, reading), text.name


def _example(files: PackageFiles, folder: str, text: PackageText) -> Example | None:
    if text.image.test is None or text.result.test is None:
        return None
    ndim = sum(letter in "zyx" for letter in text.image.letters)
    image = read_example(files, folder, text.image.test)
    answer = read_example(files, folder, text.result.test)
    return (
        in_order(image, text.image.letters, ndim, "test input"),
        in_order(answer, text.result.letters, ndim, "test output"),
    )


def _of_package(
    files: PackageFiles, folder: str, text: PackageText, reading: Reading
) -> TrainedNetwork:
    """Take the weights that can be used: those of a known network rather than a graph."""
    state, graph = text.weights.get("pytorch_state_dict"), text.weights.get("onnx")
    if state is not None:
        try:
            tensors = read_state_dict(read_source(files, folder, state))
            return _of_weights(reading, *recognise(tensors, state.kwargs))
        except ModelFileError:
            if graph is None:
                raise
    if graph is not None:
        return finished(reading, read_source(files, folder, graph))
    if "torchscript" in text.weights:
        raise ModelFileError(SCRIPT)
    kinds = ", ".join(sorted(text.weights)) or "none"
    raise ModelFileError(
        f"The package has weights of the kinds {kinds[:100]}; ONNX and PyTorch state dicts can be "
        "used. Ask its authors for the model as ONNX."
    )


def _of_weights(
    reading: Reading, family: str, weights: dict[str, Tensor], candidates: tuple[LayersConfig, ...]
) -> TrainedNetwork:
    """Find out which of the networks that the weights may belong to gives the right answer."""
    if reading.example is None:
        raise ModelFileError(
            "The package has no test tensors, so it is unknown whether its weights were "
            "understood. Ask its authors for the model as ONNX."
        )
    image, answer = normalised(reading.example[0], reading.steps), reading.example[1]
    activations: tuple[Activation, ...] = (reading.activation,)
    if reading.activation == "none":  # or its program does it itself
        activations = ("none", "sigmoid", "softmax")
    tried = []
    for layers, activation in product(candidates, activations):
        run = ExternalNetwork(reading.config(layers=layers), weights).on(image.device)
        compared = compare_with_example(run, image, answer, reading.threshold, activation)
        if compared is None:
            continue
        if compared[0].is_good:
            return finished(reading, weights, layers, activation)
        tried.append(compared[0])
    if not tried:
        raise ModelFileError(
            f"No network of the style {family} can take the package's test image. Ask its authors "
            "for the model as ONNX."
        )
    best = min(tried, key=lambda each: each.share)
    raise ModelFileError(
        f"The weights look like a U-Net of the style {family}, but its answer to the package's "
        f"test image differs by up to {best.largest:.3g} ({best.share:.2%} of the numbers by more "
        "than 0.001). Ask its authors for the model as ONNX."
    )
