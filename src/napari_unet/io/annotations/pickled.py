"""Look into a pickle without running it: a small reader of the records that arrays are made of.

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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_MOST_RECORDS = 20_000_000
_MOST_AXES = 32
_PLAIN_DTYPE = re.compile(r"[biuf]\d{1,2}")
_ARRAYS = {
    f"{module} _reconstruct"
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.multiarray")
}


@dataclass
class Opaque:
    """What a pickle would make, and nobody makes here.

    Parameters
    ----------
    name : str
        Module and name of the function that it would call; the name itself where it calls none.
    arguments, state : object
        What that would be given.
    """

    name: str
    arguments: Any = None
    state: Any = None


@dataclass
class _Machine:
    """The stack, the marks in it, and what was remembered by number."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def last(self, count: int) -> tuple[Any, ...]:
        if count > len(self.stack):
            raise ValueError("its stack is empty")
        items = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return items


def look_into(data: bytes) -> Any:
    """Return what a pickle describes.

    Parameters
    ----------
    data : bytes
        The pickle.

    Returns
    -------
    object
        Numbers, texts, bytes, lists, tuples and dictionaries with keys of text or number;
        `Opaque` for all else, arrays too: `array_in` makes one of it.

    Raises
    ------
    ValueError
        It is damaged, or of a kind that is not known here.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count > _MOST_RECORDS:
                raise ValueError(f"it has more than {_MOST_RECORDS} records")
            if opcode.name == "STOP":
                return machine.stack[-1]
            _obey(machine, opcode.name, argument)
    except (IndexError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"its records do not fit together ({error})") from error
    raise ValueError("its end is missing")


def array_in(found: Any) -> NDArray[Any] | None:
    """Return the array that an `Opaque` stands for, or None where it stands for none.

    Raises
    ------
    ValueError
        It is an array whose shape, type and bytes do not fit together.
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


def _obey(machine: _Machine, name: str, argument: Any) -> None:
    """Follow one instruction."""
    if name in _VALUES:
        machine.stack.append(_VALUES[name])
    elif name in _NEW:
        machine.stack.append(_NEW[name]())
    elif name in _GIVEN:
        machine.stack.append(argument)
    elif name in _ACTIONS:
        _ACTIONS[name](machine, argument)
    elif name not in ("PROTO", "FRAME"):
        raise ValueError(f"it has a record of the kind {name}")


def _remember(machine: _Machine, number: int | None) -> None:
    machine.memo[len(machine.memo) if number is None else number] = machine.stack[-1]


def _make_tuple(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.stack.append(machine.last(count))


def _append(machine: _Machine, items: list[Any]) -> None:
    if isinstance(machine.stack[-1], list):
        machine.stack[-1].extend(items)


def _set_items(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(target, dict) and isinstance(key, str | int | float | bytes | None):
            target[key] = value


def _reduce(machine: _Machine, _: Any) -> None:
    """Call nothing, but turn a text into the bytes that old protocols write as one.

    Only a text: lists may hold each other many times over, and put into words they fill the
    memory.
    """
    function, arguments = machine.last(2)
    name = function.name if isinstance(function, Opaque) and function.arguments is None else "?"
    match arguments:
        case (str(text), "latin1") if name == "_codecs encode":
            machine.stack.append(text.encode("latin1"))
        case _:
            machine.stack.append(Opaque(name, arguments))


def _build(machine: _Machine, _: Any) -> None:
    (state,) = machine.last(1)
    if isinstance(machine.stack[-1], Opaque):
        machine.stack[-1].state = state


def _stack_global(machine: _Machine, _: Any) -> None:
    module, name = machine.last(2)
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("it names a function by what is no text")
    machine.stack.append(Opaque(f"{module} {name}"))


_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
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
_ACTIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "MEMOIZE": lambda machine, _: _remember(machine, None),
    "BINPUT": _remember,
    "LONG_BINPUT": _remember,
    "PUT": _remember,
    "BINGET": lambda machine, number: machine.stack.append(machine.memo[number]),
    "LONG_BINGET": lambda machine, number: machine.stack.append(machine.memo[number]),
    "GET": lambda machine, number: machine.stack.append(machine.memo[number]),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.since_mark())),
    "TUPLE1": _make_tuple(1),
    "TUPLE2": _make_tuple(2),
    "TUPLE3": _make_tuple(3),
    "LIST": lambda machine, _: machine.stack.append(machine.since_mark()),
    "APPEND": lambda machine, _: _append(machine, list(machine.last(1))),
    "APPENDS": lambda machine, _: _append(machine, machine.since_mark()),
    "SETITEM": lambda machine, _: _set_items(machine, list(machine.last(2))),
    "SETITEMS": lambda machine, _: _set_items(machine, machine.since_mark()),
    "ADDITEMS": lambda machine, _: machine.since_mark(),
    "GLOBAL": lambda machine, name: machine.stack.append(Opaque(str(name))),
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "BUILD": _build,
}
