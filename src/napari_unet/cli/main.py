"""Parse the command line and run one command.

Exit codes: 0 success, 1 failure, 2 wrong use. Errors are one line on stderr. Nothing heavy is
imported before the arguments are known to be good.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NoReturn

from napari_unet import __version__
from napari_unet.errors import AlreadyToldError, ConfigError, NapariUNetError
from napari_unet.model.config import PRECISIONS, SHORT_PRECISIONS, VIEWS
from napari_unet.training.config import PRESET_HELP, TrainConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

SUCCESS, FAILURE, WRONG_USE = 0, 1, 2
# Settings that stand among the main options; all others are listed under "advanced settings".
_MAIN_SETTINGS = ("kind", "unpainted", "seed", "device", "steps", "minutes")


class OneLineParser(argparse.ArgumentParser):
    """A parser that reports wrong use in one line."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where help is, and exit with 2."""
        self.exit(WRONG_USE, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``napari-unet`` with the given arguments and return its exit code."""
    started = time.monotonic()
    # OpenMP threads that spin while they wait make a busy machine several times slower; it reads
    # this when torch is loaded, so it is set here, where the process is ours.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = build_parser()
    options = parser.parse_args(arguments)
    options.started = started
    command = importlib.import_module(f"napari_unet.cli.{options.command}")
    try:
        report, code = command.run(options)
    except ConfigError as error:
        print(f"napari-unet: {error}", file=sys.stderr)
        return WRONG_USE
    except AlreadyToldError:
        return FAILURE
    except NapariUNetError as error:
        print(f"napari-unet: {error}", file=sys.stderr)
        return FAILURE
    except Exception as error:  # told in one line like any other; the traceback on demand
        if os.environ.get("NAPARI_UNET_TRACEBACK"):
            raise
        reason = (str(error).splitlines() or [""])[0]
        print(
            f"napari-unet: unexpected {type(error).__name__}: {reason} "
            "(NAPARI_UNET_TRACEBACK=1 shows where)",
            file=sys.stderr,
        )
        return FAILURE
    except KeyboardInterrupt:
        print("napari-unet: interrupted", file=sys.stderr)
        return FAILURE
    if options.json and report:  # of several processes one has a report
        print(json.dumps(report))
    return int(code)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = OneLineParser(
        prog="napari-unet",
        description="Train a U-Net on a few painted cells, and segment the rest.",
    )
    parser.add_argument("--version", action="version", version=f"napari-unet-paint {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_predict(commands)
    _add_evaluate(commands)
    _add_link(commands)
    _add_demo(commands)
    _add_command(commands, "doctor", "say what would be used, and how to mend what is wrong")
    return parser


def _add_command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.add_argument(
        "--json", action="store_true", help="print one JSON object on stdout, and nothing else"
    )
    return command


def _add_train(commands: Any) -> None:
    train = _add_command(commands, "train", "train a U-Net on images and labels")
    _add_paths(train, "--images", "images: files, folders or globs")
    _add_paths(train, "--labels", "their labels, paired by sorted file name")
    train.add_argument("--output", required=True, metavar="MODEL", help="model file to write")
    presets = "; ".join(f"{name}: {text}" for name, text in PRESET_HELP.items())
    train.add_argument("--preset", choices=tuple(PRESET_HELP), help=f"{presets} (default: fast)")
    train.add_argument(
        "--resume", action="store_true", help="go on exactly where MODEL's training ended"
    )
    train.add_argument(
        "--history", metavar="FILE", help="write a CSV table of the steps: loss, seconds, scores"
    )
    train.epilog = (
        "Several GPUs train together by: torchrun --nproc-per-node GPUS -m napari_unet train ...; "
        "--batch-size is then that of each process."
    )
    train.add_argument("--axes", help="axes of the images, for example CZYX; else as the file says")
    _add_pixel_size(train)
    length = train.add_mutually_exclusive_group()
    advanced = train.add_argument_group("advanced settings (defaults are the preset's)")
    for setting in fields(TrainConfig):
        main_group = length if setting.name in ("steps", "minutes") else train
        _add_setting(main_group if setting.name in _MAIN_SETTINGS else advanced, setting)


def _add_setting(group: Any, setting: Any) -> None:
    """Turn one field of the configuration into a flag; unset flags stay out of the options."""
    flag = f"--{setting.name.replace('_', '-')}"
    text = setting.metadata["help"].replace("%", "%%")
    if isinstance(setting.default, bool):
        group.add_argument(
            flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text
        )
        return
    choices = setting.metadata["choices"]
    group.add_argument(
        flag,
        type=type(setting.default),
        choices=choices or None,
        metavar=None if choices else type(setting.default).__name__.upper(),
        default=argparse.SUPPRESS,
        help=text,
    )


def _add_predict(commands: Any) -> None:
    predict = _add_command(commands, "predict", "predict images with a model file")
    predict.add_argument(
        "model", metavar="MODEL", help="model file, or a starting model: cells, nuclei"
    )
    predict.add_argument("paths", nargs="+", metavar="PATH", help="files, folders or globs")
    predict.add_argument("--output", required=True, metavar="DIR", help="folder for the results")
    predict.add_argument(
        "--result",
        choices=("objects", "classes", "probabilities", "uncertainty"),
        help="what to write (default: what the model was trained for)",
    )
    predict.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    predict.add_argument(
        "--axes", help="axes of the images, for example TCYX; else as the file says, or guessed"
    )
    predict.add_argument(
        "--channels", help="channels to use, as in 0,2, counted from 0 (default: the model's)"
    )
    _add_pixel_size(predict)
    predict.add_argument(
        "--rescale",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="see images at the model's pixel size where both are known (default: yes)",
    )
    predict.add_argument(
        "--format",
        choices=("auto", "tiff", "zarr"),
        default="auto",
        help="of the results; auto: OME-Zarr for Zarr and very large images, else TIFF",
    )
    cluster = predict.add_mutually_exclusive_group()
    cluster.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="spread tiles over N processes of this machine (needs the extra 'distributed')",
    )
    cluster.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="spread tiles over a dask.distributed cluster, for example tcp://host:8786",
    )
    predict.add_argument(
        "--tile-size", type=int, metavar="PIXELS", help="largest tile; results do not depend on it"
    )
    predict.add_argument(
        "--precision",
        type=_precision,
        choices=PRECISIONS,
        default="auto",
        help="number format: auto (the fastest that changes fewer than 1 of 1000 labels), float32 "
        "or fp32, bfloat16 or bf16",
    )
    predict.add_argument(
        "--views",
        type=int,
        choices=VIEWS,
        help="average so many turned and mirrored views (default: as the model was trained)",
    )
    predict.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="probability above which a pixel is of an object (default: the model's own)",
    )


def _precision(text: str) -> str:
    """Return a number format under its full name."""
    return SHORT_PRECISIONS.get(text, text)


def _add_pixel_size(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--pixel-size",
        type=float,
        nargs="+",
        metavar="UM",
        help="micrometres per pixel: of both axes, along Y X, or along Z Y X (default: the file's)",
    )


def _add_evaluate(commands: Any) -> None:
    evaluate = _add_command(commands, "evaluate", "compare predictions with the truth")
    _add_paths(evaluate, "--predictions", "predicted labels")
    _add_paths(evaluate, "--truth", "true labels, paired by sorted file name")
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


def _add_link(commands: Any) -> None:
    link = _add_command(
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


def _add_demo(commands: Any) -> None:
    demo = _add_command(
        commands, "demo", "train on the painted sample image, predict it, and show the result"
    )
    demo.add_argument(
        "--output", default="demo-output", metavar="DIR", help="where files go without a screen"
    )
    demo.add_argument("--no-window", action="store_true", help="write files even with a screen")
    demo.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    demo.add_argument("--steps", type=int, default=None, help="training steps")


def _add_paths(parser: argparse.ArgumentParser, flag: str, text: str) -> None:
    parser.add_argument(flag, nargs="+", required=True, metavar="PATH", help=text)
