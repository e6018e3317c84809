"""Two napari processes that share the folders of models and of recovery, and a project."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from napari_unet.project import recovery
from napari_unet.project.folder import load_project
from napari_unet.project.library import ModelLibrary
from napari_unet.project.recovery import new_recovery_folder

pytestmark = pytest.mark.fault(8)

# Both save a model of the same name at the same moment: they wait for each other in between.
SAVE = """
import sys, threading, time
from pathlib import Path
from napari_unet.project.library import ModelLibrary
from napari_unet.widgets.common.model_work import store_model
from tests.widgets.test_predict import untrained
folder, me, other = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
library, model = ModelLibrary(folder / "models"), untrained()
for round in range(20):
    (folder / f"{me} {round}").touch()
    while not (folder / f"{other} {round}").exists():
        time.sleep(0.0005)
    store_model(library, model, "cells", None, threading.Event())
"""

# Autosaves again and again into a recovery folder of its own, and sweeps those of the dead.
AUTOSAVE = """
import sys, threading
from pathlib import Path
import numpy as np
from napari_unet.project.contents import Project, ProjectImage
from napari_unet.project.folder import load_project, save_project
from napari_unet.project.recovery import new_recovery_folder, sweep
root, value = Path(sys.argv[1]), int(sys.argv[2])
folder = new_recovery_folder(root)
painted = np.full((32, 32), value, np.uint16)
project = Project((ProjectImage("cells", image=painted, labels=painted),), {})
for _ in range(20):
    save_project(project, folder)
    sweep(root, keep=1)
    saved = load_project(folder).images[0].labels
    assert (saved == value).all()
print(folder)
"""

# Both save into one project folder at the same moment.
SAVE_A_PROJECT = """
import sys, time
from pathlib import Path
import numpy as np
from napari_unet.project.contents import Project, ProjectImage
from napari_unet.project.folder import save_project
folder, me, other = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
painted = np.full((64, 64), int(me), np.uint16)
project = Project((ProjectImage("cells", image=painted, labels=painted),), {"value": int(me)})
for round in range(20):
    (folder / f"{me} {round}").touch()
    while not (folder / f"{other} {round}").exists():
        time.sleep(0.0005)
    save_project(project, folder / f"project {round}")
"""


def two_programs(program: str, one: list[str], other: list[str]) -> list[str]:
    """Run a program twice at once; return what each printed."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for arguments in (one, other)
    ]
    ended = [each.communicate(timeout=120) for each in running]
    assert [each.returncode for each in running] == [0, 0], ended
    return [output for output, _ in ended]


@pytest.mark.slow
def test_two_programs_that_save_a_model_of_one_name_lose_none(tmp_path: Path) -> None:
    two_programs(SAVE, [str(tmp_path), "a", "b"], [str(tmp_path), "b", "a"])

    entries = ModelLibrary(tmp_path / "models").entries()
    assert len(entries) == 40
    assert len(list((tmp_path / "models").iterdir())) == 40


def test_two_programs_autosave_each_into_its_own_folder(tmp_path: Path) -> None:
    for _ in range(8):  # what the dead have left, for both to sweep
        recovery._let_go(new_recovery_folder(tmp_path))

    one, other = two_programs(AUTOSAVE, [str(tmp_path), "3"], [str(tmp_path), "4"])

    assert one != other


def test_of_two_programs_that_save_into_one_folder_one_wins_whole(tmp_path: Path) -> None:
    two_programs(SAVE_A_PROJECT, [str(tmp_path), "3", "4"], [str(tmp_path), "4", "3"])

    for number in range(20):
        project = load_project(tmp_path / f"project {number}")
        (saved,) = project.images
        assert project.problems == ()
        for array in (saved.image, saved.labels):
            assert (np.asarray(array) == project.settings["value"]).all()


def test_a_model_that_another_program_deleted_is_missing_in_words(tmp_path: Path) -> None:
    from napari_unet.errors import FileProblemError, ModelFileError
    from napari_unet.model.trained import load_network
    from napari_unet.widgets.common.model_work import store_model

    from .test_predict import untrained

    library = ModelLibrary(tmp_path)
    store_model(library, untrained(), "cells", None, threading.Event())
    shown = library.entries()[0]
    ModelLibrary(tmp_path).delete(shown)  # as the other program does

    with pytest.raises(FileProblemError, match="refresh the list"):
        library.rename(shown, "better cells")
    with pytest.raises(ModelFileError, match="cells"):
        load_network(shown.path)
    library.delete(shown)  # that it is gone is what was asked for
