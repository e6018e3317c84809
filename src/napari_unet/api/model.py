"""A trained model, as Python knows it: predict, save, load, export.

What files and exports need is imported on use: a first prediction does not wait for it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_unet.errors import (
    ARRAY,
    AXES,
    CALLED,
    NUMBER,
    PATH,
    SEVERAL,
    TEXT,
    accepting,
    list_of,
)
from napari_unet.model.starting import load_starting_model
from napari_unet.model.trained import TrainedNetwork, load_network, save_network
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predictor import predict_image
from napari_unet.project.library import check_place_of_model
from napari_unet.run import Run
from napari_unet.settings import check_names

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, PixelSize, Region
    from napari_unet.export.config import ExportCheck, Exported, ExportFormat
    from napari_unet.model.config import Precision
    from napari_unet.model.record import ModelRecord
    from napari_unet.prediction.config import ResultKind
    from napari_unet.prediction.results import Prediction, PredictionEvent

_BOX = list_of((lambda part: isinstance(part, slice), "a slice of each axis"))


@dataclass(frozen=True)
class TrainedModel:
    """A trained U-Net that predicts images and can be saved."""

    trained: TrainedNetwork
    """The network and its record."""

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

    @accepting(
        frames=list_of(SEVERAL), region=_BOX, used_channels=list_of(NUMBER), on_event=CALLED,
        painted=ARRAY,
    )  # fmt: skip
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
        cell_size: float | Literal["auto"] = 0.0,
        precision: Precision = "auto",
        painted: ArrayLike | None = None,
        on_event: Callable[[PredictionEvent], object] | None = None,
    ) -> NDArray[Any]:
        """Predict an image.

        Parameters
        ----------
        image : ArrayLike
            Any size from 1x1 up: ``[Z]YX``, with a channel axis if the model has channels;
            further leading axes are frames.
        result : {"objects", "classes", "overlapping", "probabilities", "uncertainty", "image"}
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
        cell_size : float or "auto"
            Diameter of a typical cell in pixels of the image: it is seen so that cells are as
            large as the model expects them, whatever the pixel sizes; 0: as the model was trained.
            "auto" tries eight sizes in the middle of the image and takes the one at which the model
            finds cells best.
        precision : {"auto", "float32", "bfloat16"}
            Number format of the convolutions; by default the fastest that changes fewer than one
            label of a thousand.
        painted : ArrayLike, optional
            Labels of the result's shape that were painted on this image (0 unlabelled, 1
            background, cells from 2 up): in a result of objects each painted cell is one object,
            and painted background is background. Models of classes leave it aside.
        on_event : callable, optional
            Called with each event.

        Returns
        -------
        ndarray
            Labels of the image's shape without its channel axis (integers: background 0, objects
            1..N, classes as painted), of overlapping classes a mask of 0 and 1 for each, along a
            first axis; or float32 probabilities from 0 to 1 with a class axis before ``[Z]YX``. Of
            a model that makes images float32, in their grey values.

        Raises
        ------
        ConfigError
            A setting is out of its range.
        ModelMismatchError
            Model and image do not fit.
        ImageError
            The image is empty or of an unusable dtype.
        LabelsError
            What was painted has another shape than the result.
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
            pixel_size={} if pixel_size is None else pixel_size,
            rescale=rescale,
            cell_size=cell_size,
            precision=precision,
        )
        config = self._with_cell_size(image, config, on_event)
        events = predict_image(self.trained, image, config, threading.Event(), painted=painted)
        return Run(events).finish(on_event).whole()

    @accepting(path=PATH, source=TEXT, on_event=CALLED)
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
        check_names(PredictConfig, settings)
        config = self._with_cell_size(image, PredictConfig(result, **settings), on_event)
        events = predict_image(self.trained, image, config, threading.Event(), Path(path), source)
        return Run(events).finish(on_event)

    def _with_cell_size(
        self, image: ArrayLike, config: PredictConfig, on_event: Callable[[Any], object] | None
    ) -> PredictConfig:
        if config.cell_size != "auto":
            return config
        # on use: it brings SciPy and scikit-image, which a model is loaded without
        from napari_unet.prediction.proposals import with_cell_size

        events = with_cell_size(self.trained, image, config, threading.Event())
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

    @accepting(path=PATH)
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file, atomically: weights and record.

        Parameters
        ----------
        path : path
            The file; a model that is there is replaced once the new one is whole.

        Raises
        ------
        FileProblemError
            The file cannot be written, or is there already and no model file.
        """
        check_place_of_model(path := Path(path))
        save_network(self.trained, path)


@accepting(path=PATH)
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


@accepting(
    path=PATH, image=ARRAY, axes=AXES, authors=list_of(TEXT), name=TEXT, description=TEXT,
    licence=TEXT, on_event=CALLED,
)  # fmt: skip
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
    from napari_unet.export.config import ExportConfig, read_author
    from napari_unet.export.writing import export_network

    config = ExportConfig(
        format,
        views,
        image,
        axes,
        name,
        description,
        tuple(map(read_author, authors)),
        licence,
    )
    events = export_network(model.trained, Path(path), config, threading.Event())
    exported = Run(events).finish(on_event)
    assert exported is not None  # it was not stopped
    return exported


@accepting(name=TEXT)
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
