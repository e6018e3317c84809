"""Arguments of ``napari-unet import-model``."""

from __future__ import annotations

from typing import Any

from napari_unet.cli.arguments.common import add_command


def add(commands: Any) -> None:
    """Add ``import-model``."""
    command = add_command(
        commands, "import-model", "turn a model of another program into a model file"
    )
    command.add_argument(
        "package",
        metavar="PACKAGE",
        help="a bioimage.io package (zip or folder), or an .onnx file, of a plain U-Net",
    )
    command.add_argument(
        "--output", required=True, metavar="MODEL", help="the model file to write (.safetensors)"
    )
