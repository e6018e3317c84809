"""Tables as CSV files."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from napari_unet.errors import FileProblemError
from napari_unet.io.atomic_writes import replace_file
from napari_unet.io.disk import why_not_written

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


def write_csv(columns: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write columns as a CSV file, at once or not at all; else FileProblemError."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    try:
        replace_file(path, table.getvalue().encode())
    except OSError as error:
        raise FileProblemError(f"{why_not_written(path, error)} Choose another place.") from error
