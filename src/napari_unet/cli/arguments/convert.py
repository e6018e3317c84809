"""Arguments of ``napari-unet convert``."""

from __future__ import annotations

from typing import Any

from napari_unet.cli.arguments.common import add_command, add_pixel_size

# As in napari_unet.io.annotations.writing, which is imported only once the arguments are known
FORMATS = ("labels", "roi", "geojson", "coco", "csv", "ctc")


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
        "--to",
        required=True,
        choices=FORMATS,
        help="labels: TIFF; roi: ZIP for ImageJ's ROI Manager; geojson: QuPath; coco: COCO JSON; "
        "csv: measurements; ctc: folder of the Cell Tracking Challenge",
    )
    convert.add_argument(
        "--image",
        nargs="+",
        metavar="IMAGE",
        help="the image, or images paired by name: outlines know no size, and tables want pixels",
    )
    convert.add_argument(
        "--classes", action="store_true", help="number the classes, not the objects"
    )
    convert.add_argument("--axes", help="axes of the labels: YX, ZYX, TYX or TZYX")
    convert.add_argument(
        "--tracks", metavar="CSV", help="for ctc: the table that `link` wrote, which names mothers"
    )
    add_pixel_size(convert)
