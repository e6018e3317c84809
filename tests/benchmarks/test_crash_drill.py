"""A small form of the crash recovery drill; ``benchmarks/crash_drill.py`` is the large one."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest
from crash_drill import report, run_scene
from crash_scenes import SCENES, lost_strokes
from crash_victims import strokes

from napari_unet.project.contents import Project, ProjectImage
from napari_unet.project.folder import save_project

KILLS = {"training": 2, "prediction": 2, "annotations": 4}
slow = pytest.mark.slow
kills = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")


@slow
@kills
@pytest.mark.fault(34)
@pytest.mark.parametrize("name", KILLS)
def test_what_was_safe_is_there_after_a_kill(name: str, tmp_path: Path) -> None:
    scene = SCENES[name]()
    scene.late = 1.0  # soon
    found = list(run_scene(scene, tmp_path, KILLS[name], random.Random(1)))
    assert len(found) == KILLS[name]
    assert [kill.problems for kill in found if kill.problems] == []


@slow
@kills
@pytest.mark.fault(47)
def test_what_was_painted_in_a_window_that_was_killed_is_offered_and_restored(
    tmp_path: Path,
) -> None:
    scene = SCENES["window"]()
    scene.moments, scene.late = ("done save",), 1e-9  # the first one
    (kill,) = run_scene(scene, tmp_path, 1, random.Random(0))
    assert int(kill.announced) >= 1
    assert kill.problems == ()


def test_the_drill_notices_strokes_that_are_lost(tmp_path: Path) -> None:
    save_project(Project((ProjectImage("a", labels=strokes(3)),), {}), tmp_path)
    assert list(lost_strokes(tmp_path, 3)) == []
    assert list(lost_strokes(tmp_path, 4)) == ["3 strokes are there, 4 were safe"]


def test_the_drill_notices_strokes_that_are_others(tmp_path: Path) -> None:
    labels = strokes(3)
    labels[np.nonzero(labels == 3)[0][0]] = 0
    save_project(Project((ProjectImage("a", labels=labels),), {}), tmp_path)
    (told,) = lost_strokes(tmp_path, 1)
    assert "is not that of 3 strokes" in told


def test_the_drill_notices_a_project_that_is_gone(tmp_path: Path) -> None:
    (told,) = lost_strokes(tmp_path, 1)
    assert "Cannot read the project" in told


def test_a_report_of_nothing_is_a_table() -> None:
    record, text = report([], seed=1, seconds=2.0)
    assert '"kills": []' in record
    assert "| training | 0 | 0 | 0 |" in text
