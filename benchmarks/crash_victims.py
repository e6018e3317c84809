"""The programs that ``crash_drill.py`` kills: real work, which says where it is on its stdout.

``at NAME`` is said before something is written, ``done NAME VALUE`` after it is safe.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_TILE = "48"
_LABELS_SHAPE = (60, 70)
SAVE_DELAY_MS = 300  # of the window's autosave here; 20 s for users


def main() -> None:
    """Do the work of one scene: SCENE FOLDER."""
    scene, folder = sys.argv[1], Path(sys.argv[2])
    scenes: dict[str, Callable[[Path], None]] = {
        "training": train,
        "prediction": predict,
        "cluster": predict_on_a_cluster,
        "annotations": annotate,
        "saves": save,
        "window": paint_in_a_window,
        "restore": restore_in_a_window,
    }
    scenes[scene](folder)


def say(text: str) -> None:
    """Tell the drill, past all buffers."""
    os.write(1, f"{text}\n".encode())


def telling(owner: Any, name: str, value: Callable[..., object] | None = None) -> None:
    """Let a function say when it begins and, with `value` of its arguments, that it is done."""
    right = getattr(owner, name)

    @functools.wraps(right)
    def told(*arguments: Any, **options: Any) -> Any:
        say(f"at {name}")
        result = right(*arguments, **options)
        if value is not None:
            say(f"done {name} {value(*arguments, **options)}")
        return result

    setattr(owner, name, told)


def train(folder: Path) -> None:
    """Train by the command line with a checkpoint after each step; go on where that is possible."""
    from napari_unet.cli import main as command_line
    from napari_unet.training import checkpoint, loop

    loop._CHECKPOINT_SECONDS = 0.0
    telling(os, "fsync")
    telling(os, "replace")
    telling(checkpoint, "save_network")
    telling(checkpoint, "save_state")
    telling(checkpoint, "save_checkpoint", lambda trained, state, path: state.step)
    arguments = ["train", "--images", str(folder / "images"), "--labels", str(folder / "labels")]
    arguments += ["--output", str(folder / "m"), "--json", "--device", "cpu", "--steps", "1000000"]
    arguments += ["--base-channels", "4", "--depth", "2", "--patch-size", "32"]
    arguments += ["--batch-size", "2", "--validate-every", "5"]
    if (folder / "m.state.safetensors").exists():
        arguments.append("--resume")
    sys.exit(command_line(arguments))


def predict_on_a_cluster(folder: Path) -> None:
    """Predict an image into an OME-Zarr by two workers."""
    predict(folder, "--workers", "2")


def predict(folder: Path, *options: str) -> None:
    """Predict an image into an OME-Zarr by the command line."""
    from napari_unet.cli import main as command_line
    from napari_unet.io import ome_zarr
    from napari_unet.prediction import partial
    from napari_unet.prediction.partial import PartialResult

    ome_zarr.LARGEST_OVERVIEW = 64  # small images have pyramids, too
    telling(os, "replace")
    telling(partial, "add_pyramid")
    telling(partial, "finish")
    telling(PartialResult, "begin_frame")
    telling(PartialResult, "write_tile")
    telling(PartialResult, "write_block")
    telling(PartialResult, "number_block")
    telling(PartialResult, "note_tile", lambda result, frame, tile: f"{frame} {tile}")
    telling(PartialResult, "note_frame")
    sys.exit(command_line([*prediction_arguments(folder), *options]))


def prediction_arguments(folder: Path) -> list[str]:
    """Return how an image is predicted by the command line."""
    arguments = ["predict", str(folder / "m.safetensors"), str(folder / "image.zarr")]
    arguments += ["--output", str(folder / "out"), "--format", "zarr", "--device", "cpu"]
    return [*arguments, "--json", "--tile-size", _TILE]


def save(folder: Path) -> None:
    """Save models into a library, each under a new name, and results over the previous ones."""
    import threading

    from napari_unet.io.files import write_labels
    from napari_unet.model.trained import load_network
    from napari_unet.project.library import ModelLibrary
    from napari_unet.widgets.common.model_work import store_model

    telling(os, "replace")
    library, model = ModelLibrary(folder / "models"), load_network(folder / "m.safetensors")
    for number in itertools.count(1):
        write_labels(folder / "a.tif", strokes(number), "YX")
        say(f"done result {number}")
        path = store_model(library, model, "cells", None, threading.Event())
        say(f"done model {path.name}")


def strokes(number: int) -> NDArray[np.uint16]:
    """Return the annotation after so many strokes."""
    labels = np.zeros(_LABELS_SHAPE, np.uint16)
    for stroke in range(number):
        rng = np.random.default_rng(stroke)
        row, column = rng.integers(0, _LABELS_SHAPE[0] - 5), rng.integers(0, _LABELS_SHAPE[1] - 9)
        labels[row : row + 5, column : column + 9] = stroke % 60_000 + 1
    return labels


def annotate(folder: Path) -> None:
    """Save annotations for recovery, as a session does, as fast as that goes."""
    from napari_unet.project import arrays, recovery
    from napari_unet.project import folder as project_folder
    from napari_unet.project.contents import Project, ProjectImage
    from napari_unet.project.folder import save_project

    setattr(recovery, "user_data_path", lambda *_: folder)  # noqa: B010
    offered = recovery.abandoned()
    say(f"done offered {offered[0].name if offered else ''}")
    recovery.sweep()
    telling(os, "replace")
    telling(arrays.ArrayWriter, "write_labels")
    telling(arrays.ArrayWriter, "name")
    telling(arrays.ArrayWriter, "sweep")
    telling(project_folder, "write_stored")
    telling(recovery, "new_recovery_folder")
    own = recovery.new_recovery_folder()
    for number in itertools.count(1):
        images = tuple(ProjectImage(name, labels=strokes(number)) for name in "ab")
        save_project(Project(images, {"strokes": number}), own)
        say(f"done save {number}")


def paint_in_a_window(folder: Path) -> None:
    """Paint strokes in napari, which are saved for recovery a while later."""
    import napari
    from qtpy.QtCore import QTimer

    from napari_unet.project import recovery as folders
    from napari_unet.widgets.annotate.dock import AnnotateWidget

    recovery: Any = importlib.import_module("napari_unet.widgets.common.recovery")
    recovery._SAVE_DELAY_MS = SAVE_DELAY_MS
    setattr(folders, "user_data_path", lambda *_: folder)  # noqa: B010
    viewer = napari.Viewer()
    viewer.add_image(np.zeros(_LABELS_SHAPE, np.uint8), name="cells")
    viewer.window.add_dock_widget(AnnotateWidget(viewer), name="Annotate")
    layer = viewer.add_labels(np.zeros(_LABELS_SHAPE, np.uint16), name="paint")
    numbers, right = itertools.count(1), recovery.save_project

    def saving(project: Any, into: Path) -> None:
        say("at save_project")
        right(project, into)
        say(f"done save {project.images[0].labels.max()}")

    def stroke() -> None:
        wanted = strokes(next(numbers))
        where = np.nonzero(wanted != layer.data)
        layer.data_setitem(where, wanted[where])

    recovery.save_project = saving
    timer = QTimer()
    timer.timeout.connect(stroke)
    timer.start(100)
    napari.run()


def restore_in_a_window(folder: Path) -> None:
    """Start napari after a crash: what is offered is restored and written to restored.npy."""
    import napari

    from napari_unet.project import recovery as folders
    from napari_unet.widgets.annotate.dock import AnnotateWidget

    setattr(folders, "user_data_path", lambda *_: folder)  # noqa: B010
    viewer = napari.Viewer(show=False)
    widget = AnnotateWidget(viewer)
    say(f"done offered {'' if widget.recovery.isHidden() else widget.recovery.text.text()}")
    widget.recovery.restore()
    np.save(folder / "restored.npy", viewer.layers["paint"].data)
    say("done restore 1")
    time.sleep(0.1)
    os._exit(0)


if __name__ == "__main__":
    main()
