"""Arguments of ``napari-unet demo``."""

from __future__ import annotations

from typing import Any

from napari_unet.cli.arguments.common import add_command


def add(commands: Any) -> None:
    """Add ``demo``."""
    demo = add_command(
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
    demo.add_argument("--no-window", action="store_true", help="write files even with a screen")
    demo.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    demo.add_argument("--steps", type=int, default=None, help="training steps (default: 200)")
