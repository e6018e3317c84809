"""Arguments of ``napari-unet evaluate``."""

from __future__ import annotations

from typing import Any

from napari_unet.cli.arguments.common import add_command, add_paths


def add(commands: Any) -> None:
    """Add ``evaluate``."""
    evaluate = add_command(commands, "evaluate", "compare predictions with the truth")
    add_paths(evaluate, "--predictions", "predicted labels")
    add_paths(evaluate, "--truth", "true labels, paired by sorted file name")
    evaluate.add_argument("--kind", required=True, choices=("objects", "classes"))
    evaluate.add_argument(
        "--unpainted",
        choices=("unlabelled", "background"),
        default="background",
        help="what 0 means in the truth (default: background)",
    )
    evaluate.add_argument("--per-image", action="store_true", help="add the scores of each image")
    evaluate.add_argument(
        "--errors",
        metavar="DIR",
        help="write label images of what is wrong there: 1 correct, 2 missed, 3 false, 4 merged, "
        "5 split (classes: 6 another class)",
    )
