"""Functions compiled to machine code: what NumPy would need many passes for, done in one.

Modules that use this begin to compile when they are imported (about a second, once on a machine;
numba keeps the result on disk). So they are imported inside the functions that call them, and
nothing here may come along with ``import napari_unet``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

Taken = ParamSpec("Taken")
Given = TypeVar("Given")


def compiled(signature: str) -> Callable[[Callable[Taken, Given]], Callable[Taken, Given]]:
    """Compile a function for one set of types; it runs without Python's global lock.

    One signature, and arrays that are known to be contiguous, keep compiling short. Compiled
    code is kept beside the module, or in the user's cache folder where that may not be written;
    where neither can be, each process compiles anew.

    Parameters
    ----------
    signature : str
        In numba's words, for example ``"void(i4[:,::1], f4)"``.
    """

    def compile_it(function: Callable[Taken, Given]) -> Callable[Taken, Given]:
        try:
            return njit(signature, nogil=True, cache=True)(function)
        except (RuntimeError, OSError):  # no folder may be written, or the disk is full
            return njit(signature, nogil=True)(function)

    return compile_it
