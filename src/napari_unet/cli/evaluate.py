"""``napari-unet evaluate``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.cli.arguments import given_settings
from napari_unet.cli.common import LABEL_PIECES, check_targets, one_by_one, tell_pairs
from napari_unet.cli.printing import note, say
from napari_unet.data.labels import label_pieces, oddity_of
from napari_unet.errors import EvaluationError
from napari_unet.evaluation.objects import ERROR_VALUES
from napari_unet.evaluation.overlap import checked_pair
from napari_unet.evaluation.scores import EvaluateConfig, errors_of, evaluate
from napari_unet.io.files import (
    find_images,
    labels_in,
    name_of,
    open_labels,
    pair_files,
    tiff_beside,
    write_image,
)
from napari_unet.io.outputs import make_output_folder
from napari_unet.tasks import task_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_AXES = {2: "YX", 3: "ZYX"}


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Score predictions; a pair that cannot be compared is reported and does not stop the others.

    Returns the report and the exit code.
    """
    pairs = pair_files(
        find_images(options.predictions), find_images(options.truth), "predictions", "truths"
    )
    error_map_of = _error_files(pairs, options) if options.errors else {}
    compare = partial(_read, options=options, error_map_of=error_map_of)
    read, failed = one_by_one(pairs, lambda pair: pair[0], compare)
    if not read:
        raise EvaluationError(f"None of the {len(pairs)} pairs could be compared.")
    compared, predictions, truths = zip(*read, strict=True)
    scores = evaluate(predictions, truths, **given_settings(EvaluateConfig, options))
    for row, (_, truth) in zip(scores.get("images", []), compared, strict=False):
        row["file"] = truth.name
    written = [str(error_map_of[prediction]) for prediction, _ in compared if error_map_of]
    if not options.json:
        tell_pairs(compared)
        _print_table(scores)
        if failed:
            say(f"{len(failed)} of {len(pairs)} pairs could not be compared: not in these scores.")
        if written:
            legend = ", ".join(f"{each.value} {each.name}" for each in ERROR_VALUES)
            say(f"{len(written)} error maps written to {options.errors}: {legend}.")
    scores["pairs"] = [{"prediction": str(a), "truth": str(b)} for a, b in compared]
    scores |= {"failed": failed} if failed else {}
    scores |= {"error_maps": written} if written else {}
    return scores, 1 if failed else 0


def _read(
    pair: tuple[Path, Path], options: argparse.Namespace, error_map_of: Mapping[Path, Path]
) -> tuple[tuple[Path, Path], NDArray[Any], NDArray[Any]]:
    """Read a pair of label images, and write the map of its errors where that is asked for.

    What is no pair, or looks like no labels, is called by name.
    """
    files = open_labels(pair[0], options.axes), open_labels(pair[1], options.axes)
    for file in files:
        for text in file.notices:
            note(f"{name_of(file.path)}: {text}")
    predicted, true = map(labels_in, files)
    predicted, true = checked_pair(predicted, true, *map(name_of, pair))
    if options.label_pieces:
        predicted, true = label_pieces(predicted), label_pieces(true)
    judged_singly = task_of(options.kind).judged_singly and options.unpainted == "background"
    for path, labels in zip(pair, (predicted, true), strict=True):
        if odd := oddity_of(labels, judged_singly):
            note(f"{name_of(path)}: {odd}. {LABEL_PIECES if 'pieces' in odd else ''}".rstrip())
    if error_map_of:
        errors = errors_of(predicted, true, options.kind, options.unpainted)
        write_image(error_map_of[pair[0]], errors, _AXES[errors.ndim])
    return pair, predicted, true


def _error_files(
    pairs: Sequence[tuple[Path, Path]], options: argparse.Namespace
) -> dict[Path, Path]:
    """Name the error map of each prediction; refuse to overwrite anything."""
    folder = Path(options.errors).expanduser()
    make_output_folder(folder)
    targets = {prediction: tiff_beside(prediction, folder) for prediction, _ in pairs}
    read = [path for pair in pairs for path in pair]
    remedy = "another --errors folder"
    check_targets([*targets.values()], read, remedy, overwrite=options.overwrite)
    return targets


def _print_table(scores: dict[str, Any]) -> None:
    for name, value in scores.items():
        if name == "images":
            for row in value:
                scores_of = (f"{k}={_short(v)}" for k, v in row.items() if k != "file")
                say(" ".join([row["file"], *scores_of]))
        else:
            say(f"{name:22} {_short(value)}")


def _short(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
