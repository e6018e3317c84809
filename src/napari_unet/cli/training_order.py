"""What ``napari-unet train`` was asked for: settings, data, and where the model goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.cli.arguments.common import given_settings
from napari_unet.cli.common import note_unlike_pairs, pixel_size_of
from napari_unet.data.axes import check_axes, unusable_axes, usable_axes
from napari_unet.errors import ConfigError, FileProblemError
from napari_unet.io.annotations.reading import (
    find_annotations,
    is_external_annotation,
    pair_annotations,
    read_annotations,
)
from napari_unet.io.disk import why_not_written
from napari_unet.io.files import check_writable, find_images, name_of, read_image, read_labels
from napari_unet.model.starting import load_model_or_starting_model
from napari_unet.provenance.card import now
from napari_unet.training.config import TrainConfig
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.going_on import (
    check_goes_on,
    load_training,
    settings_to_continue,
    what_stays,
)
from napari_unet.training.preparation import prepare_training
from napari_unet.training.state import TrainingState

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

    from napari_unet.io.files import ImageFile
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.training.config import PresetName
    from napari_unet.training.dataset import TrainingData


@dataclass(frozen=True)
class TrainingOrder:
    """What to train, and where the model goes."""

    output: Path
    config: TrainConfig
    """From preset and flags, or from the training that is resumed."""
    data: TrainingData
    previous: TrainingState | TrainedNetwork | None
    """A training that goes on, or a model that is trained further."""
    pairs: list[tuple[Path, Path]]
    """Images and their labels."""
    preset: PresetName
    started: str
    """ISO 8601, in UTC."""

    @property
    def resume(self) -> TrainingState | None:
        """The training that goes on exactly where it ended."""
        return self.previous if isinstance(self.previous, TrainingState) else None


def training_order(options: argparse.Namespace) -> TrainingOrder:
    """Read and prepare all that a training needs; see that its model can be written.

    Raises
    ------
    NapariUNetError
        Names the file or the flag that cannot be used.
    """
    started, output = now(), _writable_output(options.output)
    previous, config = _settings(options, output)
    pairs = pair_annotations(find_images(options.images), find_annotations(options.labels))
    note_unlike_pairs(pairs)
    images = [annotated_image(*pair, options, config) for pair in pairs]
    held_back = previous.held_back if isinstance(previous, TrainingState) else ()
    stays = what_stays(previous, config.ndim)
    data = prepare_training(images, config, held_back=held_back, **stays)
    return TrainingOrder(output, config, data, previous, pairs, options.preset or "fast", started)


def _writable_output(text: str) -> Path:
    """Make sure before a long training that its model can be written."""
    output = Path(text).expanduser()
    if output.suffix != ".safetensors":
        output = output.with_name(output.name + ".safetensors")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileProblemError(
            f"{why_not_written(output, error)} Choose another folder."
        ) from error
    if output.is_dir():
        raise FileProblemError(f"Cannot write {output}: it is a folder. Choose a file name.")
    check_writable(output.parent)
    return output


def _settings(
    options: argparse.Namespace, output: Path
) -> tuple[TrainingState | TrainedNetwork | None, TrainConfig]:
    """Combine preset and flags; a resumed training keeps its own settings but for the flags."""
    given = given_settings(TrainConfig, options)
    if options.previous:
        trained = load_model_or_starting_model(options.previous)
        preset = TrainConfig.preset(options.preset) if options.preset else None
        return trained, settings_to_continue(preset, trained.record, given)
    if not options.resume:
        return None, TrainConfig.preset(options.preset or "fast", **given)
    if options.preset:
        raise ConfigError("--resume keeps the settings of the training; leave out --preset.")
    if "steps" in given:
        given.setdefault("minutes", 0.0)
    state, previous = load_training(output)
    config = previous.changed(**given)
    check_goes_on(state, previous, config)
    return state, config


def annotated_image(
    path: Path, labels_path: Path, options: argparse.Namespace, config: TrainConfig
) -> AnnotatedImage:
    """Open an image and its labels; the file's axes are used where they fit network and labels."""
    image, ndim = read_image(path), config.ndim
    labels, found = _labels_of(labels_path, image, options.axes or image.axes, config)
    shape = tuple(image.array.shape)
    notices, axes = (*image.notices, *found), options.axes or None
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
