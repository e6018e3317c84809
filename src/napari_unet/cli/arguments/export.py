"""Arguments of ``napari-unet export``."""

from __future__ import annotations

from typing import Any

from napari_unet.cli.arguments.common import add_command, add_setting
from napari_unet.export.config import ExportConfig
from napari_unet.settings import declared

# In Python there is a default; on the command line the kind of file is to be named.
_MORE: dict[str, dict[str, Any]] = {
    "format": {"required": True},
    "licence": {"aliases": ("--license",)},
}


def add(commands: Any) -> None:
    """Add ``export``."""
    export = add_command(
        commands, "export", "write a model for other programs, and check it by running it"
    )
    export.add_argument("model", metavar="MODEL", help="model file, or the starting model cells")
    export.add_argument(
        "--output",
        required=True,
        metavar="PATH",
        help="file to write; its extension may be left out",
    )
    for name, setting in declared(ExportConfig).items():
        add_setting(export, setting, setting.default, **_MORE.get(name, {}))
