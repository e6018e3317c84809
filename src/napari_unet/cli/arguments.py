"""The arguments of each command: settings become flags, one by one. Nothing heavy is imported."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_unet.evaluation.scores import EvaluateConfig
from napari_unet.export.config import ExportConfig
from napari_unet.io.annotations.formats import ConvertConfig
from napari_unet.objects.linking import LinkConfig
from napari_unet.prediction.config import PredictConfig
from napari_unet.settings import declared
from napari_unet.training.config import PRESET_HELP, TrainConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.settings import Setting

# Settings that stand among the main options; all others are listed under "advanced settings".
_MAIN_SETTINGS = ("kind", "unpainted", "seed", "device", "steps", "minutes")
# In Python there is a default; on the command line the kind of file is to be named.
_OF_EXPORT: dict[str, dict[str, Any]] = {
    "format": {"required": True},
    "licence": {"aliases": ("--license",)},
}
_SHARED: dict[str, dict[str, Any]] = {
    "--json": {"action": "store_true", "help": "print one JSON object on stdout, and nothing else"},
    "--overwrite": {
        "action": "store_true",
        "help": "replace files that are there already, whoever made them; never what is read",
    },
    "--on": {
        "metavar": "MACHINE",
        "help": "let another machine do it: ssh://USER@HOST, by your own ssh, or "
        "tls://HOST:PORT or tcp://HOST:PORT of a dask scheduler (needs the extra 'distributed', "
        "here and there)",
    },
    "--trust-cluster": {
        "action": "store_true",
        "help": "yes, only people I trust reach that tcp:// scheduler: who does can run programs",
    },
    "--label-pieces": {
        "action": "store_true",
        "help": "masks with one number (0/255): each connected piece is an object of its own",
    },
    "--pixel-size": {
        "type": float,
        "nargs": "+",
        "metavar": "UM",
        "help": "micrometres per pixel: of both axes, along Y X, or along Z Y X (default: the "
        "file's)",
    },
}
_PATHS: dict[str, Any] = {"nargs": "+", "action": "extend", "metavar": "PATH"}


def add_commands(commands: Any) -> None:
    """Add all commands, in the order in which ``--help`` lists them."""
    for add in (
        _add_train,
        _add_predict,
        _add_denoise,
        _add_evaluate,
        _add_link,
        _add_classify,
        _add_convert,
        _add_export,
        _add_import_model,
        _add_rerun,
        _add_demo,
    ):
        add(commands)
    _add_command(commands, "doctor", "say what would be used, and how to fix what is wrong")


def _add_train(commands: Any) -> None:
    train = _add_command(commands, "train", "train a U-Net on images and labels")
    train.add_argument("--images", required=True, help="images: files, folders or globs", **_PATHS)
    learned = train.add_mutually_exclusive_group()
    learned.add_argument(
        "--labels",
        help="their labels, paired by file name: images of numbers, or annotations of Cellpose, "
        "Fiji, QuPath, COCO; of overlapping classes, and objects of several, NAME=PATH for each",
        **_PATHS,
    )
    learned.add_argument(
        "--targets",
        help="instead: the images that are to be made of them, paired by file name (kind image)",
        **_PATHS,
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
    _add_shared(train, "--overwrite")
    _add_shared(train, "--on")
    _add_shared(train, "--trust-cluster")
    train.epilog = (
        "Several GPUs train together by: torchrun --nproc-per-node GPUS -m napari_unet train ...; "
        "--batch-size is then that of each process."
    )
    _add_shared(train, "--label-pieces")
    train.add_argument("--axes", help="axes of the images, for example CZYX; else as the file says")
    _add_shared(train, "--pixel-size")
    length = train.add_mutually_exclusive_group()
    advanced = train.add_argument_group("advanced settings (defaults are the preset's)")
    for setting in declared(TrainConfig).values():
        main_group = length if setting.name in ("steps", "minutes") else train
        group = main_group if setting.name in _MAIN_SETTINGS else advanced
        _add_setting(group, setting, argparse.SUPPRESS)  # what is not given is the preset's


def _add_denoise(commands: Any) -> None:
    denoise = _add_command(
        commands, "denoise", "remove noise from images, learned from the noisy images alone"
    )
    denoise.add_argument("paths", nargs="+", metavar="PATH", help="files, folders or globs")
    denoise.add_argument("--output", required=True, metavar="DIR", help="folder for the results")
    denoise.add_argument(
        "--model",
        metavar="MODEL",
        help="model file to write, for `predict` on more images (default: denoise.safetensors in "
        "the folder of the results)",
    )
    _add_shared(denoise, "--overwrite")
    denoise.add_argument("--axes", help="axes of the images, for example TZYX; else as they say")
    settings = declared(TrainConfig)
    for name in ("channels", "ndim", "window", "steps", "minutes", "seed", "device"):
        _add_setting(denoise, settings[name], argparse.SUPPRESS)


def _add_predict(commands: Any) -> None:
    predict = _add_command(commands, "predict", "predict images with a model file")
    predict.add_argument(
        "model",
        metavar="MODEL",
        help="model file, the starting model cells, or a model of another program: a "
        "bioimage.io package (zip or folder) or an .onnx file",
    )
    predict.add_argument("paths", nargs="+", metavar="PATH", help="files, folders or globs")
    predict.add_argument("--output", required=True, metavar="DIR", help="folder for the results")
    _add_shared(predict, "--overwrite")
    for setting in declared(PredictConfig).values():
        if setting.name == "pixel_size":
            _add_shared(predict, "--pixel-size")
        elif "command line" not in setting.lacks:
            more = {"metavar": "P"} if setting.name == "threshold" else {}
            _add_setting(predict, setting, setting.default, **more)
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


def _add_evaluate(commands: Any) -> None:
    evaluate = _add_command(commands, "evaluate", "compare predictions with the truth")
    evaluate.add_argument("--predictions", required=True, help="predicted labels", **_PATHS)
    evaluate.add_argument(
        "--truth",
        required=True,
        help="true labels, paired by file name; of overlapping classes, and objects of several, "
        "NAME=PATH for each, in the order in which they were trained",
        **_PATHS,
    )
    evaluate.add_argument("--axes", help="axes of the files, such as TYX, where they name others")
    for name, setting in declared(EvaluateConfig).items():  # which kind is to be said
        _add_setting(evaluate, setting, setting.default, required=name == "kind")
    _add_shared(evaluate, "--label-pieces")
    evaluate.add_argument(
        "--errors",
        metavar="DIR",
        help="write label images of what is wrong there: 1 correct, 2 missed, 3 false, 4 merged, "
        "5 split (classes: 6 another class)",
    )
    _add_shared(evaluate, "--overwrite")


def _add_link(commands: Any) -> None:
    link = _add_command(
        commands, "link", "give the same object the same number over time, or through z"
    )
    link.add_argument("labels", nargs="+", metavar="LABELS", help="files, folders or globs")
    link.add_argument("--output", required=True, metavar="DIR", help="folder for the results")
    _add_shared(link, "--overwrite")
    link.add_argument(
        "--sequence",
        action="store_true",
        help="the files, in the order given (folders and globs: by name, 2 before 10), are the "
        "frames of one movie",
    )
    link.add_argument("--axes", help="axes of the files: TYX, ZYX or TZYX; else as they say")
    for name, setting in declared(LinkConfig).items():
        more = {"metavar": "IOU"} if name == "minimum_overlap" else {}
        _add_setting(link, setting, setting.default, **more)


def _add_classify(commands: Any) -> None:
    classify = _add_command(
        commands, "classify", "tell the classes of finished objects, learned from a few examples"
    )
    classify.add_argument("--labels", required=True, help="the objects", **_PATHS)
    classify.add_argument(
        "--images",
        help="their images, paired by file name: intensities of all channels and texture count; "
        "without them sizes, shapes and neighbours alone",
        **_PATHS,
    )
    classify.add_argument(
        "--classifier",
        metavar="FILE",
        help="saved classifier of objects (.json); with --examples both count",
    )
    classify.add_argument(
        "--examples",
        metavar="CSV",
        help="learn from a table: class, index (the object's number), and image (a file's name) "
        "where there are several, frame in movies; the classifier is saved with the results, as "
        "objects.classifier.json",
    )
    classify.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the tables and class images"
    )
    _add_shared(classify, "--overwrite")
    classify.add_argument("--axes", help="axes of the labels: YX, ZYX, TYX, TZYX; else as they say")
    _add_shared(classify, "--pixel-size")


def _add_convert(commands: Any) -> None:
    convert = _add_command(
        commands, "convert", "turn annotations or objects into the format of another program"
    )
    convert.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="label images, Cellpose _seg.npy, ImageJ .roi or .zip, QuPath .geojson, COCO .json, "
        "folders of the Cell Tracking Challenge; files, folders or globs",
    )
    convert.add_argument(
        "--output",
        required=True,
        metavar="PATH",
        help="file to write (one input), or a folder; for ctc always the folder of the frames",
    )
    _add_shared(convert, "--overwrite")
    convert.add_argument(
        "--image",
        nargs="+",
        metavar="IMAGE",
        help="the image, or images paired by name: outlines know no size, and tables want pixels",
    )
    convert.add_argument(
        "--sequence",
        action="store_true",
        help="the files, by name (2 before 10), are the frames of one movie",
    )
    convert.add_argument(
        "--tracks",
        metavar="CSV",
        help="for ctc and geff: the table that `link` wrote, which names mothers",
    )
    for name, setting in declared(ConvertConfig).items():
        if name == "pixel_size":
            _add_shared(convert, "--pixel-size")
        elif "command line" not in setting.lacks:  # which format is to be said
            _add_setting(convert, setting, setting.default, required=name == "to")
    convert.add_argument(
        "--classes",
        dest="kind",
        action="store_const",
        const="classes",
        help="the same as --kind classes",
    )


def _add_export(commands: Any) -> None:
    export = _add_command(
        commands, "export", "write a model for other programs, and check it by running it"
    )
    export.add_argument("model", metavar="MODEL", help="model file, or the starting model cells")
    export.add_argument(
        "--output",
        required=True,
        metavar="PATH",
        help="file to write; its extension may be left out",
    )
    _add_shared(export, "--overwrite")
    for name, setting in declared(ExportConfig).items():
        _add_setting(export, setting, setting.default, **_OF_EXPORT.get(name, {}))


def _add_import_model(commands: Any) -> None:
    command = _add_command(
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
    _add_shared(command, "--overwrite")


def _add_rerun(commands: Any) -> None:
    rerun = _add_command(
        commands, "rerun", "do a training or prediction again, and say whether it gives the same"
    )
    rerun.add_argument("card", metavar="CARD", help="run card beside a result: NAME.run.json")
    rerun.add_argument(
        "--output",
        metavar="DIR",
        help="folder that keeps the new result (default: it is compared, then thrown away)",
    )
    rerun.epilog = "Exit codes: 0 identical, 1 different or failed, 2 it cannot be done again."


def _add_demo(commands: Any) -> None:
    demo = _add_command(
        commands, "demo", "train on a painted sample image, and show it before and after"
    )
    demo.add_argument(
        "--sample",
        choices=("phase", "nuclei"),
        default="phase",
        help="cells in phase contrast, ten of them painted, or fluorescent nuclei with strokes",
    )
    demo.add_argument(
        "--output", default="demo-output", metavar="DIR", help="where files go without a screen"
    )
    _add_shared(demo, "--overwrite")
    demo.add_argument("--no-window", action="store_true", help="write files even with a screen")
    demo.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    demo.add_argument("--steps", type=int, default=None, help="training steps (default: 200)")


def _add_command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    _add_shared(command, "--json")
    return command


def _add_shared(command: argparse.ArgumentParser, flag: str) -> None:
    """Add an option that several commands have."""
    command.add_argument(flag, **_SHARED[flag])


def _add_setting(
    group: Any, setting: Setting, default: Any, aliases: Sequence[str] = (), **more: Any
) -> None:
    """Make a flag of a setting; `default` is what the options hold where it is not given."""
    text = setting.help.replace("%", "%%")
    if setting.usual and default != argparse.SUPPRESS and not more.get("required"):
        text = f"{text.rstrip('.')} (default: {setting.usual})"
    more |= {"dest": setting.name, "default": default, "help": text}
    if setting.kind is bool:
        group.add_argument(setting.flag, action=argparse.BooleanOptionalAction, **more)
        return
    if not setting.choices:
        word = setting.flag.strip("-") if setting.kind is str else setting.kind.__name__
        more.setdefault("metavar", (setting.unit or word).replace("-", "_").upper())
    more |= {"type": setting.parse or setting.kind, "choices": setting.choices or None}
    if setting.kind is tuple:  # given several times
        more |= {"action": "append", "default": list(default)}
    group.add_argument(setting.flag, *aliases, **more)


def given_settings(config: type, options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that options hold, by name."""
    return {name: getattr(options, name) for name in declared(config) if name in options}
