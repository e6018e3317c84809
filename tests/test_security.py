"""Rules that every module keeps: nothing that was read is run, unpacked, or sent anywhere.

A few modules have a leave that names its conditions: one reads the weights of a PyTorch checkpoint
by torch's own reader of plain tensors, three look into zip archives, in memory, and one opens what
a client sent whom dask lets run functions anyway.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from package_source import MODULES, SOURCE, name_of, nodes_of

if TYPE_CHECKING:
    from pathlib import Path

RUNS_WHAT_IT_READS = {
    "eval", "exec", "compile", "__import__", "torch.load", "torch.jit.load", "torch.hub.load",
    "pickle.load", "pickle.loads", "cloudpickle.load", "cloudpickle.loads", "marshal.load",
    "marshal.loads", "shelve.open", "yaml.load", "yaml.unsafe_load", "os.system", "os.popen",
    "joblib.load", "runpy.run_path", "shutil.unpack_archive",
}  # fmt: skip
# Model packages and annotations: no entry is ever written to a disk, sizes are counted.
READS_ARCHIVES = {
    "external/package_files.py",
    "io/annotations/rois.py",
    "io/lazy.py",  # arrays of numbers, after a look at what they unpack to
}
# Chunks of a Zarr, cut off where they grow larger than their place.
READS_STREAMS = {"io/unpacking.py"}
# The exceptions, and why each runs nothing of others.
ALLOWED = {
    # state dicts of other programs: always with weights_only=True, torch is of 2.10 or newer
    "external/package_files.py": {"torch.load"},
    # what it has written itself a moment ago, under a name of its own
    "export/checks.py": {"torch.jit.load"},
    # what a client sent to a worker by dask, which opens pickles of that client itself
    "remote/parcels.py": {"pickle.loads"},
}
TUNNEL = SOURCE / "remote/ssh.py"
UNPACKS = {"zipfile", "tarfile", "gzip", "bz2", "lzma", "zipimport"}
TALKS = {"urllib", "urllib3", "requests", "http", "httpx", "aiohttp", "ftplib", "smtplib", "pooch"}


def calls_in(path: Path) -> list[ast.Call]:
    return [node for node in nodes_of(path) if isinstance(node, ast.Call)]


def called_in(path: Path) -> set[str]:
    """Return the dotted names of all that a module calls."""
    return {ast.unparse(call.func) for call in calls_in(path)}


def imported_in(path: Path) -> set[str]:
    """Return the top-level names of all that a module imports, anywhere in it."""
    found = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.fault(37)
def test_nothing_that_was_read_is_run() -> None:
    running = [
        name_of(path)
        for path in MODULES
        if (called_in(path) & RUNS_WHAT_IT_READS) - ALLOWED.get(name_of(path), set())
    ]
    assert running == []


@pytest.mark.fault(37)
def test_no_reader_of_pickles_is_imported() -> None:
    readers = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
    found = [name_of(path) for path in MODULES if imported_in(path) & readers]
    assert found == ["remote/parcels.py"]


@pytest.mark.fault(37)
def test_parcels_are_opened_only_where_a_run_begins() -> None:
    opening = [name_of(path) for path in MODULES if "unpack" in called_in(path)]
    assert opening == ["remote/jobs.py"]


@pytest.mark.fault(37)
def test_no_array_is_read_with_pickles() -> None:
    allowed = {
        ast.unparse(keyword.value)
        for path in MODULES
        for call in calls_in(path)
        for keyword in call.keywords
        if keyword.arg == "allow_pickle"
    }
    assert allowed == {"False"}


@pytest.mark.fault(37)
def test_the_one_place_that_reads_state_dicts_reads_weights_alone() -> None:
    calls = [
        call
        for call in calls_in(SOURCE / "external/package_files.py")
        if ast.unparse(call.func) == "torch.load"
    ]
    given = [{k.arg: ast.unparse(k.value) for k in call.keywords} for call in calls]
    assert [keywords["weights_only"] for keywords in given] == ["True"]


@pytest.mark.fault(37)
def test_no_torch_is_allowed_whose_reader_of_weights_had_holes() -> None:
    text = (SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    needed = next(line for line in text.splitlines() if line.strip().startswith('"torch>='))
    version = needed.split(">=")[1].split('"')[0].split(",")[0]
    assert tuple(map(int, version.split("."))) >= (2, 10)


@pytest.mark.fault(38)
def test_archives_are_opened_only_where_nothing_is_unpacked() -> None:
    opening = {name_of(path) for path in MODULES if imported_in(path) & UNPACKS}
    assert opening - READS_STREAMS <= READS_ARCHIVES
    others = {name: imported_in(SOURCE / name) & (UNPACKS - {"zipfile"}) for name in opening}
    assert {name for name, used in others.items() if used} == READS_STREAMS
    assert not any(others[name] & {"tarfile"} for name in READS_STREAMS)


@pytest.mark.fault(38)
def test_no_archive_is_unpacked() -> None:
    methods = {call.rpartition(".")[2] for path in MODULES for call in called_in(path)}
    assert not methods & {"extract", "extractall", "unpack_archive"}


@pytest.mark.fault(37)
def test_no_library_of_operations_is_given_to_onnxruntime() -> None:
    assert not any("custom_ops" in call for path in MODULES for call in called_in(path))


@pytest.mark.fault(50)
def test_nothing_talks_to_the_network() -> None:
    assert [name_of(path) for path in MODULES if imported_in(path) & TALKS] == []


@pytest.mark.fault(50)
def test_of_this_machine_only_its_name_is_asked() -> None:
    """To say whose lock it is; beside that the end of a tunnel of ssh is looked at, on this one."""
    calls = {call for path in MODULES if path != TUNNEL for call in called_in(path)}
    own = [ast.unparse(call) for call in calls_in(TUNNEL)]
    assert all("127.0.0.1" in call for call in own if call.startswith("socket."))
    assert {call for call in calls if call.startswith("socket.")} <= {"socket.gethostname"}


OFFLINE = """
import socket, sys
def refuse(*arguments, **options):
    raise AssertionError("it talks to the network")
for name in ("create_connection", "getaddrinfo", "gethostbyname"):
    setattr(socket, name, refuse)
socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
import numpy as np, tifffile
from napari_unet.cli import main
folder = sys.argv[1] + "/"
image = (np.arange(48 * 48) // 48 % 16 * 10).reshape(48, 48).astype(np.uint8)
tifffile.imwrite(folder + "a.tif", image)
tifffile.imwrite(folder + "b.tif", (image > 70) + np.uint8(1))
tiny = "--steps 2 --base-channels 2 --depth 2 --patch-size 32 --batch-size 2 --device cpu".split()
train = ["train", "--images", folder + "a.tif", "--labels", folder + "b.tif", "--output"]
assert main([*train, folder + "m", *tiny]) == 0
assert main(["predict", folder + "m.safetensors", folder + "a.tif", "--output", folder + "o"]) == 0
assert main(["predict", "cells", folder + "a.tif", "--output", folder + "p"]) == 0
"""


@pytest.mark.slow
@pytest.mark.fault(50)
def test_an_offline_machine_trains_and_predicts_and_has_its_starting_models(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(tmp_path)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
