"""``napari-unet denoise``: ``train --kind denoise``, then ``predict`` on the same images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.cli import predict, train
from napari_unet.cli.arguments import given_settings
from napari_unet.settings import as_text, declared
from napari_unet.tasks import DENOISE
from napari_unet.training.config import TrainConfig

if TYPE_CHECKING:
    import argparse


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Learn what is noise from all images together, and remove it from each."""
    from napari_unet.cli.main import build_parser

    model = Path(options.model or Path(options.output) / "denoise.safetensors")
    shared = [*(["--overwrite"] * options.overwrite), *(["--json"] * options.json)]
    shared += ["--axes", options.axes] if options.axes else []
    given = given_settings(TrainConfig, options)
    flags = {name: declared(TrainConfig)[name].flag for name in given}
    settings = [text for name, value in given.items() for text in (flags[name], as_text(value))]
    of_both = [
        text
        for name in ("channels", "device")
        if given.get(name)
        for text in (flags[name], as_text(given[name]))
    ]
    parser = build_parser()
    learning = ["train", "--kind", DENOISE.kind, "--images", *options.paths]
    trained = parser.parse_args([*learning, "--output", str(model), *settings, *shared])
    trained.started = options.started
    report, _ = train.run(trained)
    predicting = ["predict", str(model), *options.paths, "--output", options.output]
    results, code = predict.run(parser.parse_args([*predicting, *of_both, *shared]))
    return report | results, code
