"""``napari-unet train``."""

from __future__ import annotations

import contextlib
import os
import tempfile
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.cli.annotated import paired_files, read_annotated
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
from napari_unet.io.disk import make_folder, writing
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
from napari_unet.remote.machines import check_address
from napari_unet.remote.training import TrainedThere, train_on
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

    from napari_unet.cli.annotated import Paired
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.training.dataset import TrainingData

_RESUMED = "The training went on from an earlier one, whose state is no longer there."
_LABELLED = "Its masks were labelled on the way (--label-pieces); save them labelled to repeat it."
_IMAGES = "Rerun repeats trainings on labels alone; the command line repeats this one."
_BY_CLASS = "It has labels for each class: repeat it by the command above."
_TOGETHER = "Several processes trained together; rerun is one process."


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Train and write the model file; return the report and the exit code.

    Of the processes that ``torchrun`` started the first alone shows, writes and reports.
    """
    with ProcessGroup.of_environment() as group, contextlib.ExitStack() as until_saved:
        with group.together():
            _check_machine(options, group)
            output = _writable_output(options.output)
            if group.first:
                until_saved.enter_context(locked(output))
            started, layers = now(), by_class(options.labels or ())
            options.history = Path(options.history).expanduser() if options.history else None
            previous, config = _settings(options, output, layers)
            paired = paired_files(options, config, layers)
            pairs = [pair for of_class in paired.values() for pair in of_class]
            _check_places(options, output, pairs)
            data = prepare_training(read_annotated(paired, options, config), config, previous)
            if group.first:
                _tell_before(options, output, data, pairs)
            if not options.on:
                environment = Environment.of(choose_device(group.device(config.device)))
            if group.first and options.history is not None:
                begin_history(options.history, _resumed(previous))
        result = _trained(options, output, data, config, previous, group)
        if isinstance(result, TrainedThere):
            environment = result.environment
        with group.together():
            check_has_begun(result.state, output)
            if group.first:
                _save(result, output)
                origin = TrainingOrigin(
                    config,
                    pairs[: len(data.sources)],
                    environment,
                    started,
                    now(),
                    "" if previous else _command(options, output, data, config, paired),
                    _not_repeatable(options, data, previous, group),
                )
                _write_card(result, origin, output)
    if not group.first:
        return {}, 0
    files = [{"image": str(image), "labels": str(labels)} for image, labels in pairs]
    report = training_report(result, output, group.size) | {"pairs": files}
    if previous is not None and not isinstance(previous, TrainingState):
        report |= beside_previous(result, previous)
    if not options.json:
        say(report_in_words(report))
    return report, 0


def _resumed(previous: TrainingState | TrainedNetwork | None) -> TrainingState | None:
    """Return the training that goes on exactly where it ended."""
    return previous if isinstance(previous, TrainingState) else None


def _check_machine(options: argparse.Namespace, group: ProcessGroup) -> None:
    """Refuse another machine, before anything is read, where that cannot be."""
    if options.on and not group.alone:
        raise ConfigError("--on is for one process; let torchrun run on the other machine itself.")
    if options.on:
        check_address(options.on, options.trust_cluster)


def _check_places(
    options: argparse.Namespace, output: Path, pairs: list[tuple[Path, Path]]
) -> None:
    """Refuse to overwrite what is read, and what no run card or head says to be of a training."""
    card, history = card_beside_model(output), options.history
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


def _tell_before(
    options: argparse.Namespace, output: Path, data: TrainingData, pairs: list[tuple[Path, Path]]
) -> None:
    """Say what is trained on, what is odd about it, and what is replaced."""
    if not options.json and not data.classes.task.teaches_itself:
        tell_pairs(pairs)
    _note_oddities(data, output if options.resume else None)
    if output.exists() and not options.resume:
        note(f"{output} will be replaced; another --output keeps the model that is there.")


def _note_oddities(data: TrainingData, resumed: Path | None) -> None:
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
    with writing(output, "Choose another folder."):
        make_folder(output.parent)
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


def _trained(
    options: argparse.Namespace,
    output: Path,
    data: TrainingData,
    config: TrainConfig,
    previous: TrainingState | TrainedNetwork | None,
    group: ProcessGroup,
) -> TrainingResult:
    with stop_on_interrupt(STOPPING if group.first else "") as stop:
        if not options.on:
            events = train_network(data, config, stop, previous, options.started, group=group)
        else:
            events = train_on(options.on, options.trust_cluster, data, config, stop, previous)
        if not group.first:
            try:
                return Run(events).finish()
            except NapariUNetError as error:  # the same one as the first rank's
                raise group.told() from error
        if options.history is not None:
            events = logging_steps(events, options.history)
        events = saving_checkpoints(events, output)
        return run_training(events, quiet=options.json)


def _save(result: TrainingResult, output: Path) -> None:
    """Save model and state, where there is no room for them elsewhere rather than lose them."""
    try:
        save_checkpoint(result.trained, result.state, output)
        return
    except FileProblemError as error:
        problem = error
    for folder in (None, Path(tempfile.gettempdir())):  # the library, which the window lists
        try:
            path = ModelLibrary(folder).path_for(output.stem)
            save_checkpoint(result.trained, result.state, path)
        except FileProblemError:
            continue
        raise FileProblemError(
            f"{problem} The trained model is in {path} instead, with its state beside it."
        ) from problem
    raise FileProblemError(
        f"{problem} What was saved last is kept; go on from there with --resume."
    ) from problem


def _command(
    options: argparse.Namespace,
    output: Path,
    data: TrainingData,
    config: TrainConfig,
    paired: Paired,
) -> str:
    """Return the command that trains the same again."""
    task = data.classes.task
    labels = tuple(
        f"{name}={path}" if name else str(path)
        for name, pairs in paired.items()
        for _, path in pairs
    )
    return (
        TrainingScript(
            tuple(str(image) for image, _ in next(iter(paired.values()))),
            () if task.teaches_itself else labels,
            str(output),
            config,
            options.preset or "fast",
            tuple(source.axes for source in data.sources),
            tuple(source.pixel_size for source in data.sources),
            named=False,
        )
        .command()
        .strip()
    )


def _not_repeatable(
    options: argparse.Namespace,
    data: TrainingData,
    previous: TrainingState | TrainedNetwork | None,
    group: ProcessGroup,
) -> str:
    """Return why `rerun` cannot do it again; "": it can."""
    task = data.classes.task
    if previous:
        return _RESUMED if _resumed(previous) else CONTINUED
    if not group.alone:
        return _TOGETHER
    if options.label_pieces:
        return _LABELLED
    if not task.paints:
        return _IMAGES
    return _BY_CLASS if task.in_layers else ""


def _write_card(result: TrainingResult, origin: TrainingOrigin, output: Path) -> None:
    """Write the run card beside the model; a failure is a note, the model is as good without."""
    path = card_beside_model(output)
    try:
        write_card(card_of_training(result, origin, output, path), path)
    except FileProblemError as error:
        note(f"The model is saved, but not its run card: {error}")
