"""Rules that every module keeps: nothing that was read is run, unpacked, or sent anywhere."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "napari_unet"
MODULES = sorted(SOURCE.rglob("*.py"))
RUNS_WHAT_IT_READS = {
    "eval", "exec", "compile", "__import__", "torch.load", "torch.jit.load", "torch.hub.load",
    "pickle.load", "pickle.loads", "cloudpickle.load", "cloudpickle.loads", "marshal.load",
    "marshal.loads", "shelve.open", "yaml.load", "yaml.unsafe_load", "os.system", "os.popen",
    "joblib.load", "runpy.run_path", "shutil.unpack_archive",
}  # fmt: skip
# Each reads archives in memory, with caps of its own, and writes nothing of them to a disk.
READS_ARCHIVES = {"formats/zipped.py"}
UNPACKS = {"zipfile", "tarfile", "gzip", "bz2", "lzma", "zipimport"}
TALKS = {"urllib", "urllib3", "requests", "http", "httpx", "aiohttp", "ftplib", "smtplib", "pooch"}


def ids(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def tree_of(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


def calls_in(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]


def imported_in(path: Path) -> set[str]:
    """Return the top-level names of all that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.fault(37)
@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_nothing_that_was_read_is_run(path: Path) -> None:
    calls = {ast.unparse(call.func) for call in calls_in(path)}
    assert not calls & RUNS_WHAT_IT_READS
    assert not imported_in(path) & {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}


@pytest.mark.fault(37)
@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_no_array_is_read_with_pickles(path: Path) -> None:
    allowed = [
        ast.unparse(keyword.value)
        for call in calls_in(path)
        for keyword in call.keywords
        if keyword.arg in ("allow_pickle", "weights_only")
    ]
    assert set(allowed) <= {"False"}


@pytest.mark.fault(38)
@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_no_archive_is_unpacked(path: Path) -> None:
    calls = {ast.unparse(call.func).rpartition(".")[2] for call in calls_in(path)}
    assert not calls & {"extract", "extractall"}
    if ids(path) not in READS_ARCHIVES:
        assert not imported_in(path) & UNPACKS


@pytest.mark.fault(50)
@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_nothing_talks_to_the_network(path: Path) -> None:
    assert not imported_in(path) & TALKS
    # of this machine the name alone, to tell whose lock it is
    sockets = {
        ast.unparse(call.func)
        for call in calls_in(path)
        if ast.unparse(call.func).startswith("socket.")
    }
    assert sockets <= {"socket.gethostname"}


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


@pytest.mark.fault(50)
def test_an_offline_machine_trains_and_predicts_and_has_its_starting_models(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(tmp_path)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
