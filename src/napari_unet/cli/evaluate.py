"""``napari-unet evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.cli.arguments import given_settings
from napari_unet.cli.common import LABEL_PIECES, check_targets, note, tell_pairs
from napari_unet.data.labels import label_pieces, oddity_of
from napari_unet.evaluation.objects import ERROR_VALUES
from napari_unet.evaluation.overlap import checked_pair
from napari_unet.evaluation.scores import EvaluateConfig, errors_of, evaluate
from napari_unet.io.files import (
    find_images,
    labels_in,
    make_folder,
    name_of,
    open_labels,
    pair_files,
    tiff_beside,
    write_image,
)
from napari_unet.tasks import task_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from numpy.typing import NDArray

_AXES = {2: "YX", 3: "ZYX"}


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Score predictions; return the report and the exit code."""
    pairs = pair_files(
        find_images(options.predictions), find_images(options.truth), "predictions", "truths"
    )
    predictions, truths = zip(*(_read(*pair, options) for pair in pairs), strict=True)
    scores = evaluate(predictions, truths, **given_settings(EvaluateConfig, options))
    targets = _error_files(pairs, Path(options.errors).expanduser()) if options.errors else []
    for row, (_, truth) in zip(scores.get("images", []), pairs, strict=False):
        row["file"] = truth.name
    for target, predicted, true in zip(targets, predictions, truths, strict=False):
        errors = errors_of(predicted, true, options.kind, options.unpainted)
        write_image(target, errors, _AXES[errors.ndim])
    if not options.json:
        tell_pairs(pairs)
        _print_table(scores)
    scores["pairs"] = [{"prediction": str(a), "truth": str(b)} for a, b in pairs]
    if targets:
        scores["error_maps"] = [str(target) for target in targets]
    if targets and not options.json:
        legend = ", ".join(f"{each.value} {each.name}" for each in ERROR_VALUES)
        print(f"{len(targets)} error maps written to {options.errors}: {legend}.")
    return scores, 0


def _read(
    prediction: Path, truth: Path, options: argparse.Namespace
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read a pair of label images; what is no pair, or looks like no labels, is called by name."""
    files = open_labels(prediction, options.axes), open_labels(truth, options.axes)
    for file in files:
        for text in file.notices:
            note(f"{name_of(file.path)}: {text}")
    predicted, true = map(labels_in, files)
    predicted, true = checked_pair(predicted, true, name_of(prediction), name_of(truth))
    if options.label_pieces:
        predicted, true = label_pieces(predicted), label_pieces(true)
    one_by_one = task_of(options.kind).judged_singly and options.unpainted == "background"
    for path, labels in ((prediction, predicted), (truth, true)):
        if odd := oddity_of(labels, one_by_one):
            note(f"{name_of(path)}: {odd}. {LABEL_PIECES if 'pieces' in odd else ''}".rstrip())
    return predicted, true


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
