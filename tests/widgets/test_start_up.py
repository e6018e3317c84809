"""A widget opens at once: what takes long to import is imported when it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# What napari's own window has imported already costs nothing more.
PROGRAM = """
import sys
import napari.layers, napari.viewer, napari.qt
before = set(sys.modules)
import napari_unet.widgets
napari_unet.widgets.{name}
heavy = {{
    "torch", "skimage.measure", "skimage.segmentation", "scipy.sparse.csgraph", "scipy.fft",
    "numba", "tifffile", "PIL.Image", "zarr", "pandas", "pyqtgraph",
    "napari_unet.provenance.card",
}}
print(sorted(heavy & (set(sys.modules) - before)))
"""


@pytest.mark.fault(49)
@pytest.mark.parametrize(
    "name",
    ["AnnotateWidget", "TrainWidget", "PredictWidget", "ModelsWidget", "SegmentWidget"],
)
def test_a_widget_imports_nothing_heavy(name: str) -> None:
    program = PROGRAM.format(name=name)
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


# Whoever asks for torch first is noted: a whole session of clicks, in a process of its own.
FIRST_USE = """
import sys, threading, importlib.abc
asked = []

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            asked.append(threading.current_thread() is threading.main_thread())

from pathlib import Path
from tests.widgets.window_program import Program, wait
import tests.widgets.window_program
for name in [each for each in sys.modules if each.split(".")[0] == "torch"]:
    raise SystemExit("torch is imported with the windows")
sys.meta_path.insert(0, Watch())
program = Program(Path(sys.argv[1]))
{first_use}
print(sorted(set(asked)))  # looked for twice: its libraries are loaded first
program.viewer.close()
"""
TRAINING = """
program.train.steps_box.setValue(3)
program.click(program.train.train_button)
wait(lambda: not program.train.task.running)
"""
STARTING_MODEL = """
box = program.predict.starting_box
box.setCurrentIndex(1)
box.activated.emit(1)
wait(lambda: program.session.model is not None)
program.click(program.predict.predict_button)
wait(lambda: not program.predict.task.running)
"""


@pytest.mark.slow
@pytest.mark.fault(49)
@pytest.mark.parametrize("first_use", [TRAINING, STARTING_MODEL], ids=["train", "predict"])
def test_torch_is_imported_by_a_worker_and_never_by_the_windows_thread(
    first_use: str, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "XDG_DATA_HOME": str(tmp_path / "user data"),
        "NAPARI_CONFIG": str(tmp_path / "settings.yaml"),
    }
    result = subprocess.run(
        [sys.executable, "-c", FIRST_USE.format(first_use=first_use), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env=environment,
        timeout=150,
    )
    assert "[False]" in result.stdout, result.stdout + result.stderr
