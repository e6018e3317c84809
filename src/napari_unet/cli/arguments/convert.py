"""Arguments of ``napari-unet convert``."""

from __future__ import annotations

from typing import Any

from napari_unet.cli.arguments.common import add_command, add_pixel_size, add_setting
from napari_unet.io.annotations.formats import ConvertConfig
from napari_unet.settings import declared


def add(commands: Any) -> None:
    """Add ``convert``."""
    convert = add_command(
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
    convert.add_argument(
        "--image",
        nargs="+",
        metavar="IMAGE",
        help="the image, or images paired by name: outlines know no size, and tables want pixels",
    )
    convert.add_argument(
        "--tracks", metavar="CSV", help="for ctc: the table that `link` wrote, which names mothers"
    )
    for name, setting in declared(ConvertConfig).items():
        if name == "pixel_size":
            add_pixel_size(convert)
        elif "command line" not in setting.lacks:  # which format is to be said
            add_setting(convert, setting, setting.default, required=name == "to")
    convert.add_argument(
        "--classes",
        dest="kind",
        action="store_const",
        const="classes",
        help="the same as --kind classes",
    )
