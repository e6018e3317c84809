"""Check the licences of what napari-unet-paint requires, and of what that requires in turn.

GPL and AGPL are refused, LGPL is named, and a package that does not tell its licence is an error.
Extras and tools do not count: nobody needs them to use the package.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import TYPE_CHECKING, cast

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message

PROJECT = "napari-unet-paint"
# Packages without licence metadata, with what their licence file says.
TOLD_ELSEWHERE: dict[str, str] = {}

_LESSER = re.compile(r"\bLGPL|lesser general public|library general public", re.IGNORECASE)
_REFUSED = re.compile(r"\bA?GPL|(affero|gnu) general public", re.IGNORECASE)
_ALTERNATIVE = re.compile(r"\s+OR\s+")
_LONGEST = 200  # some packages put the whole text there


@dataclass(frozen=True)
class Finding:
    """What is said about a package.

    Parameters
    ----------
    name, licence : str
        The package and its licence, as its metadata tells it.
    problem : str
        Why it cannot be required; "" where it can.
    notice : str
        What one should know about it; "" if nothing.
    """

    name: str
    licence: str
    problem: str = ""
    notice: str = ""


def required(
    name: str,
    extras: frozenset[str] = frozenset(),
    find: Callable[[str], Distribution | None] = distribution,
) -> Iterator[Distribution]:
    """Yield the distributions that one requires on this platform, and those they require.

    Parameters
    ----------
    name : str
        The distribution, which is not among them.
    extras : frozenset of str
        Those of its extras that count too.
    find : callable
        Looks one up; what it returns None for is passed over.

    Raises
    ------
    PackageNotFoundError
        One is not installed: what is not there cannot be checked.
    """
    waiting = [(name, extras)]
    seen, yielded = set(waiting), {canonicalize_name(name)}
    while waiting:
        wanted, its_extras = waiting.pop()
        found = find(wanted)
        if found is None:
            continue
        if canonicalize_name(wanted) not in yielded:
            yielded.add(canonicalize_name(wanted))
            yield found
        for text in found.requires or ():
            requirement = Requirement(text)
            asked = (str(canonicalize_name(requirement.name)), frozenset(requirement.extras))
            applies = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in its_extras | {""}
            )
            if applies and asked not in seen:
                seen.add(asked)
                waiting.append(asked)


def licence_of(found: Distribution) -> str:
    """Return what a distribution says about its licence: expression, classifiers, or free text."""
    metadata = cast("Message", found.metadata)  # which it is; its own type lacks half of that
    expression = str(metadata.get("License-Expression") or "")
    classifiers = [
        text.split("::")[-1].strip()
        for text in metadata.get_all("Classifier") or ()
        if text.startswith("License ::") and text.count("::") > 1
    ]
    free = str(metadata.get("License") or "").strip()
    free = "" if free.upper() == "UNKNOWN" else free[:_LONGEST].splitlines()[0] if free else ""
    return expression or ", ".join(classifiers) or free


def judge(name: str, licence: str) -> Finding:
    """Say whether a package of this licence can be required."""
    licence = licence or TOLD_ELSEWHERE.get(str(canonicalize_name(name)), "")
    if not licence:
        return Finding(name, licence, "its metadata tell no licence; look it up and list it")
    lesser = [bool(_LESSER.search(choice)) for choice in _ALTERNATIVE.split(licence)]
    refused = [bool(_REFUSED.search(_LESSER.sub("", c))) for c in _ALTERNATIVE.split(licence)]
    if all(refused):
        return Finding(
            name, licence, f"it is under {licence}, and would bind who uses this package"
        )
    free = any(not (a or b) for a, b in zip(lesser, refused, strict=True))
    return Finding(name, licence, notice="" if free else f"it is under {licence}")


def main() -> int:
    """Check everything; return the exit code."""
    try:
        findings = [judge(d.metadata["Name"], licence_of(d)) for d in required(PROJECT)]
    except PackageNotFoundError as error:
        print(f"Licences: {error.name} is not installed, so it cannot be checked.", file=sys.stderr)
        return 1
    for each in sorted(findings, key=lambda f: f.name.casefold()):
        if each.problem:
            print(f"Licences: {each.name} cannot be required: {each.problem}.", file=sys.stderr)
        elif each.notice:
            print(f"Licences: {each.name}: {each.notice}.")
    refused = sum(bool(each.problem) for each in findings)
    print(f"Licences: {len(findings)} required packages, {refused} refused.")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
