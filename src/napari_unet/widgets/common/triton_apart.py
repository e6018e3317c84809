"""Keep two LLVMs in one process apart: that of OpenGL drivers, and that of torch's Triton.

Triton (3.7) exports the symbols of the LLVM that it contains. Where the window is drawn by a Mesa
driver that uses LLVM (without a graphics card, over a remote desktop, on cards of AMD), that
driver's LLVM is there first, and the linker ties Triton to it: the process ends with a
segmentation fault as soon as torch imports Triton, which is when an optimiser is made.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from typing import TYPE_CHECKING

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
