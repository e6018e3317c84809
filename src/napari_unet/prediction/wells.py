"""The objects of a well of a plate, measured: one table for all its fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import reason_of
from napari_unet.io.disk import write_csv
from napari_unet.io.files import in_memory, read_image, stem_of
from napari_unet.io.outputs import check_free, columns_of
from napari_unet.io.zarr_places import images_in, well_of
from napari_unet.objects.measurements import measure_objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.prediction.files import FilePredicted

    Columns = dict[str, NDArray[Any]]


def write_well_tables(
    predicted: Sequence[FilePredicted], folder: Path, overwrite: bool
) -> Iterator[tuple[Path, str]]:
    """Write ``A1.csv`` of each well whose fields were all predicted: field, and measurements.

    Unless it is to be overwritten, a file that is there is replaced only if it has the same
    columns, as one that this program wrote before. Yields each that was not written, and why.
    """
    wells: dict[tuple[str, Path], list[FilePredicted]] = {}
    for done in predicted:
        if well := well_of(done.path):
            wells.setdefault(well, []).append(done)
    for (name, place), fields in wells.items():
        table = folder / f"{name}.csv"
        try:
            if {done.path for done in fields} >= set(images_in(place)):
                columns = _joined([_measured(done) for done in fields])
                if not overwrite and columns_of(table) != [*columns]:
                    check_free([table], "another folder for the results")
                write_csv(columns, table)
        except Exception as error:  # one odd well of a plate may raise anything
            yield table, reason_of(error)


def _measured(done: FilePredicted) -> Columns:
    labels = in_memory(read_image(done.target))
    ndim = 3 if "Z" in done.axes else 2
    sizes = done.config.pixel_size
    known = all(axis in sizes for axis in done.axes[-ndim:])
    scale = [sizes.get(axis, 1.0) for axis in done.axes] if known else []
    units = ["um" if axis in sizes else "pixel" for axis in done.axes] if known else []
    table = measure_objects(labels, scale=scale, units=units, spatial_ndim=ndim)
    fields = np.full(len(table["index"]), stem_of(done.path), object)
    return {"field": fields, **table}


def _joined(tables: Sequence[Columns]) -> Columns:
    """Put tables below each other, with the columns that all of them have."""
    names = [name for name in tables[0] if all(name in table for table in tables)]
    return {name: np.concatenate([table[name] for table in tables]) for name in names}
