"""The rows of all tables: each is written at once, so that an interrupted run goes on."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Row = dict[str, Any]
    # Table, set, run, program.
    Key = tuple[str, str, str, str]

_KEYS = ("table", "set", "run", "peer", "seconds")


class Rows:
    """Rows in a JSON file; what was measured before is not measured again.

    Parameters
    ----------
    path : Path
        The file; it is made with the first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = json.loads(path.read_text("utf-8")) if path.is_file() else []

    def measure(self, key: Key, seconds: float | None, measured: Callable[[], Row]) -> None:
        """Add a row, unless there is one of the same key and seconds of training."""
        named = dict(zip(_KEYS, (*key, seconds), strict=True))
        if any(all(row[k] == value for k, value in named.items()) for row in self.rows):
            return
        date = datetime.datetime.now(datetime.UTC).date().isoformat()
        row = {**named, "date": date, **measured()}
        print(json.dumps(row), flush=True)
        self.rows.append(row)
        self.path.write_text(json.dumps(self.rows, indent=1) + "\n", encoding="utf-8")
