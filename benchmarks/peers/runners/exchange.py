"""What passes between the tables and the programs compared: folders of files, and a clock.

Runs in the environment of each program, so it needs no more than NumPy and tifffile. A job is a
folder: ``job.json``, ``train/*.npz`` (image, labels) and ``test/*.npz`` (image) go in,
``predicted/*.tif`` and ``result.json`` come out, ``large.json`` where an edge length is named.
All seconds are those of processors: another program on the same machine changes them less (by a
quarter at most, as seen) than those of a clock.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Predict = Callable[[NDArray[Any]], NDArray[Any]]

_PROCESS = Path("/proc/self")
_WARM_EDGE = 512


class SpentError(Exception):
    """The seconds of a training are spent: raised where a program has no other way to stop."""


class Budget:
    """Counts the processor seconds of a training, from now on."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._began = seconds, time.process_time()

    @property
    def used(self) -> float:
        """Seconds used so far."""
        return time.process_time() - self._began

    @property
    def left(self) -> float:
        """Seconds that are left; negative when more were used."""
        return self._seconds - self.used

    def stop_torch(self) -> None:
        """Let the first optimiser step of any torch training after the end raise SpentError."""
        from torch.optim.optimizer import register_optimizer_step_post_hook

        register_optimizer_step_post_hook(self._raise_when_spent)

    def _raise_when_spent(self, *_: object) -> None:
        if self.left <= 0:
            raise SpentError


class Job:
    """What a runner is given.

    Parameters
    ----------
    folder : Path
        See the top of this module.

    Attributes
    ----------
    settings : dict
        Of ``job.json``: ``seconds``, ``seed``, ``unpainted``, ``preset``, ``large``, ``weights``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings: dict[str, Any] = json.loads((folder / "job.json").read_text())

    def training(self) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """Return images (``YX`` or ``YXC``) and labels (``YX``)."""
        files = [np.load(path) for path in sorted((self.folder / "train").glob("*.npz"))]
        return [file["image"] for file in files], [file["labels"] for file in files]

    def tested(self) -> dict[str, NDArray[Any]]:
        """Return the images to predict by their names."""
        paths = sorted((self.folder / "test").glob("*.npz"))
        return {path.stem: np.load(path)["image"] for path in paths}

    def answer(self, predict: Predict, notes: dict[str, Any], packages: list[str]) -> None:
        """Predict all, write it, and say what it took.

        Parameters
        ----------
        predict : callable
            From an image to its objects, ``YX``.
        notes : dict
            Of the training: ``seconds``, ``steps`` or ``epochs``.
        packages : list of str
            Whose versions are told.
        """
        seconds, pixels = 0.0, 0
        for name, image in self.tested().items():
            began = time.process_time()
            made = predict(image)
            seconds += time.process_time() - began
            pixels += made.size
            tifffile.imwrite(self.folder / "predicted" / f"{name}.tif", made)
        versions = {name: version(name) for name in packages}
        found = {
            "training": notes,
            "seconds_of_prediction": seconds,
            "pixels": pixels,
            "versions": versions,
        }
        self._write("result.json", found)
        if self.settings["large"]:
            self._write("large.json", self._measured(predict))

    def _measured(self, predict: Predict) -> dict[str, Any]:
        """Predict one large image, after a small one, and say how fast and in how much memory."""
        large = tiled(list(self.tested().values()), self.settings["large"])
        predict(np.ascontiguousarray(large[:_WARM_EDGE, :_WARM_EDGE]))
        before, began = _peak_anew(), time.process_time()
        n_objects = len(np.unique(predict(large))) - 1
        seconds = time.process_time() - began
        pixels = large.shape[0] * large.shape[1]
        return {
            "seconds": seconds,
            "mpx_per_second": pixels / 1e6 / seconds,
            "peak_mb": _memory("VmHWM"),
            "before_mb": before,
            "objects": n_objects,
        }

    def _write(self, name: str, found: dict[str, Any]) -> None:
        (self.folder / name).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def given() -> Job:
    """Return the job that the command line names."""
    return Job(Path(sys.argv[1]))


def tiled(images: list[NDArray[Any]], edge: int) -> NDArray[Any]:
    """Fill a square of this edge length with images, row by row, all cut to the smallest."""
    height, width = (min(image.shape[axis] for image in images) for axis in (0, 1))
    across, down = -(-edge // width), -(-edge // height)
    cut = [image[:height, :width] for image in images]
    rows = [
        np.concatenate([cut[(row * across + i) % len(cut)] for i in range(across)], axis=1)
        for row in range(down)
    ]
    return np.ascontiguousarray(np.concatenate(rows)[:edge, :edge])


def _peak_anew() -> float:
    """Forget the peak of memory so far, where the system can, and return what is in use."""
    try:
        (_PROCESS / "clear_refs").write_text("5")
    except OSError:
        print("The peak of memory counts from the start of the process.", file=sys.stderr)
    return _memory("VmRSS")


def _memory(key: str) -> float:
    """Return an entry of the process's state in MB; NaN where there is none (not Linux)."""
    try:
        lines = (_PROCESS / "status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))
