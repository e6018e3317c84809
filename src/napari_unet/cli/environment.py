"""What ``doctor`` finds wrong with packages, disk, memory and settings; needs neither torch nor Qt.

Each examination stands alone, and takes what it looks at as an argument, so that it can be tried.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path, user_data_path

from napari_unet.errors import first_line
from napari_unet.io.limits import free_memory
from napari_unet.model.devices import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from packaging.requirements import Requirement

OUR_DISTRIBUTION = "napari-unet-paint"
_COMPILED = ("numpy", "scipy", "skimage", "numba", "zarr", "imagecodecs", "tifffile", "safetensors")
_PYTHON = (3, 11)
_LITTLE_DISK, _LITTLE_MEMORY, _LITTLE_SHARED = 2**30, 2**30, 2**24
_LONGEST_SPIN_MS = 1000


def examined(examinations: Iterable[Callable[[], Iterable[Problem]]]) -> list[Problem]:
    """Return what all examinations find; one that fails is a problem and does not stop others."""
    found: list[Problem] = []
    for examine in examinations:
        try:
            found += examine()
        except Exception as error:  # of a package broken enough to break this
            name = getattr(examine, "__name__", "packages").replace("_", " ")
            found.append(failed(name.removesuffix(" problems"), error))
    return found


def failed(what: str, error: Exception) -> Problem:
    """Return the problem that something could not be examined."""
    reason = (str(error).splitlines() or [""])[0]
    return Problem(
        f"{what.capitalize()} could not be examined ({type(error).__name__}: {reason}).",
        reinstall(OUR_DISTRIBUTION),
    )


def python_problems(version: tuple[int, ...] = sys.version_info[:3]) -> Iterator[Problem]:
    """Find a Python that is too old."""
    if version >= _PYTHON:
        return
    yield Problem(
        f"Python {'.'.join(map(str, version))} is too old; 3.11 is the first that works.",
        f"Install Python 3.12, and there: python -m pip install {OUR_DISTRIBUTION}",
    )


def package_problems(
    version_of: Callable[[str], str] = importlib.metadata.version,
    required: Sequence[str] | None = None,
) -> Iterator[Problem]:
    """Find packages that are missing or older than ours needs, by their metadata."""
    from packaging.requirements import Requirement

    if required is None:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            required = importlib.metadata.requires(OUR_DISTRIBUTION)
    told: list[Problem] = []
    asked = [Requirement(text) for text in required or ()]
    versions = {each.name: version_or_none(each.name, version_of) for each in asked}
    # An extra is in use where all of its packages are there; others' bounds do not count.
    unused = {_extra_of(each) for each in asked if versions[each.name] is None} - {""}
    for needed in asked:
        if _extra_of(needed) in unused:
            continue
        command = f'{sys.executable} -m pip install --upgrade "{needed.name}{needed.specifier}"'
        found = versions[needed.name]
        if found is None:
            yield Problem(f"{needed.name} is not installed.", command)
        elif not needed.specifier.contains(found, prereleases=True):
            what = f"{needed.name} {found} is installed, but {needed.specifier} is needed."
            if Problem(what, command) not in told:
                told.append(Problem(what, command))
                yield told[-1]


def _extra_of(needed: Requirement) -> str:
    """Return the extra that a requirement belongs to; "" where all need it."""
    found = re.search(r"""extra == ['"]([^'"]+)""", str(needed.marker or ""))
    return found.group(1) if found else ""


def version_or_none(
    distribution: str, version_of: Callable[[str], str] = importlib.metadata.version
) -> str | None:
    """Return the installed version of a distribution; None where it is not installed."""
    try:
        return version_of(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def import_problems(names: Sequence[str] = _COMPILED) -> Iterator[Problem]:
    """Find packages that are installed but broken, for example for lack of a library."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # also OSError of a missing DLL
            what = f"{name} cannot be imported: {first_line(error)}."
            remedy = reinstall({"skimage": "scikit-image"}.get(name, name))
            yield Problem(what, remedy)


def folder_problems(folder: Path | None = None) -> Iterator[Problem]:
    """Find a folder for models and recovery that cannot be written, or a full disk."""
    folder = user_data_path(OUR_DISTRIBUTION) if folder is None else folder
    for name in ("models", "recovery"):
        error = _cannot_write(folder / name)
        if error is not None:
            yield Problem(
                f"The folder for {name}, {folder / name}, cannot be written: {error}.",
                f"Make {_existing(folder / name) or folder} writable, connect its drive, or "
                "move away what lies in its place.",
            )
    temporary = Path(tempfile.gettempdir())
    for place in filter(None, {_existing(folder), temporary}):
        free = shutil.disk_usage(place).free
        if free < _LITTLE_DISK:
            yield Problem(
                f"Only {free / 1e6:.0f} MB are free in {place}.",
                "Delete files there: models and saved annotations need room.",
            )


def memory_problems() -> Iterator[Problem]:
    """Find too little free memory, of the machine or of its container."""
    free = free_memory()
    if free >= _LITTLE_MEMORY:
        return
    yield Problem(
        f"Only {free / 1e6:.0f} MB of memory are free; a training needs about 1000.",
        "Close other programs, or give the container more memory.",
    )


def thread_problems(
    environment: Mapping[str, str] = os.environ, cores: int | None = None
) -> Iterator[Problem]:
    """Find settings of OpenMP that make torch several times slower."""
    cores = cores or os.cpu_count() or 1
    wrong: list[tuple[str, str]] = []
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        text = environment.get(name, "").strip()
        first = text.partition(",")[0]
        if not text:
            continue
        if not first.isdigit() or first == "0":
            wrong.append((name, "is no number of threads"))
        elif int(first) > cores:
            wrong.append((name, f"is more than the {cores} cores there are"))
        elif int(first) * 4 <= cores and cores >= 8:
            wrong.append((name, f"leaves most of the {cores} cores idle"))
    if environment.get("OMP_WAIT_POLICY", "").strip().lower() == "active":
        wrong.append(("OMP_WAIT_POLICY", "lets idle threads take the cores"))
    block = environment.get("KMP_BLOCKTIME", "").strip().lower().removesuffix("ms")
    if block == "infinite" or (block.isdigit() and int(block) > _LONGEST_SPIN_MS):
        wrong.append(("KMP_BLOCKTIME", "lets idle threads take the cores"))
    for name, why in wrong:
        yield Problem(f"{name}={environment[name]} {why}.", f"Remove {name} from the environment.")


def shared_memory_problems(folder: Path = Path("/dev/shm")) -> Iterator[Problem]:
    """Find a /dev/shm that several processes cannot use, on Linux."""
    if sys.platform != "linux":
        return
    error = _cannot_write(folder)
    if error is None:
        free = shutil.disk_usage(folder).free
        if free >= _LITTLE_SHARED:
            return
        error = f"only {free / 1e6:.0f} MB are free"
    yield Problem(
        f"{folder} cannot be used by several processes: {error}.",
        "Start the container with --shm-size=1g, or mount a tmpfs there.",
    )


def compiler_cache_problems(environment: Mapping[str, str] = os.environ) -> Iterator[Problem]:
    """Find that numba can keep nothing it compiles, so that each start takes longer."""
    named = environment.get("NUMBA_CACHE_DIR")
    beside = Path(__file__).parents[1] / "data" / "__pycache__"
    places = [Path(named)] if named else [beside, user_cache_path("numba")]
    errors = [_cannot_write(place) for place in places]
    if not all(errors):
        return
    yield Problem(
        f"Compiled code cannot be kept in {places[-1]}: {errors[-1]}; each start takes "
        "some seconds longer.",
        "Set NUMBA_CACHE_DIR to a folder that can be written.",
    )


def encoding_problems(encoding: str | None = None) -> Iterator[Problem]:
    """Find that names of files outside of ASCII cannot be used."""
    encoding = sys.getfilesystemencoding() if encoding is None else encoding
    if encoding.lower().replace("-", "") == "utf8":
        return
    yield Problem(
        f"Names of files are encoded as {encoding}: those with other letters cannot be opened.",
        "Set PYTHONUTF8=1, or LC_ALL=C.UTF-8, in the environment.",
    )


def _cannot_write(folder: Path) -> str | None:
    """Return why nothing can be written to a folder that exists or can be made."""
    place = _existing(folder)
    if place is None:
        return f"there is no {folder.anchor or folder}"
    if not place.is_dir():
        return f"{place} is a file, not a folder"
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _existing(folder: Path) -> Path | None:
    """Return the folder, or the nearest one above it that exists; None of a drive that is gone."""
    return next((place for place in (folder, *folder.parents) if place.exists()), None)


def reinstall(distribution: str) -> str:
    """Return the command that installs a distribution again."""
    return f"{sys.executable} -m pip install --force-reinstall {distribution}"


EXAMINATIONS = (
    python_problems,
    package_problems,
    import_problems,
    folder_problems,
    memory_problems,
    thread_problems,
    shared_memory_problems,
    compiler_cache_problems,
    encoding_problems,
)
