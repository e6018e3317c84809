"""``napari-unet evaluate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.data.files import find_images, pair_files, read_labels
from napari_unet.evaluation import evaluate

if TYPE_CHECKING:
    import argparse


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Score predictions; return the report and the exit code."""
    pairs = pair_files(
        find_images(options.predictions), find_images(options.truth), "predictions", "truths"
    )
    scores = evaluate(
        [read_labels(prediction) for prediction, _ in pairs],
        [read_labels(truth) for _, truth in pairs],
        options.kind,
        unpainted=options.unpainted,
        per_image=options.per_image,
    )
    for row, (_, truth) in zip(scores.get("images", []), pairs, strict=False):
        row["file"] = truth.name
    if not options.json:
        _print_table(scores)
    return scores, 0


def _print_table(scores: dict[str, Any]) -> None:
    for name, value in scores.items():
        if name == "images":
            for row in value:
                print(row["file"], *(f"{k}={_short(v)}" for k, v in row.items() if k != "file"))
        else:
            print(f"{name:22} {_short(value)}")


def _short(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
