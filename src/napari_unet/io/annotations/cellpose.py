"""Cellpose's ``_seg.npy``: the masks in it, without running the pickle that it is.

A pickle is a program for a small machine that can call any function. Here its instructions are
listed (`pickletools` only takes them apart), and of those that build numbers, texts, lists,
dictionaries and NumPy arrays the result is put together. Nothing is imported, and nothing named
in the file is called: whatever else the program wants to make becomes an `Opaque` that stands for
it.
"""

from __future__ import annotations

import math
import pickletools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import FileProblemError
from napari_unet.io.disk import megabytes, short_reason
from napari_unet.io.lazy import npy_header
from napari_unet.io.limits import check_regular

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Memo = dict[int, Any]

_LARGEST = 2**33  # bytes; images, masks and flows are all in it
_REMEDY = "In Cellpose save the masks as PNG/TIF (Ctrl+N or Ctrl+T), and open that"
_MOST_RECORDS = 20_000_000
_MOST_AXES = 32
_PLAIN_DTYPE = re.compile(r"[biuf]\d{1,2}")
_ARRAYS = {
    f"{module} _reconstruct"
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.multiarray")
}
_MARK = object()  # on the stack, where a list of items begins


def is_seg(path: Path) -> bool:
    """Return whether a file is named and begins like Cellpose's."""
    if not path.name.lower().endswith("_seg.npy") or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return _is_one_object(file)
    except Exception:  # NumPy reads headers as Python's literals: damaged ones raise anything
        return False


def read_seg(path: Path) -> NDArray[np.integer[Any]]:
    """Read the masks of a ``_seg.npy``: ``YX`` or ``ZYX``, 0 background.

    A file that is damaged, or holds no masks of whole numbers, raises FileProblemError.
    """
    check_regular(path)
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise ValueError(f"it has {megabytes(size)}")
        with path.open("rb") as file:
            if not _is_one_object(file):
                raise ValueError("it is an array, not what Cellpose writes")
            return _masks_in(look_into(file.read()))
    except Exception as error:  # see is_seg
        raise FileProblemError(
            f"Cannot read {path} as Cellpose's: {short_reason(error)}. {_REMEDY}."
        ) from error


def _is_one_object(file: Any) -> bool:
    """Read the header of a NumPy file; return whether one pickled object follows."""
    shape, _, dtype = npy_header(file)
    return bool(dtype.hasobject and shape == ())


def _masks_in(found: Any) -> NDArray[np.integer[Any]]:
    items = items_in(found)
    content = items[0] if items and len(items) == 1 else None
    if not isinstance(content, dict) or "masks" not in content:
        raise ValueError("it holds no masks")
    masks = array_in(content["masks"])
    if masks is None:
        raise ValueError("its masks are no array of numbers")
    if masks.dtype.kind not in "biu" or masks.ndim not in (2, 3) or not masks.size:
        raise ValueError(f"its masks are {masks.dtype} of shape {masks.shape}")
    if masks.dtype.kind == "i" and masks.min() < 0:
        raise ValueError(f"a mask has the number {masks.min()}")
    return np.array(masks, masks.dtype.newbyteorder("=") if masks.dtype.kind != "b" else np.uint8)


@dataclass
class Opaque:
    """What a pickle would make, and nobody makes here."""

    name: str
    """Module and name of the function that it would call; the name itself where it calls none."""
    arguments: Any = None
    """What that would be given, as `state`."""
    state: Any = None


def look_into(data: bytes) -> Any:
    """Return what a pickle describes.

    Numbers, texts, bytes, lists, tuples and dictionaries with keys of text or number; `Opaque` for
    all else, arrays too: `array_in` makes one of it. Raises ValueError if it is damaged, or of a
    kind that is not known here.
    """
    stack: list[Any] = []
    memo: Memo = {}
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count > _MOST_RECORDS:
                raise ValueError(f"it has more than {_MOST_RECORDS} records")
            if opcode.name == "STOP":
                return stack[-1]
            _obey(opcode.name, stack, memo, argument)
    except (IndexError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"its records do not fit together ({error})") from error
    raise ValueError("its end is missing")


def array_in(found: Any) -> NDArray[Any] | None:
    """Return the array that an `Opaque` stands for, or None where it stands for none.

    An array whose shape, type and bytes do not fit together raises ValueError.
    """
    if not isinstance(found, Opaque) or found.name not in _ARRAYS:
        return None
    if not isinstance(found.state, tuple) or len(found.state) != 5:
        raise ValueError("an array has no content")
    _, shape, kind, by_column, content = found.state
    dtype = _dtype_in(kind)
    if dtype is None or not isinstance(content, bytes):
        return None
    if not _is_shape(shape):
        raise ValueError("an array has no shape")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"an array of shape {shape} has {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if by_column else "C")


def _is_shape(found: Any) -> bool:
    """Return whether this is a shape; what is none is never put into words (see `_reduce`)."""
    is_short = isinstance(found, tuple) and len(found) <= _MOST_AXES
    return is_short and all(type(size) is int and 0 <= size < 2**63 for size in found)


def items_in(found: Any) -> list[Any] | None:
    """Return the items of an array of objects, or None where it is none."""
    if not isinstance(found, Opaque) or found.name not in _ARRAYS:
        return None
    state = found.state
    is_objects = isinstance(state, tuple) and len(state) == 5 and isinstance(state[4], list)
    return list(state[4]) if is_objects else None


def _dtype_in(kind: Any) -> np.dtype[Any] | None:
    if not isinstance(kind, Opaque) or kind.name != "numpy dtype":
        return None
    code = kind.arguments[0] if isinstance(kind.arguments, tuple) and kind.arguments else None
    if not isinstance(code, str) or not _PLAIN_DTYPE.fullmatch(code):
        return None
    order = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "|"
    return np.dtype((order if order in ("<", ">") else "") + code)


# --- The instructions: what each does with the stack, and with what was remembered by number -----


def _obey(name: str, stack: list[Any], memo: Memo, argument: Any) -> None:
    if name in _VALUES:
        stack.append(_VALUES[name])
    elif name in _NEW:
        stack.append(_NEW[name]())
    elif name in _GIVEN:
        stack.append(argument)
    elif name in _TUPLES:
        stack.append(_taken(stack, _TUPLES[name]))
    elif name in _REMEMBERING:
        memo[len(memo) if argument is None else argument] = stack[-1]
    elif name in _RECALLING:
        stack.append(memo[argument])
    elif name in _ACTIONS:
        _ACTIONS[name](stack, argument)
    elif name not in ("PROTO", "FRAME"):
        raise ValueError(f"it has a record of the kind {name}")


def _taken(stack: list[Any], count: int) -> tuple[Any, ...]:
    """Take the topmost items from the stack."""
    if count > len(stack):
        raise ValueError("its stack is empty")
    items = tuple(stack[-count:])
    del stack[-count:]
    return items


def _since_mark(stack: list[Any]) -> list[Any]:
    """Take all items above the last mark, and the mark, from the stack."""
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _append(stack: list[Any], items: list[Any]) -> None:
    if isinstance(stack[-1], list):
        stack[-1].extend(items)


def _set_items(stack: list[Any], items: list[Any]) -> None:
    target = stack[-1]
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(target, dict) and isinstance(key, str | int | float | bytes | None):
            target[key] = value


def _reduce(stack: list[Any], _: Any) -> None:
    """Call nothing, but turn a text into the bytes that old protocols write as one.

    Only a text: lists may hold each other many times over, and put into words they fill the
    memory.
    """
    function, arguments = _taken(stack, 2)
    name = function.name if isinstance(function, Opaque) and function.arguments is None else "?"
    match arguments:
        case (str(text), "latin1") if name == "_codecs encode":
            stack.append(text.encode("latin1"))
        case _:
            stack.append(Opaque(name, arguments))


def _build(stack: list[Any], _: Any) -> None:
    (state,) = _taken(stack, 1)
    if isinstance(stack[-1], Opaque):
        stack[-1].state = state


def _stack_global(stack: list[Any], _: Any) -> None:
    module, name = _taken(stack, 2)
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("it names a function by what is no text")
    stack.append(Opaque(f"{module} {name}"))


_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": _MARK}
_NEW: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": lambda: Opaque("set"),
}
_GIVEN = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT", "FLOAT"),
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("SHORT_BINSTRING", "BINSTRING", "STRING"),
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_REMEMBERING = {"MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"}
_RECALLING = {"BINGET", "LONG_BINGET", "GET"}
_ACTIONS: dict[str, Callable[[list[Any], Any], Any]] = {
    "POP": lambda stack, _: stack.pop(),
    "POP_MARK": lambda stack, _: _since_mark(stack),
    "DUP": lambda stack, _: stack.append(stack[-1]),
    "TUPLE": lambda stack, _: stack.append(tuple(_since_mark(stack))),
    "LIST": lambda stack, _: stack.append(_since_mark(stack)),
    "APPEND": lambda stack, _: _append(stack, list(_taken(stack, 1))),
    "APPENDS": lambda stack, _: _append(stack, _since_mark(stack)),
    "SETITEM": lambda stack, _: _set_items(stack, list(_taken(stack, 2))),
    "SETITEMS": lambda stack, _: _set_items(stack, _since_mark(stack)),
    "ADDITEMS": lambda stack, _: _since_mark(stack),
    "GLOBAL": lambda stack, name: stack.append(Opaque(str(name))),
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "BUILD": _build,
}
