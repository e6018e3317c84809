"""``napari-unet train``."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from napari_unet.cli.history import begin_history, logging_steps
from napari_unet.cli.pixel_size import pixel_size_of
from napari_unet.cli.progress import STOPPING, run_silently, run_training, stop_on_interrupt
from napari_unet.data.axes import check_axes, unusable_axes, usable_axes
from napari_unet.data.disk import why_not_written
from napari_unet.data.files import (
    check_writable,
    find_images,
    name_of,
    read_image,
    read_labels,
)
from napari_unet.errors import ConfigError, FileProblemError, ModelFileError, NapariUNetError
from napari_unet.formats.pairing import find_annotations, pair_annotations
from napari_unet.formats.reading import is_foreign, read_annotations
from napari_unet.model.devices import choose_device
from napari_unet.model.trained import load_network, save_network
from napari_unet.runs.card_file import card_beside_model, write_card
from napari_unet.runs.environment import environment_of
from napari_unet.runs.moment import Moment, now
from napari_unet.runs.origin import TrainingOrigin
from napari_unet.runs.script import TrainingScript
from napari_unet.runs.training import card_of_training
from napari_unet.training.checkpoint import (
    belongs_to,
    load_state,
    save_state,
    saving_checkpoints,
    state_path,
)
from napari_unet.training.config import TrainConfig, present_names
from napari_unet.training.dataset import AnnotatedImage
from napari_unet.training.loop import TrainingResult, train_network
from napari_unet.training.preparation import prepare_training
from napari_unet.training.ranks import Ranks

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

    from napari_unet.data.files import ImageFile
    from napari_unet.model.record import ModelRecord
    from napari_unet.training.config import PresetName
    from napari_unet.training.dataset import TrainingData
    from napari_unet.training.state import TrainingState


_RESUMED = "The training went on from an earlier one, whose state is no longer there."
_TOGETHER = "Several processes trained together; rerun is one process."


@dataclass(frozen=True)
class _Order:
    """What to train, and where the model goes."""

    output: Path
    config: TrainConfig
    data: TrainingData
    resume: TrainingState | None
    pairs: list[tuple[Path, Path]]
    preset: PresetName
    started: str


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Train and write the model file; return the report and the exit code.

    Of the processes that ``torchrun`` started the first alone shows, writes and reports.
    """
    with Ranks.of_environment() as ranks:
        with ranks.together():
            order = _order(options)
            choose_device(ranks.device(order.config.device))
            if options.history and ranks.first:
                begin_history(Path(options.history), order.resume)
        result = _trained(options, order, ranks)
        with ranks.together():
            _save(result, order, ranks)
    if not ranks.first:
        return {}, 0
    report = _report(result, order.output, ranks)
    if not options.json:
        print(_in_words(report))
    return report, 0


def _order(options: argparse.Namespace) -> _Order:
    started, output = now(), _writable_output(options.output)
    resume, config = _settings(options, output)
    pairs = pair_annotations(find_images(options.images), find_annotations(options.labels))
    images = [_annotated(*pair, options, config) for pair in pairs]
    data = (
        prepare_training(
            images,
            config,
            held_back=resume.held_back,
            binning=resume.binning,
            flat_levels=resume.flat_levels,
        )
        if resume
        else prepare_training(images, config)
    )
    return _Order(output, config, data, resume, pairs, options.preset or "fast", started)


def _trained(options: argparse.Namespace, order: _Order, ranks: Ranks) -> TrainingResult:
    with stop_on_interrupt(STOPPING if ranks.first else "") as stop:
        events = train_network(
            order.data, order.config, stop, order.resume, options.started, ranks=ranks
        )
        if not ranks.first:
            try:
                silent: TrainingResult = run_silently(events)
            except NapariUNetError as error:  # the same one as the first rank's
                raise ranks.told() from error
            return silent
        events = saving_checkpoints(events, order.output)
        if options.history:
            events = logging_steps(events, Path(options.history))
        shown: TrainingResult = run_training(events, quiet=options.json)
        return shown


def _save(result: TrainingResult, order: _Order, ranks: Ranks) -> None:
    if result.state.step == 0:
        raise FileProblemError(
            "The training ended before its first step, and nothing was saved. Give it more time."
        )
    if ranks.first:
        save_network(result.trained, order.output)
        save_state(result.state, state_path(order.output))
        _write_card(result, order, ranks)


def _write_card(result: TrainingResult, order: _Order, ranks: Ranks) -> None:
    """Say beside the model how it came about; without that it is as good."""
    sources, path = result.data.sources, card_beside_model(order.output)
    images, labels = zip(*((str(image), str(labels)) for image, labels in order.pairs), strict=True)
    script = TrainingScript(
        images,
        labels,
        str(order.output),
        order.config,
        order.preset,
        tuple(source.axes for source in sources),
        tuple(source.pixel_size for source in sources),
        named=False,
    )
    why_not = _RESUMED if order.resume else "" if ranks.alone else _TOGETHER
    origin = TrainingOrigin(
        order.config,
        order.pairs,
        environment_of(choose_device(ranks.device(order.config.device))),
        Moment.since(order.started),
        script.command().strip(),
        why_not,
    )
    try:
        write_card(card_of_training(result, origin, order.output, path), path)
    except FileProblemError as error:
        print(f"Note: The model is saved, but not its run card: {error}", file=sys.stderr)


def _annotated(
    path: Path, labels_path: Path, options: argparse.Namespace, config: TrainConfig
) -> AnnotatedImage:
    """Open an image and its labels; the file's axes count where they fit network and labels."""
    image, ndim = read_image(path), config.ndim
    labels, told = _labels(labels_path, image, options.axes or image.axes, config)
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


def _labels(
    path: Path, image: ImageFile, axes: str | None, config: TrainConfig
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Read labels, or annotations of another program, which are never numbered as paint is."""
    if not is_foreign(path):
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
) -> tuple[TrainingState | None, TrainConfig]:
    """Combine preset and flags; a resumed training keeps its own settings but for the flags."""
    given = {f.name: getattr(options, f.name) for f in fields(TrainConfig) if f.name in options}
    if not options.resume:
        return None, TrainConfig.preset(options.preset or "fast", **given)
    if options.preset:
        raise ConfigError("--resume keeps the settings of the training; leave out --preset.")
    if "steps" in given:
        given.setdefault("minutes", 0.0)
    record = load_network(output).record
    former = _settings_of(record)
    config = former.changed(**given)
    if config.optimiser != former.optimiser:
        raise ConfigError(f"--resume cannot change the optimiser from {former.optimiser}.")
    state = load_state(state_path(output))
    if not belongs_to(state, record):
        raise ModelFileError(
            f"{state_path(output).name} is the state of a former training (step {state.step}, the "
            f"model has made {record.steps}): the program was ended while it wrote. Train anew."
        )
    if given.get("binning", 0) not in (0, state.binning):
        raise ConfigError(
            f"The training has a binning of {state.binning}; --resume cannot change it to "
            f"{given['binning']}. Train a new model."
        )
    if not config.minutes and state.step >= config.steps:
        raise ConfigError(
            f"The training has already made {state.step} steps; give --steps above that, or "
            "--minutes for as much time again."
        )
    return state, config


def _settings_of(record: ModelRecord) -> TrainConfig:
    unknown = sorted(set(record.training) - {f.name for f in fields(TrainConfig)})
    if unknown:
        raise ModelFileError(
            f"The model was trained with a setting {unknown[0]!r} that this version does not "
            "know. Update napari-unet-paint, or train anew."
        )
    try:
        return TypeAdapter(TrainConfig).validate_json(
            json.dumps(present_names(record.training)), strict=True
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelFileError(
            f"The model's record has no usable {first['loc'][0]}: {first['msg']}. Train anew."
        ) from error


def _report(result: TrainingResult, output: Path, ranks: Ranks) -> dict[str, Any]:
    record = result.trained.record
    kept = [entry for entry in record.history if entry.get("best")]
    return {
        "model": str(output),
        "steps": result.state.step,
        "processes": ranks.size,
        "seconds": round(result.state.seconds, 1),
        "stopped": result.stopped,
        "validation": kept[-1] if kept else None,
    }


def _in_words(report: dict[str, Any]) -> str:
    text = f"{report['model']}: {report['steps']} steps in {report['seconds']:.0f} s"
    best = report["validation"]
    if best is None:
        return text + ", no validation."
    text += f"; best at step {best['step']}: IoU {best['iou']:.3f}"
    if best["object_f1"] is not None:
        text += f", object F1 {best['object_f1']:.3f}"
    return text + " on held-back paint."
