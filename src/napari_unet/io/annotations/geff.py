"""Tracks as a graph: the Graph Exchange File Format (GEFF), which tracking programs read.

A Zarr group with a node per object and frame, an edge from each to the next of its track, and from
mothers to daughters. See https://liveimagetrackingtools.org/geff.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import LabelsError
from napari_unet.io.disk import folder_beside, writing
from napari_unet.io.ome_zarr import MARK, check_replaceable, finish
from napari_unet.io.outputs import make_output_folder
from napari_unet.objects.tracks import tracks_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.data.axes import PixelSize
    from napari_unet.objects.linking import Linked

    Columns = dict[str, NDArray[Any]]

_VERSION = "1.0"  # what is written is the same in later ones; read by geff of 1.0 and of 1.3


def write_geff(
    labels: NDArray[np.integer[Any]],
    folder: Path,
    axes: str,
    parents: Mapping[int, int],
    pixel_size: PixelSize,
) -> None:
    """Write linked labels as a graph of tracks, at once or not at all.

    Labels are ``TYX`` or ``TZYX``, 0 background; an object has the same number in all frames, which
    is its `track`. Places and areas are in micrometres along axes whose pixel size is known.

    Raises LabelsError if there is no time; FileProblemError if the folder cannot be written, or is
    something that we did not write.
    """
    if "T" not in axes:
        raise LabelsError(
            f"Labels of axes {axes} are no movie; tracks need TYX or TZYX: name them by --axes."
        )
    linked = tracks_of(labels, parents)
    spatial = axes[1:]
    scale = [pixel_size.get(axis, 1.0) for axis in spatial]
    units = ["micrometer" if axis in pixel_size else "pixel" for axis in spatial]
    rows = linked.tracks
    names = [axis.lower() for axis in axes]
    nodes: Columns = {"t": rows[:, 1].astype(np.int64)}
    nodes |= {name: rows[:, 2 + n] * scale[n] for n, name in enumerate(names[1:])}
    nodes["track"] = rows[:, 0].astype(np.int64)
    nodes["area" if len(spatial) == 2 else "volume"] = linked.sizes * float(np.prod(scale))
    about = {
        "geff_version": _VERSION,
        "directed": True,
        "axes": [
            {"name": name, "type": kind, "unit": unit, **_range(nodes[name])}
            for name, kind, unit in zip(
                names, ["time"] + ["space"] * len(spatial), ["frame", *units], strict=True
            )
        ],
        "node_props_metadata": {
            name: {"identifier": name, "dtype": column.dtype.name} for name, column in nodes.items()
        },
        "edge_props_metadata": {},
    }
    check_replaceable(folder)
    make_output_folder(folder.parent)
    with writing(folder), folder_beside(folder) as partial:
        _write(partial, about, nodes, edges_of(linked))
        finish(partial, folder)


def _range(column: NDArray[Any]) -> dict[str, float]:
    return {"min": float(column.min()), "max": float(column.max())} if column.size else {}


def edges_of(linked: Linked) -> NDArray[np.uint64]:
    """Return from which row of tracks to which an object goes on, or divides; by the later one."""
    ids = linked.tracks[:, 0].astype(int)
    new = np.diff(ids, prepend=0) != 0
    firsts = dict(zip(ids[new].tolist(), np.flatnonzero(new).tolist(), strict=True))
    lasts = {number: row for row, number in enumerate(ids.tolist())}
    goes_on = [(row - 1, row) for row in np.flatnonzero(~new).tolist()]
    divides = [(lasts[mother], firsts[own]) for own, mother in linked.parents.items()]
    edges = sorted(goes_on + divides, key=lambda edge: edge[::-1])
    return np.array(edges, np.uint64).reshape(-1, 2)


def _write(
    folder: Path, about: Mapping[str, Any], nodes: Columns, edges: NDArray[np.uint64]
) -> None:
    import zarr  # on use: windows open without it

    group = zarr.open_group(
        store=str(folder), mode="w-", zarr_format=2, attributes={"geff": about, MARK: {}}
    )
    ids = np.arange(len(nodes["t"]), dtype=np.uint64)
    group.create_array("nodes/ids", data=ids)
    for name, column in nodes.items():
        group.create_array(f"nodes/props/{name}/values", data=column)
    group.create_array("edges/ids", data=edges)
    group.create_group("edges/props")
