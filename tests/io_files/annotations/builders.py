"""Label images, and files as other programs write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Labels = NDArray[np.integer[Any]]


def label_images(most_axes: int = 2) -> st.SearchStrategy[Labels]:
    """Small label images with holes, parts that touch in corners, and numbers with gaps."""
    shapes = of_numpy.array_shapes(min_dims=2, max_dims=most_axes, min_side=1, max_side=8)
    numbers = st.sampled_from([0, 0, 1, 2, 3, 70_000])
    images = of_numpy.arrays(np.uint32, shapes, elements=numbers)
    return images.filter(lambda labels: bool(labels.any()))


def ring_and_neighbour() -> Labels:
    """An object with a hole in which another one lies, and one of two parts."""
    labels = np.zeros((12, 16), np.uint16)
    labels[1:8, 1:8] = 1
    labels[3:6, 3:6] = 2
    labels[2:4, 10:12] = labels[4:6, 12:14] = 7
    return labels


def cellpose_content(masks: Any) -> dict[str, Any]:
    """Return what Cellpose keeps in a ``_seg.npy``."""
    return {
        "outlines": np.zeros(masks.shape, np.uint16),
        "colors": np.arange(9, dtype=np.uint8).reshape(3, 3),
        "masks": masks,
        "chan_choose": [0, 0],
        "img": np.ones(masks.shape, np.float32),
        "filename": "cells.tif",
        "flows": [np.zeros((*masks.shape, 3), np.uint8), [], None],
        "ismanual": np.zeros(3, bool),
        "est_diam": np.float64(30.5),
        "model_path": 0,
        "normalize_params": {"lowhigh": None, "percentile": (1.0, 99.0), "tile_norm": True},
    }


def write_cellpose(path: Path, masks: Any) -> Path:
    np.save(path, cellpose_content(masks), allow_pickle=True)  # type: ignore[arg-type]
    return path


def write_geojson(path: Path, *features: Any) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def feature(rings: Sequence[Any], name: str = "", **geometry: Any) -> dict[str, Any]:
    """Return one polygon as QuPath writes it."""
    about: dict[str, Any] = {"objectType": "annotation"}
    if name:
        about["classification"] = {"name": name, "color": [10, 20, 255]}
    return {
        "type": "Feature",
        "id": "PathAnnotationObject",
        "geometry": {"type": "Polygon", "coordinates": rings, **geometry},
        "properties": about,
    }


def square(left: float, top: float, size: float) -> list[list[float]]:
    right, bottom = left + size, top + size
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
