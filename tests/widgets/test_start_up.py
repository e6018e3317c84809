"""A widget opens at once: what takes long to import is imported when it is used."""

from __future__ import annotations

import subprocess
import sys

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
}}
print(sorted(heavy & (set(sys.modules) - before)))
"""


@pytest.mark.parametrize("name", ["AnnotateWidget", "TrainWidget", "PredictWidget", "ModelsWidget"])
def test_a_widget_imports_nothing_heavy(name: str) -> None:
    program = PROGRAM.format(name=name)
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
