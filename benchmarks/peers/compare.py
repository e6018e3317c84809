"""Other programs on our images: the same images, the same seconds of one processor, two scorers.

    python benchmarks/peers/compare.py painted  --environments FOLDER [--seconds 60]
    python benchmarks/peers/compare.py finished --environments FOLDER [--minutes 5] [--large 4096]
    python benchmarks/peers/compare.py tracking --environments FOLDER
    python benchmarks/peers/compare.py restoration --environments FOLDER [--seconds 60]
    python benchmarks/peers/compare.py report

Each program gets an environment of its own under ``--environments``, made with pip. A row is
written as soon as it is measured, and never measured twice: an interrupted run goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import here  # noqa: F401  (finds the modules of the other benchmarks)
from paths import DEFAULT_DATA, DEFAULT_RESULTS
from peers_report import report
from restoration import add_restorations
from rows import Rows
from segmentation import SEGMENTING, add_finished, add_painted
from tracking import add_links

_TABLES = {
    "painted": add_painted,
    "finished": add_finished,
    "tracking": add_links,
    "restoration": add_restorations,
}


def main() -> None:
    """Measure one table, and write the page anew."""
    options = _parser().parse_args()
    options.seconds = options.seconds if options.minutes is None else 60 * options.minutes
    rows = Rows(options.output / "peers.json")
    if options.table != "report":
        _TABLES[options.table](rows, options)
    (options.output / "peers.md").write_text(report(rows.rows), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("table", choices=(*_TABLES, "report"))
    add("--environments", type=Path, default=Path("environments"), help="one folder per program")
    add("--data", type=Path, default=DEFAULT_DATA, help="folder of the image sets")
    add("--output", type=Path, default=DEFAULT_RESULTS)
    add("--sets", nargs="+", help="of images, by default those of the table")
    add("--peers", nargs="+", default=SEGMENTING, choices=SEGMENTING)
    add("--seconds", type=float, default=60.0, help="of a processor, per training")
    add("--minutes", type=float, help="the same in minutes")
    add("--seed", type=int, default=0)
    add("--images", type=int, default=1, help="painted or noisy ones of each set")
    add("--draws", type=int, default=2, help="of the cells that are painted")
    add("--tested", type=int, default=20, help="images beside finished masks, at most")
    add("--large", type=int, default=0, help="also predict a square of this edge")
    add("--weights", help="ready weights for Cellpose to begin with: a file")
    return parser


if __name__ == "__main__":
    main()
