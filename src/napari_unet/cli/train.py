"""``napari-unet train``."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.cli.annotated import annotated_images, paired_files
from napari_unet.cli.arguments import given_settings
from napari_unet.cli.common import LABEL_PIECES, by_class, tell_pairs
from napari_unet.cli.printing import note, say
from napari_unet.cli.progress import (
    STOPPING,
    begin_history,
    beside_previous,
    is_history,
    logging_steps,
    report_in_words,
    run_training,
    stop_on_interrupt,
    training_report,
)
from napari_unet.errors import ConfigError, FileProblemError, NapariUNetError
from napari_unet.io.disk import make_folder, why_not_written
from napari_unet.io.locks import locked
from napari_unet.io.outputs import check_apart, check_free, check_writable
from napari_unet.model.devices import choose_device
from napari_unet.model.starting import load_model_or_starting_model
from napari_unet.model.trained import load_network
from napari_unet.project.library import ModelLibrary
from napari_unet.provenance.card import (
    CONTINUED,
    Environment,
    TrainingOrigin,
    card_beside_model,
    now,
    write_card,
)
from napari_unet.provenance.script import TrainingScript
from napari_unet.provenance.training_card import card_of_training, is_model_as_written
from napari_unet.run import Run
from napari_unet.tasks import IMAGE
from napari_unet.tasks.overlapping_classes import OVERLAPPING_CLASSES
from napari_unet.training.checkpoint import (
    check_goes_on,
    check_has_begun,
    load_training,
    save_checkpoint,
    saving_checkpoints,
    settings_to_continue,
    state_path,
)
from napari_unet.training.config import TrainConfig
from napari_unet.training.distributed import ProcessGroup
from napari_unet.training.loop import TrainingResult, train_network
from napari_unet.training.preparation import prepare_training
from napari_unet.training.state import TrainingState

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.training.config import PresetName
    from napari_unet.training.dataset import TrainingData

_RESUMED = "The training went on from an earlier one, whose state is no longer there."
_LABELLED = "Its masks were labelled on the way (--label-pieces); save them labelled to repeat it."
_IMAGES = "Rerun repeats trainings on labels alone; the command line repeats this one."
_BY_CLASS = "Its labels are of overlapping classes: repeat it by the command above."
_TOGETHER = "Several processes trained together; rerun is one process."


@dataclass(frozen=True)
class _Order:
    """What to train, and where the model goes."""

    output: Path
    history: Path | None
    """The table of steps to write."""
    config: TrainConfig
    """From preset and flags, or from the training that is resumed."""
    data: TrainingData
    previous: TrainingState | TrainedNetwork | None
    """A training that goes on, or a model that is trained further."""
    pairs: list[tuple[Path, Path]]
    preset: PresetName
    started: str
    """ISO 8601, in UTC."""
    labelled: bool
    """Whether pieces of masks were numbered, which no file holds."""
    names: tuple[str, ...] = ()
    """Of overlapping classes: of each, the pairs of all images."""

    @property
    def resume(self) -> TrainingState | None:
        """The training that goes on exactly where it ended."""
        return self.previous if isinstance(self.previous, TrainingState) else None


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Train and write the model file; return the report and the exit code.

    Of the processes that ``torchrun`` started the first alone shows, writes and reports.
    """
    with ProcessGroup.of_environment() as group, contextlib.ExitStack() as until_saved:
        with group.together():
            output = _writable_output(options.output)
            if group.first:
                until_saved.enter_context(locked(output))
            order = _order(options, output, group)
            choose_device(group.device(order.config.device))
            if order.history is not None and group.first:
                begin_history(order.history, order.resume)
        result = _trained(options, order, group)
        with group.together():
            _save(result, order, group)
    if not group.first:
        return {}, 0
    pairs = [{"image": str(image), "labels": str(labels)} for image, labels in order.pairs]
    report = training_report(result, order.output, group.size) | {"pairs": pairs}
    if order.previous is not None and not isinstance(order.previous, TrainingState):
        report |= beside_previous(result, order.previous)
    if not options.json:
        say(report_in_words(report))
    return report, 0


def _order(options: argparse.Namespace, output: Path, group: ProcessGroup) -> _Order:
    """Read and prepare all that a training needs."""
    started = now()
    history = Path(options.history).expanduser() if options.history else None
    layers = by_class(options.labels or ())
    previous, config = _settings(options, output, layers)
    paired = paired_files(options, config, layers)
    pairs = [pair for of_class in paired.values() for pair in of_class]
    _check_places(options, output, history, pairs)
    data = prepare_training(annotated_images(paired, options, config), config, previous)
    if group.first:
        if not options.json and not data.classes.task.teaches_itself:
            tell_pairs(pairs)
        _note_oddities(data, output if options.resume else None)
        if output.exists() and not options.resume:
            note(f"{output} will be replaced; another --output keeps the model that is there.")
    preset: PresetName = options.preset or "fast"
    labelled: bool = options.label_pieces
    names = tuple(layers)
    return _Order(output, history, config, data, previous, pairs, preset, started, labelled, names)


def _check_places(
    options: argparse.Namespace, output: Path, history: Path | None, pairs: list[tuple[Path, Path]]
) -> None:
    """Refuse to overwrite what is read, and what no run card or head says to be of a training."""
    card = card_beside_model(output)
    written = [output, state_path(output), card, *filter(None, [history])]
    read = [*chain(*pairs), *map(Path, filter(None, [options.previous]))]
    check_apart(written, read, "another --output or --history")
    if options.overwrite:
        return
    if history is not None and not is_history(history):
        check_free([history], "another --history")
    if options.resume or not os.path.lexists(output) or is_model_as_written(output):
        return
    raise FileProblemError(
        f"{output} is there already, and no {card.name} beside it says that it is a finished model "
        "of napari-unet train. --resume goes on with its training, --overwrite replaces it, "
        "another --output keeps it."
    )


def _note_oddities(data: TrainingData, resumed: Path | None) -> None:
    """Say what is odd about what is trained on, before the training."""
    if any("separate pieces" in text for text in data.notices):
        note(LABEL_PIECES)
    if resumed is None:
        return
    earlier = {image.image_sha256 for image in load_network(resumed).record.images}
    now = {image.image_sha256: image.name for image in data.images}
    added, gone = now.keys() - earlier, earlier - now.keys()
    if added or gone:
        names = ", ".join(name for sha256, name in now.items() if sha256 in added)
        note(
            f"The training goes on with other images than it began with: {names or 'none'} "
            f"added, {len(gone)} left out. --previous trains a model further on other images."
        )


def _writable_output(text: str) -> Path:
    """Make sure before a long training that its model can be written."""
    output = Path(text).expanduser()
    if output.suffix != ".safetensors":
        output = output.with_name(output.name + ".safetensors")
    try:
        make_folder(output.parent)
    except OSError as error:
        raise FileProblemError(
            f"{why_not_written(output, error)} Choose another folder."
        ) from error
    if output.is_dir():
        raise FileProblemError(f"Cannot write {output}: it is a folder. Choose a file name.")
    check_writable(output.parent)
    return output


def _settings(
    options: argparse.Namespace, output: Path, layers: Mapping[str, list[str]]
) -> tuple[TrainingState | TrainedNetwork | None, TrainConfig]:
    """Combine preset and flags; a resumed training keeps its own settings but for the flags."""
    given = given_settings(TrainConfig, options)
    if options.targets:
        given.setdefault("kind", IMAGE.kind)
    if options.previous:
        trained = load_model_or_starting_model(options.previous)
        preset = TrainConfig.preset(options.preset) if options.preset else None
        return trained, settings_to_continue(preset, trained.record, given)
    if not options.resume:
        if layers:
            given.setdefault("kind", OVERLAPPING_CLASSES.kind)
        return None, TrainConfig.preset(options.preset or "fast", **given)
    if options.preset:
        raise ConfigError("--resume keeps the settings of the training; leave out --preset.")
    if "steps" in given:
        given.setdefault("minutes", 0.0)
    state, previous = load_training(output)
    config = previous.changed(**given)
    check_goes_on(state, previous, config)
    return state, config


def _trained(options: argparse.Namespace, order: _Order, group: ProcessGroup) -> TrainingResult:
    with stop_on_interrupt(STOPPING if group.first else "") as stop:
        events = train_network(
            order.data, order.config, stop, order.previous, options.started, group=group
        )
        if not group.first:
            try:
                return Run(events).finish()
            except NapariUNetError as error:  # the same one as the first rank's
                raise group.told() from error
        if order.history is not None:
            events = logging_steps(events, order.history)
        events = saving_checkpoints(events, order.output)
        return run_training(events, quiet=options.json)


def _save(result: TrainingResult, order: _Order, group: ProcessGroup) -> None:
    check_has_begun(result.state, order.output)
    if group.first:
        try:
            save_checkpoint(result.trained, result.state, order.output)
        except FileProblemError as error:
            raise _saved_elsewhere(result, order.output, error) from error
        _write_card(result, order, group)


def _saved_elsewhere(
    result: TrainingResult, output: Path, error: FileProblemError
) -> FileProblemError:
    """Save a model where there is room rather than lose it; return what is to be told."""
    for folder in (None, Path(tempfile.gettempdir())):  # the library, which the window lists
        try:
            path = ModelLibrary(folder).path_for(output.stem)
            save_checkpoint(result.trained, result.state, path)
        except FileProblemError:
            continue
        return FileProblemError(
            f"{error} The trained model is in {path} instead, with its state beside it."
        )
    return FileProblemError(f"{error} What was saved last is kept; go on from there with --resume.")


def _write_card(result: TrainingResult, order: _Order, group: ProcessGroup) -> None:
    """Write the run card beside the model; a failure is a note, the model is as good without."""
    sources, path = result.data.sources, card_beside_model(order.output)
    images, labels = zip(*((str(image), str(labels)) for image, labels in order.pairs), strict=True)
    task = result.data.classes.task
    if order.names:  # of each class, the pairs of all images
        of = [name for name in order.names for _ in sources]
        labels = tuple(f"{name}={path}" for name, path in zip(of, labels, strict=True))
        images = images[: len(sources)]
    script = TrainingScript(
        images,
        () if task.teaches_itself else labels,
        str(order.output),
        order.config,
        order.preset,
        tuple(source.axes for source in sources),
        tuple(source.pixel_size for source in sources),
        named=False,
    )
    together = "" if group.alone else _TOGETHER
    why_not = _RESUMED if order.resume else CONTINUED if order.previous else together
    repeats = (_BY_CLASS if order.names else "") if task.paints else _IMAGES
    why_not = why_not or (_LABELLED if order.labelled else repeats)
    origin = TrainingOrigin(
        order.config,
        order.pairs[: len(sources)],
        Environment.of(choose_device(group.device(order.config.device))),
        order.started,
        now(),
        "" if order.previous else script.command().strip(),
        why_not,
    )
    try:
        write_card(card_of_training(result, origin, order.output, path), path)
    except FileProblemError as error:
        note(f"The model is saved, but not its run card: {error}")
