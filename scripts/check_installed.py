"""Check an installed napari-unet-paint as a user meets it: no checkout, only what is installed.

Run it with the Python of the environment to look at::

    /path/to/environment/bin/python scripts/check_installed.py

It validates the manifest, asks ``doctor``, trains the demo for a moment, predicts with a starting
model, and (where there is napari) opens a window with a sample and every widget of the plugin.
Everything happens in a scratch folder; settings of napari and your own models are not touched.
Without a screen put ``xvfb-run -a -s "-screen 0 1280x800x24"`` before it, or say ``--no-window``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PLUGIN = "napari-unet-paint"
CHECKOUT = Path(__file__).resolve().parents[1]
_LONGEST_SECONDS = 600


class CheckError(Exception):
    """What is installed does not do what it should."""


def outside_of_checkout() -> str:
    """Check that Python imports the installed package, not this checkout."""
    specification = importlib.util.find_spec("napari_unet")
    if specification is None or specification.origin is None:
        raise CheckError(f"{PLUGIN} is not installed for {sys.executable}.")
    package = Path(specification.origin).resolve().parent
    if package.is_relative_to(CHECKOUT / "src"):
        raise CheckError(f"{package} is the checkout: install a wheel, not the editable package.")
    return str(package)


def manifest() -> str:
    """Validate the manifest, and import every name that stands in it."""
    return _python("-m", "npe2", "validate", PLUGIN, "--imports").strip()


def doctor() -> str:
    """Ask ``napari-unet doctor``; a problem that it finds is a failure."""
    report = json.loads(_python("-m", "napari_unet", "doctor", "--json"))
    return f"{report['device']}, Python {report['python']}"


def demo() -> str:
    """Train for 20 steps on the painted sample, and predict it."""
    said = _python(
        *("-m", "napari_unet", "demo", "--no-window", "--steps", "20", "--json"),
        *("--output", "demo"),
    )
    if not Path("demo", "overlay.png").is_file():
        raise CheckError("The demo wrote no picture.")
    report = json.loads(said)
    return f"{report['found']} of {report['cells']} cells found"


def prediction() -> str:
    """Predict the sample image with a bundled starting model."""
    import tifffile

    from napari_unet.samples import sample_dir

    image = sample_dir() / "nuclei2d_image.tif"
    _python("-m", "napari_unet", "predict", "cells", str(image), "--output", "results", "--json")
    found = int(tifffile.imread(Path("results", image.name)).max())
    if not 80 <= found <= 160:  # there are 125
        raise CheckError(f"The model finds {found} nuclei in the sample; there are 125.")
    return f"{found} nuclei found"


def window() -> str:
    """Open napari with a sample and every widget of the plugin."""
    if importlib.util.find_spec("napari") is None:
        return "napari is not installed: no window to look at"
    said = _python(str(Path(__file__).resolve()), "--in-window")
    return said.strip().splitlines()[-1]


def look_at_window() -> str:
    """Open the window in this process; return what was seen in it."""
    import napari
    import qtpy
    from npe2 import PluginManager
    from qtpy.QtWidgets import QApplication

    viewer: Any = napari.Viewer()
    layers = viewer.open_sample(PLUGIN, "nuclei_2d")
    contributed = PluginManager.instance().get_manifest(PLUGIN).contributions.widgets or []
    names = [widget.display_name for widget in contributed]
    docks = [viewer.window.add_plugin_dock_widget(PLUGIN, name)[0] for name in names]
    end = time.monotonic() + 2
    while time.monotonic() < end:
        QApplication.processEvents()
    hidden = [name for name, dock in zip(names, docks, strict=True) if not dock.isEnabled()]
    if hidden or len(docks) < 3 or len(layers) != 2:
        raise CheckError(f"Layers {layers}, docks {names}, of them not usable {hidden}.")
    viewer.close()
    return (
        f"napari {napari.__version__} with {qtpy.API_NAME} {qtpy.QT_VERSION}: "
        f"{len(layers)} layers, docks {', '.join(names)}"
    )


CHECKS: tuple[Callable[[], str], ...] = (
    outside_of_checkout, manifest, doctor, demo, prediction, window
)  # fmt: skip


def _python(*arguments: str) -> str:
    """Run this Python in the scratch folder; return what it printed."""
    result = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=_LONGEST_SECONDS
    )
    if result.returncode != 0:
        command = " ".join(("python", *arguments))
        raise CheckError(
            f"{command} ended with {result.returncode}:\n{result.stdout}{result.stderr}"
        )
    return result.stdout


def _move_into(scratch: Path) -> None:
    """Let everything that is read or written lie in a scratch folder."""
    for name in ("DATA", "CACHE", "CONFIG", "STATE"):
        os.environ[f"XDG_{name}_HOME"] = str(scratch / name.lower())
    os.environ["NAPARI_CONFIG"] = str(scratch / "napari.yaml")
    os.environ.pop("PYTHONPATH", None)
    os.chdir(scratch)


def main() -> int:
    """Check everything; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--no-window", action="store_true", help="leave the window out")
    parser.add_argument("--in-window", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_window:
        print(look_at_window())
        return 0
    checks = [check for check in CHECKS if not (options.no_window and check is window)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        _move_into(Path(folder))
        failed = [check for check in checks if not _passes(check)]
        os.chdir(CHECKOUT)  # Windows removes no folder that somebody is in
    print(f"{len(checks) - len(failed)} of {len(checks)} checks passed.")
    return 1 if failed else 0


def _passes(check: Callable[[], str]) -> bool:
    began = time.monotonic()
    try:
        seen = check()
    except (CheckError, subprocess.TimeoutExpired) as error:
        print(f"FAILED  {check.__name__}: {error}", flush=True)
        return False
    print(f"ok      {check.__name__} ({time.monotonic() - began:.0f} s): {seen}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
