"""What ``napari-unet train`` learns from: images and their labels, paired and read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.cli.common import given_pixel_size
from napari_unet.data.axes import (
    check_axes,
    labels_beside,
    unusable_axes,
    usable_axes,
    without_channels,
)
from napari_unet.data.labels import label_pieces
from napari_unet.errors import ConfigError, FileProblemError
from napari_unet.io.annotations.reading import (
    find_annotations,
    is_external_annotation,
    read_annotations,
)
from napari_unet.io.files import (
    find_images,
    labels_in,
    name_of,
    open_labels,
    pair_files,
    read_image,
)
from napari_unet.tasks import task_in_layers, task_of
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.sources import no_labels

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.io.files import ImageFile
    from napari_unet.training.config import TrainConfig

    # Of each class, the pairs of all images; of what is no overlapping class, by the name ""
    Paired = Mapping[str, list[tuple[Path, Path]]]


def paired_files(
    options: argparse.Namespace, config: TrainConfig, layers: Mapping[str, list[str]]
) -> dict[str, list[tuple[Path, Path]]]:
    """Pair images with what is to be learned, of overlapping classes with the labels of each.

    Where they alone are learned from they are paired with themselves.
    """
    task, images = task_of(config.kind), find_images(options.images)
    given = "--targets" if options.targets else "--labels" if options.labels else ""
    wanted = "" if task.teaches_itself else "--labels" if task.paints else "--targets"
    if given != wanted:
        remedy = f"give {wanted} PATH..." if wanted else f"leave out {given}"
        raise ConfigError(f"To learn {config.kind} (--kind), {remedy}.")
    if not wanted:
        return {"": [(image, image) for image in images]}
    find = find_annotations if task.paints else find_images
    learned = layers or {"": options.labels or options.targets}
    return {name: pair_files(images, find(paths)) for name, paths in learned.items()}


def read_annotated(
    paired: Paired, options: argparse.Namespace, config: TrainConfig
) -> list[AnnotatedImage]:
    """Open all images and their labels, of overlapping classes those of each class."""
    together = zip(*paired.values(), strict=True)
    return [
        _annotated_image(
            pairs[0][0],
            {name: labels for name, (_, labels) in zip(paired, pairs, strict=True)},
            options,
            config,
        )
        for pairs in together
    ]


def _annotated_image(
    path: Path, labels_paths: Mapping[str, Path], options: argparse.Namespace, config: TrainConfig
) -> AnnotatedImage:
    """Open an image and its labels; the file's axes are used where they fit network and labels.

    Of overlapping classes there are labels for each, by its name.
    """
    image, ndim = read_image(path), config.ndim
    read = {
        name: _labels_of(each, image, options.axes or image.axes, options, config)
        for name, each in labels_paths.items()
    }
    found = tuple(text for _, texts in read.values() for text in texts)
    names = tuple(name for name in read if name)
    layers = {name: labels for name, (labels, _) in read.items()}
    task = task_in_layers(config.kind, names) if names else None
    labels = layers[""] if task is None else task.packed(layers, config.unpainted)
    shape = tuple(image.array.shape)
    notices, axes = (*image.notices, *found), options.axes or None
    if axes is not None:
        check_axes(axes, len(shape), ndim)
    else:
        axes = usable_axes(image.axes, len(shape), ndim)
        notices += unusable_axes(image.axes, axes, ndim)
        if axes and "C" in axes and labels.shape == shape:
            axes = None  # where channels are labelled one by one they are frames
    labels = labels_beside(labels, shape, axes) if axes else labels
    size = given_pixel_size(options.pixel_size) or image.pixel_size
    return AnnotatedImage(
        name_of(path),
        image.array,
        labels,
        axes=axes,
        pixel_size=size,
        notices=notices,
        class_names=names,
    )


def _labels_of(
    path: Path,
    image: ImageFile,
    axes: str | None,
    options: argparse.Namespace,
    config: TrainConfig,
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Read labels, or annotations of another program, which are never numbered as paint is.

    Of a task that makes images they are images.
    """
    if task_of(config.kind).teaches_itself:
        fitting = usable_axes(axes, len(image.array.shape), config.ndim) if axes else None
        return no_labels(tuple(image.array.shape), fitting, config.ndim), ()
    if not task_of(config.kind).paints:
        target = read_image(path)
        return np.asarray(target.array), target.notices
    if not is_external_annotation(path):
        file = open_labels(path, (axes or "").replace("C", "") or None)
        labels = labels_in(file)
        told = tuple(f"{name_of(path)}: {text}" for text in file.notices)
        return label_pieces(labels) if options.label_pieces else labels, told
    if config.unpainted != "background":
        raise ConfigError(
            f"{path.name} numbers its objects from 1, where paint has the background; add "
            "--unpainted background."
        )
    shape = tuple(image.array.shape)
    if axes and len(axes) == len(shape):
        shape, axes = without_channels(shape, axes), axes.replace("C", "")
    found = read_annotations(path, shape, axes, config.kind, image.path.name)
    if found.unlabelled:
        raise FileProblemError(
            f"{path} does not label all frames, so that 0 is no background there. Import it in the "
            "Annotate widget, and train on that."
        )
    return found.labels, found.notices
