"""Small Zarr folders as microscopes and other programs write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

STACK = np.arange(2 * 4 * 32 * 48, dtype=np.uint16).reshape(2, 4, 32, 48)  # CZYX
AXES: list[dict[str, str]] = [
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "nanometer"},
]


def multiscale(axes: Any = AXES, n_levels: int = 2, **more: Any) -> dict[str, Any]:
    """Describe levels 0, 1, ... of CZYX; Y 0.25 and X 0.5 micrometres, Z 2 of another step."""
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [1.0, 1.0, 0.25 * 2**level, 500.0 * 2**level]}
            ],
        }
        for level in range(n_levels)
    ]
    whole = {"type": "scale", "scale": [1.0, 2.0, 1.0, 1.0]}
    return {"axes": axes, "datasets": datasets, "coordinateTransformations": [whole], **more}


def write_ome(folder: Path, version: str, described: dict[str, Any] | None = None) -> Path:
    """Write `STACK` and a level of half its size in the plane, with labels of ZYX."""
    group = zarr.open_group(store=str(folder), mode="w", zarr_format=_format(version))
    _describe(group, version, {"multiscales": [described or multiscale()]})
    _add(group, "0", STACK)
    _add(group, "1", STACK[..., ::2, ::2])
    names = group.create_group("labels")
    _describe(names, version, {"labels": ["nuclei"]})
    labels = names.create_group("nuclei")
    scale = {"type": "scale", "scale": [2.0, 0.25, 0.5]}
    level = {"path": "0", "coordinateTransformations": [scale]}
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    about = {"multiscales": [{"axes": axes, "datasets": [level]}], "image-label": {}}
    _describe(labels, version, about)
    _add(labels, "0", (STACK[0] // 100).astype(np.uint32))
    return folder


def write_group(folder: Path, version: str, about: dict[str, Any], *members: str) -> Path:
    """Write a group with metadata and empty groups in it."""
    group = zarr.open_group(store=str(folder), mode="w", zarr_format=_format(version))
    _describe(group, version, about)
    for member in members:
        group.create_group(member)
    return folder


def write_plain(folder: Path, zarr_format: Any, array: NDArray[Any] = STACK, **more: Any) -> Path:
    """Write an array without metadata."""
    chunks = (*[1] * (array.ndim - 2), 16, 16)
    made = zarr.create_array(
        store=str(folder),
        shape=array.shape,
        chunks=chunks,
        dtype=array.dtype,
        zarr_format=zarr_format,
        **more,
    )
    made[...] = array
    return folder


def _format(version: str) -> Any:
    return 3 if version == "0.5" else 2


def _describe(group: zarr.Group, version: str, about: dict[str, Any]) -> None:
    if version == "0.5":
        group.attrs["ome"] = {"version": version, **about}
    else:
        group.attrs.update(about)


def _add(group: zarr.Group, name: str, array: NDArray[Any]) -> None:
    chunks = (*[1] * (array.ndim - 2), 16, 16)
    made = group.create_array(name, shape=array.shape, chunks=chunks, dtype=array.dtype)
    made[...] = array
