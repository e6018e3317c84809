"""Arguments of ``napari-unet predict``."""

from __future__ import annotations

from typing import Any

from napari_unet.cli.arguments.common import add_command, add_pixel_size, add_setting
from napari_unet.prediction.config import PredictConfig
from napari_unet.settings import declared


def add(commands: Any) -> None:
    """Add ``predict``."""
    predict = add_command(commands, "predict", "predict images with a model file")
    predict.add_argument(
        "model",
        metavar="MODEL",
        help="model file, the starting model cells, or a model of another program: a "
        "bioimage.io package (zip or folder) or an .onnx file",
    )
    predict.add_argument("paths", nargs="+", metavar="PATH", help="files, folders or globs")
    predict.add_argument("--output", required=True, metavar="DIR", help="folder for the results")
    for setting in declared(PredictConfig).values():
        if setting.name == "pixel_size":
            add_pixel_size(predict)
        elif "command line" not in setting.lacks:
            more = {"metavar": "P"} if setting.name == "threshold" else {}
            add_setting(predict, setting, setting.default, **more)
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
