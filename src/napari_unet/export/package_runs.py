"""Run a written bioimage.io package by bioimageio.core, and let that test it as its users would."""

from __future__ import annotations

import gc
import warnings
from contextlib import redirect_stderr
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.axes import SPATIAL_AXES
from napari_unet.errors import ModelMismatchError
from napari_unet.export.checks import compare_with_ours, run_in_tiles
from napari_unet.export.description import package_sides
from napari_unet.export.package import faults_in, silenced
from napari_unet.export.sample import cropped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.export.config import ExportCheck
    from napari_unet.export.facts import Facts
    from napari_unet.export.sample import Sample

_FORMATS = {"onnx": "ONNX", "torchscript": "TorchScript"}


def package_checks(path: Path, facts: Facts, sample: Sample) -> Iterator[ExportCheck]:
    """Run a package on a sample, whole and in tiles, with each of its weights.

    Yields the figures of each comparison.

    Raises ModelMismatchError if bioimageio.core does not accept the package, or its result differs.
    """
    description = _accepted(path)
    for weights, name in _FORMATS.items():
        program, on_grid = _program(name), cropped(sample, facts.steps)
        with silenced(), redirect_stderr(StringIO()), _pipeline(description, weights) as pipeline:
            whole, tiled = _whole(pipeline, sample.pixels), _tiled(pipeline, on_grid, facts)
        yield compare_with_ours(program, "whole image", sample, sample.answer(sample.pixels), whole)
        yield compare_with_ours(program, "tiles", on_grid, on_grid.answer(on_grid.pixels), tiled)


def release_packages() -> None:
    """Close what bioimageio leaves open until it is garbage: Windows renames no open file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def blockwise(path: Path, pixels: NDArray[np.float32], facts: Facts) -> NDArray[np.float32]:
    """Predict in the smallest blocks that bioimageio.core itself cuts; C[Z]YX to probabilities."""
    with silenced(), redirect_stderr(StringIO()):
        description = _loaded(path)
        with _pipeline(description, "onnx") as pipeline:
            letters = facts.axes[2:].lower()
            shape = {"batch": 1, "channel": len(pixels)}
            block = dict(zip(letters, package_sides(facts), strict=True))
            predicted = pipeline.predict_sample_with_fixed_blocking(
                _sample(pipeline, pixels), {"image": {**shape, **block}}
            )
            return _values(predicted)


def _accepted(path: Path) -> Any:
    """Let bioimageio.core run its own tests."""
    from bioimageio.core import load_description_and_test

    with silenced(), redirect_stderr(StringIO()):
        description = load_description_and_test(path, expected_type="model", devices=None)
    summary = description.validation_summary
    if summary.status != "passed":
        raise ModelMismatchError(
            "Nothing was exported: bioimageio.core does not accept the package "
            f"({summary.status}: {faults_in(summary)}). Please report this."
        )
    return description


def _loaded(path: Path) -> Any:
    from bioimageio.spec import load_model_description

    return load_model_description(path, perform_io_checks=False)


def _pipeline(description: Any, weights: Any) -> Any:
    from bioimageio.core import create_prediction_pipeline

    return create_prediction_pipeline(description, weight_format=weights)


def _program(weights: str) -> str:
    import bioimageio.core

    return f"bioimageio.core {bioimageio.core.__version__} ({weights})"


def _sample(pipeline: Any, pixels: NDArray[np.float32]) -> Any:
    """Return C[Z]YX as a sample; with named axes sizes need not be a multiple of the step."""
    from bioimageio.core import Tensor
    from bioimageio.core.digest_spec import create_sample_for_model

    letters = SPATIAL_AXES[pixels.ndim - 1].lower()
    image = Tensor(np.ascontiguousarray(pixels[np.newaxis]), dims=("batch", "channel", *letters))
    return create_sample_for_model(pipeline.model_descr, inputs={"image": image})


def _values(predicted: Any) -> NDArray[np.float32]:
    values: NDArray[np.float32] = np.asarray(predicted.members["probabilities"].data)[0]
    return values


def _whole(pipeline: Any, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    predicted = pipeline.predict_sample_without_blocking(
        _sample(pipeline, pixels), skip_input_padding=True, skip_output_cropping=True
    )
    return _values(predicted)


def _tiled(pipeline: Any, sample: Sample, facts: Facts) -> NDArray[np.float32]:
    """Normalise the whole image as the package says, then run tile by tile."""
    whole = _sample(pipeline, sample.pixels)
    pipeline.apply_preprocessing(whole)
    scaled = np.asarray(whole.members["image"].data)[0]

    def run(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        predicted = pipeline.predict_sample_without_blocking(
            _sample(pipeline, pixels),
            skip_preprocessing=True,
            skip_input_padding=True,
            skip_output_cropping=True,
        )
        return _values(predicted)

    return run_in_tiles(run, scaled, facts.record.network.out_channels, facts)
