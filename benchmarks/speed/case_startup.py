"""How long it takes until something is there: each in processes of their own, the fastest counts.

Widgets are timed in a process that has imported napari and made a viewer; where that is not
possible, their lines are left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Figure, Options

if TYPE_CHECKING:
    from collections.abc import Iterator

_IMPORT = """
import time
began = time.perf_counter()
import {module}
print(time.perf_counter() - began)
"""

_WIDGET = """
import time
import napari
viewer = napari.Viewer(show=False)
began = time.perf_counter()
import napari_unet.widgets
widget = napari_unet.widgets.{name}(viewer)
print(time.perf_counter() - began, flush=True)
import os
os._exit(0)  # nobody waits for the window
"""

_SAVE = """
import sys
from pathlib import Path
import numpy as np
import torch
from napari_unet.tasks import ClassTable
from napari_unet.model.record import ModelRecord
from napari_unet.model.trained import TrainedNetwork, save_network
from napari_unet.model.unet import UNet
from napari_unet.training.config import TrainConfig
folder = Path(sys.argv[1])
torch.manual_seed(0)
of_preset = TrainConfig()
base32 = of_preset.changed(base_channels=32, depth=4)
for name, config in (("preset", of_preset), ("base32", base32)):
    network = config.network(1, 2)
    # as trained models that may predict in bfloat16
    record = ModelRecord(
        network, ClassTable("objects", "unlabelled"), bfloat16_agreement=1.0
    )
    unet = UNet(network).eval()
    with torch.no_grad():
        unet.output.bias[1] -= 100  # an untrained network finds noise: let it find nothing
    save_network(TrainedNetwork(unet, record), folder / f"{name}.safetensors")
image = np.random.default_rng(0).integers(0, 2000, (1024, 1024), dtype=np.uint16)
np.save(folder / "image.npy", image)
"""

_PREDICT = """
import sys
import numpy as np
import napari_unet
napari_unet.load_model(sys.argv[1]).predict(np.load(sys.argv[2]))
"""


def measure(options: Options) -> Iterator[Figure]:
    """Time imports, the help, widgets and a first prediction."""
    rounds = options.rounds
    yield Figure.at_most("import napari_unet", _printed(_IMPORT, rounds, "napari_unet"), "s", 0.05)
    helped = _whole(["-m", "napari_unet", "--help"], rounds)
    yield Figure.at_most("napari-unet --help, whole process", helped, "s", 0.5)
    for name in ("AnnotateWidget", "TrainWidget", "PredictWidget", "ModelsWidget"):
        try:
            seconds = _printed(_WIDGET, rounds, name)
        except subprocess.CalledProcessError:
            break  # no screen, or no Qt
        yield Figure.at_most(f"{name}: imported and made, napari open", seconds, "s", 0.3)
    yield Figure("import torch", _printed(_IMPORT, rounds, "torch"), "s")
    with tempfile.TemporaryDirectory() as folder:
        _run(["-c", _SAVE, folder])
        for name, words in (("preset", "default preset"), ("base32", "base 32, depth 4")):
            files = [str(Path(folder) / f"{name}.safetensors"), str(Path(folder) / "image.npy")]
            seconds = _whole(["-c", _PREDICT, *files], rounds)
            what = f"open a model and predict 1024x1024, whole process, {words}"
            yield Figure.at_most(what, seconds, "s", 3)


def _printed(program: str, rounds: int, name: str) -> float:
    """Return the least of the seconds that a program prints."""
    program = program.format(module=name, name=name)
    return min(float(_run(["-c", program]).splitlines()[-1]) for _ in range(rounds))


def _whole(arguments: list[str], rounds: int) -> float:
    """Return the least time that a process takes from its start to its end."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        _run(arguments)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _run(arguments: list[str]) -> str:
    environment = dict(os.environ)
    if sys.platform == "linux" and not environment.get("DISPLAY"):
        environment.setdefault("QT_QPA_PLATFORM", "offscreen")
    result = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, env=environment
    )
    return result.stdout
