"""Names of files as people read them: numbers in order, and which of two lists belong together."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    # Words and numbers of a name, one after the other
    Parts = tuple[str | int, ...]

_NUMBER = re.compile(r"([0-9]+)")
_PART = re.compile(r"[0-9]+|[A-Z]?[a-z]+|[A-Z]+|[^\W\d_]+")


def natural_key(name: str) -> tuple[str | int, ...]:
    """Return what sorts names so that numbers in them compare as numbers.

    Examples
    --------
    >>> sorted(["f10", "f2", "f1"], key=natural_key)
    ['f1', 'f2', 'f10']
    """
    parts = _NUMBER.split(name)  # text and numbers in turn: text is never compared with numbers
    return tuple(int(part) if at % 2 else part for at, part in enumerate(parts))


def pair_names(first: Sequence[str], second: Sequence[str]) -> dict[str, str]:
    """Find which names of two lists belong together; those without a partner are left out.

    Equal names do. Of the others one belongs to the name that contains it, word by word and number
    by number, with the least left over (``a_2`` to ``a_2_mask``, not to ``a_10_mask``), where each
    is the best for the other and no other is as good. Where no two names are equal and not all find
    a partner so, they belong together that differ from their own list in the same (``img2`` of
    ``img1 img2``, ``mask_02`` of ``mask_01 mask_02``).
    """
    others = set(second)
    same = {name: name for name in first if name in others}
    left = [name for name in first if name not in same]
    right = [name for name in second if name not in same]
    found = same | _contained(left, right)
    if same or len(found) == len(first) == len(second):
        return found
    differing = _differing_alike(first, second)
    return differing if len(differing) == len(first) == len(second) else found


def _contained(first: Sequence[str], second: Sequence[str]) -> dict[str, str]:
    """Pair each name with the one that contains it, or that it contains, if both are best."""
    left_over: dict[str, dict[str, int]] = {name: {} for name in (*first, *second)}
    for inner, outer in ((first, second), (second, first)):
        with_parts: dict[Parts, list[str]] = {}
        for name in inner:
            with_parts.setdefault(_parts(name), []).append(name)
        for name in outer:
            for other in {each for p in _pieces(_parts(name)) for each in with_parts.get(p, ())}:
                left_over[name][other] = left_over[other][name] = abs(len(name) - len(other))
    best = {name: _only_best(others) for name, others in left_over.items()}
    mutual = {name: best[name] for name in first if best.get(best[name] or "") == name}
    return {name: other for name, other in mutual.items() if other is not None}


def _parts(name: str) -> Parts:
    found = _PART.findall(name)
    return tuple(int(part) if part[0] in "0123456789" else part.casefold() for part in found)


def _pieces(parts: Parts) -> Iterator[Parts]:
    """Yield all that stands in a name in one piece."""
    for start in range(len(parts)):
        for stop in range(start + 1, len(parts) + 1):
            yield parts[start:stop]


def _only_best(left_over: Mapping[str, int]) -> str | None:
    """Return the name with the least left over; None where there is none, or another is as good."""
    least = min(left_over.values(), default=0)
    best = [name for name, left in left_over.items() if left == least]
    return best[0] if len(best) == 1 else None


def _differing_alike(first: Sequence[str], second: Sequence[str]) -> dict[str, str]:
    """Pair names that differ in the same from what all names of their list begin and end with."""
    mine, others = _differences(first), _differences(second)
    return {name: others[what] for what, name in mine.items() if what in others}


def _differences(names: Sequence[str]) -> dict[Parts, str]:
    """Return names by what is left of them without what all begin with, and then all end with."""
    rests = [_parts(name) for name in names]
    begun = _shared(rests)
    rests = [rest[begun:] for rest in rests]
    ended = _shared([rest[::-1] for rest in rests])
    return {rest[: len(rest) - ended]: name for rest, name in zip(rests, names, strict=True)}


def _shared(rests: Sequence[Parts]) -> int:
    """Return with how many parts, the same ones, all begin."""
    return len(list(itertools.takewhile(lambda at: len(set(at)) == 1, zip(*rests, strict=False))))
