"""``napari-unet train``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.cli.history import begin_history, logging_steps
from napari_unet.cli.progress import STOPPING, run_training, stop_on_interrupt
from napari_unet.cli.training_order import TrainingOrder, training_order
from napari_unet.errors import FileProblemError, NapariUNetError
from napari_unet.model.devices import choose_device
from napari_unet.model.trained import save_network
from napari_unet.provenance.card import (
    CONTINUED,
    Environment,
    TrainingOrigin,
    card_beside_model,
    now,
    write_card,
)
from napari_unet.provenance.script import TrainingScript
from napari_unet.provenance.training_card import card_of_training
from napari_unet.run import Run
from napari_unet.training.checkpoint import save_state, saving_checkpoints, state_path
from napari_unet.training.distributed import ProcessGroup
from napari_unet.training.loop import TrainingResult, train_network
from napari_unet.training.preparation import CELLS_TO_SPARE_SOME

if TYPE_CHECKING:
    import argparse


_RESUMED = "The training went on from an earlier one, whose state is no longer there."
_TOGETHER = "Several processes trained together; rerun is one process."


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Train and write the model file; return the report and the exit code.

    Of the processes that ``torchrun`` started the first alone shows, writes and reports.
    """
    with ProcessGroup.of_environment() as group:
        with group.together():
            order = training_order(options)
            choose_device(group.device(order.config.device))
            if options.history and group.first:
                begin_history(Path(options.history), order.resume)
        result = _trained(options, order, group)
        with group.together():
            _save(result, order, group)
    if not group.first:
        return {}, 0
    report = _report(result, order.output, group) | _judged(result)
    if not options.json:
        print(_in_words(report))
    return report, 0


def _judged(result: TrainingResult) -> dict[str, int]:
    """Return what the model makes of the painted cells; nothing where they are not judged."""
    cells = result.painted_cells
    if not cells:
        return {}
    found = sum(cell.verdict == "found" for cell in cells)
    return {"painted_cells": len(cells), "painted_cells_found": found}


def _trained(
    options: argparse.Namespace, order: TrainingOrder, group: ProcessGroup
) -> TrainingResult:
    with stop_on_interrupt(STOPPING if group.first else "") as stop:
        events = train_network(
            order.data, order.config, stop, order.previous, options.started, group=group
        )
        if not group.first:
            try:
                return Run(events).finish()
            except NapariUNetError as error:  # the same one as the first rank's
                raise group.told() from error
        events = saving_checkpoints(events, order.output)
        if options.history:
            events = logging_steps(events, Path(options.history))
        return run_training(events, quiet=options.json)


def _save(result: TrainingResult, order: TrainingOrder, group: ProcessGroup) -> None:
    if result.state.step == 0:
        raise FileProblemError(
            "The training ended before its first step, and nothing was saved. Give it more time."
        )
    if group.first:
        save_network(result.trained, order.output)
        save_state(result.state, state_path(order.output))
        _write_card(result, order, group)


def _write_card(result: TrainingResult, order: TrainingOrder, group: ProcessGroup) -> None:
    """Write the run card beside the model; a failure is a note, the model is as good without."""
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
    together = "" if group.alone else _TOGETHER
    why_not = _RESUMED if order.resume else CONTINUED if order.previous else together
    origin = TrainingOrigin(
        order.config,
        order.pairs,
        Environment.of(choose_device(group.device(order.config.device))),
        order.started,
        now(),
        "" if order.previous else script.command().strip(),
        why_not,
    )
    try:
        write_card(card_of_training(result, origin, order.output, path), path)
    except FileProblemError as error:
        print(f"Note: The model is saved, but not its run card: {error}", file=sys.stderr)


def _report(result: TrainingResult, output: Path, group: ProcessGroup) -> dict[str, Any]:
    record = result.trained.record
    kept = [entry for entry in record.history if entry.get("best")]
    return {
        "model": str(output),
        "steps": result.state.step,
        "processes": group.size,
        "seconds": round(result.state.seconds, 1),
        "stopped": result.stopped,
        "settled": result.settled,
        "validation": kept[-1] if kept else None,
    }


def _in_words(report: dict[str, Any]) -> str:
    text = f"{report['model']}: {report['steps']} steps in {report['seconds']:.0f} s"
    if "painted_cells" in report:
        found, painted = report["painted_cells_found"], report["painted_cells"]
        text += f"; {found} of {painted} painted cells found"
    best = report["validation"]
    if best is None:
        few = report.get("painted_cells", CELLS_TO_SPARE_SOME) < CELLS_TO_SPARE_SOME
        why = f": of fewer than {CELLS_TO_SPARE_SOME} painted cells none is held back"
        return f"{text}, no validation{why if few else ''}."
    text += f"; best at step {best['step']}: IoU {best['iou']:.3f}"
    if best["object_f1"] is not None:
        text += f", object F1 {best['object_f1']:.3f}"
    return text + " on held-back paint."
