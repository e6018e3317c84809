"""Results as OME-Zarr (NGFF 0.5, Zarr 3): written chunk by chunk, with a pyramid, at any size.

A store is made in a folder of an unfinished name, filled in any order and by any number of
processes, and takes its final name at the very end (`finish`). Nobody finds half of a result
under the name of a whole one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from napari_unet.data.axes import UNKNOWN_SIZE, PixelSize
from napari_unet.errors import FileProblemError
from napari_unet.io.disk import sync_all, sync_folder, writing

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import zarr

LARGEST_OVERVIEW = 1024  # pixels along Y and X of the last level of a pyramid

LABELS = MappingProxyType({"image-label": {"version": "0.5"}})
MARK = "napari_unet"  # the attribute by which we know our own stores
_AXIS_TYPES = {"T": "time", "C": "channel"}  # all others are space
_ZSTD_LEVEL = 3


def create_store(
    folder: Path,
    shape: Sequence[int],
    dtype: Any,
    chunks: Sequence[int],
    axes: str,
    pixel_size: PixelSize = UNKNOWN_SIZE,
    about: Mapping[str, Any] = LABELS,
) -> zarr.Array[Any]:
    """Make an empty OME-Zarr and return its level 0: all 0, nothing of it on disk yet.

    The folder must not exist, else FileProblemError. NGFF wants the axes in the order TCZYX; those
    of unknown size get scale 1 and no unit. `about` is what the metadata says besides: `LABELS`, or
    nothing of intensities. Write whole chunks, which are compressed by zstd.
    """
    import zarr

    if folder.exists():
        raise FileProblemError(f"{folder} exists already; remove it or choose another name.")
    scale = [pixel_size.get(axis, 1.0) for axis in axes]
    ome = {
        "version": "0.5",
        "multiscales": [
            {
                "name": _name_of(folder),
                "axes": [_axis(a, pixel_size) for a in axes],
                "datasets": [_level("0", scale)],
            }
        ],
        **about,
    }
    with writing(folder):
        group = zarr.open_group(
            store=str(folder), mode="w-", zarr_format=3, attributes={"ome": ome, MARK: {}}
        )
        return _create_level(group, "0", shape, dtype, chunks, axes.lower())


def groups_of(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return where the labels of several names lie in a store; without names that is the store."""
    return [folder / "labels" / name for name in names] or [folder]


def labels_of_store(folder: Path) -> list[Path]:
    """Return the labels that `create_groups` made in a store, in its order."""
    import zarr

    names: Any = zarr.open_group(store=str(folder / "labels"), mode="r").attrs["ome"]
    return groups_of(folder, names["labels"])


def create_groups(folder: Path, names: Sequence[str]) -> None:
    """Make a store that holds labels of several names, and no image; `create_store` fills them.

    Raises FileProblemError if the folder is there, or cannot be written.
    """
    import zarr

    if folder.exists():
        raise FileProblemError(f"{folder} exists already; remove it or choose another name.")
    with writing(folder):
        attributes: Any = {"ome": {"version": "0.5"}, MARK: {}}
        group = zarr.open_group(store=str(folder), mode="w-", zarr_format=3, attributes=attributes)
        group.create_group("labels", attributes={"ome": {"version": "0.5", "labels": [*names]}})


def _name_of(folder: Path) -> str:
    name = folder.name.lstrip(".").removesuffix(".partial")
    return name.removesuffix(".zarr").removesuffix(".ome")


def _axis(letter: str, pixel_size: PixelSize) -> dict[str, str]:
    axis = {"name": letter.lower(), "type": _AXIS_TYPES.get(letter, "space")}
    return {**axis, "unit": "micrometer"} if letter in pixel_size else axis


def _level(path: str, scale: Sequence[float]) -> dict[str, Any]:
    transform = {"type": "scale", "scale": [float(factor) for factor in scale]}
    return {"path": path, "coordinateTransformations": [transform]}


def _create_level(
    group: zarr.Group,
    name: str,
    shape: Sequence[int],
    dtype: Any,
    chunks: Sequence[int],
    names: Sequence[str],
) -> zarr.Array[Any]:
    from zarr.codecs import ZstdCodec

    return group.create_array(
        name,
        shape=tuple(shape),
        dtype=dtype,
        chunks=tuple(max(1, min(c, size)) for c, size in zip(chunks, shape, strict=True)),
        compressors=ZstdCodec(level=_ZSTD_LEVEL),
        dimension_names=list(names),
        fill_value=0,
        overwrite=True,  # half a level of an interrupted pyramid
    )


def _level_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    import zarr

    level = group[name]
    assert isinstance(level, zarr.Array)
    return level


def is_ours(folder: Path) -> bool:
    """Return whether a folder is a Zarr that we made."""
    version_2 = folder / ".zattrs"
    try:
        path = version_2 if version_2.is_file() else folder / "zarr.json"
        metadata = json.loads(path.read_text(encoding="utf-8"))
        return MARK in (metadata if path == version_2 else metadata["attributes"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def add_pyramid(folder: Path, stop: threading.Event | None = None) -> bool:
    """Add coarser levels to a store, each of every second pixel in the plane, until it is small.

    Pixels are picked, not averaged: of labels there is no average. One chunk is written at a
    time, from four of the level before. A level is listed when it is whole; called again after
    an interruption, the function goes on with the first that is missing. Set `stop` to end after
    the current chunk.

    Returns whether all levels are there, the last with at most `LARGEST_OVERVIEW` pixels along Y
    and X. Raises FileProblemError if the folder is none of our stores, or cannot be written.
    """
    import zarr

    if not is_ours(folder):
        raise FileProblemError(
            f"{folder} is no OME-Zarr that napari-unet wrote; choose another folder."
        )
    group = zarr.open_group(store=str(folder), mode="r+")
    ome: Any = group.attrs["ome"]
    multiscale = ome["multiscales"][0]
    datasets = multiscale["datasets"]
    names = [axis["name"] for axis in multiscale["axes"]]
    steps = [2 if name in "yx" else 1 for name in names]
    finer = _level_of(group, datasets[-1]["path"])
    with writing(folder):
        while any(
            size > LARGEST_OVERVIEW for size, k in zip(finer.shape, steps, strict=True) if k == 2
        ):
            shape = [-(-size // k) for size, k in zip(finer.shape, steps, strict=True)]
            name = str(len(datasets))
            coarser = _create_level(group, name, shape, finer.dtype, finer.chunks, names)
            if not _subsample(finer, coarser, steps, stop):
                return False
            scale = datasets[-1]["coordinateTransformations"][0]["scale"]
            # Pixel centres lie at whole numbers: the picked pixel 0 stays where it was.
            datasets.append(_level(name, [s * k for s, k in zip(scale, steps, strict=True)]))
            group.attrs["ome"] = ome
            finer = coarser
    return True


def _subsample(
    finer: zarr.Array[Any],
    coarser: zarr.Array[Any],
    steps: Sequence[int],
    stop: threading.Event | None,
) -> bool:
    for region in regions_of_chunks(coarser.shape, coarser.chunks):
        if stop is not None and stop.is_set():
            return False
        source = [slice(r.start * k, r.stop * k) for r, k in zip(region, steps, strict=True)]
        pixels: Any = finer[tuple(source)]  # up to 4 chunks; stops past the end are cut off
        coarser[region] = pixels[tuple(slice(None, None, k) for k in steps)]
    return True


def regions_of_chunks(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Yield the region of each chunk of an array, in row-major order.

    Examples
    --------
    >>> list(regions_of_chunks((3,), (2,)))
    [(slice(0, 2, None),), (slice(2, 3, None),)]
    """
    spans = [
        [slice(start, min(start + chunk, size)) for start in range(0, size, chunk)]
        for size, chunk in zip(shape, chunks, strict=True)
    ]
    return itertools.product(*spans)


def finish(partial: Path, final: Path) -> None:
    """Give a whole store its final name, in the same folder, in place of an older one of ours.

    Raises FileProblemError if `final` is something that we did not write, or `partial` cannot be
    renamed.
    """
    check_replaceable(final)
    put_back_previous(final)
    previous = _previous_of(final)
    with writing(final):
        sync_all(partial)  # chunks that a power cut takes would read as background
        if final.exists():
            os.replace(final, previous)
        try:
            os.replace(partial, final)
        except OSError:
            if previous.exists():
                os.replace(previous, final)
            raise
        sync_folder(final.parent)
    with contextlib.suppress(OSError):
        shutil.rmtree(previous)


def put_back_previous(final: Path) -> None:
    """Fix what a process that was killed in `finish` left: nothing else may write to `final`.

    An older store that was just out of the way gets its name back; where it is replaced already,
    what is left of it is deleted. One that cannot be read just now, and has no successor, stays.
    """
    previous = _previous_of(final)
    with contextlib.suppress(OSError):
        if final.exists():
            if not previous.is_symlink():
                shutil.rmtree(previous, ignore_errors=True)
        elif is_ours(previous):
            os.replace(previous, final)
            sync_folder(final.parent)


def _previous_of(final: Path) -> Path:
    """Return where an older store waits: one name, as to look for others takes time per file."""
    return final.with_name(f".{final.name}.previous.partial")


def check_replaceable(final: Path) -> None:
    """Raise FileProblemError, before long work, if under a name lies what we did not write."""
    if (final.exists() or final.is_symlink()) and not is_ours(final):
        raise FileProblemError(
            f"{final} exists and was not written by napari-unet; move it or choose another folder."
        )
