"""Training by several processes against one process with the batch of all of them.

Runs the command line on a sample image, on the CPU: once as usual ("plain"), and under torchrun
with one process and with two of half the batch. Prints the largest differences of the losses and
the time per step::

    python benchmarks/ranks.py --steps 20
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from napari_unet.samples import sample_dir

_BATCH = 4


@dataclass(frozen=True)
class Curve:
    """Losses of the steps, and the median of their seconds."""

    losses: tuple[float, ...]
    seconds: float

    def distance(self, other: Curve) -> float:
        """Return the largest difference of the losses of a step."""
        return max(abs(a - b) for a, b in zip(self.losses, other.losses, strict=True))


def train(folder: Path, processes: int, options: list[str]) -> Curve:
    """Train by so many processes under torchrun; 0: without it."""
    history = folder / f"{processes}.csv"
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [
        *(launcher if processes else []),
        *("-m", "napari_unet", "train"),
        *("--images", str(sample_dir() / "nuclei2d_image.tif")),
        *("--labels", str(sample_dir() / "nuclei2d_strokes.tif")),
        *("--output", str(folder / f"{processes}"), "--history", str(history), "--json"),
        *("--batch-size", str(_BATCH // max(1, processes))),
        *("--device", "cpu", "--precision", "float32", *options),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, *command], check=True, env=environment, stdout=subprocess.DEVNULL
    )
    with history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    seconds = statistics.median(float(row["seconds"]) for row in rows)
    return Curve(tuple(float(row["loss"]) for row in rows), seconds)


def main() -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    print("| network | torchrun 1 to 2 | plain to torchrun 2 | s per step: plain | 1 | 2 |")
    print("|---|---|---|---|---|---|")
    common = ["--steps", str(steps), "--validate-every", str(steps)]
    light = ["--base-channels", "8", "--depth", "2", "--patch-size", "64"]
    networks: dict[str, list[str]] = {
        "preset fast": [],
        "light, random weights": light,
        "the same without BatchNorm": [*light, "--normalization", "none"],
    }
    for name, options in networks.items():
        with tempfile.TemporaryDirectory() as folder:
            plain, one, two = (train(Path(folder), n, [*common, *options]) for n in (0, 1, 2))
        times = " | ".join(f"{curve.seconds:.3f}" for curve in (plain, one, two))
        print(
            f"| {name} | {one.distance(two):.1e} | {plain.distance(two):.1e} | {times} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
