"""Import torch, and what comes with it, beside a window.

Two LLVMs must not meet: Triton (3.7) exports the symbols of the LLVM that it contains. Where the
window is drawn by a Mesa driver that uses LLVM (without a graphics card, over a remote desktop, on
cards of AMD), that driver's LLVM is there first, and the linker ties Triton to it: the process ends
with a segmentation fault as soon as torch imports Triton, which is when an optimiser is made.

And the window must not stand still, though a worker imports: Python's lock is held while a library
is loaded (half a second for torch's), and whenever the garbage collector goes through all objects,
of which there are more and more (a third of a second, several times).
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import types
    from collections.abc import Sequence

_LIBRARY = "triton._C.libtriton"


class _TritonFinder:
    """Finds Triton's library as Python does, and has it loaded by `_DeepLoader`."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _LIBRARY:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, ExtensionFileLoader):
            spec.loader = _DeepLoader(name, spec.loader.path)
        return spec


class _DeepLoader(ExtensionFileLoader):
    """Loads a library that prefers its own symbols to those of the process."""

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        flags = sys.getdlopenflags()
        sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
        try:
            return super().create_module(spec)
        finally:
            sys.setdlopenflags(flags)


def keep_triton_apart() -> None:
    """Let Triton, should anybody import it from now on, use its own LLVM; Linux alone needs it.

    A library that another thread loads at the same time prefers its own symbols as well.
    """
    if sys.platform == "linux" and hasattr(os, "RTLD_DEEPBIND"):
        if _TritonFinder not in sys.meta_path:
            sys.meta_path.insert(0, _TritonFinder)


class _Quietly:
    """No garbage is collected meanwhile; any threads may be inside."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._collected = True

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._collected = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._collected:
                # All are old objects now, without being gone through: modules are no garbage.
                gc.freeze()
                gc.unfreeze()
                gc.enable()


quietly: Final = _Quietly()


def import_torch() -> None:
    """Import torch in a worker thread, while the window goes on."""
    with quietly:
        if "torch" not in sys.modules and sys.platform == "linux":
            _load_libraries()
        import torch  # noqa: F401


def _load_libraries() -> None:
    """Load torch's libraries as it does itself, but by a call that lets other threads run.

    What fails here is left to the import.
    """
    found, load = find_spec("torch"), getattr(ctypes.CDLL(None), "dlopen", None)
    if found is None or found.origin is None or load is None:
        return
    load.argtypes, load.restype = [ctypes.c_char_p, ctypes.c_int], ctypes.c_void_p
    folder = Path(found.origin).parent / "lib"
    needed, itself = (os.fsencode(folder / f"libtorch{part}.so") for part in ("_global_deps", ""))
    if load(needed, os.RTLD_NOW | os.RTLD_GLOBAL):
        load(itself, os.RTLD_NOW)
