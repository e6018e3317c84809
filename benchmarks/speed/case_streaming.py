"""Reading, tiling, writing and telling objects apart, against the bare forward of the same tiles.

The bare forward has the inputs of all tiles ready in memory and throws its results away. The
network is a bundled one, so that it finds the discs that are painted, some 20,000 of them.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from figures import Figure, Options, fastest

from napari_unet.io.tiff_files import LazyTiff
from napari_unet.model.devices import choose_device
from napari_unet.model.starting import load_starting_model
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.pipeline import make_runner, separate_block
from napari_unet.prediction.plan import plan_prediction
from napari_unet.prediction.predictor import predict_image
from napari_unet.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_PITCH, _RADIUS = 29, 10.5
_MOST_ROUNDS = 3  # a call takes many seconds


class Streams:
    """One model, one image in memory and in a file, and all that is timed with them."""

    def __init__(self, image: NDArray[np.uint16], folder: Path) -> None:
        self.image, self._folder = image, folder
        tifffile.imwrite(folder / "image.tif", image, tile=(256, 256), compression="zlib")
        self._trained = load_starting_model("cells")
        self.plan = plan_prediction(self._trained.record, image, PredictConfig())
        device = choose_device()
        self._runner = make_runner(self._trained, self.plan, device)
        self._frame = self.plan.frame(image, 0)
        self._inputs = list(self._read())
        self._foreground = np.zeros(image.shape, np.uint8)

    def read(self) -> None:
        """Read and normalise what the network sees of each tile."""
        for _ in self._read():
            pass

    def forward(self) -> None:
        """Run the network on each tile and keep nothing."""
        for tile, pixels in zip(self.plan.tiles, self._inputs, strict=True):
            self._runner.compute(pixels, self._frame, tile)

    def in_memory(self, result: Any) -> NDArray[Any]:
        """Predict from memory into memory."""
        config = PredictConfig(result=result)
        events = predict_image(self._trained, self.image, config, threading.Event())
        return np.asarray(Run(events).finish().array)

    def in_file(self, result: Any) -> None:
        """Predict from a compressed TIFF to OME-Zarr."""
        target = self._folder / "out.zarr"
        shutil.rmtree(target, ignore_errors=True)
        lazy = LazyTiff(self._folder / "image.tif")
        config = PredictConfig(result=result)
        Run(predict_image(self._trained, lazy, config, threading.Event(), target)).finish()

    def separate(self) -> None:
        """Tell the objects apart, with nothing else going on."""
        for block in range(len(self.plan.blocks)):
            separate_block(self._foreground, self.plan, block)

    def fill_foreground(self) -> None:
        """Predict what `separate` works on."""
        for tile, pixels in zip(self.plan.tiles, self._inputs, strict=True):
            probabilities = self._runner.compute(pixels, self._frame, tile)
            self._foreground[tile] = self.plan.result.of_tile(probabilities, self.plan)

    def _read(self) -> Iterator[NDArray[np.float32]]:
        intensity = self._trained.record.intensity.measure(self._frame)
        for tile in self.plan.tiles:
            yield self._runner.read(self._frame, intensity, tile)


def measure(options: Options) -> Iterator[Figure]:
    """Time each way through an image in turns with the bare forward."""
    size = 1024 if options.quick else 4096
    with tempfile.TemporaryDirectory() as folder:
        streams = Streams(discs(size), Path(folder))
        streams.fill_foreground()
        n_objects = int(streams.in_memory("objects").max())
        seconds = fastest(
            {
                "forward": streams.forward,
                "read": streams.read,
                "separate": streams.separate,
                "classes in memory": lambda: streams.in_memory("classes"),
                "classes in file": lambda: streams.in_file("classes"),
                "objects in memory": lambda: streams.in_memory("objects"),
                "objects in file": lambda: streams.in_file("objects"),
            },
            min(options.rounds, _MOST_ROUNDS),
        )
    forward = seconds["forward"]
    of = f"{size}x{size} uint16, {len(streams.plan.tiles)} tiles"
    yield Figure(f"bare forward, {of}", forward, "s")
    yield Figure(
        "reading and normalising alone, of the forward", 100 * _share(seconds, "read"), "%"
    )
    yield Figure(
        f"telling {n_objects} objects apart alone, of the forward",
        100 * _share(seconds, "separate"),
        "%",
    )
    for name in ("classes in memory", "classes in file"):
        more = 100 * (_share(seconds, name) - 1)
        yield Figure.at_most(f"{_in_words(name)}: more than the bare forward", more, "%", 10)
    for name in ("objects in memory", "objects in file"):
        more = 100 * (_share(seconds, name) - 1)
        yield Figure(f"{_in_words(name)}: more than the bare forward", more, "%")
        one_by_one = seconds[name.replace("objects", "classes")] + seconds["separate"]
        saved = 100 * (1 - seconds[name] / one_by_one)
        yield Figure(f"{_in_words(name)}: saved by telling apart beside", saved, "%")


def discs(size: int) -> NDArray[np.uint16]:
    """Paint bright blurred discs on a jittered grid, some of them touching, with noise."""
    rng = np.random.default_rng(0)
    image = np.full((size + 2 * _PITCH,) * 2, 300, np.float32)
    box = np.arange(-14, 15)
    for y in range(_PITCH, size + 1, _PITCH):
        for x in range(_PITCH, size + 1, _PITCH):
            (dy, dx), radius = rng.uniform(-4, 4, 2), _RADIUS * rng.uniform(0.8, 1.15)
            far = np.hypot(box[:, None] - dy, box[None] - dx)
            spot = 2000 * np.clip((radius - far) / 3 + 0.5, 0, 1)
            part = image[y - 14 : y + 15, x - 14 : x + 15]
            np.maximum(part, spot + 300, out=part)
    image = image[_PITCH : _PITCH + size, _PITCH : _PITCH + size]
    noisy = image + rng.normal(0, 60, image.shape).astype(np.float32)
    return noisy.clip(0, 65535).astype(np.uint16)


def _share(seconds: dict[str, float], name: str) -> float:
    return seconds[name] / seconds["forward"]


def _in_words(name: str) -> str:
    kind, _, where = name.partition(" in ")
    return f"{kind}, " + {"memory": "memory to memory", "file": "TIFF to OME-Zarr"}[where]
