"""``napari-unet link``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.cli.arguments import given_settings
from napari_unet.cli.common import check_targets, one_by_one
from napari_unet.cli.printing import say, terminal_bar
from napari_unet.errors import LabelsError
from napari_unet.io.disk import write_csv
from napari_unet.io.files import (
    ImageFile,
    find_images,
    in_natural_order,
    read_image,
    read_labels,
    spelled_once,
    tiff_beside,
    write_labels,
)
from napari_unet.io.outputs import make_output_folder
from napari_unet.objects.link_arrays import LINKABLE_AXES, link_labels
from napari_unet.objects.linking import LinkConfig, link_frames
from napari_unet.objects.measurements import sizes_of
from napari_unet.run import Run

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

    from napari_unet.data.axes import ArrayLike, PixelSize
    from napari_unet.objects.linking import Linked

    # Files that are linked with each other, and where the result of each goes
    Movie = list[tuple[Path, Path]]

_TABLE = "tracks.csv"


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Link each file, or all as one movie; return the report and the exit code."""
    config = LinkConfig(**given_settings(LinkConfig, options))
    movies = _movies(options)
    link_movie = _link_sequence if options.sequence else _link_file

    def link(movie: Movie) -> dict[str, Any]:
        table = _table_of(movie, alone=len(movies) == 1)
        return _finished(movie, table, *link_movie(movie, config, options))

    show = None if options.json else _print_row
    linked, failed = one_by_one(movies, lambda movie: movie[0][0], link, show)
    return {"linked": linked, "failed": failed}, 1 if failed else 0


def _movies(options: argparse.Namespace) -> list[Movie]:
    """Say what is linked with what; refuse to overwrite what is read."""
    found = [path for entry in options.labels for path in find_images([entry])]
    if options.labels == sorted(options.labels):  # as a shell writes out its *: 1, 10, 2
        found = in_natural_order(found)
    inputs = list({spelled_once(path): path for path in found}.values())
    folder = Path(options.output).expanduser()
    make_output_folder(folder)
    targets = [tiff_beside(path, folder) for path in inputs]
    pairs = list(zip(inputs, targets, strict=True))
    movies = [pairs] if options.sequence else [[pair] for pair in pairs]
    tables = [_table_of(movie, alone=len(movies) == 1) for movie in movies]
    remedy = "another --output folder"
    check_targets([*targets, *tables], inputs, remedy, overwrite=options.overwrite)
    return movies


def _table_of(movie: Movie, *, alone: bool) -> Path:
    path, target = movie[0]
    return target.with_name(_TABLE if alone else f"{path.stem}_{_TABLE}")


def _link_file(
    movie: Movie, config: LinkConfig, options: argparse.Namespace
) -> tuple[str, str, Linked, PixelSize]:
    """Link the planes or frames of one file.

    Returns the axis, all axes of frames, the links and the pixel size.
    """
    ((path, target),) = movie
    image = _read(path, options.axes)
    labels = image.array
    if len(labels.shape) < 3:
        raise LabelsError(
            f"{path} holds one plane; add --sequence to link several files as one movie."
        )
    axes = options.axes or _axes_of(labels, image.axes, config.axis)
    axis = str(config.along(axes).axis)
    linked, result = link_labels(labels, axes, config)
    write_labels(target, linked, axes, image.pixel_size)
    return axis, "TZ" if axis == "Z" and "T" in axes else axis, result, image.pixel_size


def _link_sequence(
    movie: Movie, config: LinkConfig, options: argparse.Namespace
) -> tuple[str, str, Linked, PixelSize]:
    """Link files that are the frames of one movie, or the planes of one stack, one by one."""
    axis = str(config.along("T").axis)
    pixel_size = _read(movie[0][0], None).pixel_size
    frames = Run(link_frames((np.asarray(_read(path, None).array) for path, _ in movie), config))
    progress = terminal_bar(iterable=movie, unit="frame", disable=options.json, leave=False)
    for frame, (_, target) in zip(frames, progress, strict=True):
        write_labels(target, frame, "ZYX"[-frame.ndim :], pixel_size)
    return axis, axis, frames.result, pixel_size


def _read(path: Path, axes: str | None) -> ImageFile:
    """Read labels, with axes and pixel size where the file tells them."""
    image = read_image(path)
    if image.axes is not None and "C" in image.axes:  # a palette, frames called so, or refused
        return ImageFile(path, read_labels(path, axes), None, image.pixel_size)
    return image


def _axes_of(labels: ArrayLike, named: str | None, axis: str | None) -> str:
    if named in LINKABLE_AXES:
        return str(named)
    if len(labels.shape) == 3:
        return "ZYX" if axis == "Z" else "TYX"
    return "TZYX"


def _finished(
    movie: Movie, table: Path, axis: str, before: str, result: Linked, pixel_size: PixelSize
) -> dict[str, Any]:
    """Write the table of tracks, which says that all is there; return the row of the report."""
    ids = result.tracks[:, 0].astype(np.int64)
    columns: dict[str, NDArray[Any]] = {"id": ids}
    spatial = "zyx"[-(result.tracks.shape[1] - 1 - len(before)) :]
    for number, name in enumerate(before.lower() + spatial, start=1):
        whole = number <= len(before)
        values = result.tracks[:, number]
        columns[name] = values.astype(np.int64) if whole else values
    columns["parent"] = np.array([result.parents.get(int(i), 0) for i in ids], np.int64)
    axes = spatial.upper()
    units = ["µm" if each in pixel_size else "pixel" for each in axes]
    scale = [pixel_size.get(each, 1.0) for each in axes]
    columns |= sizes_of(result.sizes, scale, units, len(axes))
    write_csv(columns, table)
    return {
        "inputs": [str(path) for path, _ in movie],
        "outputs": [str(target) for _, target in movie],
        "axis": axis,
        "tracks": result.n_tracks,
        "divisions": len(set(result.parents.values())),
        "table": str(table),
    }


def _print_row(row: dict[str, Any]) -> None:
    name = Path(row["inputs"][0]).name
    of = name if len(row["inputs"]) == 1 else f"{name} and {len(row['inputs']) - 1} more"
    say(
        f"{of}: {row['tracks']} objects linked along {row['axis']}, {row['divisions']} divisions; "
        f"table in {row['table']}."
    )
