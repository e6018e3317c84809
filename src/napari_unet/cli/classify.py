"""``napari-unet classify``."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.api.classification import classify_objects, object_classifier
from napari_unet.cli.common import check_targets, given_pixel_size, one_by_one
from napari_unet.cli.printing import say
from napari_unet.errors import ConfigError, FileProblemError
from napari_unet.io.annotations.formats import axes_for
from napari_unet.io.classifiers import load_classifier, read_examples, save_classifier
from napari_unet.io.disk import write_csv
from napari_unet.io.files import (
    find_images,
    in_memory,
    labels_in,
    name_of,
    open_labels,
    pair_files,
    read_image,
    stem_of,
    tiff_beside,
    write_labels,
)
from napari_unet.io.outputs import make_output_folder
from napari_unet.objects.classifier import ObjectClassifier, class_image

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    Given = dict[tuple[int, int], str]
    Pairs = Sequence[tuple[Path | None, Path]]


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Classify the objects of each file; one that fails does not stop the others."""
    if not options.examples and not options.classifier:
        raise ConfigError("Nothing says what the classes are: give --classifier or --examples.")
    options.pixel_size = given_pixel_size(options.pixel_size)
    pairs, output = _pairs(options), Path(options.output).expanduser()
    read = [Path(each).expanduser() for each in (options.classifier, options.examples) if each]
    file = output / "objects.classifier.json" if options.examples else read[0]
    targets = [target for _, labels in pairs for target in _tables(labels, output)]
    targets += [file] if options.examples else []
    read += [path for pair in pairs for path in pair if path]
    check_targets(targets, read, "another folder", overwrite=options.overwrite)
    make_output_folder(output)
    given = _examples(pairs, options.examples) if options.examples else {}
    known = [load_classifier(options.classifier)] if options.classifier else []
    classifier = reduce(ObjectClassifier.with_examples, [*known, *_learned(pairs, given, options)])
    classifier.check_examples()
    if options.examples:
        save_classifier(classifier, file)
    rows, failed = one_by_one(
        pairs,
        lambda pair: pair[1],
        lambda pair: _classify(*pair, classifier, given.get(pair[1], {}), output, options),
        None if options.json else _print_row,
    )
    report: dict[str, Any] = {"classified": rows, "failed": failed, "classifier": str(file)}
    return report | {"examples": len(classifier.classes)}, 1 if failed else 0


def _pairs(options: argparse.Namespace) -> Pairs:
    labels = find_images(options.labels)
    if not options.images:
        return [(None, path) for path in labels]
    return pair_files(find_images(options.images), labels)


def _tables(labels: Path, output: Path) -> tuple[Path, Path]:
    """Return where the table and the class image of a file are written."""
    return output / f"{stem_of(labels)}.csv", tiff_beside(labels, output)


def _opened(
    image: Path | None, labels: Path, options: argparse.Namespace
) -> tuple[dict[str, Any], str]:
    """Return the arguments that stand for a pair of files."""
    read = open_labels(labels, options.axes)
    pixels = read_image(image) if image else None
    numbers = labels_in(read)
    told = (options.axes or read.axes or "").replace("C", "")
    axes = axes_for(numbers.shape, told if len(told) == numbers.ndim else None)
    size = options.pixel_size or (pixels.pixel_size if pixels else {}) or read.pixel_size
    found = {"labels": numbers, "image": in_memory(pixels) if pixels else None, "axes": axes}
    return found | {"pixel_size": size}, axes


def _examples(pairs: Pairs, table: str) -> dict[Path, Given]:
    """Return the examples of a table by the labels that they are on."""
    left = read_examples(Path(table).expanduser())
    found: dict[Path, Given] = {}
    for image, labels in pairs:
        paths = [path for path in (image, labels) if path]
        names = [name for path in paths for name in (name_of(path), stem_of(path))]
        names += [""] if len(pairs) == 1 else []
        mine = {key: of for name in names for key, of in left.pop(name, {}).items()}
        found |= {labels: mine} if mine else {}
    if left:
        named = ", ".join(repr(name) for name in list(left)[:10])
        raise FileProblemError(
            f"{table} has examples of {named}, which is none of the files; write the names of the "
            "label files into its column image."
        )
    return found


def _learned(
    pairs: Pairs, given: Mapping[Path, Given], options: argparse.Namespace
) -> list[ObjectClassifier]:
    return [
        object_classifier(**_opened(image, labels, options)[0], examples=given[labels])
        for image, labels in pairs
        if labels in given
    ]


def _classify(
    image: Path | None,
    labels: Path,
    classifier: ObjectClassifier,
    given: Given,
    output: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    arguments, axes = _opened(image, labels, options)
    columns = classify_objects(**arguments, classifier=classifier)
    frames = columns.get("frame", np.zeros(len(columns["index"]), int))
    for row, key in enumerate(zip(columns["index"].tolist(), frames.tolist(), strict=True)):
        if key in given:
            columns["class"][row] = columns["example"][row] = given[key]
    table, picture = _tables(labels, output)
    write_csv(columns, table)
    values = [1 + classifier.names.index(name) for name in columns["class"].tolist()]
    numbers = np.array(values, np.uint16)
    classes = class_image(arguments["labels"], columns, numbers, 3 if "Z" in axes else 2)
    write_labels(picture, classes, axes, arguments["pixel_size"])
    return {
        "labels": str(labels),
        "table": str(table),
        "class_image": str(picture),
        "objects": len(columns["class"]),
        "classes": dict(Counter(columns["class"].tolist())),
    }


def _print_row(row: dict[str, Any]) -> None:
    counts = ", ".join(f"{count} {name}" for name, count in sorted(row["classes"].items()))
    say(f"{Path(row['labels']).name}: {counts or 'no objects'} in {row['table']}.")
