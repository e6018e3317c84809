"""``napari-unet doctor``: what is installed, what would be used, and the remedy for problems."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import TYPE_CHECKING, Any

from napari_unet.cli import environment, window_environment
from napari_unet.cli.environment import OUR_DISTRIBUTION, examined, failed
from napari_unet.cli.window_environment import QT_BINDINGS
from napari_unet.errors import first_line
from napari_unet.model.devices import Problem, cpu_only_torch, nvidia_gpu

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

ENVIRONMENT = (*environment.EXAMINATIONS, *window_environment.EXAMINATIONS)
# What they find is no problem: all but the window works.
NOTED = (window_environment.screen_notes,)
_SHOWN = (OUR_DISTRIBUTION, "torch", "numpy", "numba", "scikit-image", "tifffile", "npe2", "napari")


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Examine the environment; exit code 1 where a problem was found."""
    versions = {name: version_of(name) for name in (*_SHOWN, *QT_BINDINGS)}
    versions = {n: v for n, v in versions.items() if v is not None or n in _SHOWN}
    problems = examined(
        [
            _overwritten,
            partial(window_problems, versions),
            *ENVIRONMENT,
        ]
    )
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


def _overwritten() -> list[Problem]:
    return same_package_problems(packages_distributions())


def version_of(distribution: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def same_package_problems(owners: Mapping[str, Sequence[str]]) -> list[Problem]:
    """Find other distributions that install a package ``napari_unet`` over ours."""
    others = sorted(set(owners.get("napari_unet", ())) - {OUR_DISTRIBUTION})
    return [
        Problem(
            f"{other} also installs a package napari_unet; the two overwrite each other.",
            f"{sys.executable} -m pip uninstall {other} && {sys.executable} -m pip install "
            f"--force-reinstall --no-deps {OUR_DISTRIBUTION}",
        )
        for other in others
    ]


def window_problems(versions: Mapping[str, str | None]) -> list[Problem]:
    """Find what keeps the widgets from opening; without napari all else works."""
    if versions.get("napari") is None:
        return []
    if any(versions.get(binding) for binding in QT_BINDINGS):
        return []
    return [
        Problem(
            "napari is installed without a Qt binding: its window cannot open.",
            f'{sys.executable} -m pip install "napari-unet-paint[all]"',
        )
    ]


def examine_devices() -> tuple[str, list[Problem]]:
    """Say which device "auto" would take, and find GPUs that torch cannot use."""
    try:
        import torch
    except Exception as error:  # also OSError of a missing DLL
        remedy = f"{sys.executable} -m pip install --force-reinstall torch"
        return "none", [Problem(f"torch cannot be imported: {first_line(error)}.", remedy)]
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


def _print(report: dict[str, Any], problems: Sequence[Problem], notes: Sequence[Problem]) -> None:
    print(f"Python {report['python']} on {report['system']}")
    for name, number in report["versions"].items():
        print(f"  {name:18} {number or 'not installed'}")
    print(f"Training and prediction would run on: {report['device']}")
    if not problems:
        print("No problem found.")
    for problem in problems:
        print(f"\nProblem: {problem.what}\nRemedy:  {problem.remedy}")
    for note in notes:
        print(f"\nNote: {note.what} {note.remedy}")
