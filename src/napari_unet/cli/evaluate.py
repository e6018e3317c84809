"""``napari-unet evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.cli.arguments import given_settings
from napari_unet.cli.common import check_targets, note_unlike_pairs
from napari_unet.evaluation.mistakes import ERROR_VALUES
from napari_unet.evaluation.scores import EvaluateConfig, errors_of, evaluate
from napari_unet.io.files import (
    find_images,
    make_folder,
    pair_files,
    read_labels,
    tiff_beside,
    write_image,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_AXES = {2: "YX", 3: "ZYX"}


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Score predictions; return the report and the exit code."""
    pairs = pair_files(
        find_images(options.predictions), find_images(options.truth), "predictions", "truths"
    )
    note_unlike_pairs(pairs)
    predictions = [read_labels(prediction) for prediction, _ in pairs]
    truths = [read_labels(truth) for _, truth in pairs]
    scores = evaluate(predictions, truths, **given_settings(EvaluateConfig, options))
    targets = _error_files(pairs, Path(options.errors).expanduser()) if options.errors else []
    for row, (_, truth) in zip(scores.get("images", []), pairs, strict=False):
        row["file"] = truth.name
    for target, predicted, true in zip(targets, predictions, truths, strict=False):
        errors = errors_of(predicted, true, options.kind, options.unpainted)
        write_image(target, errors, _AXES[errors.ndim])
    if not options.json:
        _print_table(scores)
    if targets:
        scores["error_maps"] = [str(target) for target in targets]
    if targets and not options.json:
        legend = ", ".join(f"{each.value} {each.name}" for each in ERROR_VALUES)
        print(f"{len(targets)} error maps written to {options.errors}: {legend}.")
    return scores, 0


def _error_files(pairs: Sequence[tuple[Path, Path]], folder: Path) -> list[Path]:
    """Name the error map of each prediction; refuse to overwrite what is compared."""
    make_folder(folder)
    targets = [tiff_beside(prediction, folder) for prediction, _ in pairs]
    check_targets(targets, (path for pair in pairs for path in pair), "another --errors folder")
    return targets


def _print_table(scores: dict[str, Any]) -> None:
    for name, value in scores.items():
        if name == "images":
            for row in value:
                print(row["file"], *(f"{k}={_short(v)}" for k, v in row.items() if k != "file"))
        else:
            print(f"{name:22} {_short(value)}")


def _short(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
