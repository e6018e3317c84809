"""What ``napari-unet train`` learns from: images with their labels, or annotations of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.cli.pixel_size import pixel_size_of
from napari_unet.data.axes import check_axes, unusable_axes, usable_axes
from napari_unet.data.files import name_of, read_image, read_labels
from napari_unet.errors import ConfigError, FileProblemError
from napari_unet.formats.reading import is_external_annotation, read_annotations
from napari_unet.training.dataset import AnnotatedImage

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.data.files import ImageFile
    from napari_unet.training.config import TrainConfig


def annotated_image(
    path: Path, labels_path: Path, options: argparse.Namespace, config: TrainConfig
) -> AnnotatedImage:
    """Open an image and its labels; the file's axes count where they fit network and labels."""
    image, ndim = read_image(path), config.ndim
    labels, told = _labels_of(labels_path, image, options.axes or image.axes, config)
    shape = tuple(image.array.shape)
    notices, axes = (*image.notices, *told), options.axes or None
    if axes is not None:
        check_axes(axes, len(shape), ndim)
    else:
        axes = usable_axes(image.axes, len(shape), ndim)
        notices += unusable_axes(image.axes, axes, ndim)
        wanted = tuple(n for n, axis in zip(shape, axes or "", strict=False) if axis != "C")
        axes = axes if wanted == labels.shape else None
    size = pixel_size_of(options.pixel_size) or image.pixel_size
    return AnnotatedImage(
        name_of(path), image.array, labels, axes=axes, pixel_size=size, notices=notices
    )


def _labels_of(
    path: Path, image: ImageFile, axes: str | None, config: TrainConfig
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Read labels, or annotations of another program, which are never numbered as paint is."""
    if not is_external_annotation(path):
        return read_labels(path), ()
    if config.unpainted != "background":
        raise ConfigError(
            f"{path.name} numbers its objects from 1, where paint has the background; add "
            "--unpainted background."
        )
    shape = tuple(image.array.shape)
    if axes and len(axes) == len(shape):
        shape = tuple(n for n, axis in zip(shape, axes, strict=True) if axis != "C")
        axes = axes.replace("C", "")
    found = read_annotations(path, shape, axes, config.kind, image.path.name)
    if found.unlabelled:
        raise FileProblemError(
            f"{path} does not label all frames, so that 0 is no background there. Import it in the "
            "Annotate widget, and train on that."
        )
    return found.labels, found.notices
