"""Importing torch neither ends the program nor lets its window stand still."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from napari_unet.widgets.common import importing_torch
from napari_unet.widgets.common.importing_torch import keep_triton_apart, quietly

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone needs it")

IN_A_WINDOW = """
from pathlib import Path

import napari

from napari_unet.widgets.common.session import session_of

viewer = napari.Viewer()
session_of(viewer)
if "libLLVM" in Path("/proc/self/maps").read_text():
    print("LLVM", flush=True)
import triton

print("imported")
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of the name of Triton's library, which is never really loaded."""
    folder = tmp_path / "triton" / "_C"
    folder.mkdir(parents=True)
    library = folder / f"libtriton{EXTENSION_SUFFIXES[0]}"
    library.touch()
    others = [each for each in sys.meta_path if each is not importing_torch._TritonFinder]
    monkeypatch.setattr(sys, "meta_path", others)
    return library


@pytest.mark.fault(51)
def test_its_library_is_loaded_with_its_own_symbols_first(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def note_flags(self: ExtensionFileLoader, spec: Any) -> None:
        assert self.path == str(library)
        seen.append(sys.getdlopenflags())

    monkeypatch.setattr(ExtensionFileLoader, "create_module", note_flags)
    before = sys.getdlopenflags()
    keep_triton_apart()

    finder: Any = sys.meta_path[0]
    spec = finder.find_spec("triton._C.libtriton", [str(library.parent)])
    assert spec is not None
    assert spec.loader is not None
    spec.loader.create_module(spec)

    assert seen == [before | os.RTLD_DEEPBIND]
    assert sys.getdlopenflags() == before


def test_asking_twice_changes_nothing_more(library: Path) -> None:
    keep_triton_apart()
    once = list(sys.meta_path)
    keep_triton_apart()

    assert sys.meta_path == once


@pytest.mark.slow
@pytest.mark.fault(51)
@pytest.mark.skipif(find_spec("triton") is None, reason="torch came without Triton")
def test_triton_can_be_imported_beside_a_window() -> None:
    result = subprocess.run(
        [sys.executable, "-c", IN_A_WINDOW],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    if "LLVM" not in result.stdout:
        pytest.skip("the window is drawn without LLVM")
    assert "imported" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 0


def test_no_garbage_is_collected_until_the_last_one_has_imported() -> None:
    with quietly:
        with quietly:
            assert not gc.isenabled()
        assert not gc.isenabled()

    assert gc.isenabled()


def test_what_was_imported_is_no_more_gone_through_than_old_objects() -> None:
    with quietly:
        imported: list[object] = [[] for _ in range(100)]

    assert gc.get_freeze_count() == 0  # they are garbage one day, as all others
    young = {id(each) for each in gc.get_objects(generation=0)}
    assert not any(id(each) in young for each in imported)


LIBRARIES_FIRST = """
from pathlib import Path
from napari_unet.widgets.common import importing_torch
importing_torch._load_libraries()
print("libtorch_cpu" in Path("/proc/self/maps").read_text())
importing_torch.import_torch()
import torch
print(float(torch.ones(2).sum()))
"""


@pytest.mark.slow
def test_torch_is_imported_after_its_libraries() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIBRARIES_FIRST], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["True", "2.0"], done.stderr
