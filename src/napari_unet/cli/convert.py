"""``napari-unet convert``."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.cli.arguments import given_settings
from napari_unet.cli.common import check_targets, given_pixel_size, one_by_one
from napari_unet.cli.printing import say
from napari_unet.data.axes import without_channels
from napari_unet.errors import ConfigError, FileProblemError, LabelsError
from napari_unet.io.annotations.ctc import is_ctc
from napari_unet.io.annotations.formats import LABEL_AXES, SUFFIXES, ConvertConfig
from napari_unet.io.annotations.reading import (
    annotation_stem,
    find_annotations,
    read_annotations,
    told_by,
)
from napari_unet.io.annotations.writing import write_objects
from napari_unet.io.disk import short_reason
from napari_unet.io.files import ImageFile, find_images, pair_files, read_image
from napari_unet.io.outputs import make_output_folder
from napari_unet.objects.measurements import channel_axis_beside
from napari_unet.tasks import task_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from napari_unet.io.annotations.drawn import Annotations
    from napari_unet.io.annotations.formats import ObjectFormat


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Convert each file; one that fails is reported and does not stop the others."""
    options.pixel_size = given_pixel_size(options.pixel_size)
    config = ConvertConfig(**given_settings(ConvertConfig, options))
    jobs = _jobs(options)
    parents = _mothers(Path(options.tracks).expanduser()) if options.tracks else {}
    converted, failed = one_by_one(
        jobs,
        lambda job: job[0][0],
        lambda job: _convert(*job, config, parents),
        None if options.json else _print_row,
    )
    return {"converted": converted, "failed": failed}, 1 if failed else 0


def _jobs(options: argparse.Namespace) -> list[tuple[list[Path], Path | None, Path]]:
    """Return what is read, its image and where it goes; refuse to overwrite what is read."""
    paths = find_annotations(options.paths)
    movies = [paths] if options.sequence else [[path] for path in paths]
    images = _images_for([movie[0] for movie in movies], options.image)
    output = Path(options.output).expanduser()
    targets = [_target(movie[0], output, options.to, alone=len(movies) == 1) for movie in movies]
    read = [*paths, *filter(None, images), Path(options.tracks or paths[0]).expanduser()]
    frames = [frame for each in targets if each.is_dir() for frame in each.glob("mask*.tif")]
    check_targets([*targets, *frames], read, "another name", overwrite=options.overwrite)
    make_output_folder(targets[0].parent)
    return list(zip(movies, images, targets, strict=True))


def _images_for(paths: Sequence[Path], named: list[str] | None) -> list[Path | None]:
    if not named:
        return [None] * len(paths)
    images = find_images(named)
    if len(images) == 1:
        return [images[0]] * len(paths)
    image_of = {labels: image for image, labels in pair_files(images, paths)}
    return [image_of[path] for path in paths]


def _target(path: Path, output: Path, to: ObjectFormat, *, alone: bool) -> Path:
    """Return the file of a result: the output itself where it is named as a file."""
    of_format = SUFFIXES[to]
    if to == "ctc":
        return output if alone else output / annotation_stem(path)
    if output.suffix.lower() in of_format and (to == "geff" or not output.is_dir()):
        if not alone:
            raise ConfigError(f"--output {output} is one file for several; name a folder.")
        return output
    return output / f"{annotation_stem(path)}{of_format[0]}"


def _convert(
    movie: list[Path],
    image_path: Path | None,
    target: Path,
    config: ConvertConfig,
    parents: dict[int, int],
) -> dict[str, Any]:
    image = read_image(image_path) if image_path else None
    shape, axes = _of_labels(image, config.axes)
    name, path = image_path.name if image_path else None, movie[0]
    if len(movie) > 1:
        found, axes = _of_frames(movie, config)
    else:
        found = read_annotations(path, shape, axes, config.kind, name)
    told, own_size = told_by(path, config.axes)
    axes = axes or _usable(told, path, found)
    size = config.pixel_size or (image.pixel_size if image else {}) or own_size
    pixels = image.array if image and _is_measurable(image, found) else None
    write_objects(
        target,
        found.labels,
        config.to,
        axes=axes,
        names=found.names,
        colours=found.colours,
        image=pixels,
        pixel_size=size,
        parents=parents,
    )
    numbers = np.unique(found.labels)
    return {
        "input": str(path) if len(movie) == 1 else [str(each) for each in movie],
        "output": str(target),
        "objects": int(np.count_nonzero(numbers)),
        "classes": {str(number): name for number, name in found.names.items()}
        if task_of(config.kind).named
        else {},
        "notices": list(found.notices),
    }


def _of_frames(movie: list[Path], config: ConvertConfig) -> tuple[Annotations, str]:
    """Read files that are the frames of one movie; refuse those of other sizes."""
    frames = [read_annotations(path, kind=config.kind) for path in movie]
    first = frames[0].labels
    for path, frame in zip(movie, frames, strict=True):
        if frame.labels.shape != first.shape or first.ndim > 3:
            raise LabelsError(
                f"{path} has shape {frame.labels.shape}, and {movie[0].name} {first.shape}: frames "
                "of one movie are YX or ZYX, and of one size."
            )
    labels = np.stack([frame.labels for frame in frames])
    notices = tuple(text for frame in frames for text in frame.notices)
    found = replace(frames[0], labels=labels, unlabelled=(), notices=notices)
    return found, "TYX" if labels.ndim == 3 else "TZYX"


def _of_labels(
    image: ImageFile | None, named: str | None
) -> tuple[tuple[int, ...] | None, str | None]:
    """Return shape and axes of the labels of an image: those of the image without channels."""
    if image is None:
        return None, named
    shape, axes = tuple(image.array.shape), image.axes
    if axes and "C" in axes:
        shape, axes = without_channels(shape, axes), axes.replace("C", "")
    return shape, named or axes


def _is_measurable(image: ImageFile, found: Annotations) -> bool:
    shape, wanted = tuple(image.array.shape), found.labels.shape
    return shape == wanted or channel_axis_beside(shape, wanted) is not None


def _usable(told: str | None, path: Path, found: Annotations) -> str | None:
    """Return the axes that a file tells, where they are those of labels; a folder is a movie."""
    known = told in LABEL_AXES and len(told) == found.labels.ndim
    if is_ctc(path):
        return "TYX" if found.labels.ndim == 3 else "TZYX"
    return told if known else None


def _mothers(path: Path) -> dict[int, int]:
    """Read who is whose daughter from the table of `link`."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(int(row["id"]), int(row["parent"])) for row in csv.DictReader(file)]
    except OSError as error:
        raise FileProblemError(f"Cannot read {path}: {short_reason(error)}.") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise FileProblemError(
            f"Cannot read {path} as a table of tracks: it needs the columns id and parent, as "
            "`napari-unet link` writes them."
        ) from error
    return {daughter: mother for daughter, mother in rows if mother > 0}


def _print_row(row: dict[str, Any]) -> None:
    names = ", ".join(f"{number} {name}" for number, name in row["classes"].items())
    what = f"classes {names}" if names else f"{row['objects']} objects"
    files = [row["input"]] if isinstance(row["input"], str) else row["input"]
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    say(f"{Path(files[0]).name}{more}: {what} in {row['output']}.")
    for text in row["notices"]:
        say(f"  {text}")
