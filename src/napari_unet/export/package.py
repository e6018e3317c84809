"""Write a bioimage.io model package, and run it again by bioimageio.core as its users would.

It holds weights, test tensors, cover, text, and their description. Nothing is looked up on the
network: all files lie in a folder of our own while it is written.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import tempfile
import warnings
from contextlib import redirect_stderr
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from napari_unet.data.axes import SPATIAL_AXES
from napari_unet.errors import ConfigError, ModelMismatchError
from napari_unet.export.checks import compare_with_ours, cropped, run_in_tiles
from napari_unet.export.description import package_description, package_sides
from napari_unet.export.graphs import ONNX_OPSET, require, write_onnx, write_torchscript

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_unet.export.checks import Sample
    from napari_unet.export.config import ExportCheck, ExportConfig
    from napari_unet.export.description import Facts
    from napari_unet.export.graphs import ExportNetwork

_COVER_SIDE = 256
_LONGEST_REASON = 600
_FORMATS: dict[Any, str] = {"onnx": "ONNX", "torchscript": "TorchScript"}


def check_libraries() -> None:
    """Refuse to begin where a package cannot be written or checked.

    Raises ConfigError if a library is missing, or those that are there do not work together.
    """
    require("bioimageio.spec", "bioimageio.core", "onnx", "onnxscript", "onnxruntime")
    import pydantic
    from bioimageio.spec.model.v0_5 import OnnxWeightsDescr

    entry = OnnxWeightsDescr.model_construct(source=Path("weights.onnx"), opset_version=ONNX_OPSET)
    try:  # bioimageio.spec up to 0.5.12 calls pydantic in a way that pydantic 2.14 refuses
        entry.model_dump(mode="json")
    except Exception as error:  # of whatever kind: no description can be written then
        raise ConfigError(
            f"The installed bioimageio.spec does not work with pydantic {pydantic.VERSION}; "
            'pip install "pydantic<2.14" helps.'
        ) from error


def check_licence(licence: str) -> None:
    """Refuse, by ConfigError, what is no SPDX identifier."""
    with _silenced():
        from bioimageio.spec.generic.v0_3 import LicenseId

        try:
            LicenseId(licence)
        except ValueError as error:
            raise ConfigError(
                f"{licence!r} is no SPDX licence identifier; --licence takes for example "
                "CC-BY-4.0, CC0-1.0, BSD-3-Clause or MIT (all: spdx.org/licenses)."
            ) from error


def write_package(
    network: ExportNetwork, facts: Facts, sample: Sample, config: ExportConfig, path: Path
) -> None:
    """Write a package, one zip file: its test tensors and cover are the first block of the sample.

    Raises ModelMismatchError if bioimageio.spec finds the description at fault.
    """
    with tempfile.TemporaryDirectory(prefix="napari-unet-") as name, _silenced():
        folder = Path(name)
        write_onnx(network, facts, folder / "weights.onnx")
        write_torchscript(network, facts, folder / "weights.pt")
        box = (slice(None), *(slice(0, side) for side in package_sides(facts)))
        pixels, probabilities = sample.pixels[box], sample.answer(sample.pixels[box])
        np.save(folder / "test_input.npy", pixels[np.newaxis])
        np.save(folder / "test_output.npy", probabilities[np.newaxis])
        _save_cover(folder / "cover.png", pixels, probabilities)
        (folder / "README.md").write_text(facts.as_markdown(), encoding="utf-8")
        _save_as_zip(package_description(facts, config), folder, path)


def _faults_in(summary: Any) -> str:
    """Return what a validation of bioimageio found wrong, in one line."""
    faults = [
        f"{'.'.join(map(str, error.loc))} {error.msg}"
        for detail in summary.details
        for error in detail.errors
    ]
    return " ".join("; ".join(faults).split())[:_LONGEST_REASON]


def _save_as_zip(description: dict[str, Any], folder: Path, path: Path) -> None:
    from bioimageio.spec import (
        InvalidDescr,
        ValidationContext,
        build_description,
        save_bioimageio_package,
    )

    context = ValidationContext(
        root=folder,
        perform_io_checks=True,  # of local files: there is no address in the description
        update_hashes=True,
        log_warnings=False,
        progressbar=False,
    )
    with context:
        built = build_description(description, context=context)
        if isinstance(built, InvalidDescr):
            raise ModelMismatchError(
                "The package was not written, bioimageio.spec refuses its description: "
                + _faults_in(built.validation_summary)
            )
        save_bioimageio_package(built, output_path=path, local_files_only=True)


def _save_cover(
    path: Path, pixels: NDArray[np.float32], probabilities: NDArray[np.float32]
) -> None:
    """Paint the test image beside the probability of what is not background: twice as wide."""
    sides = []
    for plane in (pixels[0], 1 - probabilities[0]):
        plane = plane[len(plane) // 2] if plane.ndim == 3 else plane
        low, high = float(plane.min()), float(plane.max())
        grey = ((plane - low) / (high - low or 1) * 255).astype(np.uint8)
        sides.append(Image.fromarray(grey).resize((_COVER_SIDE, _COVER_SIDE)))
    cover = Image.new("L", (2 * _COVER_SIDE, _COVER_SIDE))
    for number, side in enumerate(sides):
        cover.paste(side, (number * _COVER_SIDE, 0))
    cover.save(path)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Let bioimageio's libraries work without remarks on screen; the user does not see them."""
    from loguru import logger

    logger.disable("bioimageio")
    logging.captureWarnings(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.enable("bioimageio")


# --- Run it again ---------------------------------------------------------------------------------


def package_checks(path: Path, facts: Facts, sample: Sample) -> Iterator[ExportCheck]:
    """Run a package on a sample, whole and in tiles, with each of its weights.

    Yields the figures of each comparison.

    Raises ModelMismatchError if bioimageio.core does not accept the package, or its result differs.
    """
    from bioimageio.core import __version__, create_prediction_pipeline

    description, on_grid = _accepted(path), cropped(sample, facts.steps)
    for weights, name in _FORMATS.items():
        program = f"bioimageio.core {__version__} ({name})"
        with (
            _silenced(),
            redirect_stderr(StringIO()),
            create_prediction_pipeline(description, weight_format=weights) as pipeline,
        ):
            whole, tiled = _predicted(pipeline, sample.pixels), _tiled(pipeline, on_grid, facts)
        yield compare_with_ours(program, "whole image", sample, sample.answer(sample.pixels), whole)
        yield compare_with_ours(program, "tiles", on_grid, on_grid.answer(on_grid.pixels), tiled)


def release_packages() -> None:
    """Close what bioimageio leaves open until it is garbage: Windows renames no open file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _accepted(path: Path) -> Any:
    """Let bioimageio.core run its own tests."""
    from bioimageio.core import load_description_and_test

    with _silenced(), redirect_stderr(StringIO()):
        description = load_description_and_test(path, expected_type="model", devices=None)
    summary = description.validation_summary
    if summary.status != "passed":
        raise ModelMismatchError(
            "Nothing was exported: bioimageio.core does not accept the package "
            f"({summary.status}: {_faults_in(summary)}). Please report this."
        )
    return description


def _sample(pipeline: Any, pixels: NDArray[np.float32]) -> Any:
    """Return C[Z]YX as a sample; with named axes sizes need not be a multiple of the step."""
    from bioimageio.core import Tensor
    from bioimageio.core.digest_spec import create_sample_for_model

    letters = SPATIAL_AXES[pixels.ndim - 1].lower()
    image = Tensor(np.ascontiguousarray(pixels[np.newaxis]), dims=("batch", "channel", *letters))
    return create_sample_for_model(pipeline.model_descr, inputs={"image": image})


def _predicted(pipeline: Any, pixels: NDArray[np.float32], **more: bool) -> NDArray[np.float32]:
    """Predict C[Z]YX as it is, as a whole."""
    predicted = pipeline.predict_sample_without_blocking(
        _sample(pipeline, pixels), skip_input_padding=True, skip_output_cropping=True, **more
    )
    values: NDArray[np.float32] = np.asarray(predicted.members["probabilities"].data)[0]
    return values


def _tiled(pipeline: Any, sample: Sample, facts: Facts) -> NDArray[np.float32]:
    """Normalise the whole image as the package says, then run tile by tile."""
    whole = _sample(pipeline, sample.pixels)
    pipeline.apply_preprocessing(whole)
    scaled = np.asarray(whole.members["image"].data)[0]
    run = partial(_predicted, pipeline, skip_preprocessing=True)
    return run_in_tiles(run, scaled, facts.record.network.out_channels, facts)
