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
    from collections.abc import Sequence

    Pairs = Sequence[tuple[Path | None, Path]]


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Classify the objects of each file; one that fails does not stop the others."""
    if not options.examples and not options.classifier:
        raise ConfigError("Nothing says what the classes are: give --classifier or --examples.")
    options.pixel_size = given_pixel_size(options.pixel_size)
    pairs, output = _pairs(options), Path(options.output).expanduser()
    file = Path(options.classifier or output / "objects.classifier.json").expanduser()
    made = [_tables(labels, output) for _, labels in pairs]
    read = [path for pair in pairs for path in pair if path]
    targets = [target for each in made for target in each]
    targets += [file] if options.examples else []
    read += [Path(options.examples).expanduser()] if options.examples else [file]
    check_targets(targets, read, "another folder", overwrite=options.overwrite)
    make_output_folder(output)
    classifier = _learned(pairs, options) if options.examples else load_classifier(file)
    classifier.check_examples()
    if options.examples:
        save_classifier(classifier, file)
    rows, failed = one_by_one(
        pairs,
        lambda pair: pair[1],
        lambda pair: _classify(*pair, classifier, output, options),
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


def _learned(pairs: Pairs, options: argparse.Namespace) -> ObjectClassifier:
    """Learn from the examples of a table, on the files that it names."""
    examples = read_examples(Path(options.examples).expanduser())
    learned, left = [], dict(examples)
    for image, labels in pairs:
        names = [
            name for path in (image, labels) if path for name in (name_of(path), stem_of(path))
        ]
        names += [""] if len(pairs) == 1 else []
        mine = {key: of for name in names for key, of in left.pop(name, {}).items()}
        if mine:
            learned.append(object_classifier(**_opened(image, labels, options)[0], examples=mine))
    if left:
        named = ", ".join(repr(name) for name in list(left)[:10])
        raise FileProblemError(
            f"{options.examples} has examples of {named}, which is none of the files; write the "
            "names of the label files into its column image."
        )
    return reduce(ObjectClassifier.with_examples, learned)


def _classify(
    image: Path | None,
    labels: Path,
    classifier: ObjectClassifier,
    output: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    arguments, axes = _opened(image, labels, options)
    columns = classify_objects(**arguments, classifier=classifier)
    columns.pop("example")
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
