"""What all tests share: torch on one thread, which is fastest where tests run beside others."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


os.environ["NAPARI_CONFIG"] = ""  # nobody's own settings of napari are read or written

# A busy machine is no error: no deadline. `make test-all` tries all examples.
settings.register_profile("all", max_examples=100, deadline=None)
settings.register_profile("quick", max_examples=15, deadline=None)
settings.load_profile("quick")


# What a shell starts in the background ignores Ctrl+C, and so would the tests that press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# So does what nohup starts with a terminal that is closed.
if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """Leave what stays to the end out of the garbage that each window of a test collects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    import torch

    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True  # some tests want the same bits again, of a GPU too


@pytest.fixture(autouse=True)
def still_one_torch_thread() -> None:
    """Undo what a test before may have left: the last digit depends on the number of threads."""
    sys.modules["torch"].set_num_threads(1)


def _mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk is mounted as root on Linux only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB that is really full when it is full."""
    yield from _mounted(tmp_path / "small disk", "size=2m")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A disk that nobody may write to, not even root."""
    yield from _mounted(tmp_path / "read only", "size=1m,ro")
