"""What all tests share: torch on one thread, which is fastest where tests run beside others."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def still_one_torch_thread() -> None:
    """Undo what a test before may have left: the last digit depends on the number of threads."""
    sys.modules["torch"].set_num_threads(1)
