"""Arguments of ``napari-unet export``."""

from __future__ import annotations

from typing import Any

from napari_unet.cli.arguments.common import add_command
from napari_unet.model.config import VIEWS


def add(commands: Any) -> None:
    """Add ``export``."""
    export = add_command(
        commands, "export", "write a model for other programs, and check it by running it"
    )
    export.add_argument("model", metavar="MODEL", help="model file, or the starting model cells")
    export.add_argument(
        "--format",
        required=True,
        choices=("onnx", "bioimageio", "torchscript", "torch-export"),
        help="onnx (onnxruntime, own code), bioimageio (a package for deepImageJ, ilastik and "
        "others), torchscript, torch-export",
    )
    export.add_argument(
        "--output",
        required=True,
        metavar="PATH",
        help="file to write; its extension may be left out",
    )
    export.add_argument(
        "--image", metavar="PATH", help="an image to check the export on (default: a texture)"
    )
    export.add_argument("--axes", help="axes of that image, for example TCYX; else guessed")
    export.add_argument("--name", default="", help="of the model (default: the file's name)")
    export.add_argument(
        "--author",
        action="append",
        default=[],
        metavar="'NAME, AFFILIATION'",
        help="who made it; may be given several times; a package needs one",
    )
    export.add_argument(
        "--licence",
        "--license",
        default="",
        metavar="SPDX",
        help="for example CC-BY-4.0, CC0-1.0, BSD-3-Clause; a package needs one",
    )
    export.add_argument("--description", default="", help="what it does, in a sentence or two")
    export.add_argument(
        "--views",
        type=int,
        choices=VIEWS,
        help="average so many turned and mirrored views in the file (default: as the model was "
        "trained)",
    )
