"""Arguments of ``napari-unet link``."""

from __future__ import annotations

import argparse
from typing import Any

from napari_unet.cli.arguments.common import add_command


def add(commands: Any) -> None:
    """Add ``link``."""
    link = add_command(
        commands, "link", "give the same object the same number over time, or through z"
    )
    link.add_argument("labels", nargs="+", metavar="LABELS", help="files, folders or globs")
    link.add_argument("--output", required=True, metavar="DIR", help="folder for the results")
    link.add_argument(
        "--sequence",
        action="store_true",
        help="the files, in the order given (folders: by name), are the frames of one movie",
    )
    link.add_argument(
        "--axis", choices=("T", "Z"), help="link over time, or through z (default: time if any)"
    )
    link.add_argument("--axes", help="axes of the files: TYX, ZYX or TZYX; else as they say")
    link.add_argument(
        "--minimum-overlap",
        type=float,
        default=0.1,
        metavar="IOU",
        help="link no objects that overlap less (default: 0.1)",
    )
    link.add_argument(
        "--gap",
        type=int,
        default=1,
        metavar="FRAMES",
        help="in how many frames in a row an object may be missing (default: 1)",
    )
    link.add_argument(
        "--divisions",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="give daughters numbers of their own; only over time",
    )
    link.add_argument(
        "--drift",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="follow the shift of the whole frame; only over time",
    )
