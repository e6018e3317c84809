"""The window is really closed while work is under way, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from napari_unet.model.trained import load_network
from napari_unet.project.contents import MODEL_FILE
from napari_unet.project.folder import load_project
from napari_unet.training.checkpoint import load_state, state_path

CHECKOUT = Path(__file__).parents[2]
# Five seconds are to be held on an idle machine; this one may be busy.
MOST_SECONDS = 15
# Words of Qt, Python and torch about threads that were cut off.
OMINOUS = ("QThread", "Traceback", "wrapped C/C++", "Fatal", "terminate called", "Aborted")

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Ended:
    """How the program ended."""

    code: int
    said: str
    recovery: Path

    @property
    def seconds(self) -> float:
        """From the close until napari.run() returned."""
        return float(self.said.split("seconds ")[1].split()[0])


def closed(work: str, way: str, folder: Path) -> Ended:
    """Run napari, begin some work, close the window, wait for the end of the process."""
    environment = {
        **os.environ,
        "XDG_DATA_HOME": str(folder / "user data"),
        "NAPARI_CONFIG": str(folder / "settings.yaml"),
        "OMP_NUM_THREADS": "1",
    }
    result = subprocess.run(
        [sys.executable, "-m", "tests.widgets.window_program", work, way, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
        cwd=CHECKOUT,
        env=environment,
    )
    said = result.stdout + result.stderr
    assert "closing" in said, said
    recovery = Path(result.stdout.split("recovery ")[1].splitlines()[0])
    return Ended(result.returncode, said, recovery)


def assert_clean(ended: Ended) -> None:
    assert ended.code == 0, ended.said
    assert ended.seconds < MOST_SECONDS, ended.said
    assert not [word for word in OMINOUS if word in ended.said], ended.said


@pytest.mark.fault(2)
@pytest.mark.fault(47)
@pytest.mark.parametrize("way", ["close_viewer", "click_the_cross", "press_ctrl_w"])
def test_closing_while_it_trains_ends_the_program_and_keeps_paint_and_training(
    way: str, tmp_path: Path
) -> None:
    ended = closed("train_for_a_while", way, tmp_path)

    assert_clean(ended)
    load_network(ended.recovery / MODEL_FILE)
    assert load_state(state_path(ended.recovery / MODEL_FILE)).step > 0
    saved = load_project(ended.recovery).images[0].labels
    assert saved is not None
    assert saved.any()


@pytest.mark.fault(2)
def test_closing_in_the_first_second_of_a_training_ends_the_program(tmp_path: Path) -> None:
    assert_clean(closed("train_at_once", "close_viewer", tmp_path))


@pytest.mark.fault(3)
def test_closing_while_a_checkpoint_is_written_leaves_it_whole(tmp_path: Path) -> None:
    ended = closed("write_a_checkpoint", "close_viewer", tmp_path)

    assert_clean(ended)
    load_network(ended.recovery / MODEL_FILE)
    load_state(state_path(ended.recovery / MODEL_FILE))
    assert "unfinished 1" in ended.said
    assert not list(ended.recovery.glob(".*.tmp"))


@pytest.mark.fault(3)
def test_closing_while_a_file_is_predicted_leaves_no_result_that_looks_whole(
    tmp_path: Path,
) -> None:
    assert_clean(closed("predict_a_file", "click_the_cross", tmp_path))

    assert not (tmp_path / "result.zarr").exists()
    assert (tmp_path / "result.zarr.partial").exists()


@pytest.mark.fault(3)
@pytest.mark.parametrize(
    "work", ["predict_a_layer", "link_objects", "measure_objects", "load_a_model"]
)
def test_closing_during_other_work_ends_the_program(work: str, tmp_path: Path) -> None:
    assert_clean(closed(work, "close_viewer", tmp_path))
