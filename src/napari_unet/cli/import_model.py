"""``napari-unet import-model``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.cli.common import check_targets
from napari_unet.cli.printing import say
from napari_unet.errors import ModelFileError
from napari_unet.external.importing import is_external_model, load_any_model
from napari_unet.model.trained import save_network

if TYPE_CHECKING:
    import argparse

_SUFFIX = ".safetensors"


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Read the model, compare it with its own example, and write it as one file."""
    package = Path(options.package).expanduser()
    if not is_external_model(package):
        raise ModelFileError(
            f"{package} is no model of another program: give a .zip, a folder with rdf.yaml, or an "
            ".onnx file."
        )
    target = Path(options.output).expanduser()
    if target.suffix != _SUFFIX:
        target = target.with_name(f"{target.name}{_SUFFIX}")
    check_targets([target], [package], "another --output", overwrite=options.overwrite)
    trained = load_any_model(str(package))
    save_network(trained, target)
    record = trained.record
    if not options.json:
        say(record.origin)
        say(f"Written to {target}.")
    return {
        "model": str(target),
        "origin": record.origin,
        "kind": record.classes.kind,
        "can_learn": record.can_learn,
    }, 0
