"""Damage done by chance, from a seed: to bytes, to JSON, and to arguments."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

# What programs trip over.
NUMBERS = (0, 1, -1, 2, 255, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 10**30, 1e308, 0.5)
TEXTS = (
    "", " ", "x" * 300, "x" * 10_000, "../../outside", "/etc/passwd", "C:\\windows", "a\0b",
    "a\nb", "\ud800", "細胞 🔬", "<img src=x onerror=1>", "%s%n", "nan", "os.system", "__class__",
    "[" * 5000,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *NUMBERS, *TEXTS, None, True, False, float("nan"), float("inf"), -float("inf"),
    [], {}, [[]], {"a": {}}, [1, 2, 3], [-1] * 50, {"file": "../x", "shape": [2]},
)  # fmt: skip


def changed_bytes(content: bytes, chance: random.Random) -> bytes:
    """Flip, cut, repeat, insert or overwrite bytes, one to four times."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        length = chance.choice((1, 1, 2, 4, 8, 64))
        way = chance.randrange(6)
        if way == 0 and at < len(data):
            data[at] ^= chance.randint(1, 255)
        elif way == 1:
            del data[at : at + length]
        elif way == 2:
            del data[at:]
        elif way == 3:
            data[at:at] = data[at : at + length] * chance.randint(1, 3)
        elif way == 4:
            data[at:at] = chance.randbytes(length)
        else:
            number = int(chance.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)))
            data[at : at + 8] = number.to_bytes(8, chance.choice(("little", "big")))
    return bytes(data)


def changed_json(content: Any, chance: random.Random) -> Any:
    """Replace, remove, add or rename one to three values of a JSON document, at any depth."""
    changed = {"root": copy.deepcopy(content)}
    for _ in range(chance.randint(1, 3)):
        holder, key = chance.choice(list(_places(changed)))
        way = chance.randrange(5)
        if way == 0 and holder is not changed:
            del holder[key]
        elif way == 1 and isinstance(holder, dict) and holder is not changed:
            holder[chance.choice(TEXTS)] = holder.pop(key)
        elif way == 2 and isinstance(holder, list):
            holder.insert(0, copy.deepcopy(holder[key]))
        else:
            holder[key] = copy.deepcopy(chance.choice(VALUES))
    return changed["root"]


def _places(holder: Any) -> Any:
    """Yield every (container, key) of a document."""
    keys = list(holder) if isinstance(holder, dict) else range(len(holder))
    for key in keys:
        yield holder, key
        if isinstance(holder[key], dict | list):
            yield from _places(holder[key])


def changed_text(content: Any, chance: random.Random) -> str:
    """Return a changed document as text, now and then with damage that no document has."""
    text = json.dumps(changed_json(content, chance))
    way = chance.randrange(12)
    if way == 0:
        return text[: chance.randrange(len(text) + 1)]
    if way == 1:
        return "[" * 100_000
    if way == 2:
        return '{"a":' * 5_000 + text + "}" * 5_000
    return text
