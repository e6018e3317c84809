"""Arguments of ``napari-unet predict``."""

from __future__ import annotations

import argparse
from typing import Any

from napari_unet.cli.arguments.common import add_command, add_pixel_size
from napari_unet.model.config import PRECISIONS, SHORT_PRECISIONS, VIEWS


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
    add_pixel_size(predict)
    predict.add_argument(
        "--rescale",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="see images at the model's pixel size where both are known (default: yes)",
    )
    predict.add_argument(
        "--cell-size",
        type=float,
        default=0.0,
        metavar="PIXELS",
        help="diameter of a typical cell in image pixels: images are seen so that cells are as "
        "large as the model expects them; counts more than pixel sizes (default: as trained)",
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
        help="probability above which a pixel is of an object, or of the second of two classes "
        "(default: the model's own)",
    )


def _precision(text: str) -> str:
    """Return a number format under its full name."""
    return SHORT_PRECISIONS.get(text, text)
