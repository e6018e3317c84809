"""Check what is in the wheel and in the sdist before they are published.

    python scripts/check_archives.py dist/ [WHEEL_BUILT_DIRECTLY]

The first is the folder that ``python -m build`` wrote (one sdist, one wheel that was made from it).
The second, if given, must hold the same files, byte by byte: what is published can be rebuilt.
"""

from __future__ import annotations

import re
import stat
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.policy import compat32
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = "napari_unet"
LARGEST_WHEEL = 14_000_000  # bytes; most of it are starting weights
LARGEST_SDIST = 15_000_000
# What a wheel holds beside Python, as patterns of the path in the wheel.
BESIDE_PYTHON = (
    "napari_unet/py.typed",
    "napari_unet/napari.yaml",
    "napari_unet/icon.svg",
    "napari_unet/model/weights/*",
    "napari_unet/sample_data/*",
    "*.dist-info/*",
    "*.dist-info/licenses/*",
    "*.dist-info/licenses/sample_data/*",
)
LICENCES = (
    "LICENSE",
    "sample_data/LICENSE-stardist.txt",
    "sample_data/LICENSE-usiigaci.txt",
)
SDIST_NEEDS = (
    "pyproject.toml", "hatch_build.py", "napari.yaml", "LICENSE", "README.md", "DESCRIPTION.md",
    "CHANGELOG.md", "src/napari_unet/__init__.py", "tests/conftest.py",
)  # fmt: skip
PICTURES = (".gif", ".jpg", ".png")
_QT = re.compile(r"(pyqt\d|pyside\d|napari)\b(?!-)", re.IGNORECASE)
_LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]*)[^)]*\)|<img[^>]*src=\"([^\"]*)\"")


def wheel_problems(wheel: Path) -> Iterator[str]:
    """Yield what is wrong with a wheel, a sentence each.

    Parameters
    ----------
    wheel : Path
        The file.
    """
    if wheel.stat().st_size > LARGEST_WHEEL:
        yield f"{wheel.name} is larger than {LARGEST_WHEEL:,} bytes"
    with zipfile.ZipFile(wheel) as archive:
        held = {info.filename: info for info in archive.infolist() if not info.is_dir()}
        for name, info in held.items():
            if stat.S_ISLNK(info.external_attr >> 16):
                yield f"{name} is a link, not a file"
            elif not _belongs(name):
                yield f"{name} does not belong into a wheel"
        for name, source in _expected():
            if name not in held:
                yield f"{name} is missing"
            elif archive.read(name) != source.read_bytes():
                yield f"{name} differs from {source.relative_to(CHECKOUT)}"
        metadata = [name for name in held if name.endswith(".dist-info/METADATA")]
        if len(metadata) != 1:
            yield "there is no METADATA"
            return
        yield from metadata_problems(archive.read(metadata[0]))
        folder = metadata[0].rpartition("/")[0]
        for licence in LICENCES:
            if f"{folder}/licenses/{licence}" not in held:
                yield f"the licence {licence} is missing"


def metadata_problems(text: bytes) -> Iterator[str]:
    """Yield what is wrong with the core metadata that PyPI and the napari hub show.

    Parameters
    ----------
    text : bytes
        The file METADATA.
    """
    metadata: Message = message_from_bytes(text, policy=compat32)
    if "Framework :: napari" not in metadata.get_all("Classifier", []):
        yield 'without the classifier "Framework :: napari" the napari hub does not list it'
    for requirement in metadata.get_all("Requires-Dist", []):
        if "extra ==" not in requirement and _QT.match(requirement):
            yield f"{requirement} is required: napari and Qt are the user's choice"
    description = metadata.get_payload()
    assert isinstance(description, str)
    if not description.strip():
        yield "the description is empty"
    for image, target, source in _LINK.findall(description):
        address = target or source
        if not re.match(r"https://|mailto:|#", address):
            yield f"the {'picture' if image or source else 'link'} {address} leads nowhere on PyPI"


def sdist_problems(sdist: Path) -> Iterator[str]:
    """Yield what is wrong with a source distribution, a sentence each.

    Parameters
    ----------
    sdist : Path
        The ``.tar.gz`` file.
    """
    if sdist.stat().st_size > LARGEST_SDIST:
        yield f"{sdist.name} is larger than {LARGEST_SDIST:,} bytes"
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members}
    for member in members:
        name = member.name.partition("/")[2]
        if not (member.isfile() or member.isdir()):
            yield f"{name} is neither file nor folder"
        elif name.startswith("docs/") and name.endswith(PICTURES):
            yield f"{name} is a picture of the documentation, and large"
    for name in (*SDIST_NEEDS, *(f"sample_data/{each.name}" for each in _files("sample_data"))):
        if name not in names:
            yield f"{name} is missing"


def differences(wheel: Path, other: Path) -> Iterator[str]:
    """Yield the files in which two wheels differ.

    Parameters
    ----------
    wheel, other : Path
        The files.
    """
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(other) as two:
        names, others = set(one.namelist()), set(two.namelist())
        for name in sorted(names ^ others):
            yield f"{name} is in one of both wheels only"
        for name in sorted(names & others):
            if one.read(name) != two.read(name):
                yield f"{name} differs between both wheels"


def _belongs(name: str) -> bool:
    path = PurePosixPath(name)
    if path.parts[0] == PACKAGE and path.suffix == ".py":
        return True
    return any(path.match(pattern) for pattern in BESIDE_PYTHON)


def _expected() -> Iterator[tuple[str, Path]]:
    """Yield each file that a wheel must hold, and where it lies in the checkout."""
    yield f"{PACKAGE}/napari.yaml", CHECKOUT / "napari.yaml"
    for path in _files("sample_data"):
        yield f"{PACKAGE}/sample_data/{path.name}", path
    source = CHECKOUT / "src"
    for path in sorted((source / PACKAGE).rglob("*")):
        if path.suffix in (".py", ".svg", ".typed", ".safetensors"):
            yield path.relative_to(source).as_posix(), path


def _files(folder: str) -> list[Path]:
    return sorted(path for path in (CHECKOUT / folder).iterdir() if path.is_file())


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        sys.exit(
            f"{folder} holds {len(found)} files {pattern}; one is meant. Empty it, build again."
        )
    return found[0]


def main() -> int:
    """Check the archives; return the exit code."""
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: check_archives.py DIST [WHEEL]")
    folder = Path(sys.argv[1])
    wheel, sdist = _only(folder, "*.whl"), _only(folder, "*.tar.gz")
    problems = [*wheel_problems(wheel), *sdist_problems(sdist)]
    for other in sys.argv[2:]:
        problems += differences(wheel, Path(other))
    for problem in problems:
        print(f"Archives: {problem}.", file=sys.stderr)
    sizes = ", ".join(f"{each.name} {each.stat().st_size / 1e6:.1f} MB" for each in (wheel, sdist))
    print(f"Archives: {sizes}; {len(problems)} problems.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
