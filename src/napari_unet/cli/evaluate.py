"""``napari-unet evaluate``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.cli.arguments import given_settings
from napari_unet.cli.common import LABEL_PIECES, by_class, check_targets, one_by_one, tell_pairs
from napari_unet.cli.printing import note, say
from napari_unet.data.labels import label_pieces, oddity_of
from napari_unet.errors import ConfigError, EvaluationError
from napari_unet.evaluation.objects import ERROR_VALUES
from napari_unet.evaluation.overlap import checked_pair
from napari_unet.evaluation.scores import EvaluateConfig, errors_of, evaluate
from napari_unet.io.files import (
    find_images,
    in_memory,
    labels_in,
    name_of,
    open_labels,
    pair_files,
    read_image,
    tiff_beside,
    write_image,
)
from napari_unet.io.outputs import make_output_folder
from napari_unet.tasks import task_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.io.files import ImageFile

    # Of predictions and of truths: the files of all classes, by that of the first one
    LayersOf = tuple[dict[Path, list[Path]], dict[Path, list[Path]]]

_AXES = {2: "YX", 3: "ZYX"}


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Score predictions; a pair that cannot be compared is reported and does not stop the others.

    Returns the report and the exit code.
    """
    names, layers_of, pairs = _paired(options)
    error_map_of = _error_files(pairs, options) if options.errors else {}
    compare = partial(_read, options=options, layers_of=layers_of, error_map_of=error_map_of)
    read, failed = one_by_one(pairs, lambda pair: pair[0], compare)
    if not read:
        raise EvaluationError(f"None of the {len(pairs)} pairs could be compared.")
    compared, predictions, truths = zip(*read, strict=True)
    by_name = dict(zip(names, zip(*truths, strict=True), strict=True)) if names else truths
    scores = evaluate(predictions, by_name, **given_settings(EvaluateConfig, options))
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


def _paired(
    options: argparse.Namespace,
) -> tuple[tuple[str, ...], LayersOf, list[tuple[Path, Path]]]:
    """Find which predictions and truths belong together, the first of several classes of each.

    Returns the names of the classes, where truth is given by class; the files that belong to one of
    these, which hold the other classes; and the pairs.
    """
    predicted, true = _by_class(options.predictions), _by_class(options.truth)
    if not task_of(options.kind).in_layers and "" not in predicted.keys() & true.keys():
        raise ConfigError(
            "NAME=PATH is for labels of each class; add --kind overlapping or object-classes, or "
            "leave out the name."
        )
    first, first_true = next(iter(predicted.values())), next(iter(true.values()))
    pairs = pair_files(first, first_true, "predictions", "truths")
    layers_of: LayersOf = ({}, {})
    for number, of_each in enumerate((predicted, true)):
        for paths in of_each.values():
            beside = [pair[number] for pair in pairs]
            for one, other in pair_files(beside, paths, "labels", "labels of another class"):
                layers_of[number].setdefault(one, []).append(other)
    return tuple(name for name in true if name), layers_of, pairs


def _by_class(entries: Sequence[str]) -> dict[str, list[Path]]:
    layers = by_class(entries) or {"": list(entries)}
    return {name: find_images(paths) for name, paths in layers.items()}


def _layers_in(paths: Sequence[Path], files: Sequence[ImageFile]) -> NDArray[Any]:
    """Return the labels of overlapping classes, along a first axis: of one file, or one of each."""
    axes = files[0].axes or ""
    if len(files) == 1 and "C" in axes:
        return np.moveaxis(in_memory(files[0]), axes.index("C"), 0)
    read = [labels_in(file) for file in files]
    if len({labels.shape for labels in read}) > 1:
        raise EvaluationError(
            f"{', '.join(map(name_of, paths))} have different shapes; the labels of all classes of "
            "an image need its shape."
        )
    return np.stack(read)


def _read(
    pair: tuple[Path, Path],
    options: argparse.Namespace,
    layers_of: LayersOf,
    error_map_of: Mapping[Path, Path],
) -> tuple[tuple[Path, Path], NDArray[Any], NDArray[Any]]:
    """Read a pair of label images, and write the map of its errors where that is asked for.

    What is no pair, or looks like no labels, is called by name.
    """
    in_layers = task_of(options.kind).in_layers
    paths = [of_side[path] for of_side, path in zip(layers_of, pair, strict=True)]
    files = [
        # what `predict` writes has an axis C, which other labels have not
        [read_image(each) for each in of_side]
        if in_layers and len(of_side) == 1
        else [open_labels(each, options.axes) for each in of_side]
        for of_side in paths
    ]
    for file in (*files[0], *files[1]):
        for text in file.notices:
            note(f"{name_of(file.path)}: {text}")
    predicted, true = (
        _layers_in(of_side, opened) if in_layers else labels_in(opened[0])
        for of_side, opened in zip(paths, files, strict=True)
    )
    predicted, true = checked_pair(predicted, true, *map(name_of, pair))
    if options.label_pieces:
        predicted, true = label_pieces(predicted), label_pieces(true)
    judged_singly = task_of(options.kind).judged_singly and options.unpainted == "background"
    for path, labels in zip(pair, (predicted, true), strict=True):
        if odd := oddity_of(labels, judged_singly):
            note(f"{name_of(path)}: {odd}. {LABEL_PIECES if 'pieces' in odd else ''}".rstrip())
    if error_map_of:
        errors = errors_of(predicted, true, options.kind, options.unpainted)
        axes = f"C{_AXES[errors.ndim - 1]}" if in_layers else _AXES[errors.ndim]
        write_image(error_map_of[pair[0]], errors, axes)
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
