"""The sample images: loaders for scripts, and the same as layers for napari's File menu."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LayerTuple: TypeAlias = "tuple[npt.NDArray[Any], dict[str, Any], Literal['image', 'labels']]"


def sample_dir() -> Path:
    """Return the folder of the sample images.

    An installed package carries it inside; a checkout has it at the top level.
    """
    package = Path(__file__).resolve().parent
    candidates = (package / "sample_data", package.parents[1] / "sample_data")
    for folder in candidates:
        if (folder / "nuclei2d_image.tif").is_file():
            return folder
    raise FileNotFoundError(
        f"the sample images are missing (looked for {candidates[0]}); "
        "install napari-unet-paint again"
    )


def load_phase_2d() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Load the cells in phase contrast in 2D.

    Returns
    -------
    tuple of arrays
        The image; ten painted cells, and background around them (0 unlabelled, 1 background, 2
        and up one id a cell); the full labels (0 background, one id a cell). All ``YX``, 600 x 600
        pixels.
    """
    return _read("phase2d_image"), _read("phase2d_paint"), _read("phase2d_labels")


def load_nuclei_2d() -> tuple[
    npt.NDArray[np.uint8], npt.NDArray[np.uint16], npt.NDArray[np.uint16]
]:
    """Load the fluorescent nuclei in 2D.

    Returns
    -------
    tuple of arrays
        The image; the painted strokes (0 unlabelled, 1 background, 2 and up one id a nucleus);
        the full labels (0 background, one id a nucleus). All ``YX``, 512 x 512 pixels.
    """
    return _read("nuclei2d_image"), _read("nuclei2d_strokes"), _read("nuclei2d_labels")


def load_nuclei_3d() -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Load the synthetic nuclei in 3D.

    Returns
    -------
    tuple of arrays
        The image and its full labels (0 background, one id a nucleus). Both ``ZYX``,
        31 x 61 x 57 voxels.
    """
    return _read("nuclei3d_image"), _read("nuclei3d_labels")


def phase_2d() -> list[LayerTuple]:
    """Return the cells in phase contrast, and ten of them painted, as napari layers."""
    image, paint, _ = load_phase_2d()
    return _layers(image, "phase contrast 2D", paint, "phase contrast 2D paint")


def nuclei_2d() -> list[LayerTuple]:
    """Return the 2D nuclei and their painted strokes as napari layers."""
    image, strokes, _ = load_nuclei_2d()
    return _layers(image, "nuclei 2D", strokes, "nuclei 2D strokes")


def nuclei_3d() -> list[LayerTuple]:
    """Return the 3D nuclei and their full labels as napari layers."""
    image, labels = load_nuclei_3d()
    return _layers(image, "nuclei 3D", labels, "nuclei 3D labels")


def _layers(
    image: npt.NDArray[Any], name: str, labels: npt.NDArray[Any], name_of_labels: str
) -> list[LayerTuple]:
    return [(image, {"name": name}, "image"), (labels, {"name": name_of_labels}, "labels")]


def _read(name: str) -> npt.NDArray[Any]:
    import tifffile  # takes a moment to import, and most programs never open a sample

    image: npt.NDArray[Any] = tifffile.imread(sample_dir() / f"{name}.tif")
    return image
