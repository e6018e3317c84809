"""Write a bioimage.io model package: weights, test tensors, cover, text, and their description.

Nothing is looked up on the network: all files lie in a folder of our own while it is written.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from napari_unet.errors import ConfigError, ModelMismatchError
from napari_unet.export.description import package_description, package_sides
from napari_unet.export.graphs import (
    ONNX_OPSET,
    require,
    write_onnx,
    write_torchscript,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_unet.export.config import ExportConfig
    from napari_unet.export.facts import Facts
    from napari_unet.export.network import ExportNetwork
    from napari_unet.export.sample import Sample

_COVER_SIDE = 256
_LONGEST_REASON = 600


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
    with silenced():
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
    """Write a package: one zip file.

    Parameters
    ----------
    network : ExportNetwork
        What is written as ONNX and as TorchScript.
    sample : Sample
        The first block of it becomes the test tensors and the cover.
    config : ExportConfig
        Name, authors, licence.

    Raises
    ------
    ModelMismatchError
        bioimageio.spec finds the description at fault.
    """
    with tempfile.TemporaryDirectory(prefix="napari-unet-") as name, silenced():
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


def faults_in(summary: Any) -> str:
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
                + faults_in(built.validation_summary)
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
def silenced() -> Iterator[None]:
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
