"""The Python interface: train, predict, save and load without a window.

What training and files need is imported on use: a first prediction does not wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.data.physical import check_pixel_size
from napari_unet.errors import ConfigError, FileProblemError, LabelsError
from napari_unet.model.starting import load_starting_model
from napari_unet.model.trained import TrainedNetwork, load_network, save_network
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predictor import predict_image
from napari_unet.run import Run

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, Region
    from napari_unet.data.physical import PixelSize
    from napari_unet.data.validation_blocks import BlockPlace
    from napari_unet.export.config import ExportCheck, Exported, ExportFormat
    from napari_unet.model.config import Precision
    from napari_unet.model.record import ModelRecord
    from napari_unet.prediction.config import ResultKind
    from napari_unet.prediction.results import Prediction, PredictionEvent
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.events import TrainingEvent
    from napari_unet.training.state import TrainingState


@dataclass(frozen=True)
class TrainedModel:
    """A trained U-Net that predicts images and can be saved.

    Parameters
    ----------
    trained : TrainedNetwork
        The network and its record.
    """

    trained: TrainedNetwork

    def __repr__(self) -> str:
        """Say in one line what it is; the record tells the rest."""
        record, network = self.record, self.record.network
        table, channels = record.classes, network.in_channels
        finds = f"{table.n_classes} " * table.task.named + table.task.things
        return (
            f"<TrainedModel: {finds} in {network.ndim}D images of {channels} "
            f"channel{'s' * (channels != 1)}, {record.steps} training steps>"
        )

    @property
    def record(self) -> ModelRecord:
        """Network, classes, settings, scores and origin of the model."""
        return self.trained.record

    def predict(
        self,
        image: ArrayLike,
        result: ResultKind | None = None,
        *,
        axes: str | None = None,
        tile_size: int | None = None,
        device: str = "auto",
        threshold: float | None = None,
        views: int | None = None,
        smallest: int | None = None,
        frames: Sequence[tuple[int, ...]] | None = None,
        region: Region | None = None,
        used_channels: Sequence[int] | None = None,
        pixel_size: PixelSize | None = None,
        rescale: bool = True,
        cell_size: float = 0.0,
        precision: Precision = "auto",
        on_event: Callable[[PredictionEvent], object] | None = None,
    ) -> NDArray[Any]:
        """Predict an image.

        Parameters
        ----------
        image : ArrayLike
            Any size from 1x1 up: ``[Z]YX``, with a channel axis if the model has channels;
            further leading axes are frames.
        result : {"objects", "classes", "probabilities", "uncertainty"}, optional
            What to return; what the model was trained for by default.
        axes : str, optional
            Letters TCZYX, one per axis; guessed from the shape by default.
        tile_size : int, optional
            Largest edge length of a tile; the result does not depend on it.
        device : str
            "auto", "cpu", "cuda", "cuda:1", "mps".
        threshold : float, optional
            Probability, between 0 and 1, above which a pixel is of an object, or of the second of
            two classes; the model's own value, chosen on its held-back blocks, by default.
        views : {1, 4, 8}, optional
            Views to average: 4 quarter turns, or 8 with their mirror images; as the model was
            trained by default.
        smallest : int, optional
            Objects of fewer pixels are dropped; the model's own value by default.
        frames : sequence of tuple of int, optional
            Indices on the frame axes of what to predict; elsewhere the result is 0.
        region : tuple of slice, optional
            Box of ``[Z]YX`` to predict; elsewhere the result is 0.
        used_channels : sequence of int, optional
            Channels of the image to use; those that the model learned from by default.
        pixel_size : mapping of str to float, optional
            Micrometres per pixel along "Z", "Y" and "X", as far as they are known.
        rescale : bool
            Whether an image of another pixel size than the model's is seen at the model's.
        cell_size : float
            Diameter of a typical cell in pixels of the image: it is seen so that cells are as
            large as the model expects them, whatever the pixel sizes; 0: as the model was trained.
        precision : {"auto", "float32", "bfloat16"}
            Number format of the convolutions; by default the fastest that changes fewer than one
            label of a thousand.
        on_event : callable, optional
            Called with each event.

        Returns
        -------
        ndarray
            Labels of the image's shape without its channel axis (integers: background 0, objects
            1..N, classes as painted), or float32 probabilities from 0 to 1 with a class axis
            before ``[Z]YX``.

        Raises
        ------
        ConfigError
            A setting is out of its range.
        ModelMismatchError
            Model and image do not fit.
        ImageError
            The image is empty or of an unusable dtype.
        """
        config = PredictConfig(
            result,
            axes,
            tile_size,
            device,
            threshold,
            views,
            smallest,
            None if frames is None else tuple(frames),
            region,
            used_channels=None if used_channels is None else tuple(used_channels),
            pixel_size=pixel_size or {},
            rescale=rescale,
            cell_size=cell_size,
            precision=precision,
        )
        events = predict_image(self.trained, image, config, threading.Event())
        return Run(events).finish(on_event).whole()

    def predict_to_zarr(
        self,
        image: ArrayLike,
        path: str | os.PathLike[str],
        result: ResultKind | None = None,
        *,
        source: str = "",
        on_event: Callable[[PredictionEvent], object] | None = None,
        **settings: Any,
    ) -> Prediction:
        """Predict an image of any size into an OME-Zarr, with bounded memory.

        Called again after an interruption, it goes on where it was.

        Parameters
        ----------
        image : ArrayLike
            NumPy, dask, Zarr: read tile by tile, never as a whole.
        path : path
            The OME-Zarr to write.
        result : {"objects", "classes", "probabilities"}, optional
            What to write; what the model was trained for by default.
        source : str
            Says which image it is, for example its path: an interrupted prediction goes on only
            for the same one. Some thousand pixels are compared as well.
        on_event : callable, optional
            Called with each event.
        **settings
            axes, tile_size, device, threshold, views, smallest, used_channels, pixel_size,
            rescale, cell_size and precision, as in `predict`.

        Returns
        -------
        Prediction
            Where it lies, its axes, and how many objects there are.

        Raises
        ------
        ConfigError
            There is no such setting, or a value is out of its range.
        ModelMismatchError, ImageError
            As `predict`; or a part of the image cannot be read.
        FileProblemError
            The result cannot be written, or another process writes it.
        """
        unknown = sorted(set(settings) - {each.name for each in fields(PredictConfig)})
        if unknown:
            raise ConfigError(f"There is no setting {unknown[0]!r}.")
        config = PredictConfig(result, **settings)
        events = predict_image(self.trained, image, config, threading.Event(), Path(path), source)
        return Run(events).finish(on_event)

    def export(
        self,
        path: str | os.PathLike[str],
        format: ExportFormat = "onnx",
        *,
        image: ArrayLike | None = None,
        axes: str | None = None,
        on_event: Callable[[ExportCheck], object] | None = None,
        **description: Any,
    ) -> Exported:
        """Write the model for other programs, and check it by running it; see `export_model`."""
        return export_model(
            self, path, format, image=image, axes=axes, on_event=on_event, **description
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file, atomically: weights and record.

        Parameters
        ----------
        path : path
            The file; one that is there is replaced once the new one is whole.

        Raises
        ------
        FileProblemError
            The file cannot be written.
        """
        save_network(self.trained, Path(path))


def load_model(path: str | os.PathLike[str]) -> TrainedModel:
    """Read a model file, or a model of another program; nothing in it is executed.

    Parameters
    ----------
    path : path
        A model file; or a bioimage.io package (a zip archive, or its folder) or an ``.onnx`` file
        of a plain U-Net, of which ``record.origin`` then says how it is understood.

    Returns
    -------
    TrainedModel
        On the CPU; each prediction goes to the device that it names.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, or no model; a model of another program is no plain U-Net, or
        does not return what its package says.
    """
    path = Path(path)
    if path.suffix == ".safetensors":  # the usual case waits for nothing else
        return TrainedModel(load_network(path))
    from napari_unet.external.importing import is_external_model, load_any_model

    return TrainedModel(
        load_any_model(str(path)) if is_external_model(path) else load_network(path)
    )


def export_model(
    model: TrainedModel,
    path: str | os.PathLike[str],
    format: ExportFormat = "onnx",
    *,
    image: ArrayLike | None = None,
    axes: str | None = None,
    views: int | None = None,
    name: str = "",
    description: str = "",
    authors: Sequence[str] = (),
    licence: str = "",
    on_event: Callable[[ExportCheck], object] | None = None,
) -> Exported:
    """Write a model for other programs, and check it by running it.

    Parameters
    ----------
    model : TrainedModel
        The model.
    path : path
        What to write; the format's extension is added where it lacks.
    format : {"onnx", "bioimageio", "torchscript", "torch-export"}
        What to write.
    image : ArrayLike, optional
        An image to check the export on; a synthetic texture by default.
    axes : str, optional
        Axes of that image, letters TCZYX; guessed by default.
    views : {1, 4, 8}, optional
        The average of how many turned (8: and mirrored) views is part of the file; the model's
        own value by default.
    name, description : str
        How the file describes itself; made from its name and the model by default.
    authors : sequence of str
        As "Name, Affiliation"; a bioimage.io package needs one.
    licence : str
        SPDX identifier such as "CC-BY-4.0"; a bioimage.io package needs one.
    on_event : callable, optional
        Called with each check that was passed.

    Returns
    -------
    Exported
        The file's path, and how well it agreed with `TrainedModel.predict`: largest difference of
        a probability, and share of equal labels, of the whole image and in tiles.

    Raises
    ------
    ConfigError
        A value is out of its range, an author or a licence is missing, or an optional library.
    ModelMismatchError
        The file does not predict what the model does; nothing is left of it.
    FileProblemError
        The file cannot be written.
    """
    from napari_unet.export.config import ExportConfig, ModelAuthor
    from napari_unet.export.writing import export_model as events_of_export

    config = ExportConfig(
        format,
        views,
        image,
        axes,
        name,
        description,
        tuple(map(ModelAuthor.parse, authors)),
        licence,
    )
    events = events_of_export(model.trained, Path(path), config, threading.Event())
    exported = Run(events).finish(on_event)
    assert exported is not None  # it was not stopped
    return exported


def starting_model(name: str) -> TrainedModel:
    """Return a bundled model: ready to predict, and what trainings begin with.

    Parameters
    ----------
    name : str
        "cells": cells of any kind, trained on open images of many kinds and on drawn cells.

    Returns
    -------
    TrainedModel
        2D, of any number of channels; objects of about 30 pixels suit it best.

    Raises
    ------
    ModelFileError
        There is no such starting model, or its file is missing.
    """
    return TrainedModel(load_starting_model(name))


def train(
    images: ArrayLike | Sequence[ArrayLike],
    labels: NDArray[Any] | Sequence[NDArray[Any]],
    config: TrainConfig | None = None,
    on_event: Callable[[TrainingEvent], object] | None = None,
    *,
    axes: str | Sequence[str | None] | None = None,
    pixel_size: PixelSize | Sequence[PixelSize] | None = None,
    regions: Sequence[Region] | Sequence[Sequence[Region]] | None = None,
    corrected: NDArray[Any] | Sequence[NDArray[Any] | None] | None = None,
    previous: TrainedModel | str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    stop: threading.Event | None = None,
) -> TrainedModel:
    """Train a U-Net on images and painted labels.

    Parameters
    ----------
    images : ArrayLike or sequence of ArrayLike
        One image, or several: ``[Z]YX`` with an optional channel axis and frame axes.
    labels : ndarray or sequence of ndarray
        One label image per image, of its shape without the channel axis. What the values mean
        is said by ``config.kind`` and ``config.unpainted``.
    config : TrainConfig, optional
        Settings; by default those of `previous`, or the preset "fast" (of a starting model too).
    on_event : callable, optional
        Called with each event.
    axes : str or sequence of str, optional
        Letters TCZYX of the axes, of all images or of each; guessed beside the labels by default.
    pixel_size : mapping of str to float or sequence of such, optional
        Micrometres per pixel along "Z", "Y" and "X", of all images or of each: kept in the model,
        and in 3D the shape of the voxels decides how the network pools.
    regions : sequence of tuple of slice, optional
        Fully annotated boxes of the labels, a slice per axis: what is unpainted inside them is
        background. Of several images a sequence for each.
    corrected : ndarray or sequence of ndarray, optional
        Where labels were corrected after a prediction, bool, of the shape of the labels, or None:
        these pixels count ``config.correction_weight`` times. Of several images one for each.
    previous : TrainedModel or path, optional
        A model is trained further, on these images; it keeps its network and the size of its
        patches, whatever `config` says. A model file with its state beside it, as
        `output` and ``napari-unet train`` write them, goes on exactly where its training ended.
    output : path, optional
        Model file to write at the end, and now and then meanwhile, with the state beside it.
    stop : threading.Event, optional
        Set it, from another thread or from `on_event`, to end after the present step.

    Returns
    -------
    TrainedModel
        With the weights of the best score on what was held back, where something was.

    Raises
    ------
    ConfigError
        The axes or a pixel size are none, there are not as many of something as images, or the
        previous training cannot go on with these settings.
    ModelFileError, ModelMismatchError
        What is to go on cannot be read, or does not fit the images or the settings.
    FileProblemError
        The model file cannot be written.
    LabelsError
        Labels, regions or corrections do not match their images, or there is too little to
        train on.
    ImageError
        An image is empty or of an unusable dtype.
    DeviceError
        The device does not work, or has too little memory for the smallest patch.

    Notes
    -----
    Network, sparse loss, border weights and elastic deformation are those of O. Ronneberger,
    P. Fischer and T. Brox: U-Net, MICCAI 2015 (arXiv 1505.04597).

    On a CPU the same seed, settings and number of threads give the same weights, bit for bit. On
    GPUs that is not guaranteed: they add up in an order that changes from run to run.
    """
    from napari_unet.io.files import make_folder
    from napari_unet.training.checkpoint import save_checkpoint, saving_checkpoints
    from napari_unet.training.dataset import AnnotatedImage
    from napari_unet.training.events import Checkpoint
    from napari_unet.training.going_on import what_stays
    from napari_unet.training.loop import train_network
    from napari_unet.training.preparation import prepare_training

    if output is not None:  # known before a long training
        make_folder(Path(output).expanduser().parent)
    begin, held_back, config = _begin_of(previous, config)
    alone = not isinstance(images, (list, tuple))
    image_list: list[Any] = list(images) if isinstance(images, (list, tuple)) else [images]
    labels_list: list[Any] = list(labels) if isinstance(labels, (list, tuple)) else [labels]
    if len(image_list) != len(labels_list):
        raise LabelsError(
            f"There are {len(image_list)} images but {len(labels_list)} label images; give one "
            "label image per image."
        )
    axes_list = _each(axes, (str, type(None)), len(image_list), "axes")
    sizes = _each(pixel_size or {}, Mapping, len(image_list), "pixel_size")
    for size in sizes:
        check_pixel_size(size)
    region_list = _each([regions] if alone else regions, type(None), len(image_list), "regions")
    masks = _each([corrected] if alone else corrected, type(None), len(image_list), "corrected")
    annotated = [
        AnnotatedImage(
            f"image {i}",
            image,
            np.asarray(labels_list[i]),
            regions=_boxes(region_list[i] or (), np.shape(labels_list[i])),
            corrected=None if masks[i] is None else np.asarray(masks[i], bool),
            axes=axes_list[i],
            pixel_size=sizes[i],
        )
        for i, image in enumerate(image_list)
    ]
    stays = what_stays(begin, config.ndim)
    data = prepare_training(annotated, config, held_back=held_back, **stays)
    events = train_network(data, config, stop or threading.Event(), begin)
    if output is None:
        return TrainedModel(Run(events).finish(on_event).trained)
    path = Path(output).expanduser()
    result = Run(saving_checkpoints(events, path)).finish(on_event)
    if result.state.step == 0:
        raise FileProblemError(
            f"The training ended before its first step, and {path} was left as it is. Give it more "
            "time."
        )
    save_checkpoint(Checkpoint(result.trained, result.state), path)
    return TrainedModel(result.trained)


def _begin_of(
    previous: TrainedModel | str | os.PathLike[str] | None, config: TrainConfig | None
) -> tuple[TrainingState | TrainedNetwork | None, tuple[BlockPlace, ...], TrainConfig]:
    """Return what a training begins with, what that has held back, and the settings."""
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.going_on import (
        check_goes_on,
        load_training,
        settings_to_continue,
    )

    if previous is None:
        return None, (), config or TrainConfig()
    if isinstance(previous, TrainedModel):
        return previous.trained, (), settings_to_continue(config, previous.record)
    state, usual = load_training(Path(previous))
    check_goes_on(state, usual, config or usual)
    return state, state.held_back, config or usual


def _boxes(regions: Sequence[Any], shape: tuple[int, ...]) -> tuple[Region, ...]:
    for region in regions:
        is_box = isinstance(region, (tuple, list)) and len(region) == len(shape)
        if not is_box or not all(map(_lies_within, region, shape)):
            raise LabelsError(
                f"Region {region} does not fit labels of shape {shape}; give one slice per axis "
                "that lies within them, as (slice(0, 64), slice(0, 64))."
            )
    return tuple(tuple(region) for region in regions)


def _lies_within(part: object, size: int) -> bool:
    """Return whether something is a slice of pixels that an axis has, none left out."""
    if not isinstance(part, slice) or part.step not in (None, 1):
        return False
    start, stop, _ = part.indices(size)
    return start < stop and (part.stop is None or part.stop <= size)


def _each(given: Any, single: Any, number: int, name: str) -> list[Any]:
    """Return one value per image, of one that is for all or of a list."""
    if isinstance(given, single):
        return [given] * number
    values = list(given)
    if len(values) != number:
        raise ConfigError(
            f"There are {number} images but {len(values)} values of {name}; give one per image, "
            "or one for all."
        )
    return values
