"""``napari-unet doctor``: what is installed, what would be used, and the remedy for problems.

What is wrong outside of devices and of napari's window is found in `environment`.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from ctypes.util import find_library
from dataclasses import asdict
from functools import partial
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from napari_unet.cli import environment
from napari_unet.cli.environment import (
    OUR_DISTRIBUTION,
    examined,
    failed,
    reinstall,
    version_or_none,
)
from napari_unet.cli.printing import say
from napari_unet.errors import first_line
from napari_unet.model.devices import Problem, cpu_only_torch, nvidia_gpu

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

_SHOWN = (OUR_DISTRIBUTION, "torch", "numpy", "numba", "scikit-image", "tifffile", "npe2", "napari")
QT_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
# Libraries that Qt and OpenGL load on Linux, and Debian's packages of them.
_LIBRARIES = {
    "GL.so.1": "libgl1",
    "EGL.so.1": "libegl1",
    "fontconfig.so.1": "libfontconfig1",
    "glib-2.0.so.0": "libglib2.0-0",
    "dbus-1.so.3": "libdbus-1-3",
    "xkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "xcb-cursor.so.0": "libxcb-cursor0",
    "xcb-icccm.so.4": "libxcb-icccm4",
    "xcb-image.so.0": "libxcb-image0",
    "xcb-keysyms.so.1": "libxcb-keysyms1",
    "xcb-render-util.so.0": "libxcb-render-util0",
    "xcb-shape.so.0": "libxcb-shape0",
    "xcb-xkb.so.1": "libxcb-xkb1",
}
_WINDOWLESS = ("offscreen", "minimal", "vnc", "linuxfb")


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Examine the environment; exit code 1 where a problem was found."""
    versions = {name: version_or_none(name) for name in (*_SHOWN, *QT_BINDINGS)}
    versions = {n: v for n, v in versions.items() if v is not None or n in _SHOWN}
    ours = (same_package_problems, partial(window_problems, versions))
    problems = examined([*ours, *EXAMINATIONS])
    try:
        device, device_problems = examine_devices()
    except Exception as error:  # a driver or a torch that is broken in a new way
        device, device_problems = "unknown", [failed("the device", error)]
    problems += device_problems
    notes = examined(NOTED)
    report = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": versions,
        "device": device,
        "problems": [asdict(problem) for problem in problems],
        "notes": [asdict(note) for note in notes],
    }
    if not options.json:
        _print(report, problems, notes)
    return report, 1 if problems else 0


def _print(report: dict[str, Any], problems: Sequence[Problem], notes: Sequence[Problem]) -> None:
    say(f"Python {report['python']} on {report['system']}")
    for name, number in report["versions"].items():
        say(f"  {name:18} {number or 'not installed'}")
    say(f"Training and prediction would run on: {report['device']}")
    if not problems:
        say("No problem found.")
    for problem in problems:
        for line in ("", f"Problem: {problem.what}", f"Remedy:  {problem.remedy}"):
            say(line)
    for note in notes:
        say()
        say(f"Note: {note.what} {note.remedy}")


def same_package_problems(
    owners: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[Problem]:
    """Find other distributions that install a package ``napari_unet`` over ours."""
    owners = packages_distributions() if owners is None else owners
    others = sorted(set(owners.get("napari_unet", ())) - {OUR_DISTRIBUTION})
    for other in others:
        yield Problem(
            f"{other} also installs a package napari_unet; the two overwrite each other.",
            f"{sys.executable} -m pip uninstall {other} && {sys.executable} -m pip install "
            f"--force-reinstall --no-deps {OUR_DISTRIBUTION}",
        )


def window_problems(versions: Mapping[str, str | None]) -> Iterator[Problem]:
    """Find what keeps the widgets from opening; without napari all else works."""
    if versions.get("napari") is None or any(map(versions.get, QT_BINDINGS)):
        return
    yield Problem(
        "napari is installed without a Qt binding: its window cannot open.",
        f'{sys.executable} -m pip install "napari-unet-paint[all]"',
    )


def examine_devices() -> tuple[str, list[Problem]]:
    """Say which device "auto" would take, and find GPUs that torch cannot use."""
    try:
        import torch
    except Exception as error:  # also OSError of a missing DLL
        what = f"torch cannot be imported: {first_line(error)}."
        return "none", [Problem(what, reinstall("torch"))]
    from napari_unet.model.devices import choose_device, describe, problem_with

    device = choose_device("auto")
    name = f"{device} ({describe(device)}, {torch.get_num_threads()} threads)"
    gpu = nvidia_gpu()
    if gpu is None or device.type == "cuda":
        return name, []
    cpu_only = cpu_only_torch(gpu)
    if cpu_only is not None:
        return name, [cpu_only]
    reason = problem_with("cuda")
    return name, [Problem(f"{gpu} is present but unusable: {reason}", "Update the NVIDIA driver.")]


# --- What keeps the window from opening, before Qt ends the program -----------------------------


def binding_problems(
    environment: Mapping[str, str] = os.environ, bindings: Collection[str] | None = None
) -> Iterator[Problem]:
    """Find several Qt bindings beside napari, or a choice of one that is not there."""
    found = installed(QT_BINDINGS) if bindings is None else list(bindings)
    chosen = environment.get("QT_API", "").lower()
    if chosen and chosen not in [binding.lower() for binding in found]:
        yield Problem(
            f"QT_API={environment['QT_API']} names a Qt binding that is not installed.",
            "Remove QT_API from the environment.",
        )
    if len(found) < 2 or chosen:
        return
    yield Problem(
        f"{' and '.join(found)} are installed together; parts of two Qt versions crash.",
        f"{sys.executable} -m pip uninstall {' '.join(found[1:])}",
    )


def old_python_problems(
    pyside: str | None = None, python: tuple[int, ...] = sys.version_info[:2]
) -> Iterator[Problem]:
    """Find PySide6 6.12 or newer with Python 3.11, which ends after some thousand signals of Qt."""
    if pyside is None:
        pyside = version("PySide6") if installed(("PySide6",)) else "0"
    if python < (3, 12) and Version(pyside) >= Version("6.12"):
        yield Problem(
            f"PySide6 {pyside} makes Python {'.'.join(map(str, python))} abort while it works.",
            f"{sys.executable} -m pip install 'PySide6<6.12'",
        )


def library_problems(can_load: Callable[[str], bool] | None = None) -> Iterator[Problem]:
    """Find libraries of the system that Qt needs on Linux."""
    can_load = _can_load if can_load is None else can_load
    if sys.platform != "linux" or not _has_window():
        return
    missing = [package for library, package in _LIBRARIES.items() if not can_load(library)]
    if not missing:
        return
    yield Problem(
        f"Libraries that napari's window needs are missing: {', '.join(missing)} "
        "(names of Debian and Ubuntu).",
        f"apt-get install {' '.join(missing)}",
    )


def display_problems(environment: Mapping[str, str] = os.environ) -> Iterator[Problem]:
    """Find that Qt is told to open windows in which napari can show nothing."""
    if not _has_window():
        return
    platform = environment.get("QT_QPA_PLATFORM", "").partition(":")[0]
    if platform in _WINDOWLESS:
        yield Problem(
            f"QT_QPA_PLATFORM={environment['QT_QPA_PLATFORM']}: napari's window cannot show "
            "layers like this.",
            "Remove QT_QPA_PLATFORM from the environment; without a screen use xvfb-run.",
        )


def screen_notes(environment: Mapping[str, str] = os.environ) -> Iterator[Problem]:
    """Find that there is no screen to open a window on: a cluster has none, and needs none."""
    display = environment.get("DISPLAY", "")
    elsewhere = sys.platform != "linux" or environment.get("WAYLAND_DISPLAY") or _answers(display)
    if elsewhere or not _has_window():
        return
    why = f"DISPLAY is {display}, where nobody answers" if display else "DISPLAY is not set"
    yield Problem(
        f"There is no screen ({why}): napari's window cannot open, the command line works.",
        "Log in with ssh -X, or start napari by xvfb-run.",
    )


def _answers(display: str) -> bool:
    """Return whether an X server may be there; one on another machine is taken to be."""
    local = re.fullmatch(r":(\d+)(\.\d+)?", display)
    sockets = Path("/tmp/.X11-unix")
    if local is None or not sockets.is_dir():
        return bool(display)
    return (sockets / f"X{local[1]}").exists()


def plugin_problems() -> Iterator[Problem]:
    """Find that our plugin is switched off in napari's preferences."""
    if not installed(["napari"]):
        return
    from napari.settings import get_settings

    if OUR_DISTRIBUTION not in get_settings().plugins.disabled_plugins:
        return
    yield Problem(
        f"{OUR_DISTRIBUTION} is switched off in napari: its widgets are in no menu.",
        f"In napari, open Plugins > Install/Uninstall Plugins and tick {OUR_DISTRIBUTION}.",
    )


def installed(names: Collection[str]) -> list[str]:
    """Return those of some distributions that are installed."""
    return [name for name in names if version_or_none(name) is not None]


def _has_window() -> bool:
    return bool(installed(["napari"]) and installed(QT_BINDINGS))


def _can_load(library: str) -> bool:
    if find_library(library.partition(".so")[0]) is not None:
        return True
    try:
        ctypes.CDLL(f"lib{library}")
    except OSError:
        return False
    return True


EXAMINATIONS = (
    *environment.EXAMINATIONS,
    binding_problems,
    old_python_problems,
    library_problems,
    display_problems,
    plugin_problems,
)
# What it finds is no problem: all but the window works.
NOTED = (screen_notes,)
