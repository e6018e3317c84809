"""An environment of its own for each program compared, made with pip; none is a dependency."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple

_RUNNERS = Path(__file__).resolve().parent / "runners"


class Peer(NamedTuple):
    """A program: what pip installs for it (nothing: it runs here), and which script runs it."""

    packages: tuple[str, ...]
    script: str


PEERS = {
    "napari-unet-paint": Peer((), "run_ours.py"),
    "random forest": Peer((), "run_forest.py"),
    "StarDist": Peer(("stardist", "tensorflow-cpu"), "run_stardist.py"),
    "Cellpose 3": Peer(("cellpose<4", "torch"), "run_cellpose.py"),
    "laptrack": Peer(("laptrack", "tifffile"), "run_laptrack.py"),
    "trackpy": Peer(("trackpy", "tifffile"), "run_trackpy.py"),
    "napari-unet-paint, denoise": Peer((), "run_denoise.py"),
    "CAREamics": Peer(("careamics", "torch"), "run_careamics.py"),
}

_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def run_peer(name: str, folder: Path, environments: Path) -> None:
    """Run a program on the job in a folder, with one thread.

    Parameters
    ----------
    name : str
        One of `PEERS`.
    folder : Path
        Of the job; see `runners/exchange.py`.
    environments : Path
        Where the environments are, or are made.
    """
    peer = PEERS[name]
    python = _python_of(name, environments) if peer.packages else Path(sys.executable)
    one_thread = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1"), "CUDA_VISIBLE_DEVICES": ""}
    if peer.packages:
        one_thread.pop("PYTHONPATH", None)
    command = [str(python), str(_RUNNERS / peer.script), str(folder)]
    subprocess.run(command, check=True, stdout=sys.stderr, env=one_thread)


def _python_of(name: str, environments: Path) -> Path:
    """Return the interpreter of a program's environment, which is made if it is not there."""
    folder = environments / name.lower().replace(" ", "_")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = folder / "ready"
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PEERS[name].packages], check=True)
        ready.touch()
    return python
