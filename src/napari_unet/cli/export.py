"""``napari-unet export``."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.cli.arguments import given_settings
from napari_unet.cli.common import check_targets
from napari_unet.cli.printing import say, tell
from napari_unet.cli.progress import stop_on_interrupt
from napari_unet.data.axes import usable_axes
from napari_unet.export.config import ExportConfig, readme_beside, with_extension
from napari_unet.export.writing import export_network
from napari_unet.io.files import find_images, read_image
from napari_unet.model.starting import load_model_or_starting_model
from napari_unet.run import Run

if TYPE_CHECKING:
    import argparse

    from napari_unet.export.config import ExportCheck, Exported

_STOPPING = "Stopping after this check; nothing is written."


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Export a model; return the report and the exit code."""
    given = given_settings(ExportConfig, options)
    config = ExportConfig(**given | {"image": None, "authors": tuple(options.authors)})
    path = with_extension(Path(options.output).expanduser(), config.format)
    read = [Path(options.model).expanduser(), *map(Path, [options.image] if options.image else [])]
    written = [path, *filter(None, [readme_beside(path, config.format)])]
    check_targets(written, read, "another --output", overwrite=options.overwrite)
    trained = load_model_or_starting_model(options.model)
    if options.image is not None:
        image = read_image(find_images([options.image])[0])
        ndim = trained.record.network.ndim
        axes = options.axes or usable_axes(image.axes, len(image.array.shape), ndim)
        config = replace(config, image=image.array, axes=axes)
    with stop_on_interrupt(_STOPPING) as stop:
        events = export_network(trained, path, config, stop)
        exported = Run(events).finish(None if options.json else _print_check)
    if exported is None:
        return {"stopped": True}, 1
    if not options.json:
        beside = f", and {exported.readme.name}" if exported.readme else ""
        say(f"Exported {exported.path}{beside}, checked on {exported.checked_on}.")
    return _report(exported), 0


def _print_check(check: ExportCheck) -> None:
    tell(f"Checked: {check}.")


def _report(exported: Exported) -> dict[str, Any]:
    return {
        "output": str(exported.path),
        "readme": None if exported.readme is None else str(exported.readme),
        "checked_on": exported.checked_on,
        "checks": [asdict(check) for check in exported.checks],
    }
