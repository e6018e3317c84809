"""Train from Python."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.api.model import TrainedModel
from napari_unet.data.axes import check_pixel_size
from napari_unet.data.labels import check_labels, fill_regions
from napari_unet.errors import (
    AXES,
    CALLED,
    MAPPING,
    PATH,
    TEXT,
    ConfigError,
    LabelsError,
    accepting,
    either,
    list_of,
)
from napari_unet.io.locks import locked
from napari_unet.io.outputs import make_output_folder
from napari_unet.project.library import check_place_of_model
from napari_unet.remote.machines import check_address
from napari_unet.remote.training import train_on
from napari_unet.run import Run
from napari_unet.tasks import DENOISE, task_in_layers, task_of
from napari_unet.tasks.overlapping_classes import check_class_names
from napari_unet.training.checkpoint import (
    check_goes_on,
    check_has_begun,
    load_training,
    save_checkpoint,
    saving_checkpoints,
    settings_to_continue,
)
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.loop import train_network
from napari_unet.training.preparation import prepare_training
from napari_unet.training.sources import no_labels

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, PixelSize, Region
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.training.events import TrainingEvent
    from napari_unet.training.state import TrainingState


@accepting(
    config=(lambda value: isinstance(value, TrainConfig), "a TrainConfig"),
    on_event=CALLED,
    axes=either(AXES, list_of(AXES)),
    pixel_size=either(MAPPING, list_of(MAPPING)),
    regions=(
        lambda value: isinstance(value, (list, tuple)),
        "a list of boxes of one slice per axis",
    ),
    previous=either(PATH, (lambda value: isinstance(value, TrainedModel), "a TrainedModel")),
    output=PATH,
    stop=(lambda value: hasattr(value, "is_set"), "a threading.Event"),
    on=TEXT,
)
def train(
    images: ArrayLike | Sequence[ArrayLike],
    labels: NDArray[Any] | Sequence[NDArray[Any]] | Mapping[str, Any] | None = None,
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
    on: str | None = None,
    trust_cluster: bool = False,
) -> TrainedModel:
    """Train a U-Net on images and painted labels, or on images and what is to be made of them.

    Parameters
    ----------
    images : ArrayLike or sequence of ArrayLike
        One image, or several: ``[Z]YX`` with an optional channel axis and frame axes.
    labels : ndarray or sequence of ndarray, or mapping of str to such, optional
        One label image per image, of its shape without the channel axis. What the values mean
        is said by ``config.kind`` and ``config.unpainted``. Of overlapping classes such labels for
        each class, by its name: ``{"nucleus": ..., "cell": ...}``; a pixel may be of several. Of
        objects of several classes likewise: the objects of each class in labels of their own. With
        the kind "image" these are the images that are to be made, of any grey values; with
        "denoise" there are none.
    config : TrainConfig, optional
        Settings; by default those of `previous`, or the preset "fast" (of a starting model too).
        Without it, labels by name are those of overlapping classes (``kind="overlapping"``).
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
        Model file to write at the end, and now and then meanwhile, with the state beside it; a
        model that is there is replaced.
    stop : threading.Event, optional
        Set it, from another thread or from `on_event`, to end after the present step.
    on : str, optional
        Another machine that trains: ``ssh://USER@HOST``, by your own ssh, or ``tls://HOST:PORT`` or
        ``tcp://HOST:PORT`` of a dask scheduler. Where the connection is lost the training goes on
        there, and the same call takes it up.
    trust_cluster : bool
        Whether only people you trust reach the ``tcp://`` scheduler: who does can run programs.

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
        The model file cannot be written, is there already and no model file, or another training
        writes it.
    LabelsError
        Labels, regions or corrections do not match their images, or there is too little to
        train on.
    ImageError
        An image is empty or of an unusable dtype.
    DeviceError
        The device does not work, or has too little memory for the smallest patch.
    RemoteError
        The other machine does not answer, or cannot train.

    Notes
    -----
    Network, sparse loss, border weights and elastic deformation are those of O. Ronneberger,
    P. Fischer and T. Brox: U-Net, MICCAI 2015 (arXiv 1505.04597).

    On a CPU the same seed, settings and number of threads give the same weights, bit for bit. On
    GPUs that is not guaranteed: they add up in an order that changes from run to run.
    """
    if output is not None:  # known before a long training
        make_output_folder(Path(output).expanduser().parent)
        check_place_of_model(Path(output).expanduser())
    if on is not None:
        check_address(on, trust_cluster)
    if config is None and previous is None and isinstance(labels, Mapping):
        config = TrainConfig(kind="overlapping")
    begin, config = _begin_of(previous, config)
    alone = not isinstance(images, (list, tuple))
    image_list = _listed(images)
    n_images = len(image_list)
    if task_of(config.kind).teaches_itself == (labels is not None):
        raise LabelsError(
            "Noise is learned from the noisy images alone; leave out labels."
            if labels is not None
            else f"There are no labels to learn {config.kind} from; give one array per image."
        )
    axes_list = _each(axes, (str, type(None)), n_images, "axes")
    region_list = _each([regions] if alone else regions, type(None), n_images, "regions")
    if labels is None:
        shapes = [tuple(np.shape(image)) for image in image_list]
        labels = [no_labels(*each, config.ndim) for each in zip(shapes, axes_list, strict=True)]
    label_list, names = _labels_by_image(labels, n_images, region_list, config)
    sizes = _each(pixel_size or {}, Mapping, n_images, "pixel_size")
    for size in sizes:
        check_pixel_size(size)
    masks = _each([corrected] if alone else corrected, type(None), n_images, "corrected")
    annotated = [
        AnnotatedImage(
            f"image {i}",
            image,
            np.asarray(label_list[i]),
            regions=() if names else _boxes(region_list[i] or (), np.shape(label_list[i])),
            corrected=None if masks[i] is None else np.asarray(masks[i], bool),
            axes=axes_list[i],
            pixel_size=sizes[i],
            class_names=names,
        )
        for i, image in enumerate(image_list)
    ]
    data = prepare_training(annotated, config, begin)
    stop = stop or threading.Event()
    if on is None:
        events = train_network(data, config, stop, begin)
    else:
        events = train_on(on, trust_cluster, data, config, stop, begin)
    if output is None:
        return TrainedModel(Run(events).finish(on_event).trained)
    path = Path(output).expanduser()
    with locked(path):
        result = Run(saving_checkpoints(events, path)).finish(on_event)
        check_has_begun(result.state, path)
        save_checkpoint(result.trained, result.state, path)
    return TrainedModel(result.trained)


def _labels_by_image(
    labels: Any, n_images: int, regions: Sequence[Any], config: TrainConfig
) -> tuple[list[Any], tuple[str, ...]]:
    """Return one label image per image; of labels by class all of these, and the classes' names."""
    by_class = labels if isinstance(labels, Mapping) else {"": labels}
    listed = {name: _listed(of_class) for name, of_class in by_class.items()}
    for name, of_class in listed.items():
        if len(of_class) != n_images:
            of = f" of {name!r}" if name else ""
            raise LabelsError(
                f"There are {n_images} images but {len(of_class)} label images{of}; give one "
                "label image per image."
            )
    if not isinstance(labels, Mapping):
        return listed[""], ()
    names = tuple(map(str, listed))
    check_class_names(names)
    task, packed = task_in_layers(config.kind, names), []
    for i, boxes in enumerate(regions):
        layers = {name: check_labels(np.asarray(of_class[i])) for name, of_class in listed.items()}
        if boxes and config.unpainted == "unlabelled":
            layers = {n: fill_regions(e, _boxes(boxes, e.shape)) for n, e in layers.items()}
        packed.append(task.packed(layers, config.unpainted))
    return packed, names


@accepting(
    config=(lambda value: isinstance(value, TrainConfig), "a TrainConfig"),
    on_event=CALLED,
    axes=AXES,
)
def denoise(
    image: ArrayLike,
    config: TrainConfig | None = None,
    on_event: Callable[[TrainingEvent], object] | None = None,
    *,
    axes: str | None = None,
) -> NDArray[np.float32]:
    """Remove noise from an image; a network learns from the noisy image alone what is noise.

    Parameters
    ----------
    image : ArrayLike
        ``[Z]YX`` with frame axes, of one channel, or of several of which ``config.channels`` names
        one.
    config : TrainConfig, optional
        Settings, whose ``kind`` is always "denoise"; by default those of the preset "fast".
    on_event : callable, optional
        Called with each event of the training.
    axes : str, optional
        Letters TCZYX of the axes; guessed by default.

    Returns
    -------
    ndarray
        float32, in the grey values of the image, of its shape without the channel axis.

    Raises
    ------
    ConfigError
        The axes are none.
    ImageError
        The image is constant, empty or of an unusable dtype, or has several channels.
    DeviceError
        The device does not work, or has too little memory.

    Notes
    -----
    A. Krull, T.-O. Buchholz and F. Jug: Noise2Void, CVPR 2019 (arXiv 1811.10980). It works for
    noise that differs from pixel to pixel, as that of cameras does; stripes stay. To denoise many
    images, train once with ``kind="denoise"`` and predict them all.
    """
    config = (config or TrainConfig()).changed(kind=DENOISE.kind)
    model = train(image, config=config, on_event=on_event, axes=axes)
    return model.predict(image, axes=axes, device=config.device)


def _begin_of(
    previous: TrainedModel | str | os.PathLike[str] | None, config: TrainConfig | None
) -> tuple[TrainingState | TrainedNetwork | None, TrainConfig]:
    """Return what a training begins with, and the settings."""
    if previous is None:
        return None, config or TrainConfig()
    if isinstance(previous, TrainedModel):
        return previous.trained, settings_to_continue(config, previous.record)
    state, usual = load_training(Path(previous))
    check_goes_on(state, usual, config or usual)
    return state, config or usual


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


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, (list, tuple)) else [given]


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
