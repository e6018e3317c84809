"""Arguments of ``napari-unet link``."""

from __future__ import annotations

from typing import Any

from napari_unet.cli.arguments.common import add_command, add_setting
from napari_unet.objects.linking import LinkConfig
from napari_unet.settings import declared


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
    link.add_argument("--axes", help="axes of the files: TYX, ZYX or TZYX; else as they say")
    for name, setting in declared(LinkConfig).items():
        more = {"metavar": "IOU"} if name == "minimum_overlap" else {}
        add_setting(link, setting, setting.default, **more)
