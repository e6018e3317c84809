"""A disk that is really full while a training runs, and while sessions and results are saved."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.cli.progress import begin_history, logging_steps
from napari_unet.errors import FileProblemError
from napari_unet.io.files import write_image
from napari_unet.model.trained import load_network
from napari_unet.project.contents import Project, ProjectImage
from napari_unet.project.folder import load_project, save_project
from napari_unet.project.library import ModelLibrary
from napari_unet.project.recovery import new_recovery_folder
from napari_unet.run import Notice, Run
from napari_unet.training import loop
from napari_unet.training.checkpoint import save_checkpoint, saving_checkpoints
from napari_unet.training.events import StepDone

from .builders import cells, stopped_after, tiny_config

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.fault(33)
NOISE = np.random.default_rng(0).integers(0, 2**16, (1500, 1500)).astype(np.uint16)  # 4.5 MB


def fill(disk: Path) -> None:
    """Write until nothing more fits."""
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def drained(events: Generator[Any, None, Any]) -> tuple[list[Any], Any]:
    run = Run(events)
    return list(run), run.result


def test_a_training_goes_on_and_its_last_checkpoint_stays(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0.0)
    model = small_disk / "m.safetensors"
    config = tiny_config(steps=8)
    previous = stopped_after(2, config)
    save_checkpoint(previous.trained, previous.state, model)
    fill(small_disk)

    training = loop.train_network(cells(config), config, threading.Event())
    events, result = drained(saving_checkpoints(training, model))

    notices = [event.text for event in events if isinstance(event, Notice)]
    assert notices
    assert notices[0].startswith(
        "The training goes on, but its state was not saved: Disk full: m.safetensors needs "
    )
    assert result.state.step == 8
    assert load_network(model).record.steps == 2


def test_a_history_that_cannot_be_written_does_not_end_the_training(small_disk: Path) -> None:
    def steps() -> Generator[Any, None, str]:
        for number in range(1, 2000):
            yield StepDone(number, 0.5, 0.1, 1.0)
        return "trained"

    begin_history(small_disk / "h.csv", None)
    fill(small_disk)
    events, result = drained(logging_steps(steps(), small_disk / "h.csv"))

    (notice,) = [event.text for event in events if isinstance(event, Notice)]
    assert notice.startswith(
        "The training goes on, but its history ends here: Disk full: h.csv does not fit in "
    )
    assert result == "trained"


def test_a_project_that_does_not_fit_leaves_the_one_before(small_disk: Path) -> None:
    folder = small_disk / "p"
    save_project(Project((ProjectImage("a", labels=NOISE[:9, :9]),), {}), folder)
    with pytest.raises(FileProblemError) as caught:
        save_project(Project((ProjectImage("a", labels=NOISE),), {}), folder)
    assert str(caught.value).startswith(f"Disk full: project.json does not fit in {folder}, ")
    assert "The project saved there before was kept. Make room" in str(caught.value)
    labels = load_project(folder).images[0].labels
    assert labels is not None
    np.testing.assert_array_equal(labels, NOISE[:9, :9])
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 2


def test_a_result_that_does_not_fit_leaves_the_one_before(small_disk: Path) -> None:
    write_image(small_disk / "a.tif", NOISE[:9, :9], "YX")
    before = (small_disk / "a.tif").read_bytes()
    with pytest.raises(FileProblemError, match=r"Disk full: a\.tif does not fit in .* are free"):
        write_image(small_disk / "a.tif", NOISE, "YX")
    assert (small_disk / "a.tif").read_bytes() == before
    assert [path.name for path in small_disk.iterdir()] == ["a.tif"]


def test_the_library_and_the_recovery_say_that_the_disk_is_full(small_disk: Path) -> None:
    library = ModelLibrary(small_disk / "models")
    path = library.path_for("a")
    fill(small_disk)
    with pytest.raises(FileProblemError, match=r"Disk full: a\.png does not fit"):
        library.save_thumbnail(path, (NOISE[:96, :96] % 256).astype(np.uint8))
    assert not list(library.folder.iterdir())
    with pytest.raises(FileProblemError, match=r"saved for recovery: Disk full: "):
        new_recovery_folder(small_disk / "recovery")
