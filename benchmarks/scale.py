"""Large data: memory and time of predictions that fit no memory, and what clusters give.

Each figure is measured in a process of its own, so that its peak of memory is its own::

    python benchmarks/scale.py huge      # 20,000 x 20,000 uint16, OME-Zarr to OME-Zarr
    python benchmarks/scale.py frames    # 1000 frames of 1024 x 1024
    python benchmarks/scale.py objects   # 100,000 objects across tile borders, and their table
    python benchmarks/scale.py cluster   # two local workers, one of them killed
    python benchmarks/scale.py report    # write the figures to docs/results/scale.md

Two processes that train together are compared with one by ``benchmarks/ranks.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from napari_unet.io.files import read_image
from napari_unet.model.config import UNetConfig
from napari_unet.model.execution import Runner
from napari_unet.model.inference import InferenceNetwork
from napari_unet.model.record import ModelRecord
from napari_unet.model.starting import load_starting_model
from napari_unet.model.trained import TrainedNetwork
from napari_unet.model.unet import UNet
from napari_unet.objects.measurements import measure_objects
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predictor import predict_image
from napari_unet.prediction.results import PredictionProgress
from napari_unet.run import Run
from napari_unet.samples import sample_dir
from napari_unet.tasks import ClassTable

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

RESULTS = Path(__file__).parents[1] / "docs" / "results"
_MEGABYTE = 2**20
_HUGE, _FRAMES, _FRAME = 20_000, 1000, 1024
_WARM_UP = 50


def main() -> None:
    """Measure one figure, or write the report of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("huge", "frames", "objects", "cluster", "report"))
    parser.add_argument("--work", type=Path, default=Path("scale-work"), help="folder for images")
    parser.add_argument("--size", type=int, default=_HUGE, help="edge of the huge image")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    options = parser.parse_args()
    if options.what == "report":
        report(options.work)
        return
    import torch

    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.what == "huge":
        figures = huge(options.work, options.size)
    else:
        figures = {"frames": frames, "objects": objects, "cluster": cluster}[options.what](
            options.work
        )
    figures["threads"] = options.threads
    print(json.dumps(figures, indent=2))
    (options.work / f"{options.what}.json").write_text(json.dumps(figures), encoding="utf-8")


class PeakMemory:
    """Watch the resident memory of this process beside its work.

    Attributes
    ----------
    added : int
        Bytes above what there was at the beginning, at most.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before = self._process.memory_info().rss
        self.added = 0

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.02):
            self.added = max(self.added, self._process.memory_info().rss - self.before)


class ForwardTime:
    """Add up the time that the bare network takes on the tiles of a prediction.

    Attributes
    ----------
    seconds : float
        By the clock.
    cpu_seconds : float
        Of the processor, of all threads: other programs on the machine do not count.
    """

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0
        self._original = InferenceNetwork.probabilities

    def __enter__(self) -> ForwardTime:
        original, meter = self._original, self

        def timed(self: InferenceNetwork, images: Tensor) -> Tensor:
            begin, cpu_begin = time.perf_counter(), time.process_time()
            result = original(self, images)
            meter.seconds += time.perf_counter() - begin
            meter.cpu_seconds += time.process_time() - cpu_begin
            return result

        InferenceNetwork.probabilities = timed  # type: ignore[method-assign]
        return self

    def __exit__(self, *error: object) -> None:
        InferenceNetwork.probabilities = self._original  # type: ignore[method-assign]


def huge(work: Path, size: int) -> dict[str, Any]:
    """Predict the objects of a huge image with the starting model."""
    path = work / f"huge{size}.zarr"
    if not path.exists():
        _tiled_sample(path, size)
    image = read_image(path).array
    model = load_starting_model("cells")
    config = PredictConfig(device="cpu", pixel_size={"Y": 0.5, "X": 0.5})
    with PeakMemory() as memory, ForwardTime() as forward:
        begin, cpu_begin = time.perf_counter(), time.process_time()
        events = predict_image(model, image, config, threading.Event(), work / "huge-out.zarr")
        result = Run(events).finish()
        seconds = time.perf_counter() - begin
        cpu_seconds = time.process_time() - cpu_begin
    return {
        "size": size,
        "objects": result.objects,
        "seconds": round(seconds, 1),
        "forward_seconds": round(forward.seconds, 1),
        "ratio": round(seconds / forward.seconds, 3),
        "cpu_seconds": round(cpu_seconds, 1),
        "forward_cpu_seconds": round(forward.cpu_seconds, 1),
        "cpu_ratio": round(cpu_seconds / forward.cpu_seconds, 3),
        "added_peak_mb": round(memory.added / _MEGABYTE),
    }


def frames(work: Path) -> dict[str, Any]:
    """Predict a long time-lapse with a tiny network, and watch the memory after each frame."""
    image = _Film(_FRAMES, _FRAME)
    model = _tiny_network()
    process = psutil.Process()
    memory: list[float] = []

    def watch(event: object) -> None:
        if getattr(event, "number", None) == getattr(event, "total", None):
            return
        frame = getattr(event, "frame", None)
        if frame and frame[0] == len(memory):
            memory.append(process.memory_info().rss / _MEGABYTE)

    config = PredictConfig(device="cpu")
    begin = time.perf_counter()
    result = Run(
        predict_image(model, image, config, threading.Event(), work / "frames-out.zarr")
    ).finish(watch)
    late = np.array(memory[_WARM_UP:])
    slope = float(np.polyfit(np.arange(len(late)), late, 1)[0])
    return {
        "frames": len(memory),
        "objects": result.objects,
        "seconds": round(time.perf_counter() - begin, 1),
        "slope_mb_per_frame": round(slope, 4),
        "first_mb": round(memory[0]),
        "after_50_mb": round(memory[_WARM_UP]),
        "last_mb": round(memory[-1]),
    }


def objects(work: Path) -> dict[str, Any]:
    """Tell 102,400 discs apart across tiles and blocks, then measure each."""
    truth_of, size, pitch = 320, 6400, 20
    image = np.zeros((size, size), np.uint8)
    rows, columns = np.mgrid[:pitch, :pitch]
    disc = np.hypot(rows - pitch / 2, columns - pitch / 2) < 0.42 * pitch
    image[...] = np.tile(disc, (truth_of, truth_of)) * np.uint8(255)
    originals = Runner.read, Runner.compute

    def read(self: Runner, frame: Any, intensity: Any, region: Any) -> NDArray[np.float32]:
        """Answer with the grey values: only what comes after the network is measured."""
        return np.asarray(frame.read(region) / 255)

    def compute(
        self: Runner, pixels: NDArray[np.float32], frame: Any, region: Any
    ) -> NDArray[np.float32]:
        return np.stack([1 - pixels[0], pixels[0]])

    Runner.read, Runner.compute = read, compute  # type: ignore[method-assign]
    try:
        begin = time.perf_counter()
        config = PredictConfig(device="cpu")
        target = work / "objects-out.zarr"
        result = Run(
            predict_image(_tiny_network(), image, config, threading.Event(), target)
        ).finish()
        labelled = time.perf_counter() - begin
    finally:
        Runner.read, Runner.compute = originals  # type: ignore[method-assign]
    labels = np.asarray(read_image(work / "objects-out.zarr").array[:])
    per_disc = labels.reshape(truth_of, pitch, truth_of, pitch).swapaxes(1, 2)  # (*, *, Y, X)
    inside = per_disc[:, :, disc]  # ridges between discs may be given to either
    numbers = inside[:, :, 0]
    consistent = bool(
        (inside == numbers[..., None]).all() and len(np.unique(numbers)) == truth_of**2
    )
    begin = time.perf_counter()
    with PeakMemory() as memory:
        table = measure_objects(labels, image)
    return {
        "expected": truth_of**2,
        "objects": result.objects,
        "each_disc_has_one_number_of_its_own": consistent,
        "label_seconds": round(labelled, 1),
        "table_seconds": round(time.perf_counter() - begin, 1),
        "table_rows": len(next(iter(table.values()))),
        "table_columns": list(table),
        "table_added_peak_mb": round(memory.added / _MEGABYTE),
    }


def cluster(work: Path) -> dict[str, Any]:
    """Compare two workers, and two of which one is killed, with a single process."""
    from napari_unet.prediction.cluster import connected, predict_on_cluster

    path = work / "cluster.zarr"
    if not path.exists():
        _tiled_sample(path, 4096)
    config = PredictConfig(device="cpu")
    model = load_starting_model("cells")
    begin = time.perf_counter()
    image = read_image(path).array
    Run(predict_image(model, image, config, threading.Event(), work / "alone-out.zarr")).finish()
    alone_seconds = time.perf_counter() - begin
    alone = read_image(work / "alone-out.zarr").array[:]
    figures: dict[str, Any] = {"seconds_of_one_process": round(alone_seconds, 1)}
    with connected(None, 2) as client:
        for name, kill_at in (("two_workers", None), ("one_killed", 10)):
            victim = sorted(client.run(os.getpid).values())[0]

            def kill(event: object, at: int | None = kill_at, victim: int = victim) -> None:
                if isinstance(event, PredictionProgress) and event.tile == at:
                    os.kill(victim, signal.SIGKILL)

            target = work / f"{name}-out.zarr"
            begin = time.perf_counter()
            events = predict_on_cluster(client, "cells", path, config, target, threading.Event())
            result = Run(events).finish(kill)
            figures[name] = {
                "seconds": round(time.perf_counter() - begin, 1),
                "objects": result.objects,
                "bit_equal": bool(np.array_equal(read_image(target).array[:], alone)),
            }
    return figures


def report(work: Path) -> None:
    """Write what was measured as a table."""
    found = {
        name: json.loads((work / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("huge", "frames", "objects", "cluster")
    }
    huge_, film, many, spread = (found[n] for n in ("huge", "frames", "objects", "cluster"))
    size = f"{huge_['size']:,}"
    rows = [
        (
            f"{size} x {size} uint16, OME-Zarr to labels: added peak memory",
            f"{huge_['added_peak_mb']} MB",
            "1.0 GB",
        ),
        (
            f"the same: {huge_['seconds']} s, bare forward {huge_['forward_seconds']} s",
            f"{huge_['ratio']} x (processor time {huge_['cpu_ratio']} x)",
            "1.15 x",
        ),
        (
            f"{film['frames']} frames of {_FRAME} x {_FRAME}: memory per frame after frame 50",
            f"{film['slope_mb_per_frame']} MB",
            "0.05 MB",
        ),
        (
            f"{many['expected']:,} discs across tiles: each one number of its own",
            f"{many['objects']:,}, {many['each_disc_has_one_number_of_its_own']}",
            "all",
        ),
        (
            f"their table ({len(many['table_columns'])} columns)",
            f"{many['table_seconds']} s",
            "30 s",
        ),
        (
            "two workers: equal to one process, bit by bit",
            str(spread["two_workers"]["bit_equal"]),
            "yes",
        ),
        ("one of them killed: equal", str(spread["one_killed"]["bit_equal"]), "yes"),
    ]
    lines = [
        "# Large data",
        "",
        "Written by `benchmarks/scale.py`; each figure is of one run, in a process of its own. "
        f"Threads of torch: {huge_['threads']}.",
        "",
        "| what | measured | to hold |",
        "|---|---|---|",
        *(f"| {what} | {value} | {goal} |" for what, value, goal in rows),
        "",
        "```json",
        json.dumps(found, indent=2),
        "```",
        "",
    ]
    (RESULTS / "scale.md").write_text("\n".join(lines), encoding="utf-8")


class _Film:
    """A time-lapse that is made frame by frame when it is read."""

    def __init__(self, n_frames: int, size: int) -> None:
        self.shape = (n_frames, size, size)
        self.dtype = np.dtype(np.uint16)
        sample = np.asarray(read_image(sample_dir() / "nuclei2d_image.tif").array)
        self._plane = np.tile(sample, (2, 2))[:size, :size].astype(np.uint16)

    def __getitem__(self, key: Any, /) -> NDArray[np.uint16]:
        frame, *region = key
        moved: NDArray[np.uint16] = np.roll(self._plane, int(frame), axis=1)
        part: NDArray[np.uint16] = moved[tuple(region)]
        return part


def _tiled_sample(path: Path, size: int) -> None:
    """Write a uint16 OME-Zarr that repeats the sample image, with noise of its own."""
    from napari_unet.io.ome_zarr import create_store

    sample = np.asarray(read_image(sample_dir() / "nuclei2d_image.tif").array)
    edge = 512
    chunks = (edge, edge)
    store = create_store(
        path, (size, size), np.dtype(np.uint16), chunks, "YX", {"Y": 0.5, "X": 0.5}, {}
    )
    plane = np.tile(sample, (2, 2))
    rng = np.random.default_rng(0)
    for row in range(0, size, edge):
        for column in range(0, size, edge):
            y, x = rng.integers(0, sample.shape[0]), rng.integers(0, sample.shape[1])
            part = plane[y : y + edge, x : x + edge].astype(np.float32) * 50
            noisy = (part + rng.normal(0, 40, part.shape)).clip(0, 65535).astype(np.uint16)
            height, width = min(edge, size - row), min(edge, size - column)
            store[row : row + height, column : column + width] = noisy[:height, :width]


def _tiny_network() -> TrainedNetwork:
    config = UNetConfig(base_channels=2, depth=2, padding="same", normalization="batch")
    record = ModelRecord(config, ClassTable("objects", "unlabelled"))
    return TrainedNetwork(UNet(config).eval(), record)


if __name__ == "__main__":
    main()
