"""Arguments of ``napari-unet rerun``."""

from __future__ import annotations

from typing import Any

from napari_unet.cli.arguments.common import add_command


def add(commands: Any) -> None:
    """Add ``rerun``."""
    rerun = add_command(
        commands, "rerun", "do a training or prediction again, and say whether it gives the same"
    )
    rerun.add_argument("card", metavar="CARD", help="run card beside a result: NAME.run.json")
    rerun.add_argument(
        "--output",
        metavar="DIR",
        help="folder that keeps the new result (default: it is compared, then thrown away)",
    )
    rerun.epilog = "Exit codes: 0 identical, 1 different or failed, 2 it cannot be done again."
