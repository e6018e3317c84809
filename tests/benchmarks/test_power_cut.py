"""A small form of the power cuts; ``benchmarks/power_cut.py`` is the large one."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from crash_scenes import SCENES
from power_cut import Disk, cuts_of, record

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD, NEW = b"o" * 1000, b"n" * 3000
WRITERS = {
    "ours": "from napari_unet.io.disk import replace_file; replace_file(path, new)",
    "no sync of the file": (
        "beside.write_bytes(new); os.replace(beside, path); folder = os.open('.', os.O_RDONLY); "
        "os.fsync(folder)"
    ),
    "no sync of the folder": (
        "file = beside.open('wb'); file.write(new); file.flush(); os.fsync(file.fileno()); "
        "os.replace(beside, path)"
    ),
    "in place": "path.write_bytes(new)",
}


def can_trace() -> bool:
    strace = shutil.which("strace")
    return (
        strace is not None
        and not subprocess.run(
            [strace, "-f", "--seccomp-bpf", "-e", "trace=write", "true"],
            capture_output=True,
            check=False,
        ).returncode
    )


pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not can_trace(), reason="needs strace, and the right to trace"
)


def found_after_cuts(writer: str, folder: Path) -> Iterator[tuple[bool, bytes]]:
    """Cut the power after each call of a writer; yield whether it was told, and what is there."""
    folder.mkdir()
    (folder / "a").write_bytes(OLD)
    disk = Disk(folder)
    program = (
        "import os; from pathlib import Path\n"
        f"path, beside, new = Path('a'), Path('b'), {NEW!r}\n"
        f"{writer}\n"
        "os.write(1, b'done\\n')"
    )
    told = False
    for number, call in enumerate(record([sys.executable, "-c", program], folder, "never", 1)):
        if call.descriptor == "1":
            told = True
        else:
            disk.take(call)
        for again in range(12):
            after = folder.with_name(f"after {number} {again}")
            disk.after_a_cut(after, random.Random(again))
            yield told, (after / "a").read_bytes() if (after / "a").exists() else b""
    assert told


def test_our_writer_leaves_the_old_file_or_the_new_one_and_what_is_told_is_there(
    tmp_path: Path,
) -> None:
    found = list(found_after_cuts(WRITERS["ours"], tmp_path / "f"))
    assert {content for told, content in found if not told} == {OLD, NEW}
    assert {content for told, content in found if told} == {NEW}


@pytest.mark.parametrize("name", ["no sync of the file", "no sync of the folder", "in place"])
def test_a_writer_that_is_not_careful_is_found_out(name: str, tmp_path: Path) -> None:
    found = list(found_after_cuts(WRITERS[name], tmp_path / "f"))
    torn = any(content not in (OLD, NEW) for _, content in found)
    lost = any(content != NEW for told, content in found if told)
    assert (torn, lost) == (name != "no sync of the folder", True)


@pytest.mark.slow
@pytest.mark.fault(60, 62)
@pytest.mark.parametrize("name", ["annotations", "saves", "training", "prediction"])
def test_after_a_power_cut_all_is_whole_and_what_was_safe_is_there(
    name: str, tmp_path: Path
) -> None:
    cuts = list(cuts_of(name, tmp_path, 3 if name == "prediction" else 12, random.Random(1)))
    assert [cut.problems for cut in cuts if cut.problems] == []
    assert any(cut.announced for cut in cuts)
    assert name in SCENES
