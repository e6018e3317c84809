"""Arguments of ``napari-unet doctor``."""

from __future__ import annotations

from typing import Any

from napari_unet.cli.arguments.common import add_command


def add(commands: Any) -> None:
    """Add ``doctor``."""
    add_command(commands, "doctor", "say what would be used, and how to fix what is wrong")
