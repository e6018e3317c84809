"""Arguments of ``napari-unet evaluate``."""

from __future__ import annotations

from typing import Any

from napari_unet.cli.arguments.common import add_command, add_paths, add_setting
from napari_unet.evaluation.config import EvaluateConfig
from napari_unet.settings import declared


def add(commands: Any) -> None:
    """Add ``evaluate``."""
    evaluate = add_command(commands, "evaluate", "compare predictions with the truth")
    add_paths(evaluate, "--predictions", "predicted labels")
    add_paths(evaluate, "--truth", "true labels, paired by sorted file name")
    for name, setting in declared(EvaluateConfig).items():  # which kind is to be said
        add_setting(evaluate, setting, setting.default, required=name == "kind")
    evaluate.add_argument(
        "--errors",
        metavar="DIR",
        help="write label images of what is wrong there: 1 correct, 2 missed, 3 false, 4 merged, "
        "5 split (classes: 6 another class)",
    )
