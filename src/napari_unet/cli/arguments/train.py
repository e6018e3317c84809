"""Arguments of ``napari-unet train``."""

from __future__ import annotations

import argparse
from typing import Any

from napari_unet.cli.arguments.common import add_command, add_paths, add_pixel_size, add_setting
from napari_unet.settings import declared
from napari_unet.training.config import PRESET_HELP, TrainConfig

# Settings that stand among the main options; all others are listed under "advanced settings".
_MAIN_SETTINGS = ("kind", "unpainted", "seed", "device", "steps", "minutes")


def add(commands: Any) -> None:
    """Add ``train``: the configuration, flag by flag."""
    train = add_command(commands, "train", "train a U-Net on images and labels")
    add_paths(train, "--images", "images: files, folders or globs")
    add_paths(
        train,
        "--labels",
        "their labels, paired by sorted file name: images of numbers, or annotations of Cellpose, "
        "Fiji, QuPath, COCO",
    )
    train.add_argument("--output", required=True, metavar="MODEL", help="model file to write")
    presets = "; ".join(f"{name}: {text.rstrip('.')}" for name, text in PRESET_HELP.items())
    train.add_argument("--preset", choices=tuple(PRESET_HELP), help=f"{presets} (default: fast)")
    begin = train.add_mutually_exclusive_group()
    begin.add_argument(
        "--resume", action="store_true", help="go on exactly where MODEL's training ended"
    )
    begin.add_argument(
        "--previous", metavar="MODEL", help="train this model further, with its network"
    )
    train.add_argument(
        "--history", metavar="FILE", help="write a CSV table of the steps: loss, seconds, scores"
    )
    train.epilog = (
        "Several GPUs train together by: torchrun --nproc-per-node GPUS -m napari_unet train ...; "
        "--batch-size is then that of each process."
    )
    train.add_argument("--axes", help="axes of the images, for example CZYX; else as the file says")
    add_pixel_size(train)
    length = train.add_mutually_exclusive_group()
    advanced = train.add_argument_group("advanced settings (defaults are the preset's)")
    for setting in declared(TrainConfig).values():
        main_group = length if setting.name in ("steps", "minutes") else train
        group = main_group if setting.name in _MAIN_SETTINGS else advanced
        add_setting(group, setting, argparse.SUPPRESS)  # what is not given is the preset's
